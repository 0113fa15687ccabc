//! Ends that were ordered while somebody's right to be here was being checked: the check may have read what was true
//! before, and the order could not mean a connection without an identity.

use std::{collections::VecDeque, sync::Arc};

use super::{disconnect::Disconnect, hub::Selector};

/// Most orders that are remembered. Whoever waited for longer must come back and be checked again.
const MOST: usize = 1_024;

/// The newest orders of a shard, for as long as a check that began before them is under way.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// Orders before the oldest one remembered.
    before: u64,
    recent: VecDeque<(Selector, Disconnect)>,
    /// One copy per check under way, and this one.
    checks: Arc<()>,
}

/// The moment at which a check began.
#[derive(Debug)]
pub(super) struct Mark {
    seen: u64,
    _check: Arc<()>,
}

impl Sweeps {
    /// Take this before the question is asked.
    pub fn mark(&self) -> Mark {
        Mark { seen: self.before + self.recent.len() as u64, _check: Arc::clone(&self.checks) }
    }

    /// Remembers an order if anybody is being checked.
    pub fn note(&mut self, selector: &Selector, end: Disconnect) {
        if Arc::strong_count(&self.checks) == 1 {
            self.before += self.recent.len() as u64 + 1;
            self.recent.clear();
            return;
        }
        self.recent.push_back((selector.clone(), end));
        if self.recent.len() > MOST {
            self.recent.pop_front();
            self.before += 1;
        }
    }

    /// What was ordered since; `None` when that is not known any more.
    pub fn since(&self, mark: &Mark) -> Option<impl Iterator<Item = &(Selector, Disconnect)>> {
        let skip = usize::try_from(mark.seen.checked_sub(self.before)?).ok()?;
        Some(self.recent.iter().skip(skip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ids::PersonId, realtime::disconnect::close};

    fn of(person: i64) -> Selector {
        Selector::Person(PersonId(person))
    }

    fn since(sweeps: &Sweeps, mark: &Mark) -> Option<Vec<i64>> {
        let number = |(selector, _): &(Selector, Disconnect)| match selector {
            Selector::Person(PersonId(number)) => *number,
            _ => -1,
        };
        sweeps.since(mark).map(|orders| orders.map(number).collect())
    }

    #[test]
    fn a_check_learns_what_was_ordered_while_it_ran() {
        let mut sweeps = Sweeps::default();
        sweeps.note(&of(1), close::REVOKED);
        assert!(sweeps.recent.is_empty(), "nobody is being checked");
        let first = sweeps.mark();
        sweeps.note(&of(2), close::REVOKED);
        let second = sweeps.mark();
        sweeps.note(&of(3), close::REVOKED);
        assert_eq!(since(&sweeps, &first), Some(vec![2, 3]));
        assert_eq!(since(&sweeps, &second), Some(vec![3]));
        drop((first, second));
        sweeps.note(&of(4), close::REVOKED);
        assert!(sweeps.recent.is_empty());
        assert_eq!(since(&sweeps, &sweeps.mark()), Some(vec![]));
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_known_to_be() {
        let mut sweeps = Sweeps::default();
        let slow = sweeps.mark();
        sweeps.note(&of(0), close::REVOKED);
        let fast = sweeps.mark();
        (1..=1_024).for_each(|person| sweeps.note(&of(person), close::REVOKED));
        assert_eq!(sweeps.recent.len(), MOST);
        assert_eq!(since(&sweeps, &slow), None);
        assert_eq!(since(&sweeps, &fast).unwrap().len(), MOST);
    }
}
