//! Accounts: made, invited, changed, switched off, removed; their availability and devices.
//!
//! Promises: e-mail addresses and usernames are unique whatever their case, decided inside the commit; nobody gives,
//! takes or touches rights beyond their own; an organisation keeps an administrator; whoever is switched off or
//! removed is out at once, live sockets included; each change is an event of the organisation's stream.

mod fields;
mod invitations;
mod manage;
mod own;

use std::time::Duration;

use serde::Serialize;

pub(super) use self::fields::escaped;
pub use self::{
    manage::{NewUser, UserChange},
    own::{Device, OwnChange},
};
use super::{
    notices::Notices, passwords::Passwords, person_views::UserView, reachability::Reachability,
    tokens::Tokens, tools::actor_of,
};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
    },
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::NewEvent,
        ids::{OrgId, PersonId},
    },
    journal::{Append, Guard, Journal, Refusal, RowOp},
    store::{
        Db, Stmt,
        ids::Ids,
        organizations::{self, OrganizationRow},
        people::{self, PersonChange, PersonRow},
        tokens::{self as token_store, AuditRow},
    },
};

const GONE: Refusal = Refusal::new(Code::NotFound, "user not found");
const EMAIL_TAKEN: Refusal = Refusal::new(Code::EmailTaken, "the e-mail address belongs to somebody");
const USERNAME_TAKEN: Refusal = Refusal::new(Code::UsernameTaken, "the username belongs to somebody");

/// Use cases of accounts.
#[derive(Debug)]
pub struct People {
    parts: Parts,
}

/// What [`People`] is made of.
#[derive(Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Parts {
    pub db: Db,
    pub ids: Ids,
    pub clock: Clock,
    pub random: Random,
    pub journal: Journal,
    pub tokens: Tokens,
    pub passwords: Passwords,
    pub reachability: Reachability,
    /// The address that people find us at, for e-mails.
    pub public_url: String,
    /// Writes e-mails.
    pub notices: Notices,
    /// How long an invitation is good.
    pub invitation_life: Duration,
    /// How long idempotency keys count.
    pub keep: Duration,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

impl People {
    /// Wires it.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    fn is_online(&self, person: &PersonRow) -> bool {
        self.parts.reachability.is_connected(person.login_id)
    }

    async fn organization(&self, id: OrgId) -> Result<OrganizationRow> {
        let found = organizations::by_id(&self.parts.db, id).await?;
        found.ok_or_else(|| Error::not_found("organisation"))
    }

    async fn living(&self, organization: OrgId, id: PersonId) -> Result<PersonRow> {
        let found = people::in_organization(&self.parts.db, organization, id).await?;
        found.ok_or_else(|| Error::not_found("user"))
    }

    /// The row's change with the guards that it needs.
    fn change_of(&self, before: &PersonRow, row: &PersonChange, now: Timestamp) -> Append {
        let mut append = Append::default();
        append.guards.extend(row.email.as_deref().map(|email| Guard::Holds {
            stmt: people::email_is_free(email, before.id),
            otherwise: EMAIL_TAKEN,
        }));
        let username = row.username.as_deref().filter(|username| !username.is_empty());
        append.guards.extend(username.map(|username| Guard::Holds {
            stmt: people::username_is_free(username, before.id),
            otherwise: USERNAME_TAKEN,
        }));
        append.rows.push(RowOp::exec_one(people::update(before.organization_id, before.id, row, now), GONE));
        append
    }

    fn event<T: Serialize>(
        &self,
        caller: &Caller,
        organization: &OrganizationRow,
        kind: &'static str,
        data: &T,
    ) -> NewEvent {
        let now = self.parts.clock.now();
        let id = self.parts.random.uuid_v7(now);
        NewEvent::new(organization.stream_id, kind, id, now, Some(&actor_of(caller)), data)
    }

    fn audit(
        &self,
        caller: &Caller,
        action: &'static str,
        subject: PersonId,
        detail: &serde_json::Value,
    ) -> Result<Stmt> {
        Ok(token_store::insert_audit(&AuditRow {
            id: self.parts.ids.next()?,
            organization: caller.organization,
            time: self.parts.clock.now(),
            actor: caller.acting.or(caller.person),
            acting_for: caller.acting.and(caller.person),
            action,
            subject: format!("user:{subject}"),
            detail: detail.to_string(),
        }))
    }
}

/// `user.updated`: the account, and which fields are new.
#[derive(Serialize)]
struct Changed {
    #[serde(flatten)]
    user: UserView,
    changed: Vec<&'static str>,
}
