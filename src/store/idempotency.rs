//! Outcomes under `Idempotency-Key`s. The row is written by the use case, in the commit that makes the effect; see
//! [`domain::once`](crate::domain::once).

use super::{Db, Result, Stmt, sql, statements};
use crate::{
    base::clock::Timestamp,
    domain::once::{Once, Scope},
};

statements! {
    /// Two nodes may race: the second insert fails by the primary key, and its whole commit with it.
    RECORD = "insert into idempotency \
        (organization_id, caller, operation, idempotency_key, request_hash, outcome, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7)";
    FIND = "select request_hash, outcome from idempotency \
        where organization_id = $1 and caller = $2 and operation = $3 and idempotency_key = $4 \
        and created_at >= $5";
    FORGET = "delete from idempotency where organization_id = $1 and caller = $2 and operation = $3 \
        and idempotency_key = $4 and created_at < $5";
    PURGE = "delete from idempotency where created_at < $1";
}

/// The statements that record an outcome, to go into the commit that makes the effect; none without a key. `outcome`
/// is small: numbers and identifiers that the reply is rendered from, never content, tokens or links. What stands there
/// from before `keep_since` counts no more and is removed first.
pub fn rows<T: serde::Serialize>(
    once: &Once,
    outcome: &T,
    now: Timestamp,
    keep_since: Timestamp,
) -> Vec<Stmt> {
    let Some((scope, hash)) = once.record() else { return Vec::new() };
    // Outcomes are plain structs with string keys: serialisation cannot fail.
    let outcome = serde_json::to_string(outcome).unwrap_or_default();
    vec![in_scope(FORGET, scope).bind(keep_since), in_scope(RECORD, scope).bind(hash).bind(outcome).bind(now)]
}

/// Request hash and outcome of the first use since `keep_since`.
pub async fn find(db: &Db, scope: &Scope, keep_since: Timestamp) -> Result<Option<(Vec<u8>, String)>> {
    in_scope(FIND, scope).bind(keep_since).optional(db).await
}

/// Forgets outcomes from before that moment; gives their number.
pub async fn purge(db: &Db, before: Timestamp) -> Result<u64> {
    sql(PURGE).bind(before).execute(db).await
}

fn in_scope(text: &'static str, scope: &Scope) -> Stmt {
    sql(text)
        .bind(scope.organization)
        .bind(scope.caller.clone())
        .bind(scope.operation)
        .bind(scope.key.clone())
}
