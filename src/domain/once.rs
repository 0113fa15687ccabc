//! Sending twice is sending once: the pure part of `Idempotency-Key`.
//!
//! The HTTP dispatcher makes one [`Once`] per request and hands it to the use case. A use case that changes something
//! asks [`Once::replayed`] first; without an earlier outcome it does its work and writes the outcome (numbers and
//! identifiers only, never content or tokens) in the same commit, by `store::idempotency::row`. The reply is rendered
//! from the outcome in both cases, so that tokens in it are made anew. What fails is not remembered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::de::DeserializeOwned;

use super::{
    error::{Error, Result},
    ids::OrgId,
};

/// Longest key that is taken, in bytes.
pub const MAX_KEY: usize = 255;

/// Where a key counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The caller's organisation.
    pub organization: OrgId,
    /// `Caller::label`.
    pub caller: String,
    /// The operation's id.
    pub operation: &'static str,
    /// What the client sent.
    pub key: String,
}

impl Scope {
    /// A scope with a checked key: 1 to [`MAX_KEY`] visible ASCII characters.
    pub fn new(organization: OrgId, caller: String, operation: &'static str, key: &str) -> Result<Self> {
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::invalid(format!(
                "header Idempotency-Key: needs 1 to {MAX_KEY} visible ASCII characters"
            )));
        }
        Ok(Self { organization, caller, operation, key: key.to_owned() })
    }
}

/// One request's claim to be carried out once. Cheap to clone; clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Once(Option<Arc<Claim>>);

#[derive(Debug)]
struct Claim {
    scope: Scope,
    hash: [u8; 32],
    replayed: Option<String>,
    recorded: AtomicBool,
}

impl Once {
    /// No key was sent (or the call did not come by HTTP): every use is a first use and records nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// The first use of a key; `hash` is that of the request.
    pub fn first(scope: Scope, hash: [u8; 32]) -> Self {
        Self(Some(Arc::new(Claim { scope, hash, replayed: None, recorded: AtomicBool::new(false) })))
    }

    /// A repeated use of a key, with the outcome that the first one wrote.
    pub fn again(scope: Scope, hash: [u8; 32], outcome: String) -> Self {
        let recorded = AtomicBool::new(true);
        Self(Some(Arc::new(Claim { scope, hash, replayed: Some(outcome), recorded })))
    }

    /// The outcome of the first use: skip the effect and render the reply from it.
    pub fn replayed<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let Some(text) = self.0.as_ref().and_then(|claim| claim.replayed.as_deref()) else { return Ok(None) };
        // Running the effect again would break the promise, so an unreadable outcome is an error.
        serde_json::from_str(text).map(Some).map_err(|error| {
            Error::constraint("this Idempotency-Key was used before; its result can no longer be repeated")
                .because(error)
        })
    }

    /// Where the key counts and the request's hash, for the row that records the outcome; `None` without a key.
    /// Asking marks the outcome as recorded: call it only to write the row.
    pub fn record(&self) -> Option<(&Scope, &[u8; 32])> {
        let claim = self.0.as_deref()?;
        claim.recorded.store(true, Ordering::Relaxed);
        Some((&claim.scope, &claim.hash))
    }

    /// True when there is nothing to record or it was recorded: what the dispatcher asserts after a success.
    pub fn is_settled(&self) -> bool {
        self.0.as_ref().is_none_or(|claim| claim.recorded.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new(OrgId(1), "7".into(), "create_thing", "k-1").unwrap()
    }

    #[test]
    fn a_key_is_short_and_visible() {
        for bad in ["", " ", "a b", "ü", &"x".repeat(256)] {
            assert!(Scope::new(OrgId(1), "7".into(), "x", bad).is_err(), "{bad:?}");
        }
        assert!(Scope::new(OrgId(1), "7".into(), "x", &"x".repeat(255)).is_ok());
    }

    #[test]
    fn the_first_use_replays_nothing_and_must_record() {
        let once = Once::first(scope(), [1; 32]);
        assert_eq!(once.replayed::<i64>().unwrap(), None);
        assert!(!once.is_settled());
        assert_eq!(once.record().unwrap().0, &scope());
        assert!(once.is_settled());
        assert!(Once::none().is_settled() && Once::none().record().is_none());
    }

    #[test]
    fn a_repeated_use_gives_the_outcome_or_an_error_but_never_a_second_effect() {
        assert_eq!(Once::again(scope(), [1; 32], "42".into()).replayed::<i64>().unwrap(), Some(42));
        assert!(Once::again(scope(), [1; 32], "\"x\"".into()).replayed::<i64>().is_err());
        assert!(Once::again(scope(), [1; 32], "42".into()).is_settled());
    }
}
