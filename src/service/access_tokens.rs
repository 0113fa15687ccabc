//! Personal access tokens: made and removed by their owner, shown once, kept as hashes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    addresses,
    sign_in::{FOR_GOOD, new_family},
    tokens::{
        ACCESS_TOKEN_PREFIX, Origin, Revoked, Tokens,
        told::{Reason, token_revoked},
    },
    tools::actor_of,
};
use crate::{
    base::{clock::Clock, random::Random, seal::fingerprint},
    domain::{
        caller::{Caller, PersonKind},
        codes::Code,
        error::{Error, Result},
        ids::{AccessTokenId, PersonId},
        once::Once,
        permission::Permissions,
    },
    journal::{Append, Journal, Refusal, RowOp},
    store::{
        Db, idempotency,
        ids::Ids,
        people,
        tokens::{self as store, AccessTokenRow},
    },
};

/// Tokens that one person may have.
const MOST: usize = 50;

const GONE: Refusal = Refusal::new(Code::NotFound, "personal access token not found");

/// Outcome of a request that made a token, as remembered under an idempotency key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Made {
    id: AccessTokenId,
}

/// A token with its text, which is shown this once.
pub struct NewToken {
    /// What is kept of it.
    pub row: AccessTokenRow,
    /// The text.
    pub text: String,
}

/// Use cases of personal access tokens.
pub struct AccessTokens {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    journal: Journal,
    tokens: Tokens,
    keep: Duration,
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessTokens")
    }
}

impl AccessTokens {
    /// Wires it. `keep`: how long idempotency keys count.
    pub fn new(
        db: Db,
        ids: Ids,
        clock: Clock,
        random: Random,
        journal: Journal,
        tokens: Tokens,
        keep: Duration,
    ) -> Self {
        Self { db, ids, clock, random, journal, tokens, keep }
    }

    /// Makes one. A repeated request gives the same token another text: the first one was shown and is not kept.
    pub async fn create(&self, caller: &Caller, description: &str, once: &Once) -> Result<NewToken> {
        let person = self.owner(caller).await?;
        let text = format!("{ACCESS_TOKEN_PREFIX}{}", self.random.token::<32>());
        let hash = fingerprint(&text);
        let hint = text[text.len() - 4..].to_owned();
        if let Some(Made { id }) = once.replayed()? {
            store::renew_access_token(person, id, hash, &hint).execute(&self.db).await?;
            return Ok(NewToken { row: self.get(caller, id).await?, text });
        }
        let description = addresses::short_text("description", description)?;
        if self.list(caller).await?.len() >= MOST {
            return Err(Error::constraint(format!(
                "at most {MOST} personal access tokens; remove one first"
            )));
        }
        let now = self.clock.now();
        let row = AccessTokenRow {
            id: self.ids.next()?,
            person_id: person,
            organization_id: caller.organization,
            description,
            hint,
            created_at: now,
            last_used_at: None,
        };
        let family = new_family(
            self.random.uuid(),
            (caller.organization, person),
            (Origin::Pat, Some(row.id.0)),
            now,
            now.plus(FOR_GOOD),
        );
        let mut tx = self.db.begin().await?;
        store::insert_access_token(&row, hash).execute(&mut tx).await?;
        store::insert_family(&family).execute(&mut tx).await?;
        for stmt in idempotency::rows(once, &Made { id: row.id }, now, now.minus(self.keep)) {
            stmt.execute(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(NewToken { row, text })
    }

    /// The caller's tokens, oldest first.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<AccessTokenRow>> {
        Ok(store::access_tokens_of(&self.db, caller.person()?).await?)
    }

    /// One of the caller's tokens.
    pub async fn get(&self, caller: &Caller, id: AccessTokenId) -> Result<AccessTokenRow> {
        let found = store::access_token_of(&self.db, caller.person()?, id).await?;
        found.ok_or_else(|| Error::not_found("personal access token"))
    }

    /// Removes one, with every token and live socket that came of it.
    pub async fn remove(&self, caller: &Caller, id: AccessTokenId) -> Result<()> {
        let person = self.owner(caller).await?;
        let owner = people::by_id(&self.db, person).await?.ok_or_else(|| Error::not_found("user"))?;
        let family = store::family_of(&self.db, Origin::Pat.name(), id.0).await?;
        let family = family.filter(|family| family.person_id == person).map(|family| family.id);
        let now = self.clock.now();
        let (ended, actor) = (family.as_slice(), actor_of(caller));
        let event =
            token_revoked(owner.stream_id, Some(ended), Reason::Removed, Some(&actor), &self.random, now);
        let mut append = Append::of_events(vec![event]);
        append.rows.push(RowOp::exec_one(store::remove_access_token(person, id, now), GONE));
        for family in ended {
            append = append.with(store::revoke_family(*family, now));
        }
        self.journal.append(append).await?;
        if let Some(family) = family {
            self.tokens.revoke(Revoked::Family(family));
        }
        Ok(())
    }

    /// Only members have such tokens, and only they themselves make and remove them.
    async fn owner(&self, caller: &Caller) -> Result<PersonId> {
        caller.require(Permissions::MANAGE_ACCESS_TOKENS)?;
        if caller.person_kind != PersonKind::Member || self.tokens.is_acting(caller).await? {
            return Err(Error::forbidden("only the person can manage personal access tokens"));
        }
        caller.person()
    }
}
