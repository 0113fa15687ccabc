//! What the actors measure.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Actors alive, mailbox refusals, panics; by kind of actor. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LiveMetrics {
    alive: Family<KindLabel, Gauge>,
    refused: Family<KindLabel, Counter>,
    panics: Family<KindLabel, Counter>,
}

impl LiveMetrics {
    /// Registers `actors_alive`, `actor_mailbox_refusals_total` and `actor_panics_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("actors_alive", "Actors alive", metrics.alive.clone());
        registry.register(
            "actor_mailbox_refusals",
            "Commands refused by a full mailbox",
            metrics.refused.clone(),
        );
        registry.register("actor_panics", "Panics caught in actors", metrics.panics.clone());
        metrics
    }

    pub(super) fn started(&self, kind: &'static str) {
        self.alive.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn stopped(&self, kind: &'static str) {
        self.alive.get_or_create(&KindLabel { kind }).dec();
    }

    pub(super) fn refused(&self, kind: &'static str) {
        self.refused.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn panicked(&self, kind: &'static str) {
        self.panics.get_or_create(&KindLabel { kind }).inc();
    }
}
