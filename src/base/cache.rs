//! What the database says, remembered for a few seconds, in bounded memory.

use std::{
    future::Future,
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use dashmap::DashMap;

use super::clock::{Clock, Timestamp};

/// A cache of rows by key: entries are forgotten after `ttl`, at the latest, or when told.
#[derive(Debug)]
pub struct Cache<K: Eq + Hash, V> {
    entries: DashMap<K, (V, Timestamp)>,
    ttl: Duration,
    capacity: usize,
    clock: Clock,
    /// Grows with each [`Cache::forget`], so that a value read before it is not put in after it.
    changes: AtomicU64,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// Keeps up to `capacity` entries for `ttl`.
    pub fn new(capacity: usize, ttl: Duration, clock: Clock) -> Self {
        Self { entries: DashMap::new(), ttl, capacity, clock, changes: AtomicU64::new(0) }
    }

    /// The remembered value, or what `load` brings (which is then remembered).
    pub async fn get_or_load<E>(&self, key: K, load: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let before = self.mark();
        let value = load.await?;
        self.put(key, value.clone(), before);
        Ok(value)
    }

    /// The remembered value.
    pub fn get(&self, key: &K) -> Option<V> {
        let entry = self.entries.get(key)?;
        let (value, read_at) = entry.value();
        (self.clock.now().since(*read_at) < self.ttl).then(|| value.clone())
    }

    /// Take this before reading what [`Cache::put`] is to remember.
    pub fn mark(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Remembers `value`, unless something was forgotten since `mark`: it could be older than that change.
    pub fn put(&self, key: K, value: V, mark: u64) {
        let now = self.clock.now();
        if self.entries.len() >= self.capacity {
            self.entries.retain(|_, (_, read_at)| now.since(*read_at) < self.ttl);
            if self.entries.len() >= self.capacity {
                self.entries.clear();
            }
        }
        self.entries.insert(key.clone(), (value, now));
        if self.mark() != mark {
            self.entries.remove(&key);
        }
    }

    /// Forgets one key: its row has changed.
    pub fn forget(&self, key: &K) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.entries.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(capacity: usize) -> (Cache<i64, i64>, Clock) {
        let clock = Clock::manual(Timestamp(0));
        (Cache::new(capacity, Duration::from_secs(5), clock.clone()), clock)
    }

    #[test]
    fn forgets_in_time_and_when_told() {
        let (cache, clock) = cache(10);
        cache.put(1, 10, cache.mark());
        assert_eq!(cache.get(&1), Some(10));
        clock.advance(Duration::from_secs(5));
        assert_eq!(cache.get(&1), None);
        cache.put(1, 11, cache.mark());
        cache.forget(&1);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn does_not_remember_what_was_read_before_a_change() {
        let (cache, _) = cache(10);
        let mark = cache.mark();
        cache.forget(&1);
        cache.put(1, 10, mark);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn stays_within_its_capacity() {
        let (cache, _) = cache(100);
        for key in 0..1_000 {
            cache.put(key, key, cache.mark());
        }
        assert!(cache.entries.len() <= 100);
    }
}
