//! The bus: how events leave the process.
//!
//! - [`relay::Relay`] reads the event log, which is the outbox, and publishes it through a [`Bus`]: in the order of
//!   each stream, at least once, from where it was when it stopped. Receivers deduplicate by the event's id.
//! - Ephemeral events go out by [`Bus::publish_live`]: never stored, dropped when the bus is slow or away.
//! - [`nats::NatsBus`] is JetStream; [`memory::MemoryBus`] stays in the process (no `bus.url`, and tests).
//!
//! Nothing here decides what an event says; it is passed on as it was committed, in a CloudEvents envelope.

pub mod envelope;
pub mod memory;
pub mod nats;
mod progress;
pub mod relay;
pub mod subject;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// What is handed to the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `switchboard.12.workbox.42.message.created`.
    pub subject: String,
    /// The event's id: what receivers, and the bus itself, deduplicate by.
    pub id: Uuid,
    /// The envelope as JSON.
    pub payload: Bytes,
}

/// Why a publish was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Not reachable, unwilling for now (no room, no JetStream), or no answer in time: try again.
    #[error("the bus has not stored it: {0}")]
    NotStored(String),
    /// The message will never be taken as it is.
    #[error("a message of {size} bytes exceeds the bus's limit of {limit}")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// What the bus takes.
        limit: usize,
    },
}

/// A bus. Implementations reconnect by themselves, for ever.
pub trait Bus: Send + Sync + 'static {
    /// Resolves once the bus has stored the message. An error says nothing about whether it did: the same message may
    /// be published again, under the same id.
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), BusError>>;

    /// Sends an ephemeral message, or drops it. Never waits.
    fn publish_live(&self, message: Message);
}
