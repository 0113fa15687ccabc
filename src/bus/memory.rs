//! A bus inside the process: what runs where no `bus.url` is set, and what tests look into.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::{Bus, BusError, Message};

/// Hands messages to whoever listens in this process, and forgets them.
#[derive(Debug)]
pub struct MemoryBus {
    listeners: broadcast::Sender<Message>,
    away: AtomicBool,
    refused: Mutex<Vec<String>>,
}

impl MemoryBus {
    /// A bus whose listeners may be `backlog` messages behind before they miss some.
    pub fn new(backlog: usize) -> Self {
        Self {
            listeners: broadcast::Sender::new(backlog),
            away: AtomicBool::new(false),
            refused: Mutex::new(Vec::new()),
        }
    }

    /// Everything that is published from now on.
    pub fn listen(&self) -> broadcast::Receiver<Message> {
        self.listeners.subscribe()
    }

    /// Simulates an outage: while `away`, no publish is acknowledged.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Release);
    }

    /// Subjects that were refused while the bus was away, in order.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Bus for MemoryBus {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            if self.away.load(Ordering::Acquire) {
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(message.subject);
                return Err(BusError::NotStored("simulated outage".to_owned()));
            }
            self.publish_live(message);
            Ok(())
        })
    }

    fn publish_live(&self, message: Message) {
        // Nobody listening is fine.
        let _ = self.listeners.send(message);
    }
}
