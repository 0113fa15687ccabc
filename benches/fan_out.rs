//! Deliveries per second through the hub to real sockets: committed events in, frames read by clients out. The clock
//! stops when the last byte of the last frame has arrived at the last client.
//!
//! Clients, kernel and server share the machine, so the figure is a lower bound of what the hub does alone.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_http::{HttpService, Request, Response};
use actix_service::fn_service;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchboard::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        secret::Secret,
        tasks::Tasks,
    },
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        ids::{OrgId, PersonId, StreamId},
        permission::Permissions,
    },
    realtime::{
        Backend, ConnectGrant, ConnectionId, Future, Grant, Hello, Hub, Identity, Metrics, Options, Page,
        PageRequest, RefreshGrant, SubscribeAsk, error, transport::websocket,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    sync::Notify,
};

/// Lets everybody in; streams are named by number and always new.
struct Open;

impl Backend for Open {
    fn connect(&self, _: Hello) -> Future<ConnectGrant> {
        let caller = Caller {
            kind: TokenKind::User,
            organization: OrgId(1),
            person: Some(PersonId(7)),
            login: Some(PersonId(7)),
            person_kind: PersonKind::Member,
            person_uuid: None,
            name: "Ann".into(),
            acting: None,
            permissions: Permissions::MEMBER,
            session: None,
            workbox: None,
            family: None,
            expires_at: Timestamp(i64::MAX),
        };
        let identity = Identity::of(caller);
        Box::pin(async {
            Ok(ConnectGrant { identity, data: Bytes::new(), channels: vec![], expires_at: None })
        })
    }
    fn connected(&self, _: ConnectionId, _: Arc<Identity>) {}
    fn refresh(&self, _: ConnectionId, _: Arc<Identity>, _: Secret) -> Future<RefreshGrant> {
        Box::pin(async { Err(error::NOT_AVAILABLE.into()) })
    }
    fn subscribe(&self, ask: SubscribeAsk) -> Future<Grant> {
        Box::pin(async move {
            Ok(Grant {
                stream: Some(StreamId(ask.channel.trim_start_matches("workbox:").parse().unwrap())),
                epoch: "e".into(),
                head: 0,
                first_offset: 1,
                visible_from: 1,
                presence: false,
                join_leave: false,
                info: Bytes::new(),
                data: Bytes::new(),
            })
        })
    }
    fn read(&self, _: PageRequest) -> Future<Page> {
        Box::pin(async { Ok(Page::default()) })
    }
    fn publish(&self, _: ConnectionId, _: Arc<Identity>, _: String, _: Bytes) -> Future<()> {
        Box::pin(async { Ok(()) })
    }
    fn rpc(&self, _: ConnectionId, _: Arc<Identity>, _: String, data: Bytes) -> Future<Bytes> {
        Box::pin(async { Ok(data) })
    }
    fn alive(&self, _: Vec<ConnectionId>) {}
    fn disconnected(&self, _: ConnectionId, _: Arc<Identity>) {}
}

/// Bytes that clients have read, and a bell for when enough have come.
#[derive(Default)]
struct Received {
    bytes: AtomicUsize,
    wanted: AtomicUsize,
    bell: Notify,
}

struct Fixture {
    hub: Hub,
    received: Arc<Received>,
    rooms: usize,
    members: usize,
    offset: u64,
}

const MESSAGE: &[u8] = br#"{"id":"01a3c5a0-0000-7000-8000-000000000000","type":"message.created","time":"2026-11-22T10:00:00.123456Z","actor":{"kind":"user","id":7,"name":"Ann"},"data":{"id":1,"text":"0123456789012345678901234567890123456789"}}"#;
/// Events of one commit and room.
const BATCH: u64 = 8;

impl Fixture {
    async fn new(rooms: usize, members: usize) -> Self {
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let options = Options { queue_bytes: 64 << 20, ..Options::default() };
        let hub = Hub::new(options, tasks, Clock::system(), Random::from_os(), Metrics::default());
        hub.attach(Arc::new(Open));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = hub.clone();
        let server = actix_server::Server::build()
            .workers(2)
            .disable_signals()
            .listen("sockets", listener, move || {
                let hub = accepting.clone();
                let upgrade = fn_service(move |upgrade: websocket::Upgrade| {
                    let taken = websocket::accept(hub.clone(), upgrade, None);
                    async move {
                        taken.await;
                        Ok::<_, actix_http::Error>(())
                    }
                });
                let nothing = |_: Request| async { Ok::<_, actix_http::Error>(Response::not_found()) };
                HttpService::build().upgrade(upgrade).finish(nothing).tcp()
            })
            .unwrap()
            .run();
        Tasks::new(tokio::runtime::Handle::current()).spawn("server", server);
        let received = Arc::new(Received::default());
        for room in 0..rooms {
            for _ in 0..members {
                let socket = join(address, room).await;
                Tasks::new(tokio::runtime::Handle::current()).spawn("client", read(socket, received.clone()));
            }
        }
        Self { hub, received, rooms, members, offset: 0 }
    }

    /// Commits a batch in every room and waits until every client has all of it.
    async fn round(&mut self) {
        let first = self.offset + 1;
        self.offset += BATCH;
        let mut bytes = 0;
        let mut events = Vec::new();
        for room in 0..self.rooms {
            let channel: Arc<str> = format!("workbox:{}", room + 1).into();
            for offset in first..first + BATCH {
                let push =
                    format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":,"offset":{offset}}}}}}}"#);
                bytes += (push.len() + MESSAGE.len() + 4) * self.members;
                let stream = StreamId(i64::try_from(room).unwrap() + 1);
                events.push((channel.clone(), stream, offset, Bytes::from_static(MESSAGE)));
            }
        }
        let wanted = self.received.wanted.load(Ordering::SeqCst) + bytes;
        self.received.wanted.store(wanted, Ordering::SeqCst);
        self.hub.publish(events.into_iter());
        while self.received.bytes.load(Ordering::SeqCst) < wanted {
            self.received.bell.notified().await;
        }
    }
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(text.as_bytes());
    frame
}

async fn join(address: SocketAddr, room: usize) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&text_frame(r#"{"id":1,"connect":{}}"#)).await.unwrap();
    let subscribe = format!(r#"{{"id":2,"subscribe":{{"channel":"workbox:{}"}}}}"#, room + 1);
    socket.write_all(&text_frame(&subscribe)).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\"id\":2") {
        assert!(socket.read_buf(&mut answer).await.unwrap() > 0);
    }
    socket
}

async fn read(mut socket: TcpStream, received: Arc<Received>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        let total = received.bytes.fetch_add(count, Ordering::SeqCst) + count;
        if total >= received.wanted.load(Ordering::SeqCst) {
            received.bell.notify_one();
        }
    }
}

fn fan_out(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("deliveries");
    for (rooms, members) in [(1, 1_000), (100, 10)] {
        let mut fixture = runtime.block_on(Fixture::new(rooms, members));
        group.throughput(Throughput::Elements(rooms as u64 * members as u64 * BATCH));
        group.sample_size(20).bench_function(format!("{rooms} x {members}"), |bencher| {
            bencher.iter(|| runtime.block_on(fixture.round()));
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
