//! What differs between the servers that can be driven. Everything else (rates, histograms, sockets) is the same, so that
//! the comparison is fair.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::client::{
    socket::Endpoint,
    wire::{Command, Format},
};

/// A kind of server.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Switchboard.
    #[default]
    Switchboard,
    /// Centrifugo: publications into channels.
    Centrifugo,
    /// Tinode: messages into topics.
    Tinode,
}

impl Target {
    /// Where sockets go.
    pub fn endpoint(self, base: &str, format: Format, api_key: Option<&str>) -> Endpoint {
        let socket = base.trim_end_matches('/').replacen("http", "ws", 1);
        let key = |name| api_key.map(|key| (name, key.to_owned())).into_iter().collect();
        let (path, format, headers) = match self {
            Self::Switchboard => ("/connection/websocket", format, key("x-helplightning-api-key")),
            Self::Centrifugo => ("/connection/websocket", format, Vec::new()),
            Self::Tinode => ("/v0/channels", Format::Tinode, key("x-tinode-apikey")),
        };
        Endpoint { url: format!("{socket}{path}"), headers, format, lenient: self != Self::Switchboard }
    }

    /// The channel of a room: its number, or the topic that stands for it.
    pub fn channel(self, room: i64, topic: Option<&str>) -> String {
        match (self, topic) {
            (Self::Switchboard, _) => format!("workbox:{room}"),
            (_, Some(topic)) => topic.to_owned(),
            (Self::Centrifugo | Self::Tinode, None) => format!("room{room}"),
        }
    }

    /// Sends a text.
    pub fn send(self, channel: &str, uuid: Uuid, text: &str) -> Command {
        match self {
            // Names of channels and our texts need no escapes.
            Self::Switchboard => Command::Rpc {
                method: "message.send",
                data: format!(r#"{{"channel":"{channel}","uuid":"{uuid}","text":"{text}"}}"#),
            },
            Self::Centrifugo | Self::Tinode => {
                Command::Publish { channel: channel.to_owned(), data: json!({ "t": text }).to_string() }
            }
        }
    }

    /// Whether it is ours: only then there are REST operations, a ledger and a truth to check.
    pub fn is_ours(self) -> bool {
        self == Self::Switchboard
    }
}
