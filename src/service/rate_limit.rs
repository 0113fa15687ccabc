//! Limits of attempts (sign-in, links) per account and per address, in memory of a fixed size.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash},
    net::IpAddr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::{
    base::clock::{Clock, Timestamp},
    domain::{
        codes::Code,
        error::{Error, Result},
    },
};

/// Counters per limit. Two keys may share one; with a secret hash nobody can aim for that.
const SLOTS: usize = 1 << 16;

/// "So many per window", smoothly refilled: each slot holds the moment up to which its attempts are paid for.
#[derive(Debug)]
pub struct Limit {
    slots: Box<[AtomicI64]>,
    hasher: RandomState,
    clock: Clock,
    /// What one attempt costs, µs.
    cost: i64,
    /// How far ahead of now a slot may run, µs.
    window: i64,
}

impl Limit {
    /// `attempts` at once, and again after `window`.
    pub fn new(attempts: u32, window: Duration, clock: Clock) -> Self {
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX / 4).max(1);
        Self {
            slots: (0..SLOTS).map(|_| AtomicI64::new(0)).collect(),
            hasher: RandomState::new(),
            clock,
            cost: (window / i64::from(attempts.max(1))).max(1),
            window,
        }
    }

    /// Counts an attempt; refuses it, uncounted, where there were too many.
    pub fn attempt(&self, key: impl Hash) -> Result<()> {
        let now = self.clock.now().0;
        let (cost, window) = (self.cost, self.window);
        let counted = self.slot(&key).fetch_update(Ordering::AcqRel, Ordering::Acquire, |paid_until| {
            let next = paid_until.max(now) + cost;
            (next <= now + window).then_some(next)
        });
        let Err(paid_until) = counted else { return Ok(()) };
        let free_at = Timestamp(paid_until + cost - window);
        Err(Error::new(Code::TooManyRequests, "too many attempts, wait a little")
            .retry_after(free_at.since(Timestamp(now)).max(Duration::from_secs(1))))
    }

    /// Gives an attempt back: it was a good one.
    pub fn refund(&self, key: impl Hash) {
        self.slot(&key).fetch_sub(self.cost, Ordering::AcqRel);
    }

    fn slot(&self, key: &impl Hash) -> &AtomicI64 {
        let at = usize::try_from(self.hasher.hash_one(key) % (SLOTS as u64)).unwrap_or(0);
        &self.slots[at]
    }
}

/// What counts as one address: a whole /64 of IPv6, since anybody has that many.
pub fn address_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> (Limit, Clock) {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000_000));
        (Limit::new(10, Duration::from_secs(300), clock.clone()), clock)
    }

    #[test]
    fn refuses_beyond_and_says_when() {
        let (limit, clock) = limit();
        for _ in 0..10 {
            limit.attempt("ann").unwrap();
        }
        let error = limit.attempt("ann").unwrap_err();
        assert_eq!((error.code(), error.delay()), (Code::TooManyRequests, Some(Duration::from_secs(30))));
        limit.attempt("bob").unwrap();
        clock.advance(Duration::from_secs(30));
        limit.attempt("ann").unwrap();
        assert!(limit.attempt("ann").is_err());
        clock.advance(Duration::from_secs(300));
        assert_eq!((0..20).filter(|_| limit.attempt("ann").is_ok()).count(), 10);
    }

    #[test]
    fn good_attempts_do_not_count() {
        let (limit, _) = limit();
        for _ in 0..100 {
            limit.attempt("ann").unwrap();
            limit.refund("ann");
        }
    }

    #[test]
    fn addresses() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
