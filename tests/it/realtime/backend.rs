//! The rest of the server, in memory: streams that can be appended to, read, cut; tokens that say what they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use switchboard::{
    base::{
        clock::{Clock, Timestamp},
        secret::Secret,
    },
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        error::Error,
        ids::{OrgId, PersonId, StreamId},
        permission::Permissions,
    },
    realtime::{
        Audience, Backend, ConnectGrant, ConnectionId, Direction, Future, Grant, Hello, Hub, Identity, Page,
        PageRequest, RefreshGrant, SubscribeAsk, close, error,
    },
};
use tokio::sync::watch;

pub struct Stream {
    id: StreamId,
    first: u64,
    events: Vec<Bytes>,
}

/// Streams by channel. Channels `user:`, `workbox:`, `session:` exist as soon as somebody names them; `secret:`
/// is forbidden; all others are unknown.
pub struct Journal {
    hub: Hub,
    clock: Clock,
    streams: Mutex<HashMap<String, Stream>>,
    /// Where streams begin for new subscribers.
    visible_from: Mutex<HashMap<String, u64>>,
    /// Longest time, in milliseconds, that an answer takes.
    pub delay: AtomicUsize,
    /// False while nobody is let in: checks of tokens wait.
    pub door: watch::Sender<bool>,
    /// Checks of tokens that were begun.
    pub checks: AtomicUsize,
    pub alive: Mutex<Vec<ConnectionId>>,
    pub gone: Mutex<Vec<ConnectionId>>,
    pub known: Mutex<Vec<ConnectionId>>,
    pub reads: AtomicUsize,
}

impl Journal {
    pub fn new(hub: Hub, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            hub,
            clock,
            streams: Mutex::default(),
            visible_from: Mutex::default(),
            delay: AtomicUsize::new(0),
            door: watch::Sender::new(true),
            checks: AtomicUsize::new(0),
            alive: Mutex::default(),
            gone: Mutex::default(),
            known: Mutex::default(),
            reads: AtomicUsize::new(0),
        })
    }

    fn with<T>(&self, channel: &str, use_it: impl FnOnce(&mut Stream) -> T) -> T {
        let mut streams = self.streams.lock().unwrap();
        let next = StreamId(i64::try_from(streams.len()).unwrap() + 1);
        let stream = streams.entry(channel.to_owned());
        use_it(stream.or_insert_with(|| Stream { id: next, first: 1, events: Vec::new() }))
    }

    /// Commits events and tells the hub, as the journal does.
    pub fn append(&self, channel: &str, bodies: impl IntoIterator<Item = Value>) -> u64 {
        self.with(channel, |stream| {
            let from = stream.events.len() as u64;
            let bodies = bodies.into_iter().map(|body| Bytes::from(body.to_string()));
            stream.events.extend(bodies);
            let name = Arc::<str>::from(channel);
            let new = stream.events[usize::try_from(from).unwrap()..].iter();
            self.hub.publish(
                new.zip(from + 1..).map(|(body, offset)| (name.clone(), stream.id, offset, body.clone())),
            );
            stream.events.len() as u64
        })
    }

    /// Commits without telling the hub: what a lost message between nodes looks like.
    pub fn append_silently(&self, channel: &str, body: &Value) {
        self.with(channel, |stream| stream.events.push(Bytes::from(body.to_string())));
    }

    /// Retention removes everything before `first`.
    pub fn cut(&self, channel: &str, first: u64) {
        self.with(channel, |stream| stream.first = first);
    }

    pub fn show_from(&self, channel: &str, offset: u64) {
        self.visible_from.lock().unwrap().insert(channel.to_owned(), offset);
    }

    fn after_a_while<T: Send + 'static>(&self, answer: impl FnOnce() -> T + Send + 'static) -> Wait<T> {
        let most = self.delay.load(Ordering::Relaxed) as u64;
        Box::pin(async move {
            if most > 0 {
                let pause = u64::from(noise()) % (most * 1_000);
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
            answer()
        })
    }
}

impl Journal {
    /// Gives `answer`, which is what was found now, once the door is open.
    fn at_the_door<T: Send + 'static>(&self, answer: T) -> Wait<T> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let mut door = self.door.subscribe();
        Box::pin(async move {
            door.wait_for(|open| *open).await.unwrap();
            answer
        })
    }
}

type Wait<T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send>>;

fn noise() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap()
}

pub fn caller(person: i64) -> Caller {
    Caller {
        kind: TokenKind::User,
        organization: OrgId(1),
        person: Some(PersonId(person)),
        login: Some(PersonId(person)),
        person_kind: PersonKind::Member,
        person_uuid: None,
        name: format!("Person {person}"),
        acting: None,
        permissions: Permissions::MEMBER,
        session: None,
        workbox: None,
        family: None,
        expires_at: Timestamp::default(),
    }
}

/// `<person>` or `<person>/<seconds that it lives>`.
fn read_token(clock: &Clock, token: &Secret) -> Option<(Identity, Option<Timestamp>)> {
    let (person, lifetime) = match token.expose().split_once('/') {
        Some((person, seconds)) => (person, Some(seconds.parse().ok()?)),
        None => (token.expose(), None),
    };
    let expires_at = lifetime.map(|seconds| clock.now().plus(Duration::from_secs(seconds)));
    Some((Identity::of(caller(person.parse().ok()?)), expires_at))
}

/// The journal as connections see it.
pub struct Backing(pub Arc<Journal>);

impl Backend for Backing {
    fn connect(&self, hello: Hello) -> Future<ConnectGrant> {
        let me = self.0.clone();
        let door = self.0.at_the_door(());
        let answer = self.0.after_a_while(move || match hello.token.expose() {
            "expired" => Err(error::TOKEN_EXPIRED.into()),
            "away" => Err(Error::unavailable("database").into()),
            _ => {
                let (identity, expires_at) =
                    read_token(&me.clock, &hello.token).ok_or(close::INVALID_TOKEN)?;
                let key = hello.api_key.as_ref().map(|key| key.expose().to_owned());
                let data = json!({"user": identity.user, "api_key": key, "transport": hello.transport});
                let channels = vec![format!("user:{}", identity.user)];
                Ok(ConnectGrant { identity, data: data.to_string().into(), channels, expires_at })
            }
        });
        Box::pin(async move {
            door.await;
            answer.await
        })
    }

    fn connected(&self, connection: ConnectionId, _: Arc<Identity>) {
        self.0.known.lock().unwrap().push(connection);
    }

    fn refresh(&self, _: ConnectionId, _: Arc<Identity>, token: Secret) -> Future<RefreshGrant> {
        let answer = read_token(&self.0.clock, &token)
            .map(|(identity, expires_at)| RefreshGrant { identity, expires_at })
            .ok_or_else(|| close::INVALID_TOKEN.into());
        self.0.at_the_door(answer)
    }

    fn subscribe(&self, ask: SubscribeAsk) -> Future<Grant> {
        let me = self.0.clone();
        Box::pin(self.0.after_a_while(move || {
            let channel = &*ask.channel;
            match channel.split(':').next() {
                Some("user" | "workbox" | "session") => {}
                Some("secret") => return Err(error::PERMISSION_DENIED.into()),
                _ => return Err(error::UNKNOWN_CHANNEL.into()),
            }
            let session = channel.starts_with("session:");
            let visible_from = me.visible_from.lock().unwrap().get(channel).copied().unwrap_or(1);
            Ok(me.with(channel, |stream| Grant {
                stream: Some(stream.id),
                epoch: "e1".into(),
                head: stream.events.len() as u64,
                first_offset: stream.first,
                visible_from,
                presence: session,
                join_leave: session,
                info: Bytes::new(),
                data: Bytes::new(),
            }))
        }))
    }

    fn read(&self, request: PageRequest) -> Future<Page> {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        let me = self.0.clone();
        Box::pin(self.0.after_a_while(move || {
            let streams = me.streams.lock().unwrap();
            let stream = streams.values().find(|stream| stream.id == request.stream).unwrap();
            let at = |offset: u64| {
                Some((offset, stream.events.get(usize::try_from(offset - 1).unwrap())?.clone()))
            };
            let events = match request.direction {
                Direction::After => {
                    let first = stream.first.max(request.from.saturating_add(1));
                    (first..).map_while(at).take(request.limit).collect()
                }
                Direction::Before => {
                    (stream.first..request.from).rev().filter_map(at).take(request.limit).collect()
                }
            };
            Ok(Page { events })
        }))
    }

    fn publish(&self, _: ConnectionId, identity: Arc<Identity>, channel: String, data: Bytes) -> Future<()> {
        let me = self.0.clone();
        Box::pin(self.0.after_a_while(move || {
            let data: Value = serde_json::from_slice(&data).map_err(|_| error::BAD_REQUEST)?;
            let ephemeral = data["type"] == "typing";
            let kind = if ephemeral { "typing" } else { "message.created" };
            let id = uuid::Builder::from_u128(u128::from(noise())).into_uuid();
            let mut body = json!({"id": id, "type": kind, "actor": identity.user, "data": data});
            if ephemeral {
                body["ephemeral"] = true.into();
                me.hub.publish_ephemeral(&channel, body.to_string().into(), Audience::Everyone);
            } else {
                me.append(&channel, [body]);
            }
            Ok(())
        }))
    }

    fn rpc(&self, _: ConnectionId, _: Arc<Identity>, method: String, data: Bytes) -> Future<Bytes> {
        let answer = match method.as_str() {
            "echo" => Ok(data),
            "server.time" => Ok(json!({"time": self.0.clock.now()}).to_string().into()),
            "fail" => Err(Error::unavailable("because").into()),
            "panic" => return Box::pin(async { panic!("as asked") }),
            "slow" => {
                return Box::pin(async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    Ok(Bytes::from_static(b"\"slow\""))
                });
            }
            _ => Err(error::NOT_AVAILABLE.into()),
        };
        Box::pin(std::future::ready(answer))
    }

    fn alive(&self, connections: Vec<ConnectionId>) {
        self.0.alive.lock().unwrap().extend(connections);
    }

    fn disconnected(&self, connection: ConnectionId, _: Arc<Identity>) {
        self.0.gone.lock().unwrap().push(connection);
    }
}
