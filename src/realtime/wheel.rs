//! One timer for all connections of a shard: pings, pong time-outs, expiry.

/// Slots of the wheel: with the shard's tick of 250 ms it turns in about a minute; what is due later waits for
/// another turn.
const SLOTS: u32 = 256;

/// A hashed timer wheel over small numbers. Entries cannot be removed: the owner checks what fires.
pub(super) struct Wheel {
    slots: Vec<Vec<(u32, u32)>>,
    now: u32,
}

impl Wheel {
    /// An empty wheel at tick 0.
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), now: 0 }
    }

    /// The present tick.
    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// Lets `key` fire at tick `due`, or at the next one when that is over.
    pub(super) fn insert(&mut self, key: u32, due: u32) {
        let due = due.max(self.now + 1);
        self.slots[(due % SLOTS) as usize].push((key, due));
    }

    /// Moves to tick `now` and returns what fires: key and the tick it was set for.
    pub(super) fn advance(&mut self, now: u32) -> Vec<(u32, u32)> {
        let mut fired = Vec::new();
        let from = self.now;
        self.now = now.max(from);
        for tick in (from + 1)..=self.now.min(from.saturating_add(SLOTS)) {
            let slot = &mut self.slots[(tick % SLOTS) as usize];
            if slot.is_empty() {
                continue;
            }
            let (due, later): (Vec<_>, Vec<_>) =
                std::mem::take(slot).into_iter().partition(|(_, at)| *at <= now);
            *slot = later;
            fired.extend(due);
        }
        fired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fires_once_and_not_early() {
        let mut wheel = Wheel::new();
        for (key, due) in [(1, 5), (2, 300), (3, 0), (4, 261)] {
            wheel.insert(key, due);
        }
        let mut fired = Vec::new();
        for now in [1, 4, 5, 100, 260, 261, 290, 310] {
            for (key, due) in wheel.advance(now) {
                assert!(due <= now, "early");
                fired.push((key, now));
            }
        }
        assert_eq!(fired, [(3, 1), (1, 5), (4, 261), (2, 310)]);
    }

    #[test]
    fn a_long_pause_loses_nothing() {
        let mut wheel = Wheel::new();
        (0..1_000).for_each(|key| wheel.insert(key, key));
        let mut fired: Vec<_> = wheel.advance(5_000).into_iter().map(|(key, _)| key).collect();
        fired.sort_unstable();
        assert_eq!(fired, (0..1_000).collect::<Vec<_>>());
    }
}
