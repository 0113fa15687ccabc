//! Limits and times of the socket.

use std::time::Duration;

use crate::{
    config::{self, BackendTokens, Namespace, Origins, ServerKey},
    domain::ids::OrgId,
};

/// See `realtime.*` in `config/default.toml`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Origins that browsers may come from, besides the server's own host.
    pub allowed_origins: Origins,
    /// Longest message from a client, in bytes; beyond it the socket closes with 1009.
    pub max_message_bytes: usize,
    /// Most that may wait for one connection, in bytes; beyond it the connection is closed with 3008.
    pub queue_bytes: usize,
    /// Time between the server's pings.
    pub ping_interval: Duration,
    /// Time between pings of a connection that holds a lease in a call.
    pub lease_ping_interval: Duration,
    /// How long a client may take to answer a ping; then 3012.
    pub pong_timeout: Duration,
    /// How long a connection may stay without `connect`; then 3502.
    pub stale_timeout: Duration,
    /// How long a connection outlives its token, for the refresh that is under way; then 3005.
    pub expiry_grace: Duration,
    /// How long a closing connection may take to read what is queued and say goodbye.
    pub close_timeout: Duration,
    /// Most connections of this node; beyond it 503.
    pub max_connections: usize,
    /// Most subscriptions of one connection, server-side ones included; beyond it error 106.
    pub max_subscriptions: usize,
    /// Longest channel name in bytes; beyond it error 107.
    pub max_channel_bytes: usize,
    /// Most commands of one connection under way; beyond it nothing is read from its socket.
    pub max_in_flight: usize,
    /// Commands per second that one connection may send for long; beyond it 3013.
    pub commands_per_second: u32,
    /// Commands that it may send at once on top of that.
    pub command_burst: u32,
    /// Most publications in one page of a recovery.
    pub recovery_page: usize,
    /// Most bytes of publications in one page of a recovery or of history. At least one publication is sent.
    pub page_bytes: usize,
    /// Most publications in one reply to `history`.
    pub history_page: usize,
    /// Up to how many connections `presence` names where a channel has no presence of its own; beyond it error 108.
    pub presence_limit: usize,
    /// Channels of applications.
    pub namespaces: Vec<Namespace>,
    /// The namespace of channels whose name has none; empty = there are no such channels.
    pub default_namespace: String,
    /// Backends of applications whose JWTs let users into namespaces.
    pub tokens: Vec<BackendTokens>,
    /// Backends of applications that may use the server API.
    pub server_keys: Vec<ServerKey>,
    /// Lets clients without a token into this organisation's namespaces and opens all of them: tests and demos.
    pub insecure: Option<OrgId>,
    /// Name of this node in emulation requests.
    pub node: String,
    /// Version in the connect reply.
    pub version: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allowed_origins: Origins::default(),
            max_message_bytes: 64 * 1024,
            queue_bytes: 1024 * 1024,
            ping_interval: Duration::from_secs(25),
            lease_ping_interval: Duration::from_secs(3),
            pong_timeout: Duration::from_secs(10),
            stale_timeout: Duration::from_secs(10),
            expiry_grace: Duration::from_secs(25),
            close_timeout: Duration::from_secs(5),
            max_connections: 100_000,
            max_subscriptions: 256,
            max_channel_bytes: 255,
            max_in_flight: 64,
            commands_per_second: 1_000,
            command_burst: 4_000,
            recovery_page: 1_000,
            page_bytes: 256 * 1024,
            history_page: 1_000,
            presence_limit: 100,
            namespaces: Vec::new(),
            default_namespace: String::new(),
            tokens: Vec::new(),
            server_keys: Vec::new(),
            insecure: None,
            node: "1".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

impl From<&config::Realtime> for Options {
    fn from(config: &config::Realtime) -> Self {
        Self {
            allowed_origins: config.allowed_origins.clone(),
            max_message_bytes: config.frame_limit,
            queue_bytes: config.queue_bytes,
            ping_interval: config.ping_seconds,
            pong_timeout: config.pong_seconds,
            stale_timeout: config.connect_seconds,
            max_subscriptions: config.max_subscriptions,
            max_in_flight: config.commands_at_once,
            commands_per_second: config.commands_per_second,
            command_burst: config.command_burst,
            recovery_page: config.recovery_page as usize,
            // A page must leave room in the queue for what is broadcast meanwhile.
            page_bytes: (config.queue_bytes / 4).min(256 * 1024),
            presence_limit: config.presence_limit,
            namespaces: config.namespaces.clone(),
            default_namespace: config.default_namespace.clone(),
            tokens: config.tokens.clone(),
            server_keys: config.server_keys.clone(),
            insecure: config.insecure.then_some(config.insecure_organization),
            ..Self::default()
        }
    }
}

impl From<&config::Config> for Options {
    fn from(config: &config::Config) -> Self {
        Self { lease_ping_interval: config.calls.ping_seconds, ..(&config.realtime).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_in_a_call_are_pinged_as_the_calls_are_configured() {
        let config = config::Config::with("[calls]\nping_seconds = 2").unwrap();
        assert_eq!(Options::from(&config).lease_ping_interval, Duration::from_secs(2));
    }
}
