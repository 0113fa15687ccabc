//! What a connection says and is told: from connect to the last command.
//!
//! Commands are executed as they come and answered as their answers come, with two exceptions: nothing overtakes
//! `connect`, and nothing overtakes a subscription of the channel that it is about. What must wait stops the socket
//! from being read.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde::Deserialize;

use super::{
    connection::{Connection, Life},
    disconnect::{close, error, unsubscribe},
    namespaces::{Namespaces, Wish},
    port::{ConnectGrant, Direction, Hello, Identity, PageRequest, RefreshGrant, Refusal, SubscribeAsk},
    presence,
    protocol::{
        self, ClientInfo, Command, ConnectRequest, ConnectResult, Empty, Encoding, HistoryRequest,
        HistoryResult, Publication, PublishRequest, Push, RefreshResult, Reply, RpcRequest, RpcResult,
        SubRefreshRequest, SubRefreshResult, SubscribePush, SubscribeRequest, SubscribeResult,
    },
    recovery,
    shard::{Shard, TICKS_PER_SECOND},
    subscription::{Subscription, Target},
};
use crate::{
    base::{clock::Timestamp, secret::Secret},
    config::Namespace,
};

/// What happens on the connection's shard when an answer is there.
pub(super) type Continuation = Box<dyn FnOnce(&Rc<Shard>, &Rc<Connection>) + Send>;

/// Commands that may wait for others before the connection is taken for a flood.
const WAITING_COMMANDS: usize = 4_096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing was said yet.
    #[default]
    New,
    /// `connect` is being answered.
    Connecting,
    /// `connect` was refused; whatever follows is an error.
    Refused,
    /// Works.
    Ready,
}

/// See the module.
#[derive(Default)]
pub(super) struct Session {
    phase: Phase,
    /// Who it is, once connected.
    pub(super) identity: Option<Arc<Identity>>,
    /// All places in channels.
    pub(super) subscriptions: Vec<Rc<Subscription>>,
    /// Questions to the backend under way.
    pub(super) in_flight: usize,
    /// A page of a recovery is being read.
    pub(super) reading_page: bool,
    next_key: u32,
    expires_at: Option<Timestamp>,
    /// What an idle connection does not need.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    arrival: Arrival,
    secret: String,
    waiting: VecDeque<Command>,
    connecting: Option<Connecting>,
    pages: VecDeque<u32>,
}

/// What the HTTP request that opened the connection said.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    pub(super) api_key: Option<Secret>,
    pub(super) address: Option<IpAddr>,
}

struct Connecting {
    id: u32,
    data: Bytes,
    outstanding: usize,
    results: BTreeMap<String, SubscribeResult>,
}

impl Session {
    /// Notes what the opening request said; `secret` is the session of an emulated connection.
    pub(super) fn opened(&mut self, arrival: Arrival, secret: String) {
        self.rare = Some(Box::new(Rare { arrival, secret, ..Rare::default() }));
    }

    /// True while nothing more should be read from the socket.
    pub(super) fn is_held_back(&self, max_in_flight: usize) -> bool {
        self.in_flight >= max_in_flight || self.rare.as_ref().is_some_and(|rare| !rare.waiting.is_empty())
    }

    /// The place in a channel.
    pub(super) fn find(&self, channel: &str) -> Option<Rc<Subscription>> {
        self.subscriptions.iter().find(|place| place.channel.name() == channel).cloned()
    }

    /// The place of that key.
    pub(super) fn find_key(&self, key: u32) -> Option<Rc<Subscription>> {
        self.subscriptions.iter().find(|place| place.key == key).cloned()
    }

    /// A key for a new place.
    pub(super) fn new_key(&mut self) -> u32 {
        self.next_key += 1;
        self.next_key
    }

    /// The places that want a page, in the order of their turns.
    pub(super) fn pages(&mut self) -> &mut VecDeque<u32> {
        &mut self.rare().pages
    }

    /// Takes the next place that wants a page.
    pub(super) fn next_page(&mut self) -> Option<u32> {
        self.rare.as_mut()?.pages.pop_front()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Forgets what is not needed while idle.
    fn settle(&mut self) {
        let idle = |rare: &Rare| {
            rare.waiting.is_empty()
                && rare.connecting.is_none()
                && rare.pages.is_empty()
                && rare.secret.is_empty()
        };
        if self.phase == Phase::Ready && self.rare.as_deref().is_some_and(idle) {
            self.rare = None;
        }
    }

    fn must_wait(&self, command: &Command, max_in_flight: usize) -> bool {
        if is_pong(command) {
            return false;
        }
        if self.phase == Phase::Connecting || self.in_flight >= max_in_flight {
            return true;
        }
        let channel = match command {
            Command { subscribe: Some(request), .. } => &request.channel,
            Command { unsubscribe: Some(request), .. }
            | Command { presence: Some(request), .. }
            | Command { presence_stats: Some(request), .. } => &request.channel,
            _ => return false,
        };
        self.find(channel).is_some_and(|place| !place.is_established())
    }
}

fn is_pong(command: &Command) -> bool {
    *command == Command::default()
}

/// Takes one frame of commands.
pub(super) fn receive(shard: &Rc<Shard>, connection: &Rc<Connection>, frame: &[u8]) {
    shard.note_heard(connection);
    let options = &shard.hub.options;
    let mut empty = true;
    for command in protocol::commands(connection.wire.encoding(), frame) {
        empty = false;
        let Ok(command) = command else { return shard.close(connection, close::BAD_REQUEST) };
        if !connection.is_open() {
            return;
        }
        if passes_rate(shard, connection) {
            return shard.close(connection, close::TOO_MANY_REQUESTS);
        }
        let wait = {
            let mut session = connection.session.borrow_mut();
            let queued = session.rare.as_ref().map_or(0, |rare| rare.waiting.len());
            if queued >= WAITING_COMMANDS {
                drop(session);
                return shard.close(connection, close::TOO_MANY_REQUESTS);
            }
            if queued > 0 && !is_pong(&command) || session.must_wait(&command, options.max_in_flight) {
                session.rare().waiting.push_back(command);
                None
            } else {
                Some(command)
            }
        };
        if let Some(command) = wait {
            execute(shard, connection, command);
        }
    }
    if empty {
        shard.close(connection, close::BAD_REQUEST);
    }
}

/// Takes a command out of the connection's allowance, which refills with time. True when there was none left.
fn passes_rate(shard: &Shard, connection: &Connection) -> bool {
    let options = &shard.hub.options;
    let now = shard.tick_after(Duration::ZERO);
    let (last, left) = connection.rate.get();
    let most = options.commands_per_second.saturating_add(options.command_burst);
    let left = if last == 0 {
        most
    } else {
        let refill = u64::from(now.saturating_sub(last)) * u64::from(options.commands_per_second)
            / u64::from(TICKS_PER_SECOND);
        u32::try_from(u64::from(left) + refill).unwrap_or(u32::MAX).min(most)
    };
    connection.rate.set((now, left.saturating_sub(1)));
    left == 0
}

/// Goes on after an answer: with commands that waited, with reading.
pub(super) fn answered(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    {
        let mut session = connection.session.borrow_mut();
        session.in_flight = session.in_flight.saturating_sub(1);
    }
    loop {
        let next = {
            let mut session = connection.session.borrow_mut();
            let limit = shard.hub.options.max_in_flight;
            let waits = match session.rare.as_ref().and_then(|rare| rare.waiting.front()) {
                Some(command) => session.must_wait(command, limit),
                None => true,
            };
            if waits { None } else { session.rare().waiting.pop_front() }
        };
        match next {
            Some(command) if connection.is_open() => execute(shard, connection, command),
            _ => break,
        }
    }
    connection.session.borrow_mut().settle();
    connection.wake();
}

fn execute(shard: &Rc<Shard>, connection: &Rc<Connection>, command: Command) {
    let phase = connection.session.borrow().phase;
    let id = command.id;
    let pong = is_pong(&command);
    let expected = match phase {
        Phase::New => command.connect.is_some(),
        Phase::Ready => command.connect.is_none(),
        Phase::Connecting | Phase::Refused => false,
    };
    if !expected || id == 0 && command.send.is_none() && !pong {
        return shard.close(connection, close::BAD_REQUEST);
    }
    if pong {
        connection.pong_by.set(0);
        return;
    }
    let metrics = &shard.hub.metrics;
    match command {
        Command { connect: Some(request), .. } => {
            metrics.command("connect");
            connect(shard, connection, id, request);
        }
        Command { subscribe: Some(request), .. } => {
            metrics.command("subscribe");
            if request.channel.is_empty() {
                return shard.close(connection, close::BAD_REQUEST);
            }
            recovery::begin(shard, connection, request, Target::Command(id));
        }
        Command { unsubscribe: Some(request), .. } => {
            metrics.command("unsubscribe");
            let place = connection.session.borrow().find(&request.channel);
            if let Some(place) = place {
                recovery::remove(shard, &place);
            }
            shard.reply(connection, Reply { id, unsubscribe: Some(Empty {}), ..Reply::default() });
        }
        Command { publish: Some(request), .. } => {
            metrics.command("publish");
            publish(shard, connection, id, request);
        }
        Command { presence: Some(request), .. } => {
            metrics.command("presence");
            presence::answer(shard, connection, id, &request.channel, false);
        }
        Command { presence_stats: Some(request), .. } => {
            metrics.command("presence_stats");
            presence::answer(shard, connection, id, &request.channel, true);
        }
        Command { history: Some(request), .. } => {
            metrics.command("history");
            history(shard, connection, id, request);
        }
        Command { rpc: Some(request), .. } => {
            metrics.command("rpc");
            rpc(shard, connection, id, request);
        }
        Command { refresh: Some(request), .. } => {
            metrics.command("refresh");
            refresh(shard, connection, id, &request.token);
        }
        Command { sub_refresh: Some(request), .. } => {
            metrics.command("sub_refresh");
            sub_refresh(shard, connection, id, &request);
        }
        // Nobody listens to messages without an answer, but they show that the client lives.
        Command { send: Some(_), .. } => metrics.command("send"),
        Command { ping: Some(Empty {}), .. } => {
            metrics.command("ping");
            shard.reply(connection, Reply { id, ping: Some(Empty {}), ..Reply::default() });
        }
        _ => shard.close(connection, close::BAD_REQUEST),
    }
}

/// Refuses a command.
pub(super) fn refuse(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, refusal: Refusal) {
    match refusal {
        Refusal::Error(error) => {
            shard.reply(connection, Reply { id, error: Some(error.into()), ..Reply::default() });
        }
        Refusal::Disconnect(why) => shard.close(connection, why),
    }
}

fn connect(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: ConnectRequest) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Data {
        api_key: Option<String>,
    }
    let arrival = {
        let mut session = connection.session.borrow_mut();
        session.phase = Phase::Connecting;
        std::mem::take(&mut session.rare().arrival)
    };
    let ConnectRequest { token, data, subs, name, version, headers } = request;
    let header = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("x-helplightning-api-key"));
    let api_key = arrival.api_key.or_else(|| header.map(|(_, value)| Secret::new(value))).or_else(|| {
        let data = serde_json::from_slice::<Data>(&data).unwrap_or_default();
        data.api_key.map(Secret::new)
    });
    let now = shard.hub.clock.now();
    if let Some(outcome) = shard.hub.namespaces.greet(&token, now) {
        return greeted(shard, connection, id, subs, outcome);
    }
    let hello = Hello {
        connection: connection.id,
        token: Secret::new(token),
        api_key,
        data,
        program: (name, version),
        transport: connection.wire.transport(),
        address: arrival.address,
    };
    let question = shard.hub.backend().connect(hello);
    shard.ask(connection, question, move |shard, connection, answer| {
        greeted(shard, connection, id, subs, answer);
    });
}

fn greeted(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    id: u32,
    subs: HashMap<String, SubscribeRequest>,
    answer: Result<ConnectGrant, Refusal>,
) {
    match answer {
        Ok(grant) => connected(shard, connection, id, subs, grant),
        Err(refusal) => {
            connection.session.borrow_mut().phase = Phase::Refused;
            refuse(shard, connection, id, refusal);
        }
    }
}

fn connected(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    id: u32,
    mut subs: HashMap<String, SubscribeRequest>,
    grant: ConnectGrant,
) {
    if !connection.is_open() {
        return;
    }
    let ConnectGrant { identity, data, channels, expires_at } = grant;
    if expires_at.is_some_and(|at| at <= shard.hub.clock.now()) {
        connection.session.borrow_mut().phase = Phase::Refused;
        return refuse(shard, connection, id, error::TOKEN_EXPIRED.into());
    }
    if let Some(person) = identity.caller.as_ref().and_then(|caller| caller.person) {
        shard.hub.arrived(person);
    }
    {
        let mut session = connection.session.borrow_mut();
        session.identity = Some(Arc::new(identity));
        session.expires_at = expires_at;
        let outstanding = channels.len();
        session.rare().connecting = Some(Connecting { id, data, outstanding, results: BTreeMap::new() });
    }
    if channels.len() > shard.hub.options.max_subscriptions {
        return shard.close(connection, close::CHANNEL_LIMIT);
    }
    if channels.is_empty() {
        return welcome(shard, connection);
    }
    for channel in channels {
        let mut request = subs.remove(&channel).unwrap_or_default();
        request.flag &= !SubscribeRequest::COMPACTION;
        request.channel = channel;
        recovery::begin(shard, connection, request, Target::Connect);
    }
}

/// Hands the outcome of a subscription to whoever waits for it. True when the client knows now.
pub(super) fn subscribed(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    channel: &str,
    target: Target,
    outcome: Result<SubscribeResult, Refusal>,
) -> bool {
    match (target, outcome) {
        (Target::Command(id), Ok(result)) => {
            shard.reply(connection, Reply { id, subscribe: Some(result), ..Reply::default() });
            true
        }
        (Target::Command(id), Err(refusal)) => {
            refuse(shard, connection, id, refusal);
            true
        }
        (Target::Server, Ok(result)) => {
            let SubscribeResult { recoverable, epoch, offset, positioned, data, .. } = result;
            let subscribe = Some(SubscribePush { recoverable, epoch, offset, positioned, data });
            let push = Some(Push { channel: channel.to_owned(), subscribe, ..Push::default() });
            shard.reply(connection, Reply { push, ..Reply::default() });
            true
        }
        (Target::Server, Err(_)) => true,
        (Target::Connect, outcome) => {
            let outstanding = {
                let mut session = connection.session.borrow_mut();
                let Some(connecting) = session.rare().connecting.as_mut() else { return true };
                connecting.outstanding -= 1;
                match outcome {
                    Ok(result) => drop(connecting.results.insert(channel.to_owned(), result)),
                    Err(Refusal::Error(error)) if !error.temporary => {}
                    Err(refusal) => {
                        let id = connecting.id;
                        session.rare().connecting = None;
                        session.phase = Phase::Refused;
                        drop(session);
                        refuse(shard, connection, id, refusal);
                        return true;
                    }
                }
                connecting.outstanding
            };
            if outstanding == 0 {
                welcome(shard, connection);
            }
            false
        }
    }
}

/// Sends the connect reply and lets the server-side subscriptions begin.
fn welcome(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let options = &shard.hub.options;
    let (reply, places) = {
        let mut session = connection.session.borrow_mut();
        let Some(connecting) = session.rare().connecting.take() else { return };
        session.phase = Phase::Ready;
        let secret = session.rare().secret.clone();
        let (expires, ttl) = time_left(shard, session.expires_at);
        let result = ConnectResult {
            client: connection.id.client.to_string(),
            version: options.version.clone(),
            expires,
            ttl,
            data: connecting.data,
            subs: connecting.results,
            ping: u32::try_from(options.ping_interval.as_secs()).unwrap_or(u32::MAX).max(1),
            pong: true,
            node: if secret.is_empty() { String::new() } else { options.node.clone() },
            session: secret,
        };
        let reply = Reply { id: connecting.id, connect: Some(result), ..Reply::default() };
        (reply, session.subscriptions.clone())
    };
    shard.reply(connection, reply);
    connection.ping_at.set(shard.tick_after(options.ping_interval));
    set_timer(shard, connection);
    for place in places.iter().filter(|place| place.server_side) {
        recovery::join(shard, place);
    }
}

/// Whether something ends, and in how many seconds.
pub(super) fn time_left(shard: &Shard, expires_at: Option<Timestamp>) -> (bool, u32) {
    match expires_at {
        Some(at) => {
            let left = at.since(shard.hub.clock.now()).as_secs().max(1);
            (true, u32::try_from(left).unwrap_or(u32::MAX))
        }
        None => (false, 0),
    }
}

fn is_json(connection: &Connection, data: &[u8]) -> bool {
    connection.wire.encoding() == Encoding::Json && !data.is_empty()
        || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

fn identity(connection: &Connection) -> Option<Arc<Identity>> {
    connection.session.borrow().identity.clone()
}

fn publish(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: PublishRequest) {
    let Some(identity) = identity(connection) else { return };
    if request.channel.is_empty() {
        return shard.close(connection, close::BAD_REQUEST);
    }
    if request.kind != 0 {
        return refuse(shard, connection, id, error::NOT_AVAILABLE.into());
    }
    if request.channel.len() > shard.hub.options.max_channel_bytes || !is_json(connection, &request.data) {
        return refuse(shard, connection, id, error::BAD_REQUEST.into());
    }
    if let Some(namespace) = shard.hub.namespaces.of(&request.channel) {
        return relay(shard, connection, id, &identity, namespace, request);
    }
    let question = shard.hub.backend().publish(connection.id, identity, request.channel, request.data);
    shard.ask(connection, question, move |shard, connection, answer| match answer {
        Ok(()) => shard.reply(connection, Reply { id, publish: Some(Empty {}), ..Reply::default() }),
        Err(refusal) => refuse(shard, connection, id, refusal),
    });
}

/// Publishes into a channel of a namespace.
fn relay(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    id: u32,
    identity: &Identity,
    namespace: &Namespace,
    request: PublishRequest,
) {
    let (hub, namespaces) = (&shard.hub, &shard.hub.namespaces);
    let place = connection.session.borrow().find(&request.channel);
    if let Err(refusal) = namespaces.check(namespace, identity, Wish::Publish, place.is_some()) {
        return refuse(shard, connection, id, refusal);
    }
    let info = ClientInfo {
        user: identity.user.clone(),
        client: connection.id.client.to_string(),
        conn_info: identity.info.clone(),
        chan_info: place.map(|place| place.facts.borrow().info.clone()).unwrap_or_default(),
    };
    let publication = Publication { data: request.data, info: Some(info), ..Publication::default() };
    let key = Namespaces::key(identity.organization, &request.channel);
    namespaces.publish(hub, namespace, &key, publication, (namespace.delta_publish, true));
    shard.reply(connection, Reply { id, publish: Some(Empty {}), ..Reply::default() });
}

fn sub_refresh(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: &SubRefreshRequest) {
    let Some(identity) = identity(connection) else { return };
    let place = connection.session.borrow().find(&request.channel);
    let Some(place) = place else {
        return refuse(shard, connection, id, error::PERMISSION_DENIED.into());
    };
    if !place.facts.borrow().relayed || request.kind != 0 {
        return refuse(shard, connection, id, error::NOT_AVAILABLE.into());
    }
    let (namespaces, now) = (&shard.hub.namespaces, shard.hub.clock.now());
    match namespaces.refresh_subscription(&identity, &request.channel, &request.token, now) {
        Ok(expires_at) => {
            place.facts.borrow_mut().expires_at = expires_at;
            let (expires, ttl) = time_left(shard, expires_at);
            let sub_refresh = Some(SubRefreshResult { expires, ttl });
            shard.reply(connection, Reply { id, sub_refresh, ..Reply::default() });
            set_timer(shard, connection);
        }
        Err(refusal) => refuse(shard, connection, id, refusal),
    }
}

fn rpc(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: RpcRequest) {
    let Some(identity) = identity(connection) else { return };
    if !request.data.is_empty() && !is_json(connection, &request.data) {
        return refuse(shard, connection, id, error::BAD_REQUEST.into());
    }
    let question = shard.hub.backend().rpc(connection.id, identity, request.method, request.data);
    shard.ask(connection, question, move |shard, connection, answer| match answer {
        Ok(data) => shard.reply(connection, Reply { id, rpc: Some(RpcResult { data }), ..Reply::default() }),
        Err(refusal) => refuse(shard, connection, id, refusal),
    });
}

fn refresh(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, token: &str) {
    let Some(before) = identity(connection) else { return };
    if token.is_empty() {
        return shard.close(connection, close::BAD_REQUEST);
    }
    let now = shard.hub.clock.now();
    if let Some(answer) = shard.hub.namespaces.refresh(token, now) {
        return refreshed(shard, connection, id, &before, answer);
    }
    let question = shard.hub.backend().refresh(connection.id, before.clone(), Secret::new(token));
    shard.ask(connection, question, move |shard, connection, answer| {
        refreshed(shard, connection, id, &before, answer);
    });
}

fn refreshed(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    id: u32,
    before: &Identity,
    answer: Result<RefreshGrant, Refusal>,
) {
    let grant = match answer {
        Ok(grant) => grant,
        Err(refusal) => return refuse(shard, connection, id, refusal),
    };
    if grant.identity.user != before.user || grant.identity.organization != before.organization {
        return shard.close(connection, close::INVALID_TOKEN);
    }
    if grant.expires_at.is_some_and(|at| at <= shard.hub.clock.now()) {
        return refuse(shard, connection, id, error::TOKEN_EXPIRED.into());
    }
    {
        let mut session = connection.session.borrow_mut();
        session.identity = Some(Arc::new(grant.identity));
        session.expires_at = grant.expires_at;
    }
    let (expires, ttl) = time_left(shard, grant.expires_at);
    let client = connection.id.client.to_string();
    let result = RefreshResult { client, version: shard.hub.options.version.clone(), expires, ttl };
    shard.reply(connection, Reply { id, refresh: Some(result), ..Reply::default() });
    set_timer(shard, connection);
}

fn history(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: HistoryRequest) {
    let Some(identity) = identity(connection) else { return };
    if request.channel.is_empty() {
        return shard.close(connection, close::BAD_REQUEST);
    }
    if request.channel.len() > shard.hub.options.max_channel_bytes {
        return refuse(shard, connection, id, error::BAD_REQUEST.into());
    }
    let hub = shard.hub.clone();
    if let Some(namespace) = hub.namespaces.of(&request.channel) {
        let subscribed = connection.session.borrow().find(&request.channel).is_some();
        let (limits, now) = ((hub.options.history_page, hub.options.page_bytes), hub.clock.now());
        let allowed = hub.namespaces.check(namespace, &identity, Wish::History, subscribed);
        let result = allowed
            .and_then(|()| hub.namespaces.history(namespace, identity.organization, &request, limits, now));
        return match result {
            Ok(result) => shard.reply(connection, Reply { id, history: Some(result), ..Reply::default() }),
            Err(refusal) => refuse(shard, connection, id, refusal),
        };
    }
    let ask = SubscribeAsk {
        connection: connection.id,
        identity,
        channel: request.channel.as_str().into(),
        token: Secret::default(),
        data: Bytes::new(),
        server_side: false,
    };
    let granted = hub.backend().subscribe(ask);
    let question = Box::pin(async move {
        let grant = granted.await?;
        let Some(stream) = grant.stream else { return Err(error::NOT_AVAILABLE.into()) };
        let since = request.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && *since.epoch != *grant.epoch) {
            return Err(Refusal::Error(error::UNRECOVERABLE_POSITION));
        }
        let wanted = usize::try_from(request.limit).unwrap_or(usize::MAX).min(hub.options.history_page);
        let floor = grant.visible_from.max(grant.first_offset).max(1);
        let since = since.map(|since| since.offset);
        let (from, direction) = if request.reverse {
            (
                since.unwrap_or(grant.head.saturating_add(1)).min(grant.head.saturating_add(1)),
                Direction::Before,
            )
        } else {
            (since.unwrap_or(0).min(grant.head).max(floor - 1), Direction::After)
        };
        let mut publications = Vec::new();
        if wanted > 0 && grant.head >= floor {
            let bytes = hub.options.page_bytes;
            let page = PageRequest { stream, from, direction, limit: wanted, bytes };
            let events = hub.backend().read(page).await?.events;
            let visible = events.into_iter().filter(|(offset, _)| *offset >= grant.visible_from).take(wanted);
            let visible =
                visible.map(|(offset, data)| Publication { data, offset, ..Publication::default() });
            publications = within(bytes, visible);
        }
        Ok(HistoryResult { publications, epoch: grant.epoch.to_string(), offset: grant.head })
    });
    shard.ask(connection, question, move |shard, connection, answer| match answer {
        Ok(result) => shard.reply(connection, Reply { id, history: Some(result), ..Reply::default() }),
        Err(refusal) => refuse(shard, connection, id, refusal),
    });
}

/// As many publications as fit into `bytes`, at least one.
pub(super) fn within(bytes: usize, publications: impl Iterator<Item = Publication>) -> Vec<Publication> {
    let mut total = 0;
    let mut fitting = Vec::new();
    for publication in publications {
        total += publication.data.len();
        if total > bytes && !fitting.is_empty() {
            break;
        }
        fitting.push(publication);
    }
    fitting
}

/// The server decided when the connection's token ends; `None` = it has ended.
pub(super) fn expire(shard: &Rc<Shard>, connection: &Rc<Connection>, at: Option<Timestamp>) {
    if at.is_none() {
        return shard.close(connection, close::EXPIRED);
    }
    connection.session.borrow_mut().expires_at = at;
    set_timer(shard, connection);
}

/// Gives back everything that the connection holds outside its own memory. The transport ends by itself.
pub(super) fn tear_down(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let (places, identity, secret) = {
        let mut session = connection.session.borrow_mut();
        let secret = session.rare.take().map(|rare| rare.secret).unwrap_or_default();
        (session.subscriptions.clone(), session.identity.clone(), secret)
    };
    for place in &places {
        recovery::remove(shard, place);
    }
    connection.session.borrow_mut().identity = None;
    if !secret.is_empty() {
        shard.hub.sessions.remove(&secret);
    }
    if let Some(identity) = identity {
        if let Some(person) = identity.caller.as_ref().and_then(|caller| caller.person) {
            shard.hub.left(person);
        }
        shard.hub.backend().disconnected(connection.id, identity);
    }
}

/// The connection's timer fired.
pub(super) fn on_timer(shard: &Rc<Shard>, connection: &Rc<Connection>, now: u32) {
    let options = &shard.hub.options;
    if !connection.is_open() {
        if now >= connection.gone_at.get() {
            connection.life.set(Life::Dead);
            connection.wake();
        } else {
            shard.schedule(connection, connection.gone_at.get());
        }
        return;
    }
    let (phase, expires_at) = {
        let session = connection.session.borrow();
        (session.phase, session.expires_at)
    };
    match phase {
        Phase::New | Phase::Refused if now >= connection.ping_at.get() => {
            return shard.close(connection, close::STALE);
        }
        Phase::Connecting => connection.ping_at.set(shard.tick_after(options.stale_timeout)),
        Phase::Ready => {
            let pong_by = connection.pong_by.get();
            if pong_by != 0 && now >= pong_by {
                return shard.close(connection, close::NO_PONG);
            }
            if expires_at.is_some_and(|at| shard.hub.clock.now() >= at.plus(options.expiry_grace)) {
                return shard.close(connection, close::EXPIRED);
            }
            end_expired_subscriptions(shard, connection);
            if now >= connection.ping_at.get() {
                shard.push(connection, connection.wire.ping());
                if pong_by == 0 {
                    connection.pong_by.set(shard.tick_after(options.pong_timeout));
                }
                let leased = connection.lease.get();
                let pause = if leased { options.lease_ping_interval } else { options.ping_interval };
                connection.ping_at.set(shard.tick_after(pause));
            }
        }
        Phase::New | Phase::Refused => {}
    }
    set_timer(shard, connection);
}

fn end_expired_subscriptions(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let latest = shard.hub.clock.now().minus(shard.hub.options.expiry_grace);
    let over = |place: &Rc<Subscription>| place.facts.borrow().expires_at.is_some_and(|at| at <= latest);
    let places: Vec<_> =
        connection.session.borrow().subscriptions.iter().filter(|one| over(one)).cloned().collect();
    for place in places {
        recovery::end(shard, &place, unsubscribe::EXPIRED);
    }
}

/// Sets the timer to whatever comes first.
fn set_timer(shard: &Shard, connection: &Connection) {
    let mut due = connection.ping_at.get();
    if connection.pong_by.get() != 0 {
        due = due.min(connection.pong_by.get());
    }
    let session = connection.session.borrow();
    let ends = session.subscriptions.iter().filter_map(|place| place.facts.borrow().expires_at);
    if let Some(at) = ends.chain(session.expires_at).min() {
        let left = at.plus(shard.hub.options.expiry_grace).since(shard.hub.clock.now());
        due = due.min(shard.tick_after(left));
    }
    shard.schedule(connection, due);
}
