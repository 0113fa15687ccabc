//! Counters of the socket.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Label of commands.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CommandLabel {
    /// `connect`, `rpc` and so on.
    pub kind: &'static str,
}

/// Label of disconnects.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CloseLabel {
    /// The close code.
    pub code: u32,
}

/// Counters of the socket. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Open connections of all transports.
    pub connections: Gauge,
    /// Places taken in channels.
    pub subscriptions: Gauge,
    /// Commands received, by kind.
    pub commands: Family<CommandLabel, Counter>,
    /// Publications queued to connections.
    pub pushes: Counter,
    /// Bytes written to sockets.
    pub bytes: Counter,
    /// Disconnects by the server, by code; 3008 are the slow ones.
    pub closes: Family<CloseLabel, Counter>,
    /// Pages read to catch up.
    pub recovery_pages: Counter,
    /// Times a live subscription had to catch up because an event came out of order.
    pub gaps: Counter,
}

impl Metrics {
    /// Registers all of them under `realtime_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("realtime");
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("subscriptions", "Places taken in channels", self.subscriptions.clone());
        registry.register("commands", "Commands received", self.commands.clone());
        registry.register("pushes", "Publications queued to connections", self.pushes.clone());
        registry.register("sent_bytes", "Bytes written to sockets", self.bytes.clone());
        registry.register("closes", "Disconnects by the server", self.closes.clone());
        registry.register("recovery_pages", "Pages read to catch up", self.recovery_pages.clone());
        registry.register("gaps", "Live subscriptions that had to catch up", self.gaps.clone());
    }

    pub(super) fn command(&self, kind: &'static str) {
        self.commands.get_or_create(&CommandLabel { kind }).inc();
    }

    pub(super) fn close(&self, code: u16) {
        self.closes.get_or_create(&CloseLabel { code: code.into() }).inc();
    }
}
