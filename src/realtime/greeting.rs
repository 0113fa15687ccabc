//! `connect`, and what keeps a connection's right to be there: its reply, the tokens that follow.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
};

use serde::Deserialize;

use super::{
    connection::Connection,
    disconnect::{Disconnect, close, error},
    port::{ConnectGrant, Hello, Identity, RefreshGrant, Refusal},
    protocol::{
        ConnectRequest, ConnectResult, Push, RefreshResult, Reply, SubscribePush, SubscribeRequest,
        SubscribeResult,
    },
    recovery,
    session::{Connecting, Phase, identity, refuse},
    shard::Shard,
    subscription::Target,
    sweeps::Mark,
    timers::{set_timer, time_left},
};
use crate::base::{clock::Timestamp, secret::Secret};

pub(super) fn connect(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: ConnectRequest) {
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
    let mark = shard.sweeps.borrow().mark();
    let question = shard.hub.backend().connect(hello);
    shard.ask(connection, question, move |shard, connection, answer| {
        if let Some(end) =
            answer.as_ref().ok().and_then(|grant| swept(shard, connection, &mark, &grant.identity))
        {
            return shard.close(connection, end);
        }
        greeted(shard, connection, id, subs, answer);
    });
}

/// How the connection ends if that was ordered for this identity since the mark.
fn swept(shard: &Shard, connection: &Connection, mark: &Mark, identity: &Identity) -> Option<Disconnect> {
    let sweeps = shard.sweeps.borrow();
    let Some(mut orders) = sweeps.since(mark) else { return Some(close::FORCE_RECONNECT) };
    orders.find(|(selector, _)| selector.matches(connection.id, identity)).map(|(_, end)| *end)
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
    let identity = Arc::new(identity);
    shard.hub.backend().connected(connection.id, Arc::clone(&identity));
    {
        let mut session = connection.session.borrow_mut();
        session.identity = Some(identity);
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

pub(super) fn refresh(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, token: &str) {
    let Some(before) = identity(connection) else { return };
    if token.is_empty() {
        return shard.close(connection, close::BAD_REQUEST);
    }
    let now = shard.hub.clock.now();
    if let Some(answer) = shard.hub.namespaces.refresh(token, now) {
        return refreshed(shard, connection, id, &before, answer);
    }
    let mark = shard.sweeps.borrow().mark();
    let question = shard.hub.backend().refresh(connection.id, before.clone(), Secret::new(token));
    shard.ask(connection, question, move |shard, connection, answer| {
        if let Some(end) =
            answer.as_ref().ok().and_then(|grant| swept(shard, connection, &mark, &grant.identity))
        {
            return shard.close(connection, end);
        }
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

/// The server decided when the connection's token ends; `None` = it has ended.
pub(super) fn expire(shard: &Rc<Shard>, connection: &Rc<Connection>, at: Option<Timestamp>) {
    if at.is_none() {
        return shard.close(connection, close::EXPIRED);
    }
    connection.session.borrow_mut().expires_at = at;
    set_timer(shard, connection);
}
