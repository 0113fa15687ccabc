//! Commands and messages, apart from how they are written.

use serde::{Deserialize, Serialize};

use super::{
    json, protobuf, tinode,
    websocket::{Frame, Queue},
};

/// How commands and messages are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The Centrifuge protocol in JSON lines.
    #[default]
    Json,
    /// The Centrifuge protocol in Protobuf.
    Protobuf,
    /// Tinode's protocol.
    Tinode,
}

/// A place in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last publication that one has.
    pub offset: u64,
    /// Of which incarnation of the stream.
    pub epoch: String,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Opens the session. `positions` are the last ones in server-side subscriptions.
    Connect { token: String, positions: Vec<(String, Position)> },
    /// Takes a place in a channel, after `since`.
    Subscribe { channel: String, since: Option<Position> },
    /// Calls an action; `data` is JSON.
    Rpc { method: &'static str, data: String },
    /// Publishes JSON.
    Publish { channel: String, data: String },
    /// Reads events after `since`.
    History { channel: String, since: Position, limit: i32 },
}

/// What an answer holds besides its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// JSON of an rpc's answer, of a connect reply's `data`.
    pub data: Vec<u8>,
    /// Head of the channel, or, after recovery, the position asked for.
    pub position: Position,
    /// Everything missed is here or follows.
    pub recovered: bool,
    /// Whether recovery was asked for.
    pub was_recovering: bool,
    /// Events of a page: offset and JSON.
    pub publications: Vec<(u64, Vec<u8>)>,
    /// Server-side subscriptions of a connect reply.
    pub subscriptions: Vec<(String, Body)>,
}

/// What the server says.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// It wants a sign of life.
    Ping,
    /// The answer to a command.
    Reply(u32, Result<Body, (u32, String)>),
    /// An event.
    Publication { channel: &'a str, offset: u64, data: &'a [u8] },
    /// The subscription ended.
    Unsubscribed { channel: &'a str, code: u32 },
    /// Something else: join, leave, messages.
    Other,
}

/// A frame that nobody can read.
#[derive(Debug)]
pub struct Malformed(pub String);

impl Format {
    /// The WebSocket sub-protocol to ask for.
    pub fn sub_protocol(self) -> Option<&'static str> {
        match self {
            Self::Protobuf => Some("centrifuge-protobuf"),
            Self::Json | Self::Tinode => None,
        }
    }

    /// Queues a command.
    pub fn encode(self, id: u32, command: &Command, queue: &mut Queue) {
        match self {
            Self::Json => queue.text(&json::encode(id, command)),
            Self::Protobuf => queue.binary(&protobuf::encode(id, command)),
            Self::Tinode => tinode::encode(id, command).iter().for_each(|text| queue.text(text)),
        }
    }

    /// Queues the answer to a ping.
    pub fn pong(self, queue: &mut Queue) {
        match self {
            Self::Json => queue.text("{}"),
            // An empty command, with its length in front.
            Self::Protobuf => queue.binary(&[0]),
            Self::Tinode => {}
        }
    }

    /// Reads a frame and hands what is in it to `take`, one by one.
    pub fn decode<'a>(self, frame: &Frame<'a>, mut take: impl FnMut(Incoming<'a>)) -> Result<(), Malformed> {
        match (self, frame) {
            (Self::Json, Frame::Text(text)) => {
                let mut begin = 0;
                for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
                    let line = &text[begin..end];
                    begin = end + 1;
                    if !line.is_empty() {
                        take(json::decode(line)?);
                    }
                }
                Ok(())
            }
            (Self::Protobuf, Frame::Binary(bytes)) => protobuf::decode(bytes, take),
            (Self::Tinode, Frame::Text(text)) => {
                take(tinode::decode(text)?);
                Ok(())
            }
            _ => Err(Malformed("a frame of the other kind".to_owned())),
        }
    }
}
