//! The socket: connections that speak the Centrifuge client protocol, and the fan-out to them (REALTIME sections 1-4).
//!
//! One [`Hub`] per process is the door for everybody else: the journal tells it what was committed, services publish
//! ephemeral events and end connections or subscriptions through it. Behind it every actix worker has a shard, a
//! single-threaded world of its own with the worker's connections and their subscriptions; shards get one message per
//! batch of events. What connections ask for is answered by a [`Backend`], whose futures run on the owned runtime.
//!
//! Promises: a subscriber of a stream sees each offset once and in order; an event is encoded once per wire format and
//! shared by reference; a connection's memory is bounded by its queue, and whoever reads too slowly is closed with
//! 3008 and recovers later.

pub mod asyncapi;
mod commands;
mod connection;
mod disconnect;
mod dispatch;
#[cfg(feature = "failpoints")]
mod faults;
mod frame;
pub mod gateway;
mod greeting;
mod hub;
mod metrics;
mod namespaces;
mod options;
mod outbound;
mod port;
mod presence;
pub mod protocol;
mod recovery;
pub mod server_api;
mod session;
mod shard;
mod subscription;
mod sweeps;
mod timers;
pub mod transport;
mod wheel;

pub use disconnect::{Disconnect, ProtocolError, Unsubscribed, close, error, unsubscribe};
pub use hub::{Audience, Hub, Selector};
pub use metrics::{CloseLabel, CommandLabel, Metrics};
pub use options::Options;
pub use port::{
    Backend, ConnectGrant, ConnectionId, Direction, Future, Grant, Hello, Identity, Page, PageRequest,
    RefreshGrant, Refusal, SubscribeAsk,
};
