//! Commands and messages, apart from how they are written.

use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{json, protobuf, tinode};

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

    /// Writes a command.
    pub fn encode(self, id: u32, command: &Command) -> Vec<Message> {
        match self {
            Self::Json => vec![text(json::encode(id, command))],
            Self::Protobuf => vec![Message::Binary(protobuf::encode(id, command).into())],
            Self::Tinode => tinode::encode(id, command).into_iter().map(text).collect(),
        }
    }

    /// The answer to a ping.
    pub fn pong(self) -> Option<Message> {
        match self {
            Self::Json => Some(Message::Text(Utf8Bytes::from_static("{}"))),
            // An empty command, with its length in front.
            Self::Protobuf => Some(Message::Binary(vec![0].into())),
            Self::Tinode => None,
        }
    }

    /// Reads a frame and hands what is in it to `take`, one by one.
    pub fn decode<'a>(self, frame: &'a Message, mut take: impl FnMut(Incoming<'a>)) -> Result<(), Malformed> {
        match (self, frame) {
            (Self::Json, Message::Text(text)) => {
                for line in text.as_str().split('\n').filter(|line| !line.is_empty()) {
                    take(json::decode(line)?);
                }
                Ok(())
            }
            (Self::Protobuf, Message::Binary(bytes)) => protobuf::decode(bytes, take),
            (Self::Tinode, Message::Text(text)) => {
                take(tinode::decode(text.as_str())?);
                Ok(())
            }
            _ => Err(Malformed("a frame of the other kind".to_owned())),
        }
    }
}

fn text(text: String) -> Message {
    Message::Text(text.into())
}
