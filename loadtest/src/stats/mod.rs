//! Measurements: histograms of latencies, counts of errors, a point per second of each.

mod metric;
mod registry;
mod summary;

pub use metric::{Handle, Histogram, new_histogram};
pub use registry::{ErrorCount, Point, Registry};
pub use summary::{Series, Summary};

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One clock for intentions and arrivals: microseconds since the epoch, kept monotonic within this process. Shards on one
/// machine agree on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    began: Instant,
    epoch_us: u64,
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), epoch_us: epoch.as_micros() as u64 }
    }

    /// Microseconds since the epoch.
    pub fn now_us(&self) -> u64 {
        self.epoch_us + self.began.elapsed().as_micros() as u64
    }

    /// When it began, in microseconds since the epoch.
    pub fn began_us(&self) -> u64 {
        self.epoch_us
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
