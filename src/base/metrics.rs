//! Metrics for Prometheus. One [`Metrics`] per server; every layer counts into its own group. Labels have few values
//! (operation, kind, outcome), never an id, a path or anything a tenant names.

use std::{sync::Arc, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// Which of a few.
    pub kind: &'static str,
}

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

/// Sockets.
#[derive(Clone, Debug)]
pub struct SocketMetrics {
    /// Open connections by transport.
    pub connections: Family<Kind, Gauge>,
    /// Commands by name.
    pub commands: Family<Kind, Counter>,
    /// Errors answered, by stable name.
    pub errors: Family<Kind, Counter>,
    /// Pushes queued to connections.
    pub pushes: Counter,
    /// Bytes written.
    pub sent_bytes: Counter,
    /// Bytes read.
    pub received_bytes: Counter,
    /// Connections closed because they read too slowly.
    pub slow_closes: Counter,
    /// Connections closed by the server, by stable name of the reason.
    pub closes: Family<Kind, Counter>,
    /// Live subscriptions.
    pub subscriptions: Gauge,
}

/// Group commit.
#[derive(Clone, Debug)]
pub struct JournalMetrics {
    /// Appends in one commit.
    pub batch: Histogram,
    /// From the first statement to the commit's end.
    pub commit: Seconds,
    /// Appends that wait.
    pub waiting: Gauge,
    /// Appends refused by a guard or an expectation.
    pub refused: Counter,
    /// Commits that failed.
    pub failed: Counter,
}

/// Actors.
#[derive(Clone, Debug)]
pub struct ActorMetrics {
    /// Alive, by kind (conversation, session).
    pub alive: Family<Kind, Gauge>,
    /// Requests refused because a mailbox was full, by kind.
    pub mailbox_refusals: Family<Kind, Counter>,
    /// Panics that restarted one, by kind.
    pub panics: Family<Kind, Counter>,
    /// Stopped when idle, by kind.
    pub idle_stops: Family<Kind, Counter>,
}

/// The database's connections.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    /// Open connections by pool (read, write).
    pub connections: Family<Kind, Gauge>,
    /// Idle ones of them.
    pub idle: Family<Kind, Gauge>,
    /// Statements that failed, by what went wrong (busy, constraint, gone, other).
    pub errors: Family<Kind, Counter>,
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

/// All metrics of one server. Cheap to clone.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "a field is the group of its name; the types say what they are")]
pub struct Metrics {
    registry: Arc<Registry>,
    pub http: HttpMetrics,
    pub socket: SocketMetrics,
    pub journal: JournalMetrics,
    pub actors: ActorMetrics,
    pub database: DatabaseMetrics,
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
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("switchboard");
        let http = HttpMetrics::register(&mut Group(registry.sub_registry_with_prefix("http")));
        let socket = SocketMetrics::register(&mut Group(registry.sub_registry_with_prefix("socket")));
        let journal = JournalMetrics::register(&mut Group(registry.sub_registry_with_prefix("journal")));
        let actors = ActorMetrics::register(&mut Group(registry.sub_registry_with_prefix("actors")));
        let database = DatabaseMetrics::register(&mut Group(registry.sub_registry_with_prefix("database")));
        let relay = RelayMetrics::register(&mut Group(registry.sub_registry_with_prefix("relay")));
        Self { registry: Arc::new(registry), http, socket, journal, actors, database, relay }
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

impl SocketMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        Self {
            connections: group.add("connections", "Open connections", Family::default()),
            commands: group.add("commands", "Commands read", Family::default()),
            errors: group.add("errors", "Errors answered", Family::default()),
            pushes: group.add("pushes", "Pushes queued to connections", Counter::default()),
            sent_bytes: group.add_unit("sent", "Bytes written", Unit::Bytes, Counter::default()),
            received_bytes: group.add_unit("received", "Bytes read", Unit::Bytes, Counter::default()),
            slow_closes: group.add("slow_closes", "Connections closed as too slow", Counter::default()),
            closes: group.add("closes", "Connections closed by the server", Family::default()),
            subscriptions: group.add("subscriptions", "Live subscriptions", Gauge::default()),
        }
    }
}

impl JournalMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        let sizes = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]);
        Self {
            batch: group.add("batch_appends", "Appends in one commit", sizes),
            commit: group.add_unit("commit", "Time of a commit", Unit::Seconds, seconds()),
            waiting: group.add("waiting_appends", "Appends that wait for a commit", Gauge::default()),
            refused: group.add("refused_appends", "Appends refused by a guard", Counter::default()),
            failed: group.add("failed_commits", "Commits that failed", Counter::default()),
        }
    }
}

impl ActorMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        Self {
            alive: group.add("alive", "Actors alive", Family::default()),
            mailbox_refusals: group.add(
                "mailbox_refusals",
                "Requests refused by a full mailbox",
                Family::default(),
            ),
            panics: group.add("panics", "Panics that restarted an actor", Family::default()),
            idle_stops: group.add("idle_stops", "Actors stopped when idle", Family::default()),
        }
    }
}

impl DatabaseMetrics {
    fn register(group: &mut Group<'_>) -> Self {
        Self {
            connections: group.add("connections", "Open connections", Family::default()),
            idle: group.add("idle_connections", "Idle connections", Family::default()),
            errors: group.add("errors", "Statements that failed", Family::default()),
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
        metrics.actors.alive.get_or_create(&Kind { kind: "conversation" }).set(2);
        metrics.relay.lag.set(1.5);
        let text = metrics.text();
        for line in [
            "switchboard_http_requests_total{operation=\"create_workbox\",status=\"200\"} 1",
            "switchboard_http_request_duration_seconds_bucket{le=\"0.005\",operation=\"create_workbox\"} 1",
            "switchboard_actors_alive{kind=\"conversation\"} 2",
            "switchboard_relay_lag_seconds 1.5",
            "switchboard_journal_batch_appends_count 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
