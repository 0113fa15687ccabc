//! Making tokens. What a token may do is never more than what the one it is made from may do.

use uuid::Uuid;

use super::{
    Tokens,
    claims::{Claims, Origin, Private, Subject},
    standing::{allowed, kind_of},
};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::{Caller, PersonKind},
        error::Result,
        ids::{ConversationId, OrgId, PersonId, SessionId},
        permission::Permissions,
    },
    store::people::PersonRow,
};

/// What a session or workbox token never carries, whoever asks: such tokens wander into other programs.
const NOT_IN_PLACES: Permissions = Permissions(
    Permissions::EDIT_ACCOUNT.0
        | Permissions::MANAGE_ACCESS_TOKENS.0
        | Permissions::MANAGE_USERS.0
        | Permissions::MANAGE_KEYS.0
        | Permissions::IMPERSONATE.0,
);
/// What acting tokens lack unless it is asked for by name.
pub(crate) const NOT_BY_DEFAULT: Permissions =
    Permissions(Permissions::IMPERSONATE.0 | Permissions::MANAGE_KEYS.0 | Permissions::MANAGE_USERS.0);
/// What acting tokens always lack: a personal access token would outlive them, as a refresh would.
const NEVER_BY_ACTING: Permissions = Permissions::MANAGE_ACCESS_TOKENS;

/// Somebody who got in, and how.
#[derive(Clone, Copy, Debug)]
pub struct Login {
    /// The person.
    pub person: PersonId,
    /// Their organisation.
    pub organization: OrgId,
    /// Version of their tokens.
    pub version: i64,
    /// What they may do.
    pub permissions: Permissions,
    /// The sign-in; none for tokens from the command line.
    pub family: Option<Uuid>,
    /// How they got in.
    pub origin: Origin,
    /// A guest's help thread.
    pub workbox: Option<ConversationId>,
}

impl Login {
    /// A person with all that the role allows.
    pub fn of(
        person: &PersonRow,
        family: Option<Uuid>,
        origin: Origin,
        workbox: Option<ConversationId>,
    ) -> Self {
        Self {
            person: person.id,
            organization: person.organization_id,
            version: person.token_version,
            permissions: permissions_of(person),
            family,
            origin,
            workbox,
        }
    }

    fn private(&self) -> Private {
        Private {
            org: self.organization,
            per: None,
            ver: self.version,
            fam: self.family,
            origin: self.origin,
            act: None,
            bnd: None,
            wbx: self.workbox,
        }
    }
}

/// What the person's kind and role allow.
pub(crate) fn permissions_of(person: &PersonRow) -> Permissions {
    allowed(kind_of(&person.kind), &person.role)
}

impl Tokens {
    /// A user token that ends at `expires_at`.
    pub fn mint_user(&self, login: &Login, expires_at: Timestamp) -> Result<String> {
        self.sign(Subject::User(login.person), login.permissions, login.private(), expires_at)
    }

    /// When a user token that is made now ends.
    pub fn user_end(&self) -> Timestamp {
        self.0.clock.now().plus(self.0.auth.user_token_seconds)
    }

    /// A refresh token. The caller stores its hash: signature alone makes none good.
    pub fn mint_refresh(&self, login: &Login, expires_at: Timestamp) -> Result<String> {
        self.sign(Subject::UserRefresh(login.person), Permissions::NONE, login.private(), expires_at)
    }

    /// An enterprise token right after a sign-in.
    pub fn mint_enterprise(&self, login: &Login) -> Result<String> {
        let private = Private { per: Some(login.person), ..login.private() };
        let end = self.0.clock.now().plus(self.0.auth.user_token_seconds);
        self.sign(Subject::Enterprise(login.organization), login.permissions, private, end)
    }

    /// The enterprise token of the caller's organisation, with what the caller may do.
    pub async fn mint_enterprise_for(&self, caller: &Caller) -> Result<String> {
        let private = self.inherited(caller).await?;
        let mut end = self.0.clock.now().plus(self.0.auth.user_token_seconds);
        if self.is_acting(caller).await? {
            end = end.min(caller.expires_at);
        }
        let private = Private { per: caller.person, ..private };
        self.sign(Subject::Enterprise(caller.organization), caller.permissions, private, end)
    }

    /// A token that acts as `person` by the hand of `caller`, who must hold `impersonate` (the caller of this function
    /// checks): with what both may do, plus `add` and less `remove`, never with a refresh. Write the audit log.
    pub async fn mint_acting(
        &self,
        caller: &Caller,
        person: &PersonRow,
        add: Permissions,
        remove: Permissions,
    ) -> Result<String> {
        let both = permissions_of(person) & caller.permissions;
        let permissions = ((both - NOT_BY_DEFAULT) | (add & both)) - NEVER_BY_ACTING - remove;
        let private = self.inherited(caller).await?;
        let mut end = self.0.clock.now().plus(self.0.auth.acting_token_seconds);
        if caller.acting.is_some() {
            end = end.min(caller.expires_at);
        }
        let act = match (private.act, caller.person) {
            (Some(act), _) => Some(act),
            (None, Some(actor)) => Some((actor, private.ver)),
            (None, None) => None,
        };
        let private = Private { per: None, ver: person.token_version, act, wbx: None, ..private };
        self.sign(Subject::User(person.id), permissions, private, end)
    }

    /// A public token that names `person` for the caller's `contact_tokens`, and is good for nothing else.
    pub async fn mint_public(&self, caller: &Caller, person: &PersonRow) -> Result<String> {
        let private = Private {
            org: person.organization_id,
            per: None,
            ver: person.token_version,
            fam: None,
            origin: self.origin_of(caller).await?,
            act: None,
            bnd: Some((caller.organization, caller.person)),
            wbx: None,
        };
        let end = self.0.clock.now().plus(self.0.auth.public_token_seconds);
        self.sign(Subject::Public(person.id), Permissions::PUBLIC, private, end)
    }

    /// The caller's own token of a session. Whether the caller belongs to it is checked here and at every use.
    pub async fn mint_session(
        &self,
        caller: &Caller,
        session: SessionId,
        attributes: &[&str],
        recording_policy: &str,
    ) -> Result<String> {
        let subject = Subject::Session(session);
        let person = caller.person()?;
        self.0.standing.check_session(person, session).await?;
        let private = self.inherited(caller).await?;
        let end = self.0.clock.now().plus(self.0.auth.session_token_seconds);
        let mut claims = self.draft(subject, caller.permissions - NOT_IN_PLACES, private, end);
        claims.originator = Some(person);
        claims.attributes = Some(attributes.iter().map(ToString::to_string).collect());
        claims.recording_policy = Some(recording_policy.to_owned());
        claims.sign(&self.0.keys.current().signing)
    }

    /// The caller's own token of a help thread that the caller was found to see. Membership is checked at every use.
    pub async fn mint_workbox(&self, caller: &Caller, conversation: ConversationId) -> Result<String> {
        let private = Private { per: caller.person, ..self.inherited(caller).await? };
        let end = self.0.clock.now().plus(self.0.auth.workbox_token_seconds);
        self.sign(Subject::Workbox(conversation), caller.permissions - NOT_IN_PLACES, private, end)
    }

    /// What tokens made from the caller's own take over from it.
    async fn inherited(&self, caller: &Caller) -> Result<Private> {
        let version = match caller.person {
            Some(person) => self.0.standing.person(person, caller.family).await?.version,
            None => 0,
        };
        let act = match caller.acting {
            Some(actor) => Some((actor, self.0.standing.person(actor, None).await?.version)),
            None => None,
        };
        Ok(Private {
            org: caller.organization,
            per: None,
            ver: version,
            fam: caller.family,
            origin: self.origin_of(caller).await?,
            act,
            bnd: None,
            wbx: caller.workbox.filter(|_| caller.person_kind == PersonKind::Guest),
        })
    }

    fn sign(
        &self,
        subject: Subject,
        permissions: Permissions,
        private: Private,
        end: Timestamp,
    ) -> Result<String> {
        self.draft(subject, permissions, private, end).sign(&self.0.keys.current().signing)
    }

    fn draft(&self, subject: Subject, permissions: Permissions, private: Private, end: Timestamp) -> Claims {
        Claims::new(subject, permissions, private, self.0.random.uuid(), self.0.clock.now(), end)
    }
}
