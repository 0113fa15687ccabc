//! What changed and waits to be dealt with: each key once, however often it changed meanwhile, the oldest change first.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// A set that one task empties and anybody fills. Cheap to clone.
#[derive(Debug)]
pub struct Changes<K>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    waiting: Mutex<Waiting<K>>,
    filled: Notify,
}

/// The same keys twice: to be found, and in the order of their first change.
#[derive(Debug)]
struct Waiting<K> {
    keys: HashSet<K>,
    order: VecDeque<K>,
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self { keys: HashSet::new(), order: VecDeque::new() }
    }
}

/// No pause is longer, whatever the work has cost: a machine that stood still for a moment is no busy one.
const LONGEST: Duration = Duration::from_secs(3);

/// How [`Changes::follow`] works.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Keys of a round.
    pub most: usize,
    /// Keys that are dealt with at once; a round of more is spread over the pause, so that it holds nobody else up.
    pub at_once: usize,
    /// The least time between the beginnings of two rounds.
    pub pause: Duration,
    /// Work takes at most one part in so many of the time: what costs more happens less often.
    pub share: u32,
}

impl<K> Clone for Changes<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self(Arc::new(Inner { waiting: Mutex::default(), filled: Notify::new() }))
    }
}

impl<K: Clone + Eq + Hash> Changes<K> {
    /// Notes that `key` has changed. Never waits.
    pub fn note(&self, key: K) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.order.is_empty();
        if waiting.keys.insert(key.clone()) {
            waiting.order.push_back(key);
        }
        if first {
            self.0.filled.notify_one();
        }
    }

    /// Up to `most` keys; waits for the first.
    pub async fn take(&self, most: usize) -> Vec<K> {
        loop {
            let taken = self.take_now(most);
            if !taken.is_empty() {
                return taken;
            }
            self.0.filled.notified().await;
        }
    }

    fn take_now(&self, most: usize) -> Vec<K> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { keys, order } = &mut *waiting;
        let taken: Vec<K> = order.drain(..most.min(order.len())).collect();
        for key in &taken {
            keys.remove(key);
        }
        taken
    }

    /// Deals with what changes, for ever: the first change after a quiet time at once, then no faster than `pace`.
    pub async fn follow<F: Future<Output = ()>>(&self, pace: Pace, mut work: impl FnMut(Vec<K>) -> F) {
        loop {
            let round = self.take(pace.most).await;
            let parts = round.chunks(pace.at_once);
            let pause = pace.pause / u32::try_from(parts.len()).unwrap_or(u32::MAX);
            for part in parts {
                let began = Instant::now();
                work(part.to_vec()).await;
                tokio::time::sleep((began.elapsed() * pace.share).min(LONGEST).max(pause)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_waits_once_however_often_it_changes() {
        let changes = Changes::default();
        for key in [1, 2, 1, 1] {
            changes.note(key);
        }
        assert_eq!(changes.take(10).await, [1, 2]);
        changes.note(2);
        assert_eq!(changes.take(10).await, [2]);
    }

    #[tokio::test]
    async fn no_more_are_taken_than_asked_for_and_the_rest_comes_first_then() {
        let changes = Changes::default();
        (0..5).for_each(|key| changes.note(key));
        assert_eq!(changes.take(3).await, [0, 1, 2]);
        // Whatever changes all the time holds nobody else up.
        changes.note(0);
        assert_eq!(changes.take(2).await, [3, 4]);
        assert_eq!(changes.take(2).await, [0]);
    }

    #[tokio::test]
    async fn changes_within_a_pause_wait_for_its_end() {
        let (changes, rounds) = (Changes::default(), Arc::new(Mutex::new(Vec::new())));
        let pace = Pace { most: 10, at_once: 10, pause: Duration::from_hours(1), share: 20 };
        let (follower, seen) = (changes.clone(), Arc::clone(&rounds));
        let following = follower.follow(pace, |keys: Vec<i32>| {
            seen.lock().unwrap().push(keys);
            std::future::ready(())
        });
        let telling = async {
            changes.note(0);
            while rounds.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            (1..4).for_each(|key| changes.note(key));
            tokio::task::yield_now().await;
        };
        tokio::select! { () = following => {}, () = telling => {} }
        assert_eq!(*rounds.lock().unwrap(), [[0]]);
        assert_eq!(changes.take_now(10).len(), 3);
    }

    #[tokio::test]
    async fn a_round_of_many_is_spread_over_the_pause() {
        let (changes, parts) = (Changes::default(), Arc::new(Mutex::new(Vec::new())));
        (0..10).for_each(|key| changes.note(key));
        let pace = Pace { most: 8, at_once: 2, pause: Duration::from_millis(80), share: 0 };
        let (began, seen) = (Instant::now(), Arc::clone(&parts));
        let following = changes.follow(pace, |keys: Vec<i32>| {
            seen.lock().unwrap().push((began.elapsed(), keys.len()));
            std::future::ready(())
        });
        let whole = async {
            while parts.lock().unwrap().len() < 5 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = following => {}, () = whole => {} }
        for (place, (at, keys)) in (0..).zip(&*parts.lock().unwrap()) {
            assert!(*at >= Duration::from_millis(20) * place, "part {place} after {at:?}");
            assert_eq!(*keys, 2);
        }
    }
}
