//! All that belongs to one actix worker: its connections, their places in channels, the list of connections with
//! something to write, the timer. Nothing here is shared or locked; everybody else talks to it through the hub.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior},
};

use super::{
    connection::{Connection, Life},
    disconnect::{Disconnect, close, error},
    frame::{OPCODE_CLOSE, Wire, socket_frame},
    hub::{Hub, Message, Selector},
    outbound::Progress,
    port::{ConnectionId, Future, Refusal},
    protocol::{DisconnectPush, Push, Reply},
    recovery, session,
    subscription::{Channel, Subscription},
    sweeps::Sweeps,
    timers,
    wheel::Wheel,
};

/// Length of a tick of the timer.
const TICK: Duration = Duration::from_millis(250);
/// A round of writing that took less is followed by the next at once.
const LONG_ROUND: Duration = Duration::from_millis(1);
/// No rest between rounds is longer.
const LONGEST_REST: Duration = Duration::from_millis(20);
/// Ticks in a second.
pub(super) const TICKS_PER_SECOND: u32 = 4;
/// Ticks between reports of connections with leases.
const LEASE_REPORT_TICKS: u32 = 4;

thread_local! {
    static LOCAL: RefCell<Vec<(usize, Rc<Shard>)>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(super) struct Shard {
    pub(super) hub: Hub,
    index: u16,
    connections: RefCell<Vec<Option<Rc<Connection>>>>,
    vacant: RefCell<Vec<u32>>,
    pub(super) channels: RefCell<HashMap<Arc<str>, Rc<Channel>>>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    /// Broadcast frames that were queued since the last round of writing began. Answers and pages of what was missed do not
    /// count: many for a few sockets are no reason to let all wait.
    pub(super) broadcast: Cell<u64>,
    wake: Notify,
    /// A round of writing takes long, or is followed by its rest.
    long_round: Cell<bool>,
    /// Connections that were answered meanwhile.
    answered: RefCell<Vec<Rc<Connection>>>,
    answer: Notify,
    wheel: RefCell<Wheel>,
    started: Instant,
    heard: RefCell<Vec<ConnectionId>>,
    reported: Cell<u32>,
    /// Ends that were ordered a moment ago.
    pub(super) sweeps: RefCell<Sweeps>,
    /// What sockets are read into, one after the other.
    pub(super) buffer: RefCell<BytesMut>,
}

impl Shard {
    /// The shard of this worker thread; it begins to work with the first call.
    pub(super) fn local(hub: &Hub) -> Rc<Self> {
        let identity = Arc::as_ptr(hub.shared()).addr();
        LOCAL.with(|local| {
            let mut local = local.borrow_mut();
            if let Some((_, shard)) = local.iter().find(|(of, _)| *of == identity) {
                return shard.clone();
            }
            let shard = Self::start(hub.clone());
            local.push((identity, shard.clone()));
            shard
        })
    }

    fn start(hub: Hub) -> Rc<Self> {
        let (index, messages) = hub.add_shard();
        let shard = Rc::new(Self {
            hub,
            index,
            connections: RefCell::default(),
            vacant: RefCell::default(),
            channels: RefCell::default(),
            dirty: RefCell::default(),
            broadcast: Cell::new(0),
            wake: Notify::new(),
            long_round: Cell::new(false),
            answered: RefCell::default(),
            answer: Notify::new(),
            wheel: RefCell::new(Wheel::new()),
            started: Instant::now(),
            heard: RefCell::default(),
            reported: Cell::new(0),
            sweeps: RefCell::default(),
            buffer: RefCell::default(),
        });
        actix_rt::spawn(shard.clone().run_messages(messages));
        actix_rt::spawn(shard.clone().run_flusher());
        actix_rt::spawn(shard.clone().run_timer());
        shard
    }

    async fn run_messages(self: Rc<Self>, mut messages: mpsc::UnboundedReceiver<Message>) {
        while let Some(message) = messages.recv().await {
            self.handle(message);
        }
    }

    /// Writes what was queued since the last round. Yielding first lets batches form under load; an idle server
    /// writes at once. A round that took long is followed by a rest as long, or longer where several broadcasts came for
    /// each socket ([`rest_after`]): a write costs much the same however much is in it, so what comes meanwhile goes out
    /// together.
    ///
    /// Answers wait for neither: whoever is answered sends what comes next, which then is in the next round as well,
    /// where it would be in the one after it.
    async fn run_flusher(self: Rc<Self>) {
        loop {
            self.wake.notified().await;
            tokio::task::yield_now().await;
            let mut wrote = Duration::ZERO;
            let mut breath = Instant::now();
            let dirty = std::mem::take(&mut *self.dirty.borrow_mut());
            let frames = self.broadcast.take() / (dirty.len() as u64).max(1);
            for connection in dirty {
                connection.dirty.set(false);
                self.flush(&connection);
                if breath.elapsed() >= LONG_ROUND {
                    wrote += breath.elapsed();
                    self.long_round.set(true);
                    tokio::task::yield_now().await;
                    self.write_answers();
                    breath = Instant::now();
                }
            }
            wrote += breath.elapsed();
            if wrote >= LONG_ROUND {
                self.rest(rest_after(wrote, frames)).await;
            }
        }
    }

    async fn rest(self: &Rc<Self>, period: Duration) {
        self.long_round.set(true);
        let mut end = pin!(tokio::time::sleep(period));
        loop {
            tokio::select! {
                () = &mut end => break,
                () = self.answer.notified() => {
                    tokio::task::yield_now().await;
                    self.write_answers();
                }
            }
        }
        self.long_round.set(false);
        // What was left is on the dirty list too.
        self.answered.borrow_mut().clear();
    }

    fn write_answers(self: &Rc<Self>) {
        let answered = std::mem::take(&mut *self.answered.borrow_mut());
        for connection in answered {
            self.flush(&connection);
        }
    }

    async fn run_timer(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now =
                u32::try_from(self.started.elapsed().as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
            let fired = self.wheel.borrow_mut().advance(now);
            for (slot, due) in fired {
                let connection = self.connections.borrow().get(slot as usize).cloned().flatten();
                if let Some(connection) = connection.filter(|connection| connection.due.get() == due) {
                    timers::on_timer(&self, &connection, now);
                }
            }
            if now >= self.reported.get() + LEASE_REPORT_TICKS {
                self.reported.set(now);
                self.report_leases();
            }
        }
    }

    fn report_leases(&self) {
        let heard = std::mem::take(&mut *self.heard.borrow_mut());
        if heard.is_empty() {
            return;
        }
        for id in &heard {
            if let Some(connection) = self.find(*id) {
                connection.heard.set(false);
            }
        }
        self.hub.backend().alive(heard);
    }

    /// The connections that a selector means.
    pub(super) fn selected(&self, selector: &Selector) -> Vec<Rc<Connection>> {
        let connections = self.connections.borrow();
        connections.iter().flatten().filter(|connection| connection.is_selected(selector)).cloned().collect()
    }

    /// Makes a connection of a socket or a body. The caller has been admitted by the hub.
    pub(super) fn add(self: &Rc<Self>, wire: Wire, io: Option<TcpStream>) -> Rc<Connection> {
        let mut connections = self.connections.borrow_mut();
        let slot = self.vacant.borrow_mut().pop().unwrap_or_else(|| {
            connections.push(None);
            u32::try_from(connections.len() - 1).expect("fewer connections than memory allows")
        });
        let id = ConnectionId { client: self.hub.random.uuid(), shard: self.index, slot };
        let connection = Rc::new(Connection::new(id, wire, io));
        connections[slot as usize] = Some(connection.clone());
        drop(connections);
        let stale = self.tick_after(self.hub.options.stale_timeout);
        connection.ping_at.set(stale);
        self.schedule(&connection, stale);
        connection
    }

    /// Lets go of a connection whose transport has ended.
    pub(super) fn remove(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.is_open() {
            connection.life.set(Life::Dead);
            session::tear_down(self, connection);
        }
        connection.life.set(Life::Dead);
        let slot = connection.id.slot;
        let held = self.connections.borrow_mut().get_mut(slot as usize).and_then(Option::take);
        if held.is_some() {
            self.vacant.borrow_mut().push(slot);
            self.hub.release();
        }
    }

    /// The connection of that id, if it is still there.
    pub(super) fn find(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        connections.get(id.slot as usize)?.clone().filter(|connection| connection.id == id)
    }

    /// The channel of that key, if anybody is in it.
    pub(super) fn channel(&self, key: &str) -> Option<Rc<Channel>> {
        self.channels.borrow().get(key).cloned()
    }

    /// The channel of that key, made where nobody was in it.
    pub(super) fn open_channel(&self, key: &str) -> Rc<Channel> {
        if let Some(channel) = self.channel(key) {
            return channel;
        }
        let key = Arc::<str>::from(key);
        let channel = Rc::new(Channel { key: key.clone(), places: RefCell::default() });
        self.channels.borrow_mut().insert(key, channel.clone());
        channel
    }

    /// Puts a subscription into its channel.
    pub(super) fn enter(&self, place: &Rc<Subscription>) {
        let mut places = place.channel.places.borrow_mut();
        place.slot.set(places.len());
        places.push(place.clone());
        self.hub.metrics.subscriptions.inc();
    }

    /// Takes a subscription out of its channel.
    pub(super) fn leave(&self, place: &Subscription) {
        let mut places = place.channel.places.borrow_mut();
        places.swap_remove(place.slot.get());
        if let Some(moved) = places.get(place.slot.get()) {
            moved.slot.set(place.slot.get());
        }
        if places.is_empty() {
            self.channels.borrow_mut().remove(&place.channel.key);
        }
        self.hub.metrics.subscriptions.dec();
    }

    /// Queues a frame.
    pub(super) fn push(&self, connection: &Rc<Connection>, frame: Bytes) {
        if !connection.is_open() || connection.overflown.get() {
            return;
        }
        let bytes = {
            let mut out = connection.out.borrow_mut();
            out.push(frame);
            out.bytes()
        };
        if bytes > self.hub.options.queue_bytes {
            // A large batch may pass the bound before the flusher had its turn: what the socket takes now is no debt.
            let _ = connection.flush();
            connection.overflown.set(connection.out.borrow().bytes() > self.hub.options.queue_bytes);
        }
        self.mark_dirty(connection);
    }

    /// Lets the flusher look at a connection.
    pub(super) fn mark_dirty(&self, connection: &Rc<Connection>) {
        if !connection.dirty.replace(true) {
            let mut dirty = self.dirty.borrow_mut();
            dirty.push(connection.clone());
            if dirty.len() == 1 {
                self.wake.notify_one();
            }
        }
    }

    /// Queues a reply or push.
    #[expect(clippy::needless_pass_by_value, reason = "callers make it for this call")]
    pub(super) fn reply(&self, connection: &Rc<Connection>, reply: Reply) {
        self.push(connection, connection.wire.reply(&reply));
        if self.long_round.get() {
            let mut answered = self.answered.borrow_mut();
            answered.push(connection.clone());
            if answered.len() == 1 {
                self.answer.notify_one();
            }
        }
    }

    /// Writes what is queued and does what follows from an empty or overfull queue.
    pub(super) fn flush(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.overflown.replace(false) {
            connection.out.borrow_mut().clear();
            self.close(connection, close::SLOW);
        }
        if let Ok((progress, bytes)) = connection.flush() {
            self.hub.metrics.bytes.inc_by(bytes);
            if progress == Progress::Emptied {
                self.drained(connection);
            }
        } else {
            connection.out.borrow_mut().clear();
            self.die(connection);
        }
    }

    /// Everything queued was taken by the transport.
    pub(super) fn drained(self: &Rc<Self>, connection: &Rc<Connection>) {
        match connection.life.get() {
            Life::Open => recovery::next_page(self, connection),
            Life::Closing => connection.finish_writing(),
            Life::Flushed | Life::Dead => {}
        }
    }

    /// Ends a connection: its places are left at once, the code goes out behind what is queued.
    pub(super) fn close(self: &Rc<Self>, connection: &Rc<Connection>, why: Disconnect) {
        if !connection.is_open() {
            return;
        }
        self.hub.metrics.close(why.code);
        self.hang_up(connection, why);
    }

    /// As [`Shard::close`], where it was not the server's wish.
    pub(super) fn hang_up(self: &Rc<Self>, connection: &Rc<Connection>, why: Disconnect) {
        connection.life.set(Life::Closing);
        session::tear_down(self, connection);
        let farewell = if connection.wire.is_socket() {
            socket_frame(OPCODE_CLOSE, &[&why.code.to_be_bytes(), why.reason.as_bytes()].concat())
        } else {
            let disconnect = Some(DisconnectPush {
                code: why.code.into(),
                reason: why.reason.into(),
                reconnect: why.reconnects(),
            });
            let push = Some(Push { disconnect, ..Push::default() });
            connection.wire.reply(&Reply { push, ..Reply::default() })
        };
        connection.out.borrow_mut().push(farewell);
        self.mark_dirty(connection);
        let gone = self.tick_after(self.hub.options.close_timeout);
        connection.gone_at.set(gone);
        self.schedule(connection, gone);
    }

    /// Ends a connection whose transport is broken.
    pub(super) fn die(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.is_open() {
            session::tear_down(self, connection);
        }
        connection.life.set(Life::Dead);
        connection.wake();
    }

    /// Sets the connection's timer.
    pub(super) fn schedule(&self, connection: &Connection, due: u32) {
        let mut wheel = self.wheel.borrow_mut();
        let due = due.max(wheel.now() + 1);
        connection.due.set(due);
        wheel.insert(connection.id.slot, due);
    }

    /// The tick that is `delay` away, at least the next one.
    pub(super) fn tick_after(&self, delay: Duration) -> u32 {
        let ticks = u32::try_from(delay.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX / 2);
        self.wheel.borrow().now().saturating_add(ticks.clamp(1, u32::MAX / 2))
    }

    /// Notes that a connection with a lease was heard.
    pub(super) fn note_heard(&self, connection: &Connection) {
        if connection.lease.get() && !connection.heard.replace(true) {
            self.heard.borrow_mut().push(connection.id);
        }
    }

    /// Asks the backend and goes on with `then` on this shard, at once where the answer is there. The question is
    /// polled here first, so questions of one connection start in order; it goes on, if it must, on the owned
    /// runtime. Callers hold no borrow of the session.
    pub(super) fn ask<T: Send + 'static>(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        mut question: Future<T>,
        then: impl FnOnce(&Rc<Self>, &Rc<Connection>, Result<T, Refusal>) + Send + 'static,
    ) {
        connection.session.borrow_mut().in_flight += 1;
        let first = catch_unwind(AssertUnwindSafe(|| {
            let _inside = self.hub.tasks.runtime().enter();
            question.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }));
        match first {
            Ok(Poll::Pending) => {
                let (hub, to) = (self.hub.clone(), connection.id);
                self.hub.tasks.spawn("connection request", async move {
                    let answer =
                        AssertUnwindSafe(question).catch_unwind().await.unwrap_or_else(|_| Err(panicked()));
                    let sink = hub.clone();
                    sink.send(
                        to,
                        Message::Answer(
                            to,
                            Box::new(move |shard, connection| then(shard, connection, answer)),
                        ),
                    );
                });
            }
            Ok(Poll::Ready(answer)) => self.go_on(connection, then, answer),
            Err(_) => self.go_on(connection, then, Err(panicked())),
        }
    }

    fn go_on<T>(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        then: impl FnOnce(&Rc<Self>, &Rc<Connection>, Result<T, Refusal>),
        answer: Result<T, Refusal>,
    ) {
        then(self, connection, answer);
        session::answered(self, connection);
    }
}

/// How long to rest after a round of writing that took `wrote`, with so many broadcast frames for each socket on average:
/// as long as the round itself where they are few; where several came while one round was written, half as many times as
/// long as there were.
fn rest_after(wrote: Duration, frames: u64) -> Duration {
    let times = u32::try_from(frames / 2).unwrap_or(u32::MAX).max(1);
    wrote.saturating_mul(times).min(LONGEST_REST)
}

fn panicked() -> Refusal {
    tracing::error!("a request of a connection panicked");
    Refusal::Error(error::INTERNAL)
}

impl Connection {
    /// Whether the selector means this connection. One that is not signed in is meant by id and by "everyone" only.
    pub(super) fn is_selected(&self, selector: &Selector) -> bool {
        match (selector, &self.session.borrow().identity) {
            (_, Some(identity)) => selector.matches(self.id, identity),
            (Selector::Connection(id), None) => *id == self.id,
            (selector, None) => matches!(selector, Selector::Everyone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_grows_with_what_piles_up_and_has_a_bound() {
        let round = Duration::from_millis(3);
        for (frames, times) in [(0, 1), (1, 1), (3, 1), (4, 2), (9, 4), (12, 6)] {
            assert_eq!(rest_after(round, frames), round * times, "{frames} frames");
        }
        assert_eq!(rest_after(round, 14), LONGEST_REST);
        assert_eq!(rest_after(Duration::MAX, u64::MAX), LONGEST_REST);
    }
}
