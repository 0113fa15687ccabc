//! When the messages of a conversation are tallied: at the end of each block, with the message that fills it.

use std::cmp::Ordering;

use crate::domain::ids::MessageId;

/// Messages of a block. Of most unread messages only those of some two blocks are looked at; each block costs a row per
/// author.
pub const BLOCK: i64 = 64;

/// How full the block is that messages are written to.
///
/// It runs ahead of messages that are refused, and a tally goes with the message that was to take it. That makes no tally
/// wrong, since each is taken of the messages that are there: a block is shorter then, or longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tallying {
    block: i64,
    since: i64,
    /// The message that was to take the newest tally.
    taker: MessageId,
}

impl Default for Tallying {
    fn default() -> Self {
        Self::new(BLOCK, 0)
    }
}

impl Tallying {
    /// In blocks of so many, with so many messages since the last tally.
    pub fn new(block: i64, since: i64) -> Self {
        Self { block: block.max(1), since, taker: MessageId(0) }
    }

    /// Messages of a block.
    pub fn block(self) -> i64 {
        self.block
    }

    /// A message was taken; true when it fills its block.
    pub(super) fn sent(&mut self, id: MessageId) -> bool {
        self.since += 1;
        let fills = self.since >= self.block;
        if fills {
            self.since = 0;
            self.taker = id;
        }
        fills
    }

    /// A message was refused after all. Where it was to take a tally, the next one does; what was refused before a tally
    /// is not in it.
    pub(super) fn unsent(&mut self, id: MessageId) {
        match id.cmp(&self.taker) {
            Ordering::Less => {}
            Ordering::Equal => self.since = self.block - 1,
            Ordering::Greater => self.since = (self.since - 1).max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn each_block_is_filled_once() {
        let fills =
            |mut tallying: Tallying| (1..8).map(|id| tallying.sent(MessageId(id))).collect::<Vec<_>>();
        assert_eq!(fills(Tallying::new(3, 0)), [false, false, true, false, false, true, false]);
        assert_eq!(fills(Tallying::new(3, 1)), [false, true, false, false, true, false, false]);
        // More than a block was never tallied: the next message does.
        assert_eq!(fills(Tallying::new(3, 4)), [true, false, false, true, false, false, true]);
    }

    #[test]
    fn the_message_after_a_refused_one_takes_its_tally() {
        let mut tallying = Tallying::new(3, 1);
        assert!(!tallying.sent(MessageId(1)));
        assert!(tallying.sent(MessageId(2)));
        tallying.unsent(MessageId(2));
        assert!(tallying.sent(MessageId(3)));
        // Both were there when the next tally was taken, or were not: it knows.
        tallying.unsent(MessageId(2));
        tallying.unsent(MessageId(1));
        let fills: Vec<bool> = (4..7).map(|id| tallying.sent(MessageId(id))).collect();
        assert_eq!(fills, [false, false, true]);
        tallying.sent(MessageId(7));
        tallying.unsent(MessageId(7));
        let fills: Vec<bool> = (8..11).map(|id| tallying.sent(MessageId(id))).collect();
        assert_eq!(fills, [false, false, true]);
    }

    /// Messages are refused, which is heard of later; tallies are of the messages that are there.
    #[test]
    fn blocks_do_not_get_much_longer() {
        let random = Random::seeded(20_261_123);
        for block in [1, 2, 3, 8, 64] {
            let mut tallying = Tallying::new(block, 0);
            let (mut untallied, mut refused) = (0, VecDeque::new());
            for id in (1..5_000).map(MessageId) {
                let fills = tallying.sent(id);
                if random.below(5) == 0 {
                    refused.push_back(id);
                } else if fills {
                    untallied = 0;
                } else {
                    untallied += 1;
                }
                while random.below(2) == 0 {
                    refused.pop_front().into_iter().for_each(|id| tallying.unsent(id));
                }
                let most = block + 32;
                assert!(untallied < most, "{untallied} messages without a tally in blocks of {block}");
            }
        }
    }
}
