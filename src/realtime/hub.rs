//! The door to all connections of this process, for every other part and from any thread.

use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    disconnect::{Disconnect, Unsubscribed},
    frame::Frame,
    metrics::Metrics,
    namespaces::Namespaces,
    options::Options,
    port::{Backend, ConnectionId, Identity},
    presence::Roll,
    protocol::{ClientInfo, Publication},
    session::Continuation,
};
use crate::{
    base::{
        cache::Cache,
        clock::{Clock, Timestamp},
        random::Random,
        tasks::Tasks,
    },
    domain::ids::{OrgId, PersonId, StreamId},
    journal::{AfterCommit, Commit},
};

/// Publications under an idempotency key that are remembered, and for how long: as Centrifugo does.
const PUBLISHED: usize = 100_000;
const PUBLISHED_FOR: Duration = Duration::from_mins(5);

/// Who gets an ephemeral publication.
#[derive(Clone, Debug)]
pub enum Audience {
    /// All subscribers.
    Everyone,
    /// One person's subscribed connections.
    Person(PersonId),
    /// These connections, where subscribed.
    Connections(Vec<ConnectionId>),
}

/// Whose connections are meant.
#[derive(Clone, Debug)]
pub enum Selector {
    /// One connection.
    Connection(ConnectionId),
    /// All of a person.
    Person(PersonId),
    /// All through which this person acts for others.
    Actor(PersonId),
    /// All of a log-in: a person and its aliases.
    Login(PersonId),
    /// All that came from one sign-in.
    Family(Uuid),
    /// All of an organisation.
    Organization(OrgId),
    /// All of this `ClientInfo.user` in this organisation.
    User(OrgId, String),
    /// The connection with this public id, in this organisation.
    Client(OrgId, Uuid),
    /// Every one.
    Everyone,
}

impl Selector {
    pub(super) fn matches(&self, id: ConnectionId, identity: &Identity) -> bool {
        let caller = identity.caller.as_ref();
        match self {
            Self::Connection(wanted) => *wanted == id,
            Self::Person(person) => caller.is_some_and(|caller| caller.person == Some(*person)),
            Self::Actor(person) => caller.is_some_and(|caller| caller.acting == Some(*person)),
            Self::Login(login) => caller.is_some_and(|caller| caller.login == Some(*login)),
            Self::Family(family) => caller.is_some_and(|caller| caller.family == Some(*family)),
            Self::Organization(organization) => identity.organization == *organization,
            Self::User(organization, user) => {
                identity.organization == *organization && identity.user == *user
            }
            Self::Client(organization, client) => {
                identity.organization == *organization && id.client == *client
            }
            Self::Everyone => true,
        }
    }
}

/// What a shard is told.
pub(super) enum Message {
    /// Durable publications, in the order of their commit.
    Published(Arc<[Arc<Frame>]>),
    /// A publication that is not stored.
    Ephemeral(Arc<Ephemeral>),
    /// Somebody came to a channel or left it.
    Presence { channel: Arc<str>, info: Arc<ClientInfo>, joined: bool },
    /// The answer to something that a connection asked the backend.
    Answer(ConnectionId, Continuation),
    /// Commands of an emulated connection.
    Commands(ConnectionId, Bytes),
    /// Call a channel's roll.
    Roll(Arc<str>, Roll),
    /// Count the subscribers of channels whose key begins so.
    Census(Arc<str>, mpsc::UnboundedSender<Vec<(String, usize)>>),
    /// Name the users of these connections, each once per connection.
    Users(Selector, mpsc::UnboundedSender<Vec<String>>),
    /// End connections.
    Disconnect(Selector, Disconnect),
    /// End subscriptions of a channel.
    Unsubscribe(Arc<str>, Selector, Unsubscribed),
    /// A connection begins or ceases to hold a lease.
    Lease(ConnectionId, bool),
    /// Subscribe connections to a channel from the server's side.
    Subscribe(Selector, String),
    /// Connections' tokens end then, or already have.
    Expire(Selector, Option<Timestamp>),
    /// A message push to one connection.
    Send(ConnectionId, Bytes),
    /// End all connections, spread over this time.
    Drain(Duration),
}

/// A publication that is not stored.
pub(super) struct Ephemeral {
    pub(super) channel: Arc<str>,
    pub(super) data: Bytes,
    pub(super) audience: Audience,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

/// What clones of a hub share.
pub struct Shared {
    pub(super) options: Options,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) metrics: Metrics,
    pub(super) namespaces: Namespaces,
    pub(super) sessions: DashMap<String, ConnectionId>,
    /// Publications of applications' backends under an idempotency key: organisation, channel, key.
    pub(super) published: Cache<(OrgId, String, String), (u64, Arc<str>)>,
    backend: OnceLock<Arc<dyn Backend>>,
    shards: RwLock<Vec<mpsc::UnboundedSender<Message>>>,
    connections: AtomicUsize,
    people: DashMap<PersonId, usize>,
    draining: AtomicBool,
    pub(super) started: Timestamp,
}

impl std::ops::Deref for Hub {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Hub {
    /// A hub without connections. [`Hub::attach`] must follow before the first of them.
    pub fn new(options: Options, tasks: Tasks, clock: Clock, random: Random, metrics: Metrics) -> Self {
        let namespaces = Namespaces::new(&options, random.clone());
        namespaces.follow_keys(&tasks);
        Self(Arc::new(Shared {
            namespaces,
            options,
            tasks,
            random,
            metrics,
            sessions: DashMap::new(),
            published: Cache::new(PUBLISHED, PUBLISHED_FOR, clock.clone()),
            backend: OnceLock::new(),
            shards: RwLock::default(),
            connections: AtomicUsize::new(0),
            people: DashMap::new(),
            draining: AtomicBool::new(false),
            started: clock.now(),
            clock,
        }))
    }

    /// Says who answers connections. Services need the hub and the backend needs services, hence the second step.
    pub fn attach(&self, backend: Arc<dyn Backend>) {
        let _ = self.backend.set(backend);
    }

    /// The limits that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        self.backend.get().expect("the hub is attached before the server listens")
    }

    /// Sends committed events of a stream channel to their subscribers. Events of one stream come in order.
    pub fn publish(&self, events: impl Iterator<Item = (Arc<str>, StreamId, u64, Bytes)>) {
        if self.connection_count() == 0 {
            return;
        }
        let frames: Arc<[_]> = events
            .map(|(channel, stream, offset, data)| {
                let publication = Publication { data, offset, ..Publication::default() };
                Arc::new(Frame::new(channel, stream.0, publication))
            })
            .collect();
        self.broadcast(|| Message::Published(frames.clone()));
    }

    /// Sends an event that is not stored; `data` is the whole publication object with `"ephemeral":true`. Subscribers
    /// that are catching up or whose queue is half full do not get it.
    pub fn publish_ephemeral(&self, channel: &str, data: Bytes, audience: Audience) {
        if self.connection_count() > 0 {
            let event = Arc::new(Ephemeral { channel: channel.into(), data, audience });
            self.broadcast(|| Message::Ephemeral(event.clone()));
        }
    }

    /// Ends connections.
    pub fn disconnect(&self, selector: &Selector, disconnect: Disconnect) {
        self.broadcast(|| Message::Disconnect(selector.clone(), disconnect));
    }

    /// Ends subscriptions of one channel, pending ones included.
    pub fn unsubscribe(&self, channel: &str, selector: &Selector, why: Unsubscribed) {
        let channel = Arc::<str>::from(channel);
        self.broadcast(|| Message::Unsubscribe(channel.clone(), selector.clone(), why));
    }

    /// While `held`, the connection is pinged every few seconds and reported by [`Backend::alive`].
    pub fn hold_lease(&self, connection: ConnectionId, held: bool) {
        self.send(connection, Message::Lease(connection, held));
    }

    /// Pushes a message to one connection, outside all channels.
    pub fn message(&self, connection: ConnectionId, data: Bytes) {
        self.send(connection, Message::Send(connection, data));
    }

    /// Everybody in a channel of this node.
    pub async fn presence(&self, channel: &str) -> Vec<ClientInfo> {
        let (roll, present) = Roll::call();
        let channel = Arc::<str>::from(channel);
        self.broadcast(|| Message::Roll(channel.clone(), roll.clone()));
        drop(roll);
        present.collect().await
    }

    /// Channels whose key begins so, with the number of their subscribers on each shard.
    pub(super) async fn census(&self, prefix: &str) -> Vec<(String, usize)> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let prefix = Arc::<str>::from(prefix);
        self.broadcast(|| Message::Census(prefix.clone(), sender.clone()));
        drop(sender);
        let mut all = Vec::new();
        while let Some(some) = receiver.recv().await {
            all.extend(some);
        }
        all
    }

    /// The users of all connections of an organisation, each once per connection.
    pub(super) async fn users(&self, organization: OrgId) -> Vec<String> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.broadcast(|| Message::Users(Selector::Organization(organization), sender.clone()));
        drop(sender);
        let mut all = Vec::new();
        while let Some(some) = receiver.recv().await {
            all.extend(some);
        }
        all
    }

    /// Whether any application's backend has a key.
    pub fn has_server_api(&self) -> bool {
        self.namespaces.has_servers()
    }

    /// Number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Whether a person has a live connection here.
    pub fn is_online(&self, person: PersonId) -> bool {
        self.people.contains_key(&person)
    }

    /// Refuses new connections and ends all others with 3001, spread over `period`. Returns when none is left, or at
    /// the end of the period plus the time that closing may take.
    pub async fn drain(&self, period: Duration) {
        self.draining.store(true, Ordering::Release);
        self.broadcast(|| Message::Drain(period));
        let deadline = tokio::time::Instant::now() + period + self.options.close_timeout;
        while self.connection_count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes a place among the connections of this node, or says that there is none.
    pub(super) fn admit(&self) -> bool {
        if self.draining.load(Ordering::Acquire) {
            return false;
        }
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        if before >= self.options.max_connections {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        self.metrics.connections.inc();
        true
    }

    pub(super) fn release(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
        self.metrics.connections.dec();
    }

    pub(super) fn arrived(&self, person: PersonId) {
        *self.people.entry(person).or_default() += 1;
    }

    pub(super) fn left(&self, person: PersonId) {
        self.people.remove_if_mut(&person, |_, count| {
            *count -= 1;
            *count == 0
        });
    }

    /// Adds a worker; its messages come out of the returned end.
    pub(super) fn add_shard(&self) -> (u16, mpsc::UnboundedReceiver<Message>) {
        // Unbounded, but always drained: a shard never waits for a socket, and what piles up behind slow sockets is
        // bounded by their queues.
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.push(sender);
        let index = u16::try_from(shards.len() - 1).expect("fewer than 65,536 workers");
        (index, receiver)
    }

    pub(super) fn broadcast(&self, message: impl Fn() -> Message) {
        for shard in self.shards.read().unwrap_or_else(PoisonError::into_inner).iter() {
            // A stopped worker has no connections any more.
            let _ = shard.send(message());
        }
    }

    pub(super) fn send(&self, to: ConnectionId, message: Message) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = shards.get(usize::from(to.shard)) {
            let _ = shard.send(message);
        }
    }
}

impl AfterCommit for Hub {
    fn committed(&self, commit: &Commit) {
        self.publish(commit.events.iter().map(|event| {
            let offset = u64::try_from(event.offset.0).unwrap_or(0);
            (event.channel.clone(), event.stream, offset, event.body.clone())
        }));
    }
}
