//! What the relay measures.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Lag of the relay behind the log, and what it published. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RelayMetrics {
    pub(super) lag_rows: Gauge,
    pub(super) lag_seconds: Gauge<f64, AtomicU64>,
    pub(super) published: Counter,
    pub(super) failures: Counter,
}

impl RelayMetrics {
    /// Registers `relay_lag_rows`, `relay_lag_seconds`, `relay_published_total` and `relay_failed_publishes_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("relay_lag_rows", "Events of the log that the bus has not taken yet", metrics.lag_rows.clone());
        registry.register("relay_lag_seconds", "Age of the oldest of them", metrics.lag_seconds.clone());
        registry.register("relay_published", "Events that the bus acknowledged", metrics.published.clone());
        registry.register("relay_failed_publishes", "Publishes that were not acknowledged", metrics.failures.clone());
        metrics
    }

    /// Events of the log that the bus has not taken yet, as last measured.
    pub fn lag_rows(&self) -> i64 {
        self.lag_rows.get()
    }

    /// Age in seconds of the oldest of them, as last measured.
    pub fn lag_seconds(&self) -> f64 {
        self.lag_seconds.get()
    }
}
