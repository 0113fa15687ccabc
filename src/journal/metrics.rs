//! What the journal measures.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Batch sizes, commit times and failures. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JournalMetrics {
    appends: Histogram,
    seconds: Histogram,
    failures: Counter,
}

impl JournalMetrics {
    /// Registers `journal_batch_appends`, `journal_commit_seconds` and `journal_failed_commits_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            appends: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            failures: Counter::default(),
        };
        registry.register("journal_batch_appends", "Appends per commit", metrics.appends.clone());
        registry.register(
            "journal_commit_seconds",
            "Time of one commit, begin to end",
            metrics.seconds.clone(),
        );
        registry.register("journal_failed_commits", "Commits that failed", metrics.failures.clone());
        metrics
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch is at most some thousands")]
    pub(super) fn observe(&self, appends: usize, took: Duration, committed: bool) {
        self.appends.observe(appends as f64);
        self.seconds.observe(took.as_secs_f64());
        if !committed {
            self.failures.inc();
        }
    }
}
