//! `http_stream` and sse with `POST /emulation`.

use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};
use switchboard::realtime::{
    Selector, close,
    protocol::{Command, ConnectRequest, EmulationRequest, Reply, RpcRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Server;

/// A streamed response.
struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Stream {
    async fn open(server: &Server, method: &str, path: &str, kind: &str, body: &[u8]) -> (Self, String) {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            server.address,
            body.len()
        );
        socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut stream = Self { socket, buffer: Vec::new() };
        let head = stream.until(b"\r\n\r\n").await;
        (stream, String::from_utf8(head).unwrap())
    }

    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                return std::mem::replace(&mut self.buffer, rest);
            }
            self.fill().await;
        }
    }

    async fn fill(&mut self) {
        let read = self.socket.read_buf(&mut self.buffer);
        let count =
            tokio::time::timeout(Duration::from_secs(10), read).await.expect("bytes in time").unwrap();
        assert!(count > 0, "the stream ended");
    }

    /// The payload of the next chunk.
    async fn chunk(&mut self) -> Vec<u8> {
        let size = self.until(b"\r\n").await;
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
        while self.buffer.len() < size + 2 {
            self.fill().await;
        }
        let rest = self.buffer.split_off(size + 2);
        let mut chunk = std::mem::replace(&mut self.buffer, rest);
        chunk.truncate(size);
        chunk
    }

    async fn json(&mut self) -> Vec<Value> {
        let chunk = String::from_utf8(self.chunk().await).unwrap();
        chunk
            .lines()
            .map(|line| line.strip_prefix("data: ").unwrap_or(line))
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

async fn post(server: &Server, kind: &str, body: &[u8]) -> String {
    let (_, head) = Stream::open(server, "POST", "/emulation", kind, body).await;
    head.lines().next().unwrap().to_owned()
}

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";

#[tokio::test(flavor = "multi_thread")]
async fn http_stream_in_json() {
    let server = Server::start().await;
    let connect = br#"{"id":1,"connect":{"token":"7"}}"#;
    let (mut stream, head) = Stream::open(&server, "POST", "/connection/http_stream", JSON, connect).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("no-store"), "{head}");
    let connect = stream.json().await.remove(0)["connect"].clone();
    let (session, client) = (connect["session"].as_str().unwrap(), connect["client"].as_str().unwrap());
    assert_eq!((session.len(), connect["data"]["transport"].as_str()), (22, Some("http_stream")));
    let command = |session: &str| {
        let data = "{\"id\":2,\"subscribe\":{\"channel\":\"workbox:1\"}}\n{\"id\":3,\"rpc\":{\"method\":\"echo\",\"data\":1}}";
        json!({"session": session, "node": "1", "data": data}).to_string()
    };
    assert!(post(&server, JSON, command(client).as_bytes()).await.contains(" 404"));
    assert!(post(&server, JSON, b"nonsense").await.contains(" 400"));
    assert!(post(&server, JSON, command(session).as_bytes()).await.contains(" 204"));
    let mut replies = Vec::new();
    while replies.len() < 2 {
        replies.extend(stream.json().await);
    }
    assert_eq!((&replies[0]["subscribe"]["epoch"], &replies[1]["rpc"]["data"]), (&json!("e1"), &json!(1)));
    server.journal.append("workbox:1", [json!({"n": 1})]);
    assert_eq!(stream.json().await[0]["push"]["pub"]["offset"], 1);
    server.hub.disconnect(&Selector::Everyone, close::FORCE_NO_RECONNECT);
    let end = stream.json().await;
    assert_eq!(end[0]["push"]["disconnect"], json!({"code": 3503, "reason": "force disconnect"}));
    assert_eq!(stream.chunk().await, b"");
    assert!(post(&server, JSON, command(session).as_bytes()).await.contains(" 404"));
    server.until("no connection", || server.hub.connection_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_stream_in_protobuf() {
    let server = Server::start().await;
    let connect = ConnectRequest { token: "7".into(), ..ConnectRequest::default() };
    let frame =
        Command { id: 1, connect: Some(connect), ..Command::default() }.encode_length_delimited_to_vec();
    let (mut stream, _) = Stream::open(&server, "POST", "/connection/http_stream", BINARY, &frame).await;
    let reply = Reply::decode_length_delimited(&stream.chunk().await[..]).unwrap();
    let session = reply.connect.unwrap().session;
    let rpc = RpcRequest { method: "echo".into(), data: "[]".into() };
    let data =
        Command { id: 2, rpc: Some(rpc), ..Command::default() }.encode_length_delimited_to_vec().into();
    let request = EmulationRequest { node: "1".into(), session, data };
    assert!(post(&server, BINARY, &request.encode_to_vec()).await.contains(" 204"));
    let reply = Reply::decode_length_delimited(&stream.chunk().await[..]).unwrap();
    assert_eq!(reply.rpc.unwrap().data, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_and_catching_up() {
    let server = Server::start().await;
    server.journal.append("user:7", (1..=2_500).map(|n| json!(n)));
    let connect =
        json!({"id": 1, "connect": {"token": "7", "subs": {"user:7": {"recover": true, "epoch": "e1"}}}});
    let encoded =
        percent_encoding::utf8_percent_encode(&connect.to_string(), percent_encoding::NON_ALPHANUMERIC)
            .to_string();
    let path = format!("/connection/sse?cf_connect={encoded}");
    let (mut stream, head) = Stream::open(&server, "GET", &path, JSON, b"").await;
    assert!(head.contains("text/event-stream"), "{head}");
    let mut next = 1;
    while next <= 2_500 {
        for message in stream.json().await {
            let inbox = &message["connect"]["subs"]["user:7"]["publications"];
            for publication in inbox.as_array().into_iter().flatten().chain(message["push"].get("pub")) {
                assert_eq!(publication["offset"], next);
                next += 1;
            }
        }
    }
    drop(stream);
    server.journal.append("user:7", (0..20).map(|n| json!({"n": n, "text": "x".repeat(50_000)})));
    server.until("no connection", || server.hub.connection_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_refused() {
    let server = Server::start().await;
    for (method, path, status) in [
        ("GET", "/connection/http_stream", "405"),
        ("GET", "/connection/sse", "400"),
        ("PUT", "/connection/sse", "405"),
        ("GET", "/emulation", "405"),
        ("OPTIONS", "/connection/http_stream", "204"),
        ("OPTIONS", "/emulation", "204"),
    ] {
        let (_, head) = Stream::open(&server, method, path, JSON, b"").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {head}");
    }
    let large = vec![b' '; 70_000];
    assert!(post(&server, JSON, &large).await.contains(" 413"));
    let (mut stream, _) = Stream::open(&server, "POST", "/connection/http_stream", JSON, b"nonsense").await;
    assert_eq!(stream.json().await[0]["push"]["disconnect"]["code"], 3501);
}
