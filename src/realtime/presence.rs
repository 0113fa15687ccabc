//! Who is in a channel: asked of all shards when somebody wants to know, so that it costs nothing while nobody does.

use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    connection::Connection,
    disconnect::error,
    hub::{Hub, Message},
    namespaces::{Namespaces, Wish},
    port::Refusal,
    protocol::{ClientInfo, PresenceResult, PresenceStatsResult, Push, Reply},
    session,
    shard::Shard,
    subscription::{Channel, Subscription},
};

/// A question to all shards; it is answered when the last copy is gone.
#[derive(Clone)]
pub(super) struct Roll(mpsc::UnboundedSender<Vec<ClientInfo>>);

/// Where the answers come in.
pub(super) struct Present(mpsc::UnboundedReceiver<Vec<ClientInfo>>);

impl Roll {
    pub(super) fn call() -> (Self, Present) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Present(receiver))
    }

    /// Answers for one shard.
    pub(super) fn answer(&self, channel: &Channel) {
        let places = channel.places.borrow();
        let _ = self
            .0
            .send(places.iter().filter(|place| place.is_established()).map(|place| info(place)).collect());
    }
}

impl Present {
    pub(super) async fn collect(mut self) -> Vec<ClientInfo> {
        let mut all = Vec::new();
        while let Some(some) = self.0.recv().await {
            all.extend(some);
        }
        all
    }
}

/// A subscriber as others see it.
pub(super) fn info(place: &Subscription) -> ClientInfo {
    let session = place.connection.session.borrow();
    let (user, conn_info) = session
        .identity
        .as_ref()
        .map_or_else(Default::default, |identity| (identity.user.clone(), identity.info.clone()));
    ClientInfo {
        user,
        client: place.connection.id.client.to_string(),
        conn_info,
        chan_info: place.facts.borrow().info.clone(),
    }
}

/// Tells every shard that a subscriber came or went, where the channel announces that.
pub(super) fn announce(hub: &Hub, place: &Subscription, joined: bool) {
    if place.facts.borrow().join_leave {
        let info = Arc::new(info(place));
        let channel = place.channel.key.clone();
        hub.broadcast(|| Message::Presence { channel: channel.clone(), info: info.clone(), joined });
    }
}

/// Queues joins and leaves to the local subscribers that asked for them, except to whom they are about.
pub(super) fn deliver(shard: &Rc<Shard>, channel: &Channel, about: &ClientInfo, joined: bool) {
    let presence = Some(super::protocol::Presence { info: Some(about.clone()) });
    let mut push = Push { channel: channel.name().to_owned(), ..Push::default() };
    *if joined { &mut push.join } else { &mut push.leave } = presence;
    let reply = Reply { push: Some(push), ..Reply::default() };
    for place in channel.places.borrow().iter() {
        if place.wants_joins && place.is_established() {
            shard.push(&place.connection, place.connection.wire.reply(&reply));
        }
    }
}

/// Answers `presence` (or `presence_stats` with `counts`).
pub(super) fn answer(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, channel: &str, counts: bool) {
    let (key, limit) = match audience(shard, connection, channel) {
        Ok((key, named)) if named || counts => (key, usize::MAX),
        Ok((key, _)) => (key, shard.hub.options.presence_limit),
        Err(refusal) => return session::refuse(shard, connection, id, refusal),
    };
    let hub = shard.hub.clone();
    let roll = Box::pin(async move { Ok::<_, Refusal>(hub.presence(&key).await) });
    shard.ask(connection, roll, move |shard, connection, present| match present {
        Ok(present) if present.len() > limit => {
            session::refuse(shard, connection, id, error::NOT_AVAILABLE.into());
        }
        Ok(present) if counts => {
            let presence_stats = Some(count(&present));
            shard.reply(connection, Reply { id, presence_stats, ..Reply::default() });
        }
        Ok(present) => {
            let presence = Some(PresenceResult { presence: by_client(present) });
            shard.reply(connection, Reply { id, presence, ..Reply::default() });
        }
        Err(refusal) => session::refuse(shard, connection, id, refusal),
    });
}

/// The key of a channel whose presence this connection may see, and whether everybody in it is named.
fn audience(shard: &Shard, connection: &Connection, channel: &str) -> Result<(Arc<str>, bool), Refusal> {
    let (place, identity) = {
        let session = connection.session.borrow();
        (session.find(channel).filter(|place| place.is_established()), session.identity.clone())
    };
    let identity = identity.ok_or(error::UNAUTHORIZED)?;
    if let Some(namespace) = shard.hub.namespaces.of(channel) {
        shard.hub.namespaces.check(namespace, &identity, Wish::Presence, place.is_some())?;
        return Ok((Namespaces::key(identity.organization, channel), true));
    }
    let place = place.ok_or(error::PERMISSION_DENIED)?;
    let named = place.facts.borrow().presence;
    Ok((place.channel.key.clone(), named))
}

/// How many connections and different users.
pub(super) fn count(present: &[ClientInfo]) -> PresenceStatsResult {
    let users: HashSet<_> = present.iter().map(|info| info.user.as_str()).collect();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    PresenceStatsResult { num_clients: number(present.len()), num_users: number(users.len()) }
}

/// As the protocol shows it.
pub(super) fn by_client(present: Vec<ClientInfo>) -> BTreeMap<String, ClientInfo> {
    present.into_iter().map(|info| (info.client.clone(), info)).collect()
}
