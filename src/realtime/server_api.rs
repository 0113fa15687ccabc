//! What backends of applications may do over HTTP, in the shapes of Centrifugo so that its server libraries work:
//! `POST /api/<method>` with a key of `realtime.server_keys`. A key reaches its organisation's namespaces, nothing else.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use uuid::Uuid;

use super::{
    Disconnect, Unsubscribed,
    commands::known_head,
    disconnect::{ProtocolError, close, error},
    hub::{Hub, Message, Selector},
    namespaces::Namespaces,
    port::{Direction, Grant, PageRequest, Refusal},
    presence,
    protocol::{ClientInfo, HistoryRequest, Publication, StreamPosition},
};
use crate::{
    base::{clock::Timestamp, secret::Secret},
    config::Namespace,
    domain::{event::StreamKind, ids::OrgId},
};

/// The methods that are served.
pub const METHODS: &[&str] = &[
    "publish",
    "broadcast",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "rpc",
    "batch",
];

/// Commands of one batch.
const LARGEST_BATCH: usize = 1_000;
const UNSUBSCRIBED: Unsubscribed = Unsubscribed { code: 2000, reason: "server unsubscribe" };

/// All parameters of all methods.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    channel: String,
    channels: Vec<String>,
    data: Option<Box<RawValue>>,
    b64data: String,
    skip_history: bool,
    tags: BTreeMap<String, String>,
    delta: bool,
    user: String,
    client: String,
    disconnect: Option<Custom>,
    expired: bool,
    expire_at: i64,
    limit: i32,
    since: Option<StreamPosition>,
    reverse: bool,
    pattern: String,
    method: String,
    idempotency_key: String,
    commands: Vec<BTreeMap<String, Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Custom {
    code: u16,
}

type Answer = Result<Value, ProtocolError>;

/// Answers one call. `None` when the key is unknown (401).
pub async fn call(hub: &Hub, key: &Secret, method: &str, body: &[u8]) -> Option<Value> {
    let server = hub.namespaces.server(key)?;
    let caller = Backend { hub, organization: server.organization, reads_streams: server.streams };
    Some(match (method, serde_json::from_slice::<Request>(body)) {
        (_, Err(_)) => failure(&error::BAD_REQUEST),
        ("batch", Ok(request)) => caller.batch(request.commands).await,
        (_, Ok(request)) => match caller.act(method, request).await {
            Ok(result) => json!({ "result": result }),
            Err(error) => failure(&error),
        },
    })
}

fn failure(error: &ProtocolError) -> Value {
    json!({"error": {"code": error.code, "message": error.message}})
}

struct Backend<'a> {
    hub: &'a Hub,
    organization: OrgId,
    /// May read the organisation's streams, besides its namespaces.
    reads_streams: bool,
}

impl Backend<'_> {
    async fn batch(&self, commands: Vec<BTreeMap<String, Box<RawValue>>>) -> Value {
        if commands.len() > LARGEST_BATCH {
            return failure(&error::LIMIT_EXCEEDED);
        }
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            let mut reply = Map::new();
            for (method, parameters) in command {
                let outcome = match serde_json::from_str(parameters.get()) {
                    Ok(request) => self.act(&method, request).await,
                    Err(_) => Err(error::BAD_REQUEST),
                };
                match outcome {
                    Ok(result) => reply.insert(method, result),
                    Err(error) => reply.insert("error".to_owned(), failure(&error)["error"].take()),
                };
            }
            replies.push(Value::Object(reply));
        }
        json!({ "replies": replies })
    }

    async fn act(&self, method: &str, request: Request) -> Answer {
        match method {
            "publish" => self.publish(&request.channel, &request),
            "broadcast" => self.broadcast(&request),
            "subscribe" => {
                self.namespace(&request.channel)?;
                let selector = self.selector(&request)?;
                self.hub.broadcast(|| Message::Subscribe(selector.clone(), request.channel.clone()));
                Ok(json!({}))
            }
            "unsubscribe" => {
                self.namespace(&request.channel)?;
                let key = Namespaces::key(self.organization, &request.channel);
                self.hub.unsubscribe(&key, &self.selector(&request)?, UNSUBSCRIBED);
                Ok(json!({}))
            }
            "disconnect" => {
                let code =
                    request.disconnect.as_ref().map_or(close::FORCE_NO_RECONNECT.code, |custom| custom.code);
                if !(3000..5000).contains(&code) {
                    return Err(error::BAD_REQUEST);
                }
                let known = close::ALL.iter().find(|one| one.code == code).copied();
                let why = known.unwrap_or(Disconnect { code, reason: "disconnected by the application" });
                self.hub.disconnect(&self.selector(&request)?, why);
                Ok(json!({}))
            }
            "refresh" => {
                let at = (!request.expired).then(|| Timestamp::from_unix_seconds(request.expire_at));
                let selector = self.selector(&request)?;
                self.hub.broadcast(|| Message::Expire(selector.clone(), at));
                Ok(json!({}))
            }
            "presence" => {
                let present = self.present(&request.channel).await?;
                let clients = presence::by_client(present).into_iter().map(|(id, info)| (id, client(&info)));
                Ok(json!({"presence": clients.collect::<Map<_, _>>()}))
            }
            "presence_stats" => {
                let stats = presence::count(&self.present(&request.channel).await?);
                Ok(json!({"num_clients": stats.num_clients, "num_users": stats.num_users}))
            }
            "history" if self.is_stream(&request.channel) => self.stream_history(request).await,
            "history" => self.history(request),
            "history_remove" => {
                self.namespace(&request.channel)?;
                self.hub.namespaces.forget(&Namespaces::key(self.organization, &request.channel));
                Ok(json!({}))
            }
            "channels" => self.channels(&request.pattern).await,
            "info" => self.info().await,
            // A key acts for nobody: of all actions only this one needs nobody.
            "rpc" if request.method == "server.time" => Ok(json!({"data": {"time": self.hub.clock.now()}})),
            "rpc" => Err(error::NOT_AVAILABLE),
            _ => Err(error::METHOD_NOT_FOUND),
        }
    }

    fn namespace(&self, channel: &str) -> Result<&Namespace, ProtocolError> {
        if channel.is_empty() || channel.len() > self.hub.options.max_channel_bytes || channel.contains('\0')
        {
            return Err(error::BAD_REQUEST);
        }
        self.hub.namespaces.of(channel).ok_or(error::UNKNOWN_CHANNEL)
    }

    fn selector(&self, request: &Request) -> Result<Selector, ProtocolError> {
        match (request.client.parse::<Uuid>(), request.user.as_str()) {
            (Ok(client), _) => Ok(Selector::Client(self.organization, client)),
            (Err(_), "") => Err(error::BAD_REQUEST),
            (Err(_), user) => Ok(Selector::User(self.organization, user.to_owned())),
        }
    }

    fn publish(&self, channel: &str, request: &Request) -> Answer {
        let namespace = self.namespace(channel)?;
        let repetition = (self.organization, channel.to_owned(), request.idempotency_key.clone());
        let published = &self.hub.published;
        if !request.idempotency_key.is_empty()
            && let Some((offset, epoch)) = published.get(&repetition)
        {
            return Ok(json!({"offset": offset, "epoch": &*epoch}));
        }
        let data = match &request.data {
            Some(data) => Bytes::copy_from_slice(data.get().as_bytes()),
            None => STANDARD.decode(&request.b64data).map_err(|_| error::BAD_REQUEST)?.into(),
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_err() {
            return Err(error::BAD_REQUEST);
        }
        let publication = Publication { data, tags: request.tags.clone(), ..Publication::default() };
        let key = Namespaces::key(self.organization, channel);
        let how = (namespace.delta_publish || request.delta, !request.skip_history);
        let position = self.hub.namespaces.publish(self.hub, namespace, &key, publication, how);
        if !request.idempotency_key.is_empty() {
            published.put(repetition, (position.offset, position.epoch.clone()), published.mark());
        }
        Ok(json!({"offset": position.offset, "epoch": &*position.epoch}))
    }

    fn broadcast(&self, request: &Request) -> Answer {
        if request.channels.is_empty() {
            return Err(error::BAD_REQUEST);
        }
        let answers = request.channels.iter().map(|channel| match self.publish(channel, request) {
            Ok(result) => json!({ "result": result }),
            Err(error) => failure(&error),
        });
        Ok(json!({"responses": answers.collect::<Vec<_>>()}))
    }

    /// Whether a channel is a stream of ours that the key may read.
    fn is_stream(&self, channel: &str) -> bool {
        self.reads_streams
            && channel.split_once(':').is_some_and(|(kind, _)| StreamKind::by_name(kind).is_some())
    }

    async fn stream(&self, channel: &str) -> Result<Grant, ProtocolError> {
        self.hub.backend().stream(self.organization, channel.to_owned()).await.map_err(plain)
    }

    async fn stream_history(&self, request: Request) -> Answer {
        let grant = self.stream(&request.channel).await?;
        let stream = grant.stream.ok_or(error::NOT_AVAILABLE)?;
        let answer = |publications: Vec<Value>, head: u64| json!({"publications": publications, "epoch": &*grant.epoch, "offset": head});
        if let Some(since) = &request.since
            && !since.epoch.is_empty()
            && *since.epoch != *grant.epoch
        {
            return Err(error::UNRECOVERABLE_POSITION);
        }
        let limit = match request.limit {
            0 => return Ok(answer(Vec::new(), grant.head)),
            some => usize::try_from(some).unwrap_or(usize::MAX).min(self.hub.options.history_page),
        };
        let from = request.since.as_ref().map(|since| since.offset);
        let (from, direction) = if request.reverse {
            (from.unwrap_or(grant.head + 1), Direction::Before)
        } else {
            (from.unwrap_or(grant.first_offset.saturating_sub(1)), Direction::After)
        };
        let page = PageRequest { stream, from, direction, limit, bytes: self.hub.options.page_bytes };
        let page = self.hub.backend().read(page).await.map_err(plain)?;
        let head = known_head(grant.head, page.events.iter().map(|(offset, _)| *offset));
        let shown = page
            .events
            .into_iter()
            .map(|(offset, data)| publication(&Publication { data, offset, ..Publication::default() }));
        Ok(answer(shown.collect(), head))
    }

    async fn present(&self, channel: &str) -> Result<Vec<ClientInfo>, ProtocolError> {
        if self.is_stream(channel) {
            self.stream(channel).await?;
            return Ok(self.hub.presence(channel).await);
        }
        if !self.namespace(channel)?.presence {
            return Err(error::NOT_AVAILABLE);
        }
        Ok(self.hub.presence(&Namespaces::key(self.organization, channel)).await)
    }

    fn history(&self, request: Request) -> Answer {
        let namespace = self.namespace(&request.channel)?;
        let Request { channel, limit, since, reverse, .. } = request;
        let options = &self.hub.options;
        let limits = (options.history_page, options.page_bytes);
        let request = HistoryRequest { channel, limit, since, reverse };
        let now = self.hub.clock.now();
        let found = self.hub.namespaces.history(namespace, self.organization, &request, limits, now);
        let found = found.map_err(plain)?;
        let publications: Vec<_> = found.publications.iter().map(publication).collect();
        Ok(json!({"publications": publications, "epoch": found.epoch, "offset": found.offset}))
    }

    /// This node, with the numbers of the organisation: what others have here is not shown.
    async fn info(&self) -> Answer {
        let channels = self.census("").await;
        let clients = self.hub.users(self.organization).await;
        let users: BTreeSet<_> = clients.iter().collect();
        let options = &self.hub.options;
        Ok(json!({"nodes": [{
            "uid": options.node,
            "name": options.node,
            "version": options.version,
            "num_clients": clients.len(),
            "num_users": users.len(),
            "num_channels": channels.len(),
            "num_subs": channels.values().sum::<usize>(),
            "uptime": self.hub.clock.now().since(self.hub.started).as_secs(),
        }]}))
    }

    async fn channels(&self, pattern: &str) -> Answer {
        let channels = self.census(pattern).await.into_iter();
        let channels = channels.map(|(name, count)| (name, json!({"num_clients": count})));
        Ok(json!({"channels": channels.collect::<Map<_, _>>()}))
    }

    /// The organisation's channels that fit a pattern, with their subscribers.
    async fn census(&self, pattern: &str) -> BTreeMap<String, usize> {
        let mine = format!("{}\0", self.organization);
        let mut channels = BTreeMap::<String, usize>::new();
        for (name, count) in self.hub.census(&mine).await {
            if pattern.is_empty() || matches(pattern.as_bytes(), name.as_bytes()) {
                *channels.entry(name).or_default() += count;
            }
        }
        channels
    }
}

fn plain(refusal: Refusal) -> ProtocolError {
    match refusal {
        Refusal::Error(error) => error,
        Refusal::Disconnect(_) => error::INTERNAL,
    }
}

fn client(info: &ClientInfo) -> Value {
    let mut shown = json!({"client": info.client, "user": info.user});
    for (name, value) in [("conn_info", &info.conn_info), ("chan_info", &info.chan_info)] {
        if let Ok(value) = serde_json::from_slice::<Value>(value) {
            shown[name] = value;
        }
    }
    shown
}

fn publication(publication: &Publication) -> Value {
    let data: Value = serde_json::from_slice(&publication.data).unwrap_or_default();
    let mut shown = json!({"data": data, "offset": publication.offset});
    if let Some(info) = &publication.info {
        shown["info"] = client(info);
    }
    if !publication.tags.is_empty() {
        shown["tags"] = json!(publication.tags);
    }
    shown
}

/// Whether a name fits a pattern with `*` (anything) and `?` (one byte). Time is bounded by the product of both.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, at)) => {
                    retry = Some((star, at + 1));
                    (p, n) = (star + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*", "anything", true),
            ("rooms:*", "rooms:1", true),
            ("rooms:*", "room:1", false),
            ("*:1", "rooms:1", true),
            ("r?oms:*1*", "rooms:213", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
