//! The messages of `client.proto`, as far as they are served. Field names and numbers are the protocol's.
//!
//! `Bytes` fields hold JSON text on JSON connections and, by the rule of this server, on Protobuf ones too: what is
//! published reaches clients of both formats.

use std::collections::{BTreeMap, HashMap};

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

/// Body of `POST /emulation`: commands for a session that receives by http_stream or sse.
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

/// What the server sends: the answer to a command (`id` set), a push, or (empty) a ping.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    /// The command's id.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Why it was refused.
    #[prost(message, optional, tag = "2")]
    pub error: Option<Error>,
    /// Something that nobody asked for.
    #[prost(message, optional, tag = "4")]
    pub push: Option<Push>,
    /// Answer to `connect`.
    #[prost(message, optional, tag = "5")]
    pub connect: Option<ConnectResult>,
    /// Answer to `subscribe`.
    #[prost(message, optional, tag = "6")]
    pub subscribe: Option<SubscribeResult>,
    /// Answer to `unsubscribe`.
    #[prost(message, optional, tag = "7")]
    pub unsubscribe: Option<Empty>,
    /// Answer to `publish`.
    #[prost(message, optional, tag = "8")]
    pub publish: Option<Empty>,
    /// Answer to `presence`.
    #[prost(message, optional, tag = "9")]
    pub presence: Option<PresenceResult>,
    /// Answer to `presence_stats`.
    #[prost(message, optional, tag = "10")]
    pub presence_stats: Option<PresenceStatsResult>,
    /// Answer to `history`.
    #[prost(message, optional, tag = "11")]
    pub history: Option<HistoryResult>,
    /// Answer to `ping`.
    #[prost(message, optional, tag = "12")]
    pub ping: Option<Empty>,
    /// Answer to `rpc`.
    #[prost(message, optional, tag = "13")]
    pub rpc: Option<RpcResult>,
    /// Answer to `refresh`.
    #[prost(message, optional, tag = "14")]
    pub refresh: Option<RefreshResult>,
    /// Answer to `sub_refresh`.
    #[prost(message, optional, tag = "15")]
    pub sub_refresh: Option<SubRefreshResult>,
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Message)]
pub struct Error {
    /// 100-113 of the protocol, from 400 our own.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// Stable name.
    #[prost(string, tag = "2")]
    pub message: String,
    /// True where a retry can help.
    #[prost(bool, tag = "3")]
    pub temporary: bool,
}

/// Something that nobody asked for.
#[derive(Clone, PartialEq, Message)]
pub struct Push {
    /// Number of the channel, in place of its name.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// The channel.
    #[prost(string, tag = "2")]
    pub channel: String,
    /// A publication.
    #[prost(message, optional, tag = "4")]
    pub publication: Option<Publication>,
    /// Somebody came.
    #[prost(message, optional, tag = "5")]
    pub join: Option<Presence>,
    /// Somebody went.
    #[prost(message, optional, tag = "6")]
    pub leave: Option<Presence>,
    /// The subscription ended.
    #[prost(message, optional, tag = "7")]
    pub unsubscribe: Option<Unsubscribe>,
    /// A message to this connection.
    #[prost(message, optional, tag = "8")]
    pub message: Option<MessagePush>,
    /// A server-side subscription began.
    #[prost(message, optional, tag = "9")]
    pub subscribe: Option<SubscribePush>,
    /// The connection ends (transports without close codes).
    #[prost(message, optional, tag = "11")]
    pub disconnect: Option<DisconnectPush>,
}

/// A publication.
#[derive(Clone, PartialEq, Message)]
pub struct Publication {
    /// JSON text.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    /// Who published, where a client did.
    #[prost(message, optional, tag = "5")]
    pub info: Option<ClientInfo>,
    /// Its number in the stream; 0 = none.
    #[prost(uint64, tag = "6")]
    pub offset: u64,
    /// Free tags.
    #[prost(btree_map = "string, string", tag = "7")]
    pub tags: BTreeMap<String, String>,
    /// `data` is a difference from the previous publication.
    #[prost(bool, tag = "8")]
    pub delta: bool,
}

/// Who a client is.
#[derive(Clone, PartialEq, Message)]
pub struct ClientInfo {
    /// `7`, `guest:<uuid>` or `enterprise:<id>`.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The connection.
    #[prost(string, tag = "2")]
    pub client: String,
    /// What the connection's token says.
    #[prost(bytes = "bytes", tag = "3")]
    pub conn_info: Bytes,
    /// What the subscription's token says.
    #[prost(bytes = "bytes", tag = "4")]
    pub chan_info: Bytes,
}

/// `join` and `leave`.
#[derive(Clone, PartialEq, Message)]
pub struct Presence {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub info: Option<ClientInfo>,
}

/// The end of a subscription.
#[derive(Clone, PartialEq, Message)]
pub struct Unsubscribe {
    /// From 2500 on SDKs subscribe again.
    #[prost(uint32, tag = "2")]
    pub code: u32,
    /// Stable name.
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// A message to one connection.
#[derive(Clone, PartialEq, Message)]
pub struct MessagePush {
    /// JSON text.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// A server-side subscription that began after connect.
#[derive(Clone, PartialEq, Message)]
pub struct SubscribePush {
    /// Can be recovered.
    #[prost(bool, tag = "1")]
    pub recoverable: bool,
    /// Epoch of the position.
    #[prost(string, tag = "4")]
    pub epoch: String,
    /// Offset of the position.
    #[prost(uint64, tag = "5")]
    pub offset: u64,
    /// Has positions.
    #[prost(bool, tag = "6")]
    pub positioned: bool,
    /// Free data.
    #[prost(bytes = "bytes", tag = "7")]
    pub data: Bytes,
}

/// The end of the connection.
#[derive(Clone, PartialEq, Message)]
pub struct DisconnectPush {
    /// See `realtime::disconnect`.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// Stable name.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// Whether to come back.
    #[prost(bool, tag = "3")]
    pub reconnect: bool,
}

/// Answer to `connect`.
#[derive(Clone, PartialEq, Message)]
pub struct ConnectResult {
    /// The connection's id.
    #[prost(string, tag = "1")]
    pub client: String,
    /// The server's version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// The token ends and wants `refresh`.
    #[prost(bool, tag = "3")]
    pub expires: bool,
    /// In how many seconds.
    #[prost(uint32, tag = "4")]
    pub ttl: u32,
    /// `{user, organization, server_time, limits, features, rings, active_call}`.
    #[prost(bytes = "bytes", tag = "5")]
    pub data: Bytes,
    /// Server-side subscriptions.
    #[prost(btree_map = "string, message", tag = "6")]
    pub subs: BTreeMap<String, SubscribeResult>,
    /// Seconds between the server's pings.
    #[prost(uint32, tag = "7")]
    pub ping: u32,
    /// Whether the client must answer them.
    #[prost(bool, tag = "8")]
    pub pong: bool,
    /// The emulation secret (http_stream and sse only).
    #[prost(string, tag = "9")]
    pub session: String,
    /// The emulation node (http_stream and sse only).
    #[prost(string, tag = "10")]
    pub node: String,
}

/// Answer to `subscribe`.
#[derive(Clone, PartialEq, Message)]
pub struct SubscribeResult {
    /// The subscription ends and wants `sub_refresh`.
    #[prost(bool, tag = "1")]
    pub expires: bool,
    /// In how many seconds.
    #[prost(uint32, tag = "2")]
    pub ttl: u32,
    /// Can be recovered.
    #[prost(bool, tag = "3")]
    pub recoverable: bool,
    /// Epoch of the stream.
    #[prost(string, tag = "6")]
    pub epoch: String,
    /// The first page of what was missed.
    #[prost(message, repeated, tag = "7")]
    pub publications: Vec<Publication>,
    /// Everything missed follows, here and as pushes.
    #[prost(bool, tag = "8")]
    pub recovered: bool,
    /// The requested offset after a recovery, the head otherwise.
    #[prost(uint64, tag = "9")]
    pub offset: u64,
    /// Has positions.
    #[prost(bool, tag = "10")]
    pub positioned: bool,
    /// Free data.
    #[prost(bytes = "bytes", tag = "11")]
    pub data: Bytes,
    /// The client asked for recovery.
    #[prost(bool, tag = "12")]
    pub was_recovering: bool,
    /// Publications may come as deltas.
    #[prost(bool, tag = "13")]
    pub delta: bool,
    /// Number of the channel in pushes; 0 = pushes carry its name.
    #[prost(int64, tag = "14")]
    pub id: i64,
}

/// Answer to `presence`.
#[derive(Clone, PartialEq, Message)]
pub struct PresenceResult {
    /// By connection.
    #[prost(btree_map = "string, message", tag = "1")]
    pub presence: BTreeMap<String, ClientInfo>,
}

/// Answer to `presence_stats`.
#[derive(Clone, PartialEq, Message)]
pub struct PresenceStatsResult {
    /// Connections.
    #[prost(uint32, tag = "1")]
    pub num_clients: u32,
    /// Different users.
    #[prost(uint32, tag = "2")]
    pub num_users: u32,
}

/// Answer to `history`.
#[derive(Clone, PartialEq, Message)]
pub struct HistoryResult {
    /// The page.
    #[prost(message, repeated, tag = "1")]
    pub publications: Vec<Publication>,
    /// Epoch of the stream.
    #[prost(string, tag = "2")]
    pub epoch: String,
    /// Head of the stream.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// Answer to `rpc`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcResult {
    /// JSON text.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// Answer to `refresh`.
#[derive(Clone, PartialEq, Message)]
pub struct RefreshResult {
    /// The connection's id.
    #[prost(string, tag = "1")]
    pub client: String,
    /// The server's version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// The new token ends too.
    #[prost(bool, tag = "3")]
    pub expires: bool,
    /// In how many seconds.
    #[prost(uint32, tag = "4")]
    pub ttl: u32,
}

/// Answer to `sub_refresh`.
#[derive(Clone, PartialEq, Message)]
pub struct SubRefreshResult {
    /// The new token ends too.
    #[prost(bool, tag = "1")]
    pub expires: bool,
    /// In how many seconds.
    #[prost(uint32, tag = "2")]
    pub ttl: u32,
}
