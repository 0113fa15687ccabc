//! What operators make from the command line: organisations with their first administrator, and many people at once.
//!
//! Everything goes through the journal in appends of bounded size, so that a running server goes on serving meanwhile.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    addresses,
    keys::new_api_key,
    letters::SENTENCE_LIMIT,
    passwords::Passwords,
    person_views::UserView,
    sign_in::new_family,
    tokens::{Login, Origin, Tokens},
};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        seal::{Sealer, fingerprint},
        secret::Secret,
    },
    config::Auth,
    domain::{
        codes::Code,
        error::{Error, Result},
        event::{NewEvent, StreamKind, org_channel, user_channel},
        ids::{GroupId, OrgId, PersonId, StreamId},
        machine::call::RecordingPolicy,
    },
    journal::{Append, Guard, Journal, NewStream, Refusal, RowOp},
    store::{
        Db,
        groups::{self, NewPod},
        ids::Ids,
        organizations::{self, NewOrganization},
        people::{self, NewPerson},
        tokens as store,
    },
};

/// People of one append: some ten milliseconds of the journal's time.
const CHUNK: usize = 250;

const NO_ORGANIZATION: Refusal = Refusal::new(Code::NotFound, "organization not found");

/// An organisation that was made.
#[derive(Debug, Serialize)]
pub struct Provisioned {
    /// The organisation.
    pub organization: OrganizationView,
    /// Names its applications; shown once here, later to administrators.
    pub api_key: String,
    /// Its administrator.
    pub admin: AdminView,
}

/// An organisation by name.
#[derive(Debug, Serialize)]
pub struct OrganizationView {
    /// Its number.
    pub id: OrgId,
    /// Its name.
    pub name: String,
}

/// An administrator with tokens.
#[derive(Serialize)]
pub struct AdminView {
    /// The person.
    pub id: PersonId,
    /// Signs in with it.
    pub email: String,
    /// A user token.
    pub token: String,
    /// Good for new tokens.
    pub refresh: String,
}

impl fmt::Debug for AdminView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminView").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A person that was made in bulk.
pub struct Recruit {
    /// The person.
    pub id: PersonId,
    /// Made from the number; no password, so nobody signs in with it.
    pub email: String,
    /// A user token.
    pub token: String,
}

impl fmt::Debug for Recruit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recruit").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What [`Provisioning`] is made of.
#[derive(Debug)]
pub struct ProvisioningParts {
    /// Lifetimes of tokens.
    pub auth: Auth,
    /// Seals API keys.
    pub sealer: Sealer,
    /// Makes tokens.
    pub tokens: Tokens,
    /// Hashes passwords.
    pub passwords: Passwords,
}

/// Makes organisations and people for operators.
pub struct Provisioning {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    journal: Journal,
    parts: ProvisioningParts,
}

impl fmt::Debug for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provisioning")
    }
}

impl Provisioning {
    /// Wires it.
    pub fn new(
        db: Db,
        ids: Ids,
        clock: Clock,
        random: Random,
        journal: Journal,
        parts: ProvisioningParts,
    ) -> Self {
        Self { db, ids, clock, random, journal, parts }
    }

    /// An organisation with an API key and an administrator (name and e-mail address, which must be free), in one
    /// commit.
    pub async fn create_organization(
        &self,
        name: &str,
        (admin, email): (&str, &str),
        password: Option<&Secret>,
    ) -> Result<Provisioned> {
        let (name, admin_name) = (addresses::name(name)?, addresses::name(admin)?);
        let email = addresses::email(email)?;
        let hash = match password {
            Some(password) => {
                self.parts.passwords.check_rules(password)?;
                Some(self.parts.passwords.hash(password).await?)
            }
            None => None,
        };
        let now = self.clock.now();
        let organization = NewOrganization {
            id: self.ids.next()?,
            uuid: self.random.uuid_v7(now),
            name: name.clone(),
            contact_email: Some(email.clone()),
            // The operator vouches for the administrator's domain: passwords may be set for addresses in it.
            domains: email.rsplit_once('@').map(|(_, domain)| domain.to_owned()).into_iter().collect(),
            stream: self.ids.next()?,
            created_at: now,
        };
        let mut admin = self.person(organization.id, self.ids.next()?, self.ids.next()?, now);
        admin.name = admin_name;
        admin.email = Some(email.clone());
        admin.role = "EnterpriseAdmin".to_owned();
        admin.password_hash = hash;
        admin.confirmed_at = Some(now);
        let (api_key, insert_key) = new_api_key(
            organization.id,
            self.ids.next()?,
            "first key".to_owned(),
            &self.random,
            &self.parts.sealer,
            &self.clock,
        );

        let end = now.plus(self.parts.auth.refresh_days);
        let family =
            new_family(self.random.uuid(), (organization.id, admin.id), (Origin::Admin, None), now, end);
        let login = Login::of(&admin.row(), Some(family.id), Origin::Admin, None);
        let refresh = self.parts.tokens.mint_refresh(&login, end)?;
        let token =
            self.parts.tokens.mint_user(&login, now.plus(self.parts.auth.admin_token_seconds).min(end))?;

        let mut append = Append::default()
            .with(organizations::insert(&organization))
            .with(insert_key)
            .with(people::insert(&admin))
            .with(store::insert_family(&family))
            .with(store::insert_refresh(fingerprint(&refresh), family.id, now, end));
        append.guards.push(Guard::Holds {
            stmt: people::email_is_free(&email, admin.id),
            otherwise: Refusal::new(Code::EmailTaken, "the e-mail address belongs to somebody"),
        });
        append.streams.push(NewStream {
            id: organization.stream,
            organization: organization.id,
            kind: StreamKind::Org,
            channel: org_channel(organization.id),
        });
        append.streams.push(inbox(&admin));
        let (event, view) = (self.random.uuid_v7(now), UserView::new(&admin.row(), now, false));
        append.events.push(NewEvent::new(organization.stream, "user.created", event, now, None, &view));
        self.journal.append(append).await?;
        Ok(Provisioned {
            organization: OrganizationView { id: organization.id, name },
            api_key: api_key.key.expose().to_owned(),
            admin: AdminView { id: admin.id, email, token, refresh },
        })
    }

    /// A group of experts.
    pub async fn create_pod(&self, organization: OrgId, name: &str, description: &str) -> Result<GroupId> {
        let id = self.ids.next()?;
        let created_at = self.clock.now();
        let new = NewPod { id, organization, name, description, expert: true, created_at };
        self.journal.append(Append::default().with(groups::insert(&new))).await?;
        Ok(id)
    }

    /// Says how calls of an organisation are recorded (`opt_in`, `opt_out`, `always_on`), from the next one on.
    pub async fn set_recording_policy(&self, organization: OrgId, policy: &str) -> Result<()> {
        let policy = RecordingPolicy::by_name(policy)
            .ok_or_else(|| Error::invalid("policy: one of opt_in, opt_out, always_on"))?;
        let change = organizations::set_recording_policy(organization, policy.name(), self.clock.now());
        let mut append = Append::default();
        append.rows.push(RowOp::exec_one(change, NO_ORGANIZATION));
        self.journal.append(append).await.map(drop)
    }

    /// Says with which sentence an organisation invites people; names go where `{inviter}`, `{organization}` and
    /// `{thread}` stand. An empty one brings ours back.
    pub async fn set_invitation_text(&self, organization: OrgId, text: &str) -> Result<()> {
        if text.chars().count() > SENTENCE_LIMIT || text.contains(char::is_control) {
            let rule = format!("text: at most {SENTENCE_LIMIT} characters on one line");
            return Err(Error::invalid(rule));
        }
        let row = organizations::by_id(&self.db, organization).await?;
        let row = row.ok_or_else(|| Error::from(NO_ORGANIZATION))?;
        let change = organizations::set_settings(&row, &row.with_invitation_text(text), self.clock.now());
        let changed = Refusal::new(Code::Constraint, "somebody else changes the settings; try again");
        let mut append = Append::default();
        append.rows.push(RowOp::exec_one(change, changed));
        self.journal.append(append).await.map(drop)
    }

    /// `count` people with a token each that lives for `life` (the configured time of admin tokens where missing).
    /// Those of the chunks that were done stay when a later chunk fails.
    pub async fn create_people(
        &self,
        organization: OrgId,
        count: usize,
        life: Option<Duration>,
    ) -> Result<Vec<Recruit>> {
        let organization = organizations::by_id(&self.db, organization).await?;
        let organization = organization.ok_or_else(|| Error::from(NO_ORGANIZATION))?;
        let place = (organization.id, organization.stream_id);
        let life = life.unwrap_or(self.parts.auth.admin_token_seconds);
        let mut recruits = Vec::with_capacity(count);
        while recruits.len() < count {
            let chunk = CHUNK.min(count - recruits.len());
            self.create_chunk(place, chunk, life, &mut recruits).await?;
        }
        Ok(recruits)
    }

    async fn create_chunk(
        &self,
        (organization, told): (OrgId, StreamId),
        count: usize,
        life: Duration,
        recruits: &mut Vec<Recruit>,
    ) -> Result<()> {
        let now = self.clock.now();
        let ids = self.ids.reserve::<PersonId>(count).await?;
        let streams = self.ids.reserve::<StreamId>(count).await?;
        let mut append = Append::default();
        let mut made = Vec::with_capacity(count);
        for (id, stream) in ids.zip(streams) {
            let mut person = self.person(organization, id, stream, now);
            let email = format!("user{id}@people.example");
            person.name = format!("User {id}");
            person.email = Some(email.clone());
            person.confirmed_at = Some(now);
            append.streams.push(inbox(&person));
            append = append.with(people::insert(&person));
            let row = person.row();
            let (event, view) = (self.random.uuid_v7(now), UserView::new(&row, now, false));
            append.events.push(NewEvent::new(told, "user.created", event, now, None, &view));
            let login = Login::of(&row, None, Origin::Admin, None);
            let token = self.parts.tokens.mint_user(&login, now.plus(life))?;
            made.push(Recruit { id, email, token });
        }
        self.journal.append(append).await?;
        recruits.append(&mut made);
        Ok(())
    }

    fn person(&self, organization: OrgId, id: PersonId, stream: StreamId, now: Timestamp) -> NewPerson {
        NewPerson {
            id,
            uuid: self.random.uuid_v7(now),
            organization,
            login: id,
            kind: "member",
            name: String::new(),
            email: None,
            username: None,
            title: None,
            location: None,
            phone: None,
            language: None,
            license: "expert".to_owned(),
            role: "User".to_owned(),
            password_hash: None,
            active: true,
            confirmed_at: None,
            invitation_sent_at: None,
            stream,
            created_at: now,
        }
    }
}

/// The person's own stream.
fn inbox(person: &NewPerson) -> NewStream {
    NewStream {
        id: person.stream,
        organization: person.organization,
        kind: StreamKind::User,
        channel: user_channel(person.id),
    }
}
