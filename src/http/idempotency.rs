//! `Idempotency-Key`: the dispatcher's half. Looks a key up before the operation runs; twins that arrive at once wait
//! for the first. What is remembered is written by the use case, in the commit that makes the effect (see
//! [`domain::once`](crate::domain::once)).

use std::{fmt, sync::Arc};

use dashmap::DashMap;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::cx::Request;
use crate::domain::{
    caller::Caller,
    error::{Error, Result},
    once::{Once, Scope},
};

/// What was remembered under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Hash of the first request.
    pub hash: [u8; 32],
    /// Its outcome.
    pub outcome: String,
}

/// Where outcomes are looked up. Implemented over `store::idempotency` in `app.rs`.
pub trait Outcomes: Send + Sync + 'static {
    /// What was remembered in that scope.
    fn find<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Option<Remembered>>>;
}

/// Requests with a key that are in work on this node.
#[derive(Debug, Default)]
pub struct Twins(DashMap<Scope, Arc<Mutex<()>>>);

/// Holds twins back until it is dropped.
pub struct Turn<'a> {
    twins: &'a Twins,
    scope: Scope,
    _lock: OwnedMutexGuard<()>,
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.scope).finish()
    }
}

impl Twins {
    async fn turn(&self, scope: &Scope) -> Turn<'_> {
        // The clone is made under the shard's lock, so that `Turn::drop` sees every twin that waits.
        let lock = self.0.entry(scope.clone()).or_default().clone();
        Turn { twins: self, scope: scope.clone(), _lock: lock.lock_owned().await }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The map's reference and the guard's own: nobody waits.
        self.twins.0.remove_if(&self.scope, |_, lock| Arc::strong_count(lock) <= 2);
    }
}

/// Claims `key` for a request; hold the turn until the reply is rendered.
pub(super) async fn claim<'t>(
    twins: &'t Twins,
    outcomes: &dyn Outcomes,
    key: &str,
    caller: &Caller,
    request: &Request,
) -> Result<(Once, Turn<'t>)> {
    let scope = Scope::new(caller.organization, caller.label(), request.op.id, key)?;
    let hash = hash(caller, request);
    let turn = twins.turn(&scope).await;
    let once = match outcomes.find(&scope).await? {
        None => Once::first(scope, hash),
        Some(first) if first.hash == hash => Once::again(scope, hash, first.outcome),
        Some(_) => {
            return Err(Error::constraint("this Idempotency-Key was used before, with another request"));
        }
    };
    Ok((once, turn))
}

/// What makes a request the same: what it is about (path parameters, the token's session or workbox), query, body. Of an
/// upload only the former count, since its content is never held whole.
fn hash(caller: &Caller, request: &Request) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(&caller.session.map_or([0; 16], |session| session.0.into_bytes()));
    part(&caller.workbox.map_or(0, |workbox| workbox.0).to_le_bytes());
    part(&(request.segments.len() as u64).to_le_bytes());
    for segment in &request.segments {
        part(segment.as_bytes());
    }
    part(request.query.as_bytes());
    part(&request.body);
    hash.finalize().into()
}
