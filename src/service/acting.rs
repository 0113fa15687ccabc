//! Acting for others: impersonation, and the tokens that stand in lists of people.
//!
//! Whoever holds `impersonate` gets tokens that act as a person, with what both may do; everybody else gets public
//! tokens, good for `contact_tokens` only. Each issue of acting tokens is a row of the audit log with both names.

use serde_json::json;

use super::tokens::Tokens;
use crate::{
    base::clock::Clock,
    domain::{
        caller::Caller,
        error::{Error, Result},
        ids::PersonId,
        permission::Permissions,
    },
    store::{
        Db,
        ids::Ids,
        people::{self, PersonRow},
        tokens::{self as store, AuditRow},
    },
};

/// Issues tokens that act for, or name, others.
#[derive(Clone)]
pub struct Acting {
    db: Db,
    ids: Ids,
    clock: Clock,
    tokens: Tokens,
}

impl std::fmt::Debug for Acting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acting")
    }
}

impl Acting {
    /// Wires it.
    pub fn new(db: Db, ids: Ids, clock: Clock, tokens: Tokens) -> Self {
        Self { db, ids, clock, tokens }
    }

    /// A token that acts as somebody of the caller's organisation; `add` and `remove` change what it may do, never
    /// beyond what both may do.
    pub async fn impersonate(
        &self,
        caller: &Caller,
        id: PersonId,
        add: Permissions,
        remove: Permissions,
    ) -> Result<String> {
        caller.require(Permissions::IMPERSONATE)?;
        let person = people::in_organization(&self.db, caller.organization, id).await?;
        let person =
            person.filter(|person| person.kind == "member").ok_or_else(|| Error::not_found("user"))?;
        let token = self.tokens.mint_acting(caller, &person, add, remove).await?;
        self.audit(caller, "user.impersonated", &[&person]).await?;
        Ok(token)
    }

    /// The `token` of each entry of a list of users: acting where the caller holds `impersonate` (and the person is
    /// active), public otherwise. The audit log gets one row for the list.
    pub async fn entry_tokens(&self, caller: &Caller, people: &[PersonRow]) -> Result<Vec<String>> {
        if !caller.permissions.contains(Permissions::IMPERSONATE) {
            return self.public_tokens(caller, people).await;
        }
        let mut tokens = Vec::with_capacity(people.len());
        for person in people {
            tokens.push(self.tokens.mint_acting(caller, person, Permissions::NONE, Permissions::NONE).await?);
        }
        if !people.is_empty() {
            let people: Vec<_> = people.iter().collect();
            self.audit(caller, "user.tokens_issued", &people).await?;
        }
        Ok(tokens)
    }

    /// Public tokens, bound to the caller.
    pub async fn public_tokens(&self, caller: &Caller, people: &[PersonRow]) -> Result<Vec<String>> {
        let mut tokens = Vec::with_capacity(people.len());
        for person in people {
            tokens.push(self.tokens.mint_public(caller, person).await?);
        }
        Ok(tokens)
    }

    async fn audit(&self, caller: &Caller, action: &'static str, people: &[&PersonRow]) -> Result<()> {
        let acted_for: Vec<_> =
            people.iter().map(|person| json!({ "id": person.id, "name": person.name })).collect();
        let subject = match people {
            [one] => format!("user:{}", one.id),
            _ => "users".to_owned(),
        };
        let row = AuditRow {
            id: self.ids.next()?,
            organization: caller.organization,
            time: self.clock.now(),
            actor: caller.acting.or(caller.person),
            acting_for: match people {
                [one] => Some(one.id),
                _ => None,
            },
            action,
            subject,
            detail: json!({ "actor": caller.name, "users": acted_for }).to_string(),
        };
        store::insert_audit(&row).execute(&self.db).await?;
        Ok(())
    }
}
