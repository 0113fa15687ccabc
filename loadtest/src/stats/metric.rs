//! One measured thing.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Values in microseconds (or in the metric's own unit), within one per cent.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// Largest value kept: an hour in microseconds. What is larger counts as this.
const LARGEST: u64 = 3_600_000_000;

/// An empty histogram of the one kind used here, so that all of them can be added up.
pub fn new_histogram() -> Histogram {
    Histogram::new_with_bounds(1, LARGEST, 2).expect("the bounds are constants that fit")
}

/// One measured thing. Threads record into the interval, the ticker moves it to the totals.
#[derive(Debug)]
pub struct Metric {
    interval: Mutex<Histogram>,
    failures: AtomicU64,
}

/// A cheap, cloneable way to record.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Metric>);

impl Handle {
    pub(super) fn new() -> Self {
        Self(Arc::new(Metric { interval: Mutex::new(new_histogram()), failures: AtomicU64::new(0) }))
    }

    /// Opens the metric for several records at once.
    pub fn open(&self) -> Recorder<'_> {
        Recorder(self.0.interval.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records one value.
    pub fn record(&self, value: u64) {
        self.open().record(value);
    }

    /// Counts one failure.
    pub fn fail(&self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what was recorded since the last call into `into` and gives the number of failures.
    pub(super) fn drain(&self, into: &mut Histogram) -> u64 {
        let mut interval = self.open().0;
        // Both have the same bounds, so that adding cannot fail.
        let _ = into.add(&*interval);
        interval.reset();
        self.0.failures.swap(0, Ordering::Relaxed)
    }
}

/// A metric opened for recording.
pub struct Recorder<'a>(MutexGuard<'a, Histogram>);

impl Recorder<'_> {
    /// Records one value.
    pub fn record(&mut self, value: u64) {
        self.0.saturating_record(value);
    }
}
