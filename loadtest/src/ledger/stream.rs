//! What all subscribers of one channel saw, event by event.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// What was seen of one channel: the event at each offset from `first` on; 0 = nobody saw it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The channel.
    pub channel: String,
    /// Offset of the first of `events`.
    pub first: u64,
    /// Identities of the events.
    pub events: Vec<u64>,
}

#[cfg(test)]
impl Seen {
    /// The event that was seen at an offset.
    pub fn at(&self, offset: u64) -> Option<u64> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.events.get(index).copied().filter(|event| *event != 0)
    }

    /// The largest offset that anybody saw.
    pub fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - u64::from(!self.events.is_empty())
    }
}

/// The common log of one channel's subscribers.
#[derive(Debug)]
pub struct StreamLog {
    seen: Mutex<Seen>,
    target: AtomicU64,
}

impl StreamLog {
    /// An empty one.
    pub fn new(channel: &str) -> Self {
        let seen = Seen { channel: channel.to_owned(), first: 0, events: Vec::new() };
        Self { seen: Mutex::new(seen), target: AtomicU64::new(0) }
    }

    /// The offset that every subscriber is expected to reach; 0 = none.
    pub fn target(&self) -> u64 {
        self.target.load(Ordering::Relaxed)
    }

    /// Sets the offset that every subscriber is expected to reach.
    pub fn expect(&self, offset: u64) {
        self.target.store(offset, Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody saw `event` at `offset`; true for the first. An error names the event that others saw there.
    pub fn saw(&self, offset: u64, event: u64) -> Result<bool, u64> {
        let mut seen = self.seen();
        if seen.events.is_empty() {
            seen.first = offset;
        }
        if offset < seen.first {
            let missing = usize::try_from(seen.first - offset).unwrap_or(0);
            seen.events.splice(0..0, std::iter::repeat_n(0, missing));
            seen.first = offset;
        }
        let index = usize::try_from(offset - seen.first).unwrap_or(usize::MAX);
        if index >= seen.events.len() {
            seen.events.resize(index + 1, 0);
        }
        match seen.events[index] {
            0 => {
                seen.events[index] = event;
                Ok(true)
            }
            known if known == event => Ok(false),
            other => Err(other),
        }
    }

    /// A copy.
    pub fn snapshot(&self) -> Seen {
        self.seen().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_sees_an_event_decides_and_others_must_agree() {
        let log = StreamLog::new("a");
        assert_eq!(log.saw(10, 7), Ok(true));
        assert_eq!(log.saw(12, 9), Ok(true));
        assert_eq!(log.saw(8, 5), Ok(true));
        assert_eq!(log.saw(12, 9), Ok(false));
        assert_eq!(log.saw(12, 8), Err(9));
        let seen = log.snapshot();
        assert_eq!((seen.at(8), seen.at(9), seen.at(10), seen.at(12)), (Some(5), None, Some(7), Some(9)));
        assert_eq!((seen.at(7), seen.at(13), seen.last()), (None, None, 12));
    }
}
