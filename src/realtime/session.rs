//! What a connection says and is told: from connect to the last command.
//!
//! Commands are executed as they come and answered as their answers come, with two exceptions: nothing overtakes
//! `connect`, and nothing overtakes a subscription of the channel that it is about. What must wait stops the socket
//! from being read.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    commands,
    connection::Connection,
    disconnect::close,
    greeting,
    port::{Identity, Refusal},
    presence,
    protocol::{self, Command, Empty, Reply, SubscribeResult},
    recovery,
    shard::{Shard, TICKS_PER_SECOND},
    subscription::{Subscription, Target},
};
use crate::base::{clock::Timestamp, secret::Secret};

/// What happens on the connection's shard when an answer is there.
pub(super) type Continuation = Box<dyn FnOnce(&Rc<Shard>, &Rc<Connection>) + Send>;

/// Commands that may wait for others before the connection is taken for a flood.
const WAITING_COMMANDS: usize = 4_096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
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
    pub(super) phase: Phase,
    /// Who it is, once connected.
    pub(super) identity: Option<Arc<Identity>>,
    /// All places in channels.
    pub(super) subscriptions: Vec<Rc<Subscription>>,
    /// Questions to the backend under way.
    pub(super) in_flight: usize,
    /// A page of a recovery is being read.
    pub(super) reading_page: bool,
    next_key: u32,
    /// End of the token.
    pub(super) expires_at: Option<Timestamp>,
    /// What an idle connection does not need.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
pub(super) struct Rare {
    pub(super) arrival: Arrival,
    pub(super) secret: String,
    waiting: VecDeque<Command>,
    pub(super) connecting: Option<Connecting>,
    pages: VecDeque<u32>,
}

/// What the HTTP request that opened the connection said.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    pub(super) api_key: Option<Secret>,
    pub(super) address: Option<IpAddr>,
}

/// A connect reply in the making.
pub(super) struct Connecting {
    pub(super) id: u32,
    pub(super) data: Bytes,
    pub(super) outstanding: usize,
    pub(super) results: BTreeMap<String, SubscribeResult>,
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

    pub(super) fn rare(&mut self) -> &mut Rare {
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

/// Takes a command (or control frame) out of the connection's allowance, which refills with time. True when there was none left.
pub(super) fn passes_rate(shard: &Shard, connection: &Connection) -> bool {
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
            greeting::connect(shard, connection, id, request);
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
            commands::publish(shard, connection, id, request);
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
            commands::history(shard, connection, id, request);
        }
        Command { rpc: Some(request), .. } => {
            metrics.command("rpc");
            commands::rpc(shard, connection, id, request);
        }
        Command { refresh: Some(request), .. } => {
            metrics.command("refresh");
            greeting::refresh(shard, connection, id, &request.token);
        }
        Command { sub_refresh: Some(request), .. } => {
            metrics.command("sub_refresh");
            commands::sub_refresh(shard, connection, id, &request);
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

/// Who it is, while connected.
pub(super) fn identity(connection: &Connection) -> Option<Arc<Identity>> {
    connection.session.borrow().identity.clone()
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
