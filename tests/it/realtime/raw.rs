//! WebSocket by hand: handshakes and frames exactly as a test wants them, right or wrong.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use prost::Message as _;
use serde_json::{Value, json};
use switchboard::realtime::protocol::{Command, ConnectRequest, Empty, Reply, RpcRequest};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PATIENCE: Duration = Duration::from_secs(60);

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
/// Of the first byte.
pub const FIN: u8 = 0x80;

/// The head of a good handshake, with changes.
pub fn head(change: &[(&str, &str)]) -> String {
    let mut head = format!(
        "GET /connection/websocket HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: {KEY}\n\n"
    );
    for (from, to) in change {
        assert!(head.contains(from), "{from}");
        head = head.replace(from, to);
    }
    head
}

/// Sends a raw request and returns the head of the answer.
pub async fn request(address: SocketAddr, head: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    // Of a head that is too long the server may not read the end.
    let _ = socket.write_all(head.replace('\n', "\r\n").as_bytes()).await;
    let answer = answer(&mut socket).await;
    (socket, answer)
}

/// The head of an answer; what there is of it when the connection ends.
pub async fn answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = async {
        while !answer.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => answer.push(byte),
                Err(_) => break,
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer in time");
    String::from_utf8(answer).unwrap()
}

/// A frame of a client: masked, its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0xfe);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x00, 0x3d];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// How a connection's commands are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Json,
    Protobuf,
}

impl Wire {
    fn encode(self, command: &Command, json: &Value) -> Vec<u8> {
        match self {
            Self::Json => json.to_string().into_bytes(),
            Self::Protobuf => command.encode_length_delimited_to_vec(),
        }
    }

    /// What the messages of this encoding are sent as.
    pub fn opcode(self) -> u8 {
        match self {
            Self::Json => TEXT,
            Self::Protobuf => BINARY,
        }
    }

    /// The command `ping`.
    pub fn ping(self, id: u32) -> Vec<u8> {
        let command = Command { id, ping: Some(Empty {}), ..Command::default() };
        self.encode(&command, &json!({ "id": id, "ping": {} }))
    }

    /// A command that is answered with the text that it holds.
    pub fn echo(self, id: u32, text: &str) -> Vec<u8> {
        let rpc = RpcRequest { method: "echo".to_owned(), data: json!(text).to_string().into() };
        let command = Command { id, rpc: Some(rpc), ..Command::default() };
        self.encode(&command, &json!({ "id": id, "rpc": { "method": "echo", "data": text } }))
    }

    /// An echo that is so many bytes long, and its text.
    pub fn echo_of(self, id: u32, length: usize) -> (Vec<u8>, String) {
        let mut text = "*".repeat(length.saturating_sub(self.echo(id, "").len()));
        // The lengths within a Protobuf message grow with what they count.
        while self.echo(id, &text).len() > length {
            text.pop();
        }
        let echo = self.echo(id, &text);
        assert_eq!(echo.len(), length, "no echo is that long");
        (echo, text)
    }

    /// The command `connect`.
    pub fn connect(self, token: &str) -> Vec<u8> {
        let request = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
        let command = Command { id: 1, connect: Some(request), ..Command::default() };
        self.encode(&command, &json!({ "id": 1, "connect": { "token": token } }))
    }
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// The reply to that command.
    Reply(u32),
    /// The reply to an echo.
    Echo(u32, String),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame.
    Close(u16),
    /// The end of the connection.
    End,
}

/// A socket after its handshake.
pub struct Raw {
    pub socket: TcpStream,
    wire: Wire,
    replies: VecDeque<Back>,
}

impl Raw {
    /// Shakes hands and says nothing yet.
    pub async fn open(address: SocketAddr, wire: Wire) -> Self {
        let protocol = match wire {
            Wire::Json => "centrifuge-json",
            Wire::Protobuf => "centrifuge-protobuf",
        };
        let change = format!("Host: h\nSec-WebSocket-Protocol: {protocol}\n");
        let (socket, answer) = request(address, &head(&[("Host: h\n", &change)])).await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains(protocol), "{answer}");
        Self { socket, wire, replies: VecDeque::new() }
    }

    /// Connects as somebody.
    pub async fn join(address: SocketAddr, wire: Wire, token: &str) -> Self {
        let mut raw = Self::open(address, wire).await;
        raw.send(&frame(FIN | wire.opcode(), &wire.connect(token))).await;
        assert_eq!(raw.back().await, Back::Reply(1));
        raw
    }

    /// Sends bytes; to a server that has hung up nothing is sent.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Sends bytes in pieces, each as a packet of its own.
    pub async fn send_in(&mut self, size: usize, bytes: &[u8]) {
        for piece in bytes.chunks(size) {
            self.send(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// The next thing that the server sends, pings and pushes left out.
    pub async fn back(&mut self) -> Back {
        timeout(PATIENCE, self.next()).await.expect("something comes back in time")
    }

    async fn next(&mut self) -> Back {
        loop {
            if let Some(back) = self.replies.pop_front() {
                return back;
            }
            let Some((opcode, payload)) = self.frame().await else { return Back::End };
            match opcode {
                CLOSE => {
                    std::str::from_utf8(&payload[2..]).expect("a reason in UTF-8");
                    return Back::Close(u16::from_be_bytes([payload[0], payload[1]]));
                }
                PONG => return Back::Pong(payload),
                opcode => {
                    assert_eq!(opcode, self.wire.opcode());
                    self.replies.extend(replies(self.wire, &payload));
                }
            }
        }
    }

    /// A frame of the server's, which are whole and not masked; `None` at the end.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.socket.read_u8().await.ok()?;
        let second = self.socket.read_u8().await.ok()?;
        assert_eq!((first & 0xf0, second & 0x80), (FIN, 0), "{first:#x} {second:#x}");
        let length = match second {
            126 => usize::from(self.socket.read_u16().await.ok()?),
            127 => usize::try_from(self.socket.read_u64().await.ok()?).unwrap(),
            short => usize::from(short),
        };
        let shortest = match length {
            0..=125 => second < 126,
            126..=0xffff => second == 126,
            _ => second == 127,
        };
        assert!(shortest && (first & 8 == 0 || length <= 125), "{first:#x}: {length}");
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).await.ok()?;
        Some((first & 0x0f, payload))
    }
}

fn replies(wire: Wire, mut payload: &[u8]) -> Vec<Back> {
    let mut found = Vec::new();
    match wire {
        Wire::Json => {
            for line in std::str::from_utf8(payload).unwrap().lines() {
                let reply: Value = serde_json::from_str(line).unwrap();
                let id = reply["id"].as_u64().unwrap_or(0);
                found.push((id, reply["rpc"]["data"].as_str().map(str::to_owned)));
            }
        }
        Wire::Protobuf => {
            while !payload.is_empty() {
                let reply = Reply::decode_length_delimited(&mut payload).unwrap();
                let text = reply.rpc.and_then(|rpc| serde_json::from_slice(&rpc.data).ok());
                found.push((reply.id.into(), text));
            }
        }
    }
    let replies = found.into_iter().filter(|(id, _)| *id > 0);
    replies
        .map(|(id, text)| match (u32::try_from(id).unwrap(), text) {
            (id, Some(text)) => Back::Echo(id, text),
            (id, None) => Back::Reply(id),
        })
        .collect()
}
