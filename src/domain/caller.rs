//! Who calls: what a verified token says, as every use case needs it.

use uuid::Uuid;

use super::{
    error::{Error, Result},
    ids::{ConversationId, OrgId, PersonId, SessionId},
    permission::Permissions,
};
use crate::base::clock::Timestamp;

/// Kind of a token: the prefix of its `sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `User:<id>`: acts as a person. Personal access tokens, guests and anonymous visitors become one too.
    User,
    /// `UserRefresh:<id>`: good at refresh and exchange only.
    UserRefresh,
    /// `Enterprise:<id>`: an organisation's token, with the rights of the person who got it.
    Enterprise,
    /// `Partner:<id>`: signed by a partner key; counts as an enterprise token with an administrator's rights.
    Partner,
    /// `Session:<uuid>`: one session, made for one person (`originator`).
    Session,
    /// `Workbox:<id>`: one help thread, made for one person.
    Workbox,
    /// `Public:<id>`: names a person for `contact_tokens`; authorises nothing else.
    Public,
}

/// Who a person is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PersonKind {
    /// Has an account.
    Member,
    /// Came by a help thread's link; sees that thread only.
    Guest,
    /// Gave a display name, nothing else.
    Anonymous,
}

/// A verified caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What kind of token it was.
    pub kind: TokenKind,
    /// The organisation whose data it may touch; never another's.
    pub organization: OrgId,
    /// Whom it acts as; `None` for a partner's token.
    pub person: Option<PersonId>,
    /// The log-in behind the person (aliases of one login are one human being).
    pub login: Option<PersonId>,
    /// Member, guest or anonymous.
    pub person_kind: PersonKind,
    /// The UUID of the person, for `guest:<uuid>`.
    pub person_uuid: Option<Uuid>,
    /// Name shown to others.
    pub name: String,
    /// Who really acts, when somebody acts for somebody (impersonation): goes to the audit log.
    pub acting: Option<PersonId>,
    /// What it may do.
    pub permissions: Permissions,
    /// The session of a session token.
    pub session: Option<SessionId>,
    /// The workbox of a workbox token, or the only one that a guest may see.
    pub workbox: Option<ConversationId>,
    /// Sign-in family: revoked together.
    pub family: Option<Uuid>,
    /// End of the token.
    pub expires_at: Timestamp,
}

impl Caller {
    /// The person, or the family's "not for this token" error.
    pub fn person(&self) -> Result<PersonId> {
        self.person.ok_or_else(|| Error::forbidden("this needs a person's token"))
    }

    /// Fails unless all of `needed` are there.
    pub fn require(&self, needed: Permissions) -> Result<()> {
        if self.permissions.contains(needed) {
            return Ok(());
        }
        let missing = (needed - self.permissions).names().join(", ");
        Err(Error::forbidden(format!("the token lacks the permission {missing}")))
    }

    /// True for guests by link and anonymous visitors: they never see what is internal.
    pub fn is_outsider(&self) -> bool {
        self.person_kind != PersonKind::Member
    }

    /// `7`, `guest:<uuid>` or `enterprise:<id>`: `ClientInfo.user`, idempotency scope, log field.
    pub fn label(&self) -> String {
        match (self.person, self.person_uuid, self.person_kind) {
            (Some(_), Some(uuid), PersonKind::Guest | PersonKind::Anonymous) => format!("guest:{uuid}"),
            (Some(id), ..) => id.to_string(),
            _ => format!("enterprise:{}", self.organization),
        }
    }
}
