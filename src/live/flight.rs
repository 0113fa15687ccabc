//! Appends of one actor that are under way. An actor's successor may load its state only when none is left, or it would
//! decide on a past that is about to change.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::{
    domain::error::{Error, Result},
    journal::{Append, Chain, Committed, Journal},
};

#[derive(Default)]
struct Counted {
    count: AtomicUsize,
    settled: Notify,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Hands appends to the journal and counts those whose outcome is open. One per life of an actor.
#[derive(Clone)]
pub struct Flight {
    journal: Journal,
    chain: Chain,
    counted: Arc<Counted>,
}

/// Counts down when dropped, so that a lost callback cannot keep an actor's place for ever.
struct Open(Arc<Counted>);

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.settled.notify_waiters();
        }
    }
}

impl Flight {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, chain: Chain::default(), counted: Arc::default() }
    }

    /// Hands over an append that the actor's state has already taken in: should it fail, everything behind it is
    /// refused and the state is loaded anew.
    pub fn submit(&self, mut append: Append, done: impl FnOnce(Result<Committed>) + Send + 'static) {
        append.chain = Some(self.chain.clone());
        let this = self.clone();
        self.send(append, move |outcome| {
            if outcome.is_err() {
                this.break_off();
            }
            done(outcome);
        });
    }

    /// Hands over an append whose refusal leaves the state right (a message sent twice).
    pub fn submit_harmless(&self, mut append: Append, done: impl FnOnce(Result<Committed>) + Send + 'static) {
        append.chain = Some(self.chain.clone());
        append.harmless = true;
        let this = self.clone();
        self.send(append, move |outcome| {
            if outcome.as_ref().is_err_and(Error::is_temporary) {
                this.break_off();
            }
            done(outcome);
        });
    }

    fn send(&self, append: Append, done: impl FnOnce(Result<Committed>) + Send + 'static) {
        self.counted.count.fetch_add(1, Ordering::AcqRel);
        let open = Open(Arc::clone(&self.counted));
        self.journal.submit(append, move |outcome| {
            done(outcome);
            drop(open);
        });
    }

    /// Sets how the actor is woken when one of its appends fails.
    pub(super) fn on_failure(&self, wake: impl Fn() + Send + Sync + 'static) {
        // Set once, right after the actor was started.
        let _ = self.counted.wake.set(Box::new(wake));
    }

    fn break_off(&self) {
        self.chain.break_off();
        if let Some(wake) = self.counted.wake.get() {
            wake();
        }
    }

    /// True when an append has failed whose effect the state holds.
    pub fn is_broken(&self) -> bool {
        self.chain.is_broken()
    }

    /// True when no append is under way.
    pub fn is_settled(&self) -> bool {
        self.counted.count.load(Ordering::Acquire) == 0
    }

    /// Waits until no append is under way.
    pub async fn settled(&self) {
        loop {
            let mut notified = std::pin::pin!(self.counted.settled.notified());
            notified.as_mut().enable();
            if self.is_settled() {
                return;
            }
            notified.await;
        }
    }
}
