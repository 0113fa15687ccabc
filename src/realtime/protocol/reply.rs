//! What the server sends: the replies and pushes of `client.proto`, as far as they are served.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::Empty;

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
    /// The emulation secret (`http_stream` and sse only).
    #[prost(string, tag = "9")]
    pub session: String,
    /// The emulation node (`http_stream` and sse only).
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
