//! Everything that the parts of a run share.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use memchr::memmem::Finder;
use rand::{Rng, RngExt as _};

use super::rings::Rings;
use crate::{
    client::{
        rest::Rest,
        socket::{Client, Event, Listener},
        subscription::Subscription,
    },
    failure::Failure,
    ledger::{Ledger, Watcher, stream::StreamLog, violation::Violation},
    people::Person,
    scenario::{Action, Scenario},
    stats::{Handle, Registry, Stopwatch},
    target::Target,
};

/// Texts that are sent begin so; the time at which they were due follows.
pub const MARK: &str = "lt1 ";

/// A help thread.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its number.
    pub id: i64,
    /// Its channel.
    pub channel: Arc<str>,
    /// Who is in it: places in [`World::people`].
    pub members: Vec<usize>,
}

/// A message that its author may still change.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its author: a place in [`World::people`].
    pub person: usize,
    /// Its room: a place in [`World::rooms`].
    pub room: usize,
    /// Its number.
    pub id: i64,
}

/// Metrics that are recorded too often to be looked up by name.
#[derive(Debug)]
pub struct Hot {
    send: OnceLock<Handle>,
    delivery: Handle,
    /// Kept where some clients stop reading.
    others: Option<Handle>,
    caught_up: Handle,
    connect: Handle,
    reconnect: Handle,
    subscribe: Handle,
    receipts: Handle,
}

/// Everything that the parts of a run share.
pub struct World {
    /// What is to be done.
    pub scenario: Scenario,
    /// The kind of server.
    pub target: Target,
    /// Its REST side.
    pub rest: Rest,
    /// Who takes part.
    pub people: Vec<Arc<Person>>,
    /// Help threads.
    pub rooms: Vec<Room>,
    /// The rooms of each person: places in [`World::rooms`].
    pub rooms_of: Vec<Vec<usize>>,
    /// Sockets; those of one person follow each other. `None`: another shard's.
    pub clients: RwLock<Vec<Option<Arc<Client>>>>,
    /// What is measured.
    pub stats: Registry,
    hot: Hot,
    /// What was acknowledged.
    pub ledger: Ledger,
    /// Time.
    pub watch: Stopwatch,
    /// Rings under way.
    pub rings: Rings,
    /// Messages that may still be changed.
    pub own: Mutex<Vec<Own>>,
    /// Clients that are stopped from reading, by number.
    pub stalled: RwLock<Vec<usize>>,
    /// Tokens of help threads, by person and room.
    pub thread_tokens: Mutex<HashMap<(usize, usize), String>>,
    /// The session of `call_room`.
    pub room_call: Mutex<Option<String>>,
    /// The call that each client is in.
    pub calls: Mutex<HashMap<usize, String>>,
    /// Channels that each client has yet to catch up with in a storm, and when it was let back.
    pub storm: super::storm::Storm,
    /// Counts texts.
    pub sequence: AtomicU64,
    /// The last offset that was acknowledged in each room.
    pub heads: Vec<AtomicU64>,
    /// Events that have arrived.
    pub arrivals: AtomicU64,
    /// Actions that are not finished.
    pub in_flight: AtomicUsize,
    /// Nothing new is begun.
    pub stopping: AtomicBool,
    /// The run ends: failures are no news any more.
    pub closing: AtomicBool,
    /// Failures of connections are part of the plan (chaos).
    pub rough: AtomicBool,
    logs: RwLock<HashMap<String, Arc<StreamLog>>>,
    mark: Finder<'static>,
}

impl World {
    /// A world before anybody has connected.
    pub fn new(
        scenario: Scenario,
        target: Target,
        rest: Rest,
        people: Vec<Arc<Person>>,
        rooms: Vec<Room>,
    ) -> Arc<Self> {
        let mut rooms_of = vec![Vec::new(); people.len()];
        for (number, room) in rooms.iter().enumerate() {
            for member in &room.members {
                rooms_of[*member].push(number);
            }
        }
        let stats = Registry::default();
        let stalls = scenario.stages.iter().any(|stage| stage.stall_ms > 0);
        let hot = Hot {
            send: OnceLock::new(),
            delivery: stats.metric("delivery"),
            others: stalls.then(|| stats.metric("delivery_others")),
            caught_up: stats.metric("caught_up_events"),
            connect: stats.metric("connect"),
            reconnect: stats.metric("reconnect"),
            subscribe: stats.metric("subscribe"),
            receipts: stats.metric("receipt_events"),
        };
        let heads = rooms.iter().map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            scenario,
            target,
            rest,
            people,
            rooms,
            rooms_of,
            clients: RwLock::default(),
            stats,
            hot,
            ledger: Ledger::default(),
            watch: Stopwatch::start(),
            rings: Rings::default(),
            own: Mutex::default(),
            stalled: RwLock::default(),
            thread_tokens: Mutex::default(),
            room_call: Mutex::default(),
            calls: Mutex::default(),
            storm: super::storm::Storm::default(),
            sequence: AtomicU64::new(0),
            heads,
            arrivals: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            rough: AtomicBool::new(false),
            logs: RwLock::default(),
            mark: Finder::new(MARK.as_bytes()),
        })
    }

    /// Devices of each person.
    pub fn devices(&self) -> usize {
        self.scenario.population.devices
    }

    /// All sockets of this process.
    pub fn all_clients(&self) -> Vec<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.iter().flatten().cloned().collect()
    }

    /// The sockets of a person, in this process.
    pub fn clients_of(&self, person: usize) -> Vec<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let devices = self.devices();
        let own = clients.iter().skip(person * devices).take(devices);
        own.flatten().cloned().collect()
    }

    /// A socket of a person that is open, in this process.
    pub fn client_of(&self, person: usize) -> Option<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let devices = self.devices();
        let mut own = clients.iter().skip(person * devices).take(devices).flatten();
        own.find(|client| client.is_online()).cloned()
    }

    /// Online, and not a program that hangs: what that did in the end would be late by its own fault.
    fn is_awake(&self, client: &Client) -> bool {
        client.is_online() && !self.is_stalled(client.number)
    }

    /// Somebody of this process: a place in [`World::people`] and a socket.
    pub fn somebody(&self, random: &mut impl Rng) -> Option<(usize, Arc<Client>)> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..16 {
            let number = random.random_range(0..clients.len().max(1));
            if let Some(client) = clients.get(number).and_then(Option::as_ref)
                && self.is_awake(client)
            {
                return Some((number / self.devices(), client.clone()));
            }
        }
        None
    }

    /// Somebody of this process in some room, each room as often as any other.
    pub fn somebody_in_a_room(&self, random: &mut impl Rng) -> Option<(usize, usize, Arc<Client>)> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..16 {
            let number = random.random_range(0..self.rooms.len().max(1));
            let room = self.rooms.get(number)?;
            let person = room.members[random.random_range(0..room.members.len())];
            let device = person * self.devices() + random.random_range(0..self.devices());
            if let Some(client) = clients.get(device).and_then(Option::as_ref)
                && self.is_awake(client)
            {
                return Some((person, number, client.clone()));
            }
        }
        None
    }

    /// The metric of an action's latency.
    pub fn latency(&self, action: Action) -> Handle {
        let metric = || self.stats.metric(action.metric());
        if action == Action::Send { self.hot.send.get_or_init(metric).clone() } else { metric() }
    }

    /// A text that says when it was due.
    pub fn text(&self, due_us: u64) -> String {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut text = String::with_capacity(self.scenario.message.bytes + 64);
        let _ = write!(text, "{MARK}{due_us} {sequence} ");
        while text.len() < self.scenario.message.bytes {
            text.push(char::from(b'a' + (text.len() % 26) as u8));
        }
        text
    }

    /// When the text in some JSON was due.
    fn due(&self, data: &[u8]) -> Option<u64> {
        let at = self.mark.find(data)? + MARK.len();
        let digits = data.get(at..at + 16)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Seconds since the run began.
    pub fn seconds(&self) -> f64 {
        self.watch.elapsed().as_secs_f64()
    }

    /// What was seen of all channels.
    pub fn seen(&self) -> Vec<crate::ledger::stream::Seen> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.values().map(|log| log.snapshot()).filter(|seen| !seen.events.is_empty()).collect()
    }

    /// Deliveries so far are counted by the registry; this is one of its handles.
    pub fn count_failure(&self, metric: &str, failure: &Failure) {
        if !self.closing.load(Ordering::Relaxed) {
            self.stats.fail(metric, failure);
        }
    }

    fn is_stalled(&self, client: usize) -> bool {
        self.stalled.read().unwrap_or_else(PoisonError::into_inner).contains(&client)
    }
}

impl Listener for World {
    fn log(&self, channel: &str) -> Arc<StreamLog> {
        let known = self.logs.read().unwrap_or_else(PoisonError::into_inner).get(channel).cloned();
        known.unwrap_or_else(|| {
            let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            logs.entry(channel.to_owned()).or_insert_with(|| Arc::new(StreamLog::new(channel))).clone()
        })
    }

    fn arrived(&self, client: &Client, event: &Event<'_>) {
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        if event.channel.starts_with("user:") {
            self.rings.arrived(self, client.number, event.data);
            return;
        }
        let Some(due) = self.due(event.data) else {
            if event.is_first && memchr::memmem::find(event.data, br#""type":"receipt.updated""#).is_some() {
                self.hot.receipts.record(1);
            }
            return;
        };
        if due < event.connected_us {
            self.hot.caught_up.record(1);
            return;
        }
        let took = self.watch.now_us().saturating_sub(due);
        self.hot.delivery.record(took);
        if let Some(others) = &self.hot.others
            && !self.is_stalled(client.number)
        {
            others.record(took);
        }
    }

    fn heard(&self, _: &Client, event: &Event<'_>) {
        let Some(due) = self.due(event.data) else { return };
        let is_signal = memchr::memmem::find(event.data, br#""type":"signal""#).is_some();
        let metric = if is_signal { "signal_delivery" } else { "typing_delivery" };
        self.stats.metric(metric).record(self.watch.now_us().saturating_sub(due));
    }

    fn wrong(&self, violation: Violation) {
        self.ledger.wrong(violation.into());
    }

    fn reached_target(&self, client: &Client) {
        self.storm.reached(self, client.number);
    }

    fn connected(&self, _: &Client, took: Duration, again: bool) {
        let handle = if again { &self.hot.reconnect } else { &self.hot.connect };
        handle.record(took.as_micros() as u64);
    }

    fn subscribed(&self, _: &Client, took: Duration) {
        self.hot.subscribe.record(took.as_micros() as u64);
    }

    fn interrupted(&self) {
        self.stats.metric("interrupted").record(0);
    }

    fn failed(&self, what: &'static str, failure: &Failure) {
        if !self.rough.load(Ordering::Relaxed) {
            self.count_failure(what, failure);
        }
    }

    fn now_us(&self) -> u64 {
        self.watch.now_us()
    }

    fn ended(&self, client: &Client, subscriptions: Vec<Subscription>) {
        for one in subscriptions {
            self.ledger.watched(Watcher {
                client: client.name(),
                channel: one.channel.to_string(),
                first: one.first,
                last: one.at.offset,
                is_live: one.active,
                announced: one.announced,
            });
        }
    }
}
