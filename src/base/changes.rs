//! What changed and waits to be dealt with: each key once, however often it changed meanwhile, the oldest change first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Keys that one task takes and anybody adds to, each with what about it has changed. Cheap to clone.
#[derive(Debug)]
pub struct Changes<K, D = ()>(Arc<Inner<K, D>>);

#[derive(Debug)]
struct Inner<K, D> {
    waiting: Mutex<Waiting<K, D>>,
    filled: Notify,
}

#[derive(Debug)]
struct Waiting<K, D> {
    details: HashMap<K, HashSet<D>>,
    /// The same keys in the order of their first change.
    order: VecDeque<K>,
}

/// No round's pauses are longer together, whatever the work has cost: a machine that stood still for a moment is no busy
/// one.
const LONGEST: Duration = Duration::from_secs(3);

/// How [`Changes::follow`] works.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Keys of a round at most.
    pub most: usize,
    /// Keys that are dealt with at once, one at least; a round of more is spread over the pause, so that it holds nobody
    /// else up.
    pub at_once: usize,
    /// The least time between the beginnings of two rounds.
    pub pause: Duration,
    /// Work takes at most one part in so many of the time: what costs more happens less often.
    pub share: u32,
}

impl<K, D> Clone for Changes<K, D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, D> Default for Changes<K, D> {
    fn default() -> Self {
        let waiting = Waiting { details: HashMap::new(), order: VecDeque::new() };
        Self(Arc::new(Inner { waiting: Mutex::new(waiting), filled: Notify::new() }))
    }
}

impl<K: Clone + Eq + Hash, D: Eq + Hash> Changes<K, D> {
    /// Notes that `detail` of `key` has changed. Never waits.
    pub fn note(&self, key: K, detail: D) {
        let mut waiting = self.waiting();
        let Waiting { details, order } = &mut *waiting;
        if order.is_empty() {
            self.0.filled.notify_one();
        }
        let of_key = details.entry(key).or_insert_with_key(|key| {
            order.push_back(key.clone());
            HashSet::new()
        });
        of_key.insert(detail);
    }

    /// Waits until there is something to be dealt with.
    async fn some(&self) {
        while self.waiting().order.is_empty() {
            self.0.filled.notified().await;
        }
    }

    fn take_now(&self, most: usize) -> Vec<(K, HashSet<D>)> {
        let mut waiting = self.waiting();
        let Waiting { details, order } = &mut *waiting;
        let keys = order.drain(..most.min(order.len()));
        keys.filter_map(|key| details.remove_entry(&key)).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<K, D>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deals with what changes, for ever: the first change after a quiet time at once, then no faster than `pace`.
    pub async fn follow<F: Future<Output = ()>>(
        &self,
        pace: Pace,
        mut work: impl FnMut(Vec<(K, HashSet<D>)>) -> F,
    ) {
        let at_once = pace.at_once.max(1);
        loop {
            self.some().await;
            let round = self.waiting().order.len().min(pace.most);
            let parts = u32::try_from(round.div_ceil(at_once)).unwrap_or(u32::MAX).max(1);
            // Taken part by part: what changes once more before its turn is dealt with once.
            for _ in 0..parts {
                let began = Instant::now();
                work(self.take_now(at_once)).await;
                let rest = (began.elapsed() * pace.share).min(LONGEST / parts).max(pace.pause / parts);
                tokio::time::sleep(rest).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<D>(taken: &[(i32, HashSet<D>)]) -> Vec<i32> {
        taken.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn a_key_waits_once_however_often_it_changes_with_all_that_did() {
        let changes = Changes::default();
        for (key, detail) in [(1, 'a'), (2, 'a'), (1, 'b'), (1, 'a')] {
            changes.note(key, detail);
        }
        assert_eq!(changes.take_now(10), [(1, HashSet::from(['a', 'b'])), (2, HashSet::from(['a']))]);
        changes.note(2, 'c');
        assert_eq!(changes.take_now(10), [(2, HashSet::from(['c']))]);
    }

    #[test]
    fn no_more_are_taken_than_asked_for_and_the_rest_comes_first_then() {
        let changes = Changes::default();
        (0..5).for_each(|key| changes.note(key, ()));
        assert_eq!(keys(&changes.take_now(3)), [0, 1, 2]);
        // Whatever changes all the time holds nobody else up.
        changes.note(0, ());
        assert_eq!(keys(&changes.take_now(2)), [3, 4]);
        assert_eq!(keys(&changes.take_now(2)), [0]);
    }

    #[tokio::test]
    async fn changes_within_a_pause_wait_for_its_end() {
        let (changes, rounds) = (Changes::default(), Arc::new(Mutex::new(Vec::new())));
        let pace = Pace { most: 10, at_once: 10, pause: Duration::from_hours(1), share: 20 };
        let (follower, seen) = (changes.clone(), Arc::clone(&rounds));
        let following = follower.follow(pace, |taken| {
            seen.lock().unwrap().push(keys(&taken));
            std::future::ready(())
        });
        let telling = async {
            changes.note(0, ());
            while rounds.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            (1..4).for_each(|key| changes.note(key, ()));
            tokio::task::yield_now().await;
        };
        tokio::select! { () = following => {}, () = telling => {} }
        assert_eq!(*rounds.lock().unwrap(), [[0]]);
        assert_eq!(changes.take_now(10).len(), 3);
    }

    #[tokio::test]
    async fn a_round_of_many_is_spread_over_the_pause() {
        let (changes, parts) = (Changes::default(), Arc::new(Mutex::new(Vec::new())));
        (0..10).for_each(|key| changes.note(key, ()));
        let pace = Pace { most: 8, at_once: 2, pause: Duration::from_millis(80), share: 0 };
        let (began, seen) = (Instant::now(), Arc::clone(&parts));
        let following = changes.follow(pace, |taken| {
            seen.lock().unwrap().push((began.elapsed(), keys(&taken)));
            std::future::ready(())
        });
        let whole = async {
            while parts.lock().unwrap().len() < 5 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = following => {}, () = whole => {} }
        for (place, (at, taken)) in (0_i32..).zip(&*parts.lock().unwrap()) {
            assert!(*at >= Duration::from_millis(20) * place.unsigned_abs(), "part {place} after {at:?}");
            assert_eq!(*taken, [2 * place, 2 * place + 1]);
        }
    }
}
