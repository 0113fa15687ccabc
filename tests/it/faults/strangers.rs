//! Strangers at the door of the real program, all at once: each attack ends with the documented code or status, the
//! server's memory stays where it was, and two people who talk meanwhile notice nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    harness::{
        db::block_on,
        device::PATIENCE,
        process::{Process, Recruit},
    },
    realtime::{
        client::Client,
        raw::{BINARY, Back, CONTINUATION, FIN, PING, PONG, Raw, TEXT, Wire, answer, frame, head, request},
    },
};

const SETTINGS: &[(&str, &str)] = &[
    ("HTTP__HEAD_TIMEOUT_SECONDS", "1"),
    ("HTTP__BODY_TIMEOUT_SECONDS", "1"),
    ("REALTIME__CONNECT_SECONDS", "2"),
    ("REALTIME__PING_SECONDS", "4"),
    ("REALTIME__PONG_SECONDS", "3"),
    ("SERVER__DRAIN_SECONDS", "0"),
];
/// What the server may need on top for all of them together.
const MEMORY: u64 = 64 * 1024 * 1024;
/// How many do the same at once.
const CROWD: usize = 50;

/// Two people who talk; how long the slowest message took, and how many there were.
async fn talk(server: SocketAddr, people: &[Recruit], over: Arc<AtomicBool>) -> (Duration, u32) {
    let (mut ann, mut ben) = (Client::open(server).await, Client::open(server).await);
    ann.connect(&people[0].token).await;
    ben.connect(&people[1].token).await;
    let channel = format!("workbox:{}", people[0].threads[0]);
    let reply = ben.subscribe(json!({ "channel": channel })).await;
    assert!(reply["error"].is_null(), "{reply}");
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while !over.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let text = format!("message {count}");
        let data = json!({ "channel": channel, "text": text });
        let reply = ann.call(json!({ "rpc": { "method": "message.send", "data": data } })).await;
        assert!(reply["error"].is_null(), "{reply}");
        loop {
            let push = ben.push().await;
            let event = &push["pub"]["data"];
            if push["channel"] == channel && event["type"] == "message.created" {
                assert!(event["data"].to_string().contains(&text), "{event}");
                break;
            }
        }
        slowest = slowest.max(sent.elapsed());
        count += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (slowest, count)
}

/// Reads on until the close frame; how many pongs came before.
async fn closed(client: &mut Raw) -> (u16, usize) {
    let mut pongs = 0;
    loop {
        match client.back().await {
            Back::Close(code) => return (code, pongs),
            Back::Pong(_) => pongs += 1,
            Back::End => panic!("the connection ended without a close frame"),
            Back::Reply(_) | Back::Echo(..) => {}
        }
    }
}

/// Frames that are no frames, or too many of them.
async fn frames(server: SocketAddr, token: &str) {
    let ping = frame(FIN | PING, &[b'p'; 125]);
    let subscribe = |n: usize| json!({ "id": n + 10, "subscribe": { "channel": format!("workbox:{n}") } });
    let subscriptions: Vec<_> =
        (0..10_000).map(|n| frame(FIN | TEXT, subscribe(n).to_string().as_bytes())).collect();
    let join = || Raw::join(server, Wire::Json, token);
    for (what, bytes, code) in [
        ("pings", ping.repeat(20_000), 3013),
        ("pongs", frame(FIN | PONG, b"").repeat(20_000), 3013),
        ("commands", frame(FIN | TEXT, br#"{"send":{"data":1}}"#).repeat(20_000), 3013),
        ("subscriptions", subscriptions.concat(), 3013),
        ("pings within a message", [frame(TEXT, b"{"), ping.repeat(20_000)].concat(), 3013),
        (
            "a message without an end",
            [frame(TEXT, b"["), frame(CONTINUATION, &[b' '; 1_000]).repeat(200)].concat(),
            1009,
        ),
        ("no mask", vec![FIN | TEXT, 2, b'{', b'}'], 1002),
        ("compression", frame(FIN | 0x40 | TEXT, b"\xaa\x56\x4a\x54\x02\x00"), 1002),
        (
            "half of a character",
            [frame(TEXT, b"{\"\xe2\x82"), frame(FIN | CONTINUATION, b"\"}")].concat(),
            1007,
        ),
        ("eight exabytes", [&[FIN | BINARY, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat(), 1009),
    ] {
        let mut crowd = join_all((0..4).map(|_| join())).await;
        let attack = crowd.iter_mut().map(async |client| {
            // Who floods reads too, but not before it has said all.
            client.send(&bytes).await;
            closed(client).await
        });
        for (found, pongs) in join_all(attack).await {
            assert_eq!(found, code, "{what}");
            assert!(pongs <= 5_000 + 4_000, "{what}: {pongs} pongs");
        }
    }
    // Many empty fragments are no crime, and cost nothing.
    let mut client = join().await;
    client.send(&frame(TEXT, b"")).await;
    client.send(&frame(CONTINUATION, b"").repeat(100_000)).await;
    client.send(&frame(FIN | CONTINUATION, &Wire::Json.ping(7))).await;
    assert_eq!(client.back().await, Back::Reply(7));
}

/// Whoever connects and says nothing, or answers nothing, is let go of.
async fn silence(server: SocketAddr, token: &str) {
    let connected = join_all((0..CROWD).map(|_| Raw::open(server, Wire::Json))).await;
    let joined = join_all((0..CROWD).map(|_| Raw::join(server, Wire::Protobuf, token))).await;
    // A frame that never ends is no answer.
    let dribbling = join_all((0..CROWD).map(async |_| {
        let mut client = Raw::open(server, Wire::Json).await;
        client.send(&frame(FIN | TEXT, &vec![b' '; 60_000])[..59_000]).await;
        client
    }))
    .await;
    for (crowd, code) in [(connected, 3502), (joined, 3012), (dribbling, 3502)] {
        for mut client in crowd {
            assert_eq!(closed(&mut client).await.0, code);
        }
    }
}

/// Heads that come byte by byte, stop half-way, never come at all, or never end.
async fn heads(server: SocketAddr) {
    let patient = async {
        let mut socket = TcpStream::connect(server).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for byte in head(&[]).replace('\n', "\r\n").bytes() {
            socket.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(answer(&mut socket).await.starts_with("HTTP/1.1 101 "));
    };
    let stuck = join_all((0..CROWD).map(async |_| {
        let mut socket = TcpStream::connect(server).await.unwrap();
        socket.write_all(b"GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgr").await.unwrap();
        assert!(answer(&mut socket).await.starts_with("HTTP/1.1 408 "));
    }));
    let mute = join_all((0..CROWD).map(async |_| {
        let mut socket = TcpStream::connect(server).await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("it is hung up").unwrap();
    }));
    tokio::join!(patient, stuck, mute);
    let line = |count: usize| "X-Header: value\n".repeat(count);
    let get = |headers: &str| format!("GET /livez HTTP/1.1\nHost: h\n{headers}\n");
    let post = |headers: &str| format!("POST /emulation HTTP/1.1\nHost: h\n{headers}\n");
    for (what, head, status) in [
        ("some headers", get(&line(50)), "200"),
        ("many headers", get(&line(500)), "431"),
        ("a header without an end", format!("GET /livez HTTP/1.1\nX: {}", "x".repeat(200_000)), "431"),
        ("headers without an end", format!("GET /livez HTTP/1.1\n{}", line(20_000)), "431"),
        ("a path without an end", format!("GET /{}", "x".repeat(200_000)), "431"),
        ("many headers for a socket", head_with(&line(500)), "431"),
        ("a header's name with a blank", get("X Y: z\n"), "400"),
        ("two lengths", post("Content-Length: 1\nContent-Length: 2\n"), "400"),
        ("a length and chunks", post("Content-Length: 5\nTransfer-Encoding: chunked\n"), "400"),
        ("a length that is none", post("Content-Length: -1\n"), "400"),
        ("a coding that nobody knows", post("Transfer-Encoding: chunked, zip\n"), "400"),
        ("no version", "GET /livez\n\n".to_owned(), "400"),
    ] {
        let (_socket, answer) = request(server, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
}

fn head_with(headers: &str) -> String {
    head(&[("Host: h\n", &format!("Host: h\n{headers}"))])
}

/// Bodies that come slowly, never end, or are too long.
async fn bodies(server: SocketAddr) {
    let kinds = [
        ("/connection/http_stream", ""),
        ("/connection/sse", ""),
        ("/emulation", ""),
        ("/api/v1/anonymous/auth", "Content-Type: application/json\n"),
    ];
    let slow = kinds.iter().map(async |(path, kind)| {
        for length in ["Content-Length: 60000\n", "Transfer-Encoding: chunked\n"] {
            let mut socket = TcpStream::connect(server).await.unwrap();
            let head = format!("POST {path} HTTP/1.1\nHost: h\n{kind}{length}\n").replace('\n', "\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            let (mut reading, mut writing) = socket.split();
            let dribble = async {
                // Each piece is a chunk, and a part of a body of known length.
                while writing.write_all(b"1\r\n \r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut line = [0; 13];
            tokio::select! {
                () = dribble => {}
                read = timeout(PATIENCE, reading.read_exact(&mut line)) => drop(read.expect("an answer in time").unwrap()),
            }
            assert_eq!(&line, b"HTTP/1.1 408 ", "{path} {length}");
        }
    });
    let long = kinds.iter().map(async |(path, kind)| {
        let head = format!("POST {path} HTTP/1.1\nHost: h\n{kind}Content-Length: 999999999999\n\n");
        let (_socket, head) = request(server, &head).await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{path}: {head}");
        let mut socket = TcpStream::connect(server).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\nHost: h\n{kind}Transfer-Encoding: chunked\n\n");
        socket.write_all(head.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let chunk = [b"10000\r\n", &vec![b' '; 0x10000][..], b"\r\n"].concat();
        for _ in 0..40 {
            if socket.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let head = answer(&mut socket).await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{path}: {head}");
    });
    tokio::join!(join_all(slow), join_all(long));
    let (_socket, answer) =
        request(server, "POST /emulation HTTP/1.1\nHost: h\nContent-Encoding: gzip\nContent-Length: 0\n\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
}

#[test]
fn strangers_at_the_door() {
    block_on(async {
        let server = Process::start(SETTINGS);
        let address = SocketAddr::from(&server);
        let people = server.recruit(3);
        let over = Arc::new(AtomicBool::new(false));
        let token = people[2].token.clone();
        let before = server.memory();
        let most = async {
            let mut most = before;
            while !over.load(Ordering::Relaxed) {
                most = most.max(server.memory());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            most
        };
        let attacks = async {
            tokio::join!(frames(address, &token), silence(address, &token), heads(address), bodies(address));
            over.store(true, Ordering::Relaxed);
        };
        let ((slowest, count), most, ()) = tokio::join!(talk(address, &people, over.clone()), most, attacks);
        assert!(
            count > 10 && slowest < Duration::from_secs(5),
            "{count} messages, the slowest took {slowest:?}"
        );
        assert!(most - before < MEMORY, "{} kB", (most - before) / 1024);
        // Nothing of them is left.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = server.request("GET /metrics", "", &json!(null)).await.text();
            let open = metrics
                .lines()
                .find_map(|line| line.strip_prefix("switchboard_socket_realtime_connections "));
            if open == Some("0") {
                break;
            }
            assert!(Instant::now() < deadline, "{open:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
