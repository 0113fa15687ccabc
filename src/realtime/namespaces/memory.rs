//! What is kept of one channel.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{base::clock::Timestamp, config::Namespace, realtime::protocol::Publication};

/// How long a channel that keeps nothing goes on counting.
const AFTERLIFE: Duration = Duration::from_hours(1);

/// The newest publications of a channel, numbered under an epoch.
pub(super) struct Memory {
    epoch: Arc<str>,
    head: u64,
    kept: VecDeque<(Timestamp, Publication)>,
    /// Data of the last publication, kept or not: what differences are made from.
    last: Option<Bytes>,
    touched: Timestamp,
}

impl Memory {
    pub(super) fn new(epoch: Arc<str>, now: Timestamp) -> Self {
        Self { epoch, head: 0, kept: VecDeque::new(), last: None, touched: now }
    }

    pub(super) fn epoch(&self) -> Arc<str> {
        self.epoch.clone()
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Offset of the oldest publication that is kept.
    pub(super) fn first_offset(&self) -> u64 {
        self.kept.front().map_or(self.head + 1, |(_, publication)| publication.offset)
    }

    /// Numbers and keeps a publication.
    pub(super) fn append(&mut self, mut publication: Publication, now: Timestamp) -> u64 {
        self.head += 1;
        publication.offset = self.head;
        self.kept.push_back((now, publication));
        self.touched = now;
        self.head
    }

    /// Notes the data of the newest publication and returns that of the one before.
    pub(super) fn replace_last(&mut self, data: Bytes) -> Option<Bytes> {
        self.last.replace(data)
    }

    /// Drops what is too old or too much.
    pub(super) fn prune(&mut self, namespace: &Namespace, now: Timestamp) {
        let oldest = now.minus(namespace.history_seconds);
        while let Some((at, _)) = self.kept.front() {
            if self.kept.len() <= namespace.history_size && *at >= oldest {
                break;
            }
            self.kept.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    /// From old to new, above an offset.
    pub(super) fn after(&self, offset: u64) -> impl Iterator<Item = &Publication> {
        self.kept.iter().map(|(_, publication)| publication).filter(move |one| one.offset > offset)
    }

    /// From new to old, below an offset.
    pub(super) fn before(&self, offset: u64) -> impl Iterator<Item = &Publication> {
        self.kept.iter().rev().map(|(_, publication)| publication).filter(move |one| one.offset < offset)
    }

    /// Keeps nothing, and has not been used for long.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.kept.is_empty() && now.since(self.touched) > AFTERLIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_time_bound_what_is_kept() {
        let namespace =
            Namespace { history_size: 3, history_seconds: Duration::from_secs(10), ..Namespace::default() };
        let at = Timestamp::from_unix_seconds;
        let mut memory = Memory::new("e".into(), at(0));
        assert_eq!((memory.head(), memory.first_offset()), (0, 1));
        for second in 1..=5 {
            memory.append(Publication::default(), at(second));
            memory.prune(&namespace, at(second));
        }
        let offsets = |found: Vec<&Publication>| found.iter().map(|one| one.offset).collect::<Vec<_>>();
        assert_eq!(offsets(memory.after(0).collect()), [3, 4, 5]);
        assert_eq!(offsets(memory.before(5).collect()), [4, 3]);
        memory.prune(&namespace, at(14));
        assert_eq!((memory.first_offset(), memory.head()), (4, 5));
        memory.prune(&namespace, at(100));
        assert_eq!(memory.first_offset(), 6);
        assert!(!memory.is_forgotten(at(100)) && memory.is_forgotten(at(10_000)));
    }
}
