//! How people whose account somebody else made get in: by a secret in the notice that they got, once.

use super::{Changed, GONE, People, fields::changed};
use crate::{
    base::{clock::Timestamp, seal::fingerprint, secret::Secret},
    domain::{
        codes::Code,
        error::{Error, Result},
        event::{Actor, NewEvent},
        ids::{OrgId, PersonId},
    },
    journal::{Refusal, RowOp},
    service::{addresses, person_views::UserView},
    store::{
        Stmt,
        invitations::{self, InvitationRow},
        people::PersonChange,
    },
};

/// Random bytes of a secret.
const SECRET_BYTES: usize = 16;

const USED: Refusal = Refusal::new(Code::NotFound, "the invitation is unknown or was used");

impl People {
    /// A link by which a new person chooses a password, and the row that knows it.
    pub(super) fn invitation(&self, organization: OrgId, person: PersonId, now: Timestamp) -> (String, Stmt) {
        let secret = self.parts.random.token::<SECRET_BYTES>();
        let row = InvitationRow {
            person_id: person,
            organization_id: organization,
            expires_at: now.plus(self.parts.invitation_life),
        };
        let insert = invitations::insert(fingerprint(&secret), &row, now);
        (format!("{}/invitation?token={secret}", self.parts.public_url), insert)
    }

    /// Takes an account over: the secret of the notice (or its whole link), the address that it went to, the name that
    /// the person goes by, and a password. Whoever calls this limits attempts.
    pub async fn accept(&self, token: &Secret, email: &str, name: &str, password: &Secret) -> Result<()> {
        let now = self.parts.clock.now();
        let text = token.expose().trim();
        let hash = fingerprint(text.rsplit_once("token=").map_or(text, |(_, secret)| secret));
        let found = invitations::find(&self.parts.db, hash).await?.ok_or_else(|| Error::from(USED))?;
        if found.expires_at <= now {
            return Err(Error::new(Code::LinkExpired, "the invitation is over; ask for a new one"));
        }
        let before = self.living(found.organization_id, found.person_id).await?;
        let known = before.email.as_deref().unwrap_or_default();
        if known.to_lowercase() != addresses::email(email)?.to_lowercase() {
            return Err(Error::from(USED));
        }
        if !before.active {
            return Err(Error::new(Code::AccountDeactivated, "the account is switched off"));
        }
        let organization = self.organization(found.organization_id).await?;
        let row = PersonChange {
            name: Some(addresses::name(name)?),
            password_hash: Some(self.parts.passwords.hash(password).await?),
            ..PersonChange::default()
        };
        let mut append = self.change_of(&before, &row, now);
        append.rows.push(RowOp::exec_one(invitations::use_up(hash), USED));
        append.rows.push(RowOp::exec_one(invitations::confirm(organization.id, before.id, now), GONE));
        let mut after = changed(&before, &row, now);
        after.confirmed_at = after.confirmed_at.or(Some(now));
        let view = Changed {
            user: UserView::new(&after, now, self.is_online(&after)),
            changed: vec!["name", "password", "confirmed_at"],
        };
        let actor = Actor { kind: "user", id: before.id.0, name: after.name.clone() };
        let event = self.parts.random.uuid_v7(now);
        append.events.push(NewEvent::new(
            organization.stream_id,
            "user.updated",
            event,
            now,
            Some(&actor),
            &view,
        ));
        self.parts.journal.append(append).await?;
        self.parts.tokens.renamed(before.id);
        Ok(())
    }
}
