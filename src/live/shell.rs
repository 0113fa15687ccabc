//! The actix shell around a [`Live`] state: mailbox, timer, panic barrier, idle stop. The only code that knows actix.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorContext as _, AsyncContext as _, Context, Handler, Message, SpawnHandle};
use actix_rt::{Arbiter, ArbiterHandle};

use super::{flight::Flight, metrics::LiveMetrics};
use crate::base::{
    clock::{Clock, Timestamp},
    random::Random,
    trace::{self, Trace},
};

/// State that an actor owns. Its methods are synchronous and do no I/O.
pub trait Live: Sized + Send + Unpin + 'static {
    /// What it is told; carries the way back to whoever asks.
    type Command: Send + 'static;
    /// Name in metrics and logs.
    const KIND: &'static str;

    /// Takes a command.
    fn handle(&mut self, command: Self::Command, env: &Env);
    /// Does what is due at `env.now()`.
    fn tick(&mut self, env: &Env);
    /// When [`Live::tick`] wants to be called next.
    fn deadline(&self) -> Option<Timestamp>;
}

/// What a [`Live`] state may use.
pub struct Env {
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The way to the journal.
    pub flight: Flight,
}

impl Env {
    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Threads that actors run on.
pub struct Arbiters {
    handles: Vec<ArbiterHandle>,
    next: AtomicUsize,
}

impl Arbiters {
    /// Starts `count` threads. Call it inside a running actix system.
    pub fn start(count: usize) -> Self {
        let handles = (0..count.max(1)).map(|_| Arbiter::new().handle()).collect();
        Self { handles, next: AtomicUsize::new(0) }
    }

    pub(super) fn pick(&self) -> &ArbiterHandle {
        &self.handles[self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len()]
    }

    /// Stops the threads.
    pub fn stop(&self) {
        for handle in &self.handles {
            handle.stop();
        }
    }
}

pub(super) struct Shell<L: Live> {
    pub live: L,
    pub env: Env,
    pub mailbox: usize,
    pub idle: Duration,
    pub metrics: LiveMetrics,
    pub on_start: Option<Box<dyn FnOnce() + Send>>,
    pub on_drop: Option<Box<dyn FnOnce(bool) + Send>>,
    last_used: Timestamp,
    timer: Option<(Timestamp, SpawnHandle)>,
}

impl<L: Live> Shell<L> {
    pub fn new(live: L, env: Env, mailbox: usize, idle: Duration, metrics: LiveMetrics) -> Self {
        let last_used = env.now();
        Self { live, env, mailbox, idle, metrics, on_start: None, on_drop: None, last_used, timer: None }
    }

    /// Runs a step of the state behind the panic barrier, then looks at the clock.
    fn step(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut L, &Env)) {
        let outcome = catch_unwind(AssertUnwindSafe(|| step(&mut self.live, &self.env)));
        if outcome.is_err() {
            // The message of the panic was logged by the hook; the state may be half changed, so it goes.
            tracing::error!(actor = L::KIND, "actor panicked, its state will be loaded anew");
            self.metrics.panicked(L::KIND);
            ctx.stop();
        } else if self.env.flight.is_broken() {
            ctx.stop();
        } else {
            self.schedule(ctx);
        }
    }

    /// Keeps one timer: for the state's deadline or for the idle stop, whichever comes first.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        let idle_at = self.last_used.plus(self.idle);
        let at = self.live.deadline().map_or(idle_at, |deadline| deadline.min(idle_at));
        if let Some((scheduled, handle)) = self.timer {
            // A timer that fires early re-arms itself, which is cheaper than cancelling one per command.
            if scheduled <= at {
                return;
            }
            ctx.cancel_future(handle);
        }
        let delay = at.since(self.env.now()).max(Duration::from_millis(1));
        let handle = ctx.run_later(delay, |shell, ctx| {
            shell.timer = None;
            shell.wake(ctx);
        });
        self.timer = Some((at, handle));
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        let now = self.env.now();
        if self.live.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(ctx, L::tick);
        } else if self.live.deadline().is_none()
            && now >= self.last_used.plus(self.idle)
            && self.env.flight.is_settled()
        {
            ctx.stop();
        } else {
            self.schedule(ctx);
        }
    }
}

impl<L: Live> Actor for Shell<L> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.mailbox);
        self.metrics.started(L::KIND);
        if let Some(on_start) = self.on_start.take() {
            on_start();
        }
        self.schedule(ctx);
    }
}

impl<L: Live> Drop for Shell<L> {
    fn drop(&mut self) {
        self.metrics.stopped(L::KIND);
        if let Some(on_drop) = self.on_drop.take() {
            // A state with something due must come back by itself: nobody else knows of its timer.
            on_drop(self.live.deadline().is_some());
        }
    }
}

/// Takes commands that an actor did not come to, in the order in which they were sent.
pub(super) type Returns<C> = Arc<dyn Fn(C, Option<Trace>) + Send + Sync>;

/// A command, and the request that it came of. Dropped before it was handled, it goes back to the registry: nothing has
/// happened to it, so whoever waits for it should not hear that its actor stopped.
pub(super) struct Do<L: Live> {
    command: Option<L::Command>,
    trace: Option<Trace>,
    returns: Returns<L::Command>,
}

impl<L: Live> Do<L> {
    /// A command of the present request.
    pub fn new(command: L::Command, trace: Option<Trace>, returns: &Returns<L::Command>) -> Self {
        Self { command: Some(command), trace, returns: Arc::clone(returns) }
    }

    /// The command, which does not go back any more.
    pub fn take(mut self) -> Option<L::Command> {
        self.command.take()
    }
}

impl<L: Live> Drop for Do<L> {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            (self.returns)(command, self.trace);
        }
    }
}

impl<L: Live> Message for Do<L> {
    type Result = ();
}

impl<L: Live> Handler<Do<L>> for Shell<L> {
    type Result = ();

    fn handle(&mut self, sent: Do<L>, ctx: &mut Self::Context) {
        if self.env.flight.is_broken() {
            // Dropped here, the command goes to the successor.
            ctx.stop();
            return;
        }
        self.last_used = self.env.now();
        let trace = sent.trace;
        if let Some(command) = sent.take() {
            trace::during(trace, || self.step(ctx, |live, env| live.handle(command, env)));
        }
    }
}

/// Sent when an append has failed, so that an actor without further commands stops too.
pub(super) struct Wake;

impl Message for Wake {
    type Result = ();
}

impl<L: Live> Handler<Wake> for Shell<L> {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        if self.env.flight.is_broken() {
            ctx.stop();
        } else {
            self.wake(ctx);
        }
    }
}
