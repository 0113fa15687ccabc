//! Commands that ask something of the backend or of a namespace: publish, history, rpc, `sub_refresh`.

use std::rc::Rc;

use bytes::Bytes;

use super::{
    connection::Connection,
    disconnect::{close, error},
    namespaces::{Namespaces, Wish},
    port::{Direction, Identity, PageRequest, Refusal, SubscribeAsk},
    protocol::{
        ClientInfo, Empty, Encoding, HistoryRequest, HistoryResult, Publication, PublishRequest, Reply,
        RpcRequest, RpcResult, SubRefreshRequest, SubRefreshResult,
    },
    session::{identity, refuse},
    shard::Shard,
    timers::{set_timer, time_left},
};
use crate::{base::secret::Secret, config::Namespace};

fn is_json(connection: &Connection, data: &[u8]) -> bool {
    connection.wire.encoding() == Encoding::Json && !data.is_empty()
        || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

pub(super) fn publish(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: PublishRequest) {
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

pub(super) fn sub_refresh(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    id: u32,
    request: &SubRefreshRequest,
) {
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

pub(super) fn rpc(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: RpcRequest) {
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

pub(super) fn history(shard: &Rc<Shard>, connection: &Rc<Connection>, id: u32, request: HistoryRequest) {
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
        let offset = known_head(grant.head, publications.iter().map(|one| one.offset));
        Ok(HistoryResult { publications, epoch: grant.epoch.to_string(), offset })
    });
    shard.ask(connection, question, move |shard, connection, answer| match answer {
        Ok(result) => shard.reply(connection, Reply { id, history: Some(result), ..Reply::default() }),
        Err(refusal) => refuse(shard, connection, id, refusal),
    });
}

/// The head of a stream of which these offsets are shown: they were read after it, and may be newer.
pub(super) fn known_head(head: u64, shown: impl Iterator<Item = u64>) -> u64 {
    shown.fold(head, u64::max)
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

#[cfg(test)]
mod tests {
    use super::known_head;

    #[test]
    fn a_head_is_not_behind_what_is_shown() {
        assert_eq!(known_head(8, [7, 8, 9].into_iter()), 9);
        assert_eq!(known_head(8, [3, 2].into_iter()), 8);
        assert_eq!(known_head(8, std::iter::empty()), 8);
    }
}
