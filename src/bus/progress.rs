//! Where the relay stands: which events are read, on their way, acknowledged. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{base::clock::Timestamp, domain::ids::StreamId, store::relay::LogRow};

/// Order of each stream is kept by letting one event per stream out at a time; different streams do not wait for each
/// other. The position is the end of the prefix of the log that is acknowledged without a hole.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Everything up to here was read (or never was an event).
    read_through: i64,
    /// Read, not acknowledged.
    outstanding: BTreeMap<i64, Timestamp>,
    /// Streams with an event on its way (or ready to go), and what waits behind it.
    busy: HashMap<StreamId, VecDeque<LogRow>>,
    /// May go out now.
    ready: VecDeque<LogRow>,
}

impl Progress {
    pub fn starting_at(position: i64) -> Self {
        Self { read_through: position, ..Self::default() }
    }

    pub fn read_through(&self) -> i64 {
        self.read_through
    }

    /// How many events wait for their acknowledgement.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// When the oldest of them happened.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.outstanding.values().next().copied()
    }

    /// Up to where all is acknowledged.
    pub fn position(&self) -> i64 {
        self.outstanding.keys().next().map_or(self.read_through, |first| first - 1)
    }

    /// Takes the next event of the log.
    pub fn take(&mut self, row: LogRow) {
        self.read_through = row.seq;
        self.outstanding.insert(row.seq, row.time);
        match self.busy.get_mut(&row.stream_id) {
            Some(waiting) => waiting.push_back(row),
            None => {
                self.busy.insert(row.stream_id, VecDeque::new());
                self.ready.push_back(row);
            }
        }
    }

    /// The next event that may go out.
    pub fn next(&mut self) -> Option<LogRow> {
        self.ready.pop_front()
    }

    /// The event `seq` of `stream` is acknowledged.
    pub fn acknowledge(&mut self, stream: StreamId, seq: i64) {
        self.outstanding.remove(&seq);
        match self.busy.get_mut(&stream).and_then(VecDeque::pop_front) {
            Some(row) => self.ready.push_back(row),
            None => drop(self.busy.remove(&stream)),
        }
    }
}

/// Missing numbers in the log of PostgreSQL: numbers are handed out before commits, so a missing one may yet appear.
///
/// Whoever holds a missing number below a visible one got it before that one was committed, and was a transaction by
/// then (the journal locks the heads of its streams before it writes events). So once every transaction that had begun
/// when the hole was seen is over, what is still missing will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Holes below this number were seen.
    pub below: i64,
    /// A number above those of all transactions that had begun then.
    pub ceiling: i64,
}

impl Hole {
    /// True when a hole that ends before `seq` can be passed, `floor` being the oldest transaction that was open before
    /// the log was read again.
    pub fn is_final(self, seq: i64, floor: i64) -> bool {
        seq <= self.below && floor >= self.ceiling
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{Offset, OrgId};

    fn row(seq: i64, stream: i64) -> LogRow {
        LogRow {
            seq,
            stream_id: StreamId(stream),
            stream_offset: Offset(seq),
            id: Uuid::nil(),
            kind: "message.created".to_owned(),
            time: Timestamp(seq),
            data: "{}".to_owned(),
            trace: None,
            organization_id: OrgId(1),
            stream_kind: "workbox".to_owned(),
            channel: format!("workbox:{stream}"),
            epoch: "e".to_owned(),
        }
    }

    fn next(progress: &mut Progress) -> Option<i64> {
        progress.next().map(|row| row.seq)
    }

    #[test]
    fn one_per_stream_goes_out_and_the_position_waits_for_the_slowest() {
        let mut progress = Progress::starting_at(10);
        for (seq, stream) in [(11, 1), (12, 1), (13, 2), (15, 1)] {
            progress.take(row(seq, stream));
        }
        assert_eq!(
            (next(&mut progress), next(&mut progress), next(&mut progress)),
            (Some(11), Some(13), None)
        );
        progress.acknowledge(StreamId(2), 13);
        assert_eq!((progress.position(), progress.oldest()), (10, Some(Timestamp(11))));
        progress.acknowledge(StreamId(1), 11);
        assert_eq!((progress.position(), next(&mut progress), next(&mut progress)), (11, Some(12), None));
        progress.acknowledge(StreamId(1), 12);
        assert_eq!((progress.position(), next(&mut progress)), (14, Some(15)));
        progress.acknowledge(StreamId(1), 15);
        assert_eq!((progress.position(), progress.outstanding()), (15, 0));
        progress.take(row(16, 1));
        assert_eq!(next(&mut progress), Some(16));
    }

    #[test]
    fn a_hole_is_final_when_all_who_could_fill_it_are_gone() {
        let hole = Hole { below: 20, ceiling: 100 };
        assert!(hole.is_final(20, 100) && hole.is_final(15, 130));
        assert!(!hole.is_final(15, 99) && !hole.is_final(21, 130));
    }
}
