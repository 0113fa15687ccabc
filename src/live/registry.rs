//! Finds the actor of a key, starts it on first use, forgets it when it has stopped. Commands that a stopping actor did
//! not come to are sent to its successor.

use std::{
    collections::VecDeque,
    fmt::Display,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use actix::{Actor as _, Addr, dev::SendError};
use dashmap::DashMap;
use tokio::sync::{OnceCell, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    flight::Flight,
    metrics::LiveMetrics,
    shell::{Arbiters, Do, Env, Live, Returns, Shell, Wake},
};
use crate::{
    base::{
        clock::Clock,
        random::Random,
        tasks::Tasks,
        trace::{self, Trace},
    },
    domain::{
        codes::Code,
        error::{Error, Result},
    },
    journal::Journal,
};

/// Loads the state of an actor from the database.
pub trait Loader<K, L>: Send + Sync + 'static {
    /// The state of `key` as the database holds it; `not_found` when there is no such thing.
    fn load(&self, key: K) -> Pin<Box<dyn Future<Output = Result<L>> + Send + '_>>;
}

/// Bounds of a kind of actor.
#[derive(Clone, Copy, Debug)]
pub struct RegistryOptions {
    /// Commands that may wait in one mailbox; one more is refused with `mailbox_full`.
    pub mailbox: usize,
    /// An actor without use for so long stops.
    pub idle: Duration,
}

/// What actors need besides their state. Cheap to clone.
#[derive(Clone)]
pub struct Ground {
    /// Threads.
    pub arbiters: Arc<Arbiters>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The way to the database.
    pub journal: Journal,
    /// Background work.
    pub tasks: Tasks,
    /// Metrics.
    pub metrics: LiveMetrics,
}

/// The live actors of one kind. Cheap to clone.
pub struct Registry<K, L: Live>(Arc<Inner<K, L>>);

impl<K, L: Live> Clone for Registry<K, L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<K, L: Live> {
    slots: DashMap<K, Arc<Slot<L>>>,
    loader: Box<dyn Loader<K, L>>,
    options: RegistryOptions,
    ground: Ground,
}

/// The place of one actor; a successor gets a place of its own once this one is gone.
struct Slot<L: Live> {
    actor: OnceCell<Addr<Shell<L>>>,
    /// Where commands go that the actor did not come to.
    returns: Returns<L::Command>,
    /// Set when the actor has begun: its mailbox has its real size from then on.
    begun: CancellationToken,
    gone: CancellationToken,
}

impl<K, L> Registry<K, L>
where
    K: Copy + Eq + Hash + Display + Send + Sync + 'static,
    L: Live,
{
    /// An empty registry.
    pub fn new(loader: impl Loader<K, L>, options: RegistryOptions, ground: Ground) -> Self {
        Self(Arc::new(Inner { slots: DashMap::new(), loader: Box::new(loader), options, ground }))
    }

    /// Sends the command that `make` builds and waits for its answer. A full mailbox is refused at once; an actor that
    /// is just stopping is waited for and started again.
    pub async fn ask<R: Send + 'static>(
        &self,
        key: K,
        make: impl FnOnce(oneshot::Sender<Result<R>>) -> L::Command,
    ) -> Result<R> {
        let (sender, receiver) = oneshot::channel();
        self.tell(key, make(sender)).await?;
        receiver.await.unwrap_or_else(|_| Err(Error::unavailable(format!("{} {key} was restarted", L::KIND))))
    }

    /// Sends a command.
    pub async fn tell(&self, key: K, command: L::Command) -> Result<()> {
        let mut command = command;
        loop {
            let slot = self.slot(key);
            let actor = match slot.actor.get_or_try_init(|| self.start(key, &slot)).await {
                Ok(actor) => actor,
                Err(error) => {
                    self.forget(key, &slot);
                    return Err(error);
                }
            };
            if !slot.begun.is_cancelled() {
                tokio::select! {
                    () = slot.begun.cancelled() => {}
                    () = slot.gone.cancelled() => {}
                }
            }
            match actor.try_send(Do::new(command, trace::current(), &slot.returns)) {
                Ok(()) => return Ok(()),
                Err(SendError::Full(refused)) => {
                    drop(refused.take());
                    self.0.ground.metrics.refused(L::KIND);
                    return Err(Error::new(
                        Code::MailboxFull,
                        "too many requests for this at once, try again",
                    ));
                }
                Err(SendError::Closed(unsent)) => {
                    let Some(unsent) = unsent.take() else { return Ok(()) };
                    command = unsent;
                    slot.gone.cancelled().await;
                }
            }
        }
    }

    /// Starts the actor of `key` unless it is live: for things that are due without being asked.
    pub async fn wake(&self, key: K) -> Result<()> {
        let slot = self.slot(key);
        let started = slot.actor.get_or_try_init(|| self.start(key, &slot)).await.map(|_| ());
        if started.is_err() {
            self.forget(key, &slot);
        }
        started
    }

    /// Number of actors that are live or starting.
    pub fn len(&self) -> usize {
        self.0.slots.len()
    }

    /// True when none is live.
    pub fn is_empty(&self) -> bool {
        self.0.slots.is_empty()
    }

    fn slot(&self, key: K) -> Arc<Slot<L>> {
        if let Some(slot) = self.0.slots.get(&key) {
            return Arc::clone(&slot);
        }
        let fresh = || {
            let (begun, gone) = (CancellationToken::new(), CancellationToken::new());
            let returns = self.returns(key, gone.clone());
            Arc::new(Slot { actor: OnceCell::new(), returns, begun, gone })
        };
        Arc::clone(&self.0.slots.entry(key).or_insert_with(fresh))
    }

    /// Takes back the commands that an actor of `key` leaves in its mailbox, and sends them to its successor once that
    /// may start.
    fn returns(&self, key: K, gone: CancellationToken) -> Returns<L::Command> {
        let registry: Weak<Inner<K, L>> = Arc::downgrade(&self.0);
        let left: Arc<Mutex<Left<L::Command>>> = Arc::default();
        Arc::new(move |command, trace| {
            let Some(registry) = registry.upgrade().map(Self) else { return };
            let tasks = registry.0.ground.tasks.clone();
            if tasks.is_stopping() {
                return;
            }
            {
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                left.commands.push_back((command, trace));
                if std::mem::replace(&mut left.resent, true) {
                    return;
                }
            }
            let (left, gone, stopping) = (Arc::clone(&left), gone.clone(), tasks.stopping());
            tasks.spawn("actor-resend", async move {
                tokio::select! {
                    () = gone.cancelled() => {}
                    // No successor comes any more; whoever waits is told.
                    () = stopping => return Left::forget(&left),
                }
                while let Some((command, trace)) = Left::next(&left) {
                    // A refusal drops the command, which tells its waiter to try again.
                    let sent = registry.tell(key, command);
                    let _ = match trace {
                        Some(trace) => trace::within(trace, sent).await,
                        None => sent.await,
                    };
                }
            });
        })
    }

    fn forget(&self, key: K, slot: &Arc<Slot<L>>) {
        self.0.slots.remove_if(&key, |_, present| Arc::ptr_eq(present, slot));
        slot.gone.cancel();
    }

    async fn start(&self, key: K, slot: &Arc<Slot<L>>) -> Result<Addr<Shell<L>>> {
        let live = self.0.loader.load(key).await?;
        let Ground { arbiters, clock, random, journal, metrics, .. } = &self.0.ground;
        let flight = Flight::new(journal.clone());
        let env = Env { clock: clock.clone(), random: random.clone(), flight: flight.clone() };
        let RegistryOptions { mailbox, idle } = self.0.options;
        let mut shell = Shell::new(live, env, mailbox, idle, metrics.clone());
        let begun = slot.begun.clone();
        shell.on_start = Some(Box::new(move || begun.cancel()));
        let (this, place, open) = (self.clone(), Arc::clone(slot), flight.clone());
        shell.on_drop = Some(Box::new(move |due| this.clear(key, place, open, due)));
        let actor = Shell::start_in_arbiter(arbiters.pick(), |_| shell);
        let waker = actor.downgrade();
        flight.on_failure(move || {
            if let Some(actor) = waker.upgrade() {
                actor.do_send(Wake);
            }
        });
        Ok(actor)
    }

    /// Gives the place of a stopped actor free once none of its appends is under way, and brings it back when
    /// something is due.
    fn clear(self, key: K, slot: Arc<Slot<L>>, flight: Flight, due: bool) {
        let tasks = self.0.ground.tasks.clone();
        if tasks.is_stopping() {
            return;
        }
        tasks.clone().spawn("actor-clear", async move {
            flight.settled().await;
            self.forget(key, &slot);
            while due && !tasks.is_stopping() {
                match self.wake(key).await {
                    Err(error) if error.is_temporary() => tokio::time::sleep(REVIVE_DELAY).await,
                    _ => break,
                }
            }
        });
    }
}

/// What an actor left in its mailbox.
struct Left<C> {
    commands: VecDeque<(C, Option<Trace>)>,
    /// Somebody sends them again.
    resent: bool,
}

impl<C> Default for Left<C> {
    fn default() -> Self {
        Self { commands: VecDeque::new(), resent: false }
    }
}

impl<C> Left<C> {
    fn forget(left: &Mutex<Self>) {
        left.lock().unwrap_or_else(PoisonError::into_inner).commands.clear();
    }

    fn next(left: &Mutex<Self>) -> Option<(C, Option<Trace>)> {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let next = left.commands.pop_front();
        left.resent = next.is_some();
        next
    }
}

/// Pause between attempts to load a state that has something due while the database is away.
const REVIVE_DELAY: Duration = Duration::from_millis(250);
