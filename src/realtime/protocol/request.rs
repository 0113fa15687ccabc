//! What clients send: the requests of `client.proto`, as far as they are served. Field names and numbers are the
//! protocol's.
//!
//! `Bytes` fields hold JSON text on JSON connections and, by the rule of this server, on Protobuf ones too: what is
//! published reaches clients of both formats.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;

use super::decode::{nullable, optional_raw, raw};

/// What a client sends. One of the request fields is set; none is a pong.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct Command {
    /// Chosen by the client, repeated in the reply; 0 for `send` and pongs.
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub id: u32,
    /// Opens the session; must come first.
    #[prost(message, optional, tag = "4")]
    pub connect: Option<ConnectRequest>,
    /// Takes a place in a channel.
    #[prost(message, optional, tag = "5")]
    pub subscribe: Option<SubscribeRequest>,
    /// Leaves a channel.
    #[prost(message, optional, tag = "6")]
    pub unsubscribe: Option<ChannelRequest>,
    /// Publishes into a channel.
    #[prost(message, optional, tag = "7")]
    pub publish: Option<PublishRequest>,
    /// Who is in a channel.
    #[prost(message, optional, tag = "8")]
    pub presence: Option<ChannelRequest>,
    /// How many are in a channel.
    #[prost(message, optional, tag = "9")]
    pub presence_stats: Option<ChannelRequest>,
    /// Past publications.
    #[prost(message, optional, tag = "10")]
    pub history: Option<HistoryRequest>,
    /// A client's own ping.
    #[prost(message, optional, tag = "11")]
    pub ping: Option<Empty>,
    /// A message without an answer.
    #[prost(message, optional, tag = "12")]
    pub send: Option<SendRequest>,
    /// A named call with an answer.
    #[prost(message, optional, tag = "13")]
    pub rpc: Option<RpcRequest>,
    /// A new token for the connection.
    #[prost(message, optional, tag = "14")]
    pub refresh: Option<RefreshRequest>,
    /// A new token for a subscription.
    #[prost(message, optional, tag = "15")]
    pub sub_refresh: Option<SubRefreshRequest>,
}

/// A message without fields.
#[derive(Clone, PartialEq, Message, Deserialize)]
pub struct Empty {}

/// `connect`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct ConnectRequest {
    /// Any token that REST takes.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub token: String,
    /// Free data of the application; `api_key` in it is used.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(deserialize_with = "raw")]
    pub data: Bytes,
    /// Last positions in server-side subscriptions.
    #[prost(map = "string, message", tag = "3")]
    #[serde(deserialize_with = "nullable")]
    pub subs: HashMap<String, SubscribeRequest>,
    /// Name of the client's program.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "nullable")]
    pub version: String,
    /// Headers for clients that cannot set HTTP ones.
    #[prost(map = "string, string", tag = "6")]
    #[serde(deserialize_with = "nullable")]
    pub headers: HashMap<String, String>,
}

/// `subscribe`, also the values of `connect.subs`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct SubscribeRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub channel: String,
    /// A token for this subscription (application namespaces).
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub token: String,
    /// Asks for everything after `offset` of `epoch`.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "nullable")]
    pub recover: bool,
    /// Epoch of the last position; empty when unknown.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "nullable")]
    pub epoch: String,
    /// Offset of the last publication that the client has.
    #[prost(uint64, tag = "7")]
    #[serde(deserialize_with = "nullable")]
    pub offset: u64,
    /// Free data of the application.
    #[prost(bytes = "bytes", tag = "8")]
    #[serde(deserialize_with = "raw")]
    pub data: Bytes,
    /// Asks for positioning (streams always have it).
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "nullable")]
    pub positioned: bool,
    /// Asks for recoverability (streams always have it).
    #[prost(bool, tag = "10")]
    #[serde(deserialize_with = "nullable")]
    pub recoverable: bool,
    /// Asks for join and leave pushes.
    #[prost(bool, tag = "11")]
    #[serde(deserialize_with = "nullable")]
    pub join_leave: bool,
    /// Asks for deltas of this type.
    #[prost(string, tag = "12")]
    #[serde(deserialize_with = "nullable")]
    pub delta: String,
    /// A filter by tags: not served, so its presence is an error.
    #[prost(bytes = "bytes", optional, tag = "13")]
    #[serde(deserialize_with = "optional_raw")]
    pub tf: Option<Bytes>,
    /// Bits of [`SubscribeRequest::COMPACTION`] and [`SubscribeRequest::REJECT_UNRECOVERED`].
    #[prost(int64, tag = "14")]
    #[serde(deserialize_with = "nullable")]
    pub flag: i64,
    /// 0 = stream; maps and shared polls (1 and up) are not served.
    #[prost(int32, tag = "15")]
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: i32,
}

impl SubscribeRequest {
    /// Flag: pushes may name the channel by number.
    pub const COMPACTION: i64 = 1;
    /// Flag: answer error 112 instead of `recovered: false`.
    pub const REJECT_UNRECOVERED: i64 = 2;
}

/// A request that names a channel and nothing else.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct ChannelRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub channel: String,
}

/// `publish`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct PublishRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub channel: String,
    /// JSON text.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(deserialize_with = "raw")]
    pub data: Bytes,
    /// 0 = publication; map operations are not served.
    #[prost(int32, tag = "3")]
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: i32,
}

/// `history`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct HistoryRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub channel: String,
    /// How many: 0 = only the position, negative = as many as one page holds.
    #[prost(int32, tag = "7")]
    #[serde(deserialize_with = "nullable")]
    pub limit: i32,
    /// Where to start, exclusive.
    #[prost(message, optional, tag = "8")]
    pub since: Option<StreamPosition>,
    /// From new to old.
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "nullable")]
    pub reverse: bool,
}

/// A place in a stream.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct StreamPosition {
    /// Number of a publication.
    #[prost(uint64, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub offset: u64,
    /// Of which incarnation of the stream; empty = do not check.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub epoch: String,
}

/// `send`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct SendRequest {
    /// JSON text.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(deserialize_with = "raw")]
    pub data: Bytes,
}

/// `rpc`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct RpcRequest {
    /// JSON text.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(deserialize_with = "raw")]
    pub data: Bytes,
    /// Name of the action.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub method: String,
}

/// `refresh`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct RefreshRequest {
    /// The new token.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub token: String,
}

/// `sub_refresh`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct SubRefreshRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub channel: String,
    /// The new token.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub token: String,
    /// 0 = refresh; tracking of keys is not served.
    #[prost(int32, tag = "3")]
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: i32,
}

/// Body of `POST /emulation`: commands for a session that receives by `http_stream` or sse.
#[derive(Clone, PartialEq, Message)]
pub struct EmulationRequest {
    /// The node of the session, as its connect reply named it.
    #[prost(string, tag = "1")]
    pub node: String,
    /// The session's secret.
    #[prost(string, tag = "2")]
    pub session: String,
    /// A frame of commands.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}
