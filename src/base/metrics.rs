//! Metrics for Prometheus. One [`Metrics`] per server; every layer counts into its own group, which stands here or is
//! registered by the layer. Labels have few values (operation, kind, outcome), never an id, a path or anything a tenant
//! names.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// An operation and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// Id of the operation (`create_workbox`), or `none` where no path matched.
    pub operation: &'static str,
    /// HTTP status.
    pub status: u16,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Operation {
    /// Its id.
    pub operation: &'static str,
}

type Seconds = Histogram;

/// REST.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// Requests answered.
    pub requests: Family<Request, Counter>,
    /// From the last byte of the head to the reply.
    pub duration: Family<Operation, Seconds, fn() -> Seconds>,
    /// Requests in work.
    pub active: Gauge,
}

/// The database's connections.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    /// Open connections.
    pub connections: Gauge,
    /// Idle ones of them.
    pub idle: Gauge,
}

/// The relay from the event log to the bus.
#[derive(Clone, Debug)]
pub struct RelayMetrics {
    /// Events acknowledged by the bus.
    pub published: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Events not yet acknowledged.
    pub lag_rows: Gauge,
    /// Age of the oldest of them.
    pub lag: Gauge<f64, AtomicU64>,
}

/// All metrics of one server: the groups that stand here, and those that layers register for themselves. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// REST.
    pub http: HttpMetrics,
    /// The database.
    pub database: DatabaseMetrics,
    /// The relay.
    pub relay: RelayMetrics,
}

/// Half a millisecond to ten seconds: requests and commits.
fn seconds() -> Seconds {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
}

/// Registers by value and gives the metric back, so that name, help and field stand in one place.
struct Group<'a>(&'a mut Registry);

impl Group<'_> {
    fn add<M>(&mut self, name: &str, help: &str, metric: M) -> M
    where
        M: prometheus_client::registry::Metric + Clone,
    {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn add_unit<M>(&mut self, name: &str, help: &str, unit: Unit, metric: M) -> M
    where
        M: prometheus_client::registry::Metric + Clone,
    {
        self.0.register_with_unit(name, help, unit, metric.clone());
        metric
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero, without further groups.
    pub fn new() -> Self {
        Self::with(|_| ()).0
    }

    /// All at zero; `register` adds the groups of other layers, whose names get the prefix `switchboard_`.
    pub fn with<T>(register: impl FnOnce(&mut Registry) -> T) -> (Self, T) {
        let mut registry = Registry::with_prefix("switchboard");
        let http = HttpMetrics::register(&mut Group(registry.sub_registry_with_prefix("http")));
        let database = DatabaseMetrics::register(&mut Group(registry.sub_registry_with_prefix("database")));
        let relay = RelayMetrics::register(&mut Group(registry.sub_registry_with_prefix("relay")));
        let others = register(&mut registry);
        (Self { registry: Arc::new(registry), http, database, relay }, others)
    }

    /// The text that Prometheus reads (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

impl HttpMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        Self {
            requests: group.add("requests", "Requests answered", Family::default()),
            duration: group.add_unit(
                "request_duration",
                "Time to the reply",
                Unit::Seconds,
                Family::new_with_constructor(seconds as fn() -> Seconds),
            ),
            active: group.add("active_requests", "Requests in work", Gauge::default()),
        }
    }
}

impl DatabaseMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        Self {
            connections: group.add("connections", "Open connections", Gauge::default()),
            idle: group.add("idle_connections", "Idle connections", Gauge::default()),
        }
    }
}

impl RelayMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        Self {
            published: group.add("published", "Events acknowledged by the bus", Counter::default()),
            failed: group.add("failed", "Attempts that failed", Counter::default()),
            lag_rows: group.add("lag_rows", "Events not yet acknowledged", Gauge::default()),
            lag: group.add_unit("lag", "Age of the oldest of them", Unit::Seconds, Gauge::default()),
        }
    }
}

/// Observes a duration in seconds.
pub trait Observe {
    /// Adds one measurement.
    fn observe_duration(&self, duration: Duration);
}

impl Observe for Histogram {
    fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_in_the_text() {
        let metrics = Metrics::new();
        metrics.http.requests.get_or_create(&Request { operation: "create_workbox", status: 200 }).inc();
        metrics
            .http
            .duration
            .get_or_create(&Operation { operation: "create_workbox" })
            .observe_duration(Duration::from_millis(3));
        metrics.database.connections.set(3);
        let text = metrics.text();
        for line in [
            "switchboard_http_requests_total{operation=\"create_workbox\",status=\"200\"} 1",
            "switchboard_http_request_duration_seconds_bucket{le=\"0.005\",operation=\"create_workbox\"} 1",
            "switchboard_database_connections 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
