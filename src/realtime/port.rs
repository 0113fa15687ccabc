//! What the socket asks of the rest of the server. `service` implements [`Backend`]; tests use one in memory.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use super::disconnect::{Disconnect, ProtocolError, error};
use crate::{
    base::{clock::Timestamp, secret::Secret},
    domain::{
        caller::Caller,
        codes::{Code, Kind},
        error::{Error, Result},
        ids::{OrgId, StreamId},
    },
};

/// A boxed answer. It is polled once where it was made and then runs on the owned runtime, so requests of one
/// connection reach actors in the order in which they came, as long as they get there without waiting before.
pub type Future<T> = Pin<Box<dyn std::future::Future<Output = std::result::Result<T, Refusal>> + Send>>;

/// One live connection of this node. `client` is what others see; the rest finds it fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The connection's public id.
    pub client: Uuid,
    pub(super) shard: u16,
    pub(super) slot: u32,
}

/// Who is behind a connection.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `ClientInfo.user`: `7`, `guest:<uuid>`, `enterprise:<id>`, or a user of an application's own backend.
    pub user: String,
    /// The organisation.
    pub organization: OrgId,
    /// What our own token says; `None` for users of an application's backend, who see namespaces only.
    pub caller: Option<Caller>,
    /// `ClientInfo.conn_info`, JSON text or empty.
    pub info: Bytes,
}

impl Identity {
    /// The identity of one of our own tokens.
    pub fn of(caller: Caller) -> Self {
        Self {
            user: caller.label(),
            organization: caller.organization,
            caller: Some(caller),
            info: Bytes::new(),
        }
    }

    /// The caller, or "not for this token".
    pub fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or_else(|| Error::forbidden("this needs a token of this server"))
    }
}

/// Why a request is refused: with an error in the reply, or by ending the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command fails.
    Error(ProtocolError),
    /// The connection ends.
    Disconnect(Disconnect),
}

impl Refusal {
    /// A refused subscription: absent and forbidden channels look alike (103).
    pub fn of_channel(cause: Error) -> Self {
        match cause.code() {
            Code::ExpiredToken => Self::Error(error::TOKEN_EXPIRED),
            code if matches!(code.kind(), Kind::NotFound | Kind::Forbidden | Kind::Unauthenticated) => {
                Self::Error(error::PERMISSION_DENIED)
            }
            _ => cause.into(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error.into())
    }
}
impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        Self::Error(error)
    }
}
impl From<Disconnect> for Refusal {
    fn from(disconnect: Disconnect) -> Self {
        Self::Disconnect(disconnect)
    }
}

/// A connection that introduces itself.
#[derive(Debug)]
pub struct Hello {
    /// The connection.
    pub connection: ConnectionId,
    /// `connect.token`; empty when there is none.
    pub token: Secret,
    /// Header `x-helplightning-api-key`, `connect.headers` or `connect.data.api_key`, whichever is there first.
    pub api_key: Option<Secret>,
    /// `connect.data`, JSON text or empty.
    pub data: Bytes,
    /// Name and version of the client's program.
    pub program: (String, String),
    /// `websocket`, `http_stream` or `sse`.
    pub transport: &'static str,
    /// The peer's address, behind proxies that are believed.
    pub address: Option<IpAddr>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct ConnectGrant {
    /// Who it is.
    pub identity: Identity,
    /// `data` of the connect reply, JSON text.
    pub data: Bytes,
    /// Channels to subscribe to from the server's side; [`Backend::subscribe`] is asked for each.
    pub channels: Vec<String>,
    /// End of the token; `None` = never.
    pub expires_at: Option<Timestamp>,
}

/// A refreshed connection.
#[derive(Debug)]
pub struct RefreshGrant {
    /// Who it is now: the same user, perhaps with other rights.
    pub identity: Identity,
    /// End of the new token; `None` = never.
    pub expires_at: Option<Timestamp>,
}

/// A wish to take a place in a channel (or to read its history).
#[derive(Debug)]
pub struct SubscribeAsk {
    /// The connection.
    pub connection: ConnectionId,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The channel.
    pub channel: Arc<str>,
    /// A token for this subscription, or empty (application namespaces).
    pub token: Secret,
    /// Free data of the client, JSON text or empty.
    pub data: Bytes,
    /// True for the channels of [`ConnectGrant::channels`].
    pub server_side: bool,
}

/// A granted place in a channel.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The stream behind the channel; `None` for a relay without positions.
    pub stream: Option<StreamId>,
    /// The stream's epoch.
    pub epoch: Arc<str>,
    /// Offset of the newest event, read no earlier than the request.
    pub head: u64,
    /// Offset of the oldest event that retention has left (1 for a whole stream, `head + 1` for an emptied one).
    pub first_offset: u64,
    /// For this subscriber the stream begins at this offset (1 = all of it).
    pub visible_from: u64,
    /// Presence names everybody, however many.
    pub presence: bool,
    /// Joins and leaves are announced to who asks for them.
    pub join_leave: bool,
    /// `chan_info` of this subscriber in presence, JSON text or empty.
    pub info: Bytes,
    /// `data` of the subscribe reply, JSON text or empty.
    pub data: Bytes,
}

/// Which way a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Offsets above `from`, ascending.
    After,
    /// Offsets below `from`, descending.
    Before,
}

/// A page of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The stream.
    pub stream: StreamId,
    /// Where to start, exclusive.
    pub from: u64,
    /// Which way.
    pub direction: Direction,
    /// At most this many events.
    pub limit: usize,
    /// Stop after this many bytes of bodies (a hint: more are not sent on).
    pub bytes: usize,
}

/// What a page holds.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Offset and body of each event, in the asked order, without gaps.
    pub events: Vec<(u64, Bytes)>,
}

/// The rest of the server, as connections see it. Every method may be called from any thread; none blocks.
pub trait Backend: Send + Sync + 'static {
    /// Checks a token and says who it is. An expired one is error 109, a bad one disconnect 3500.
    fn connect(&self, hello: Hello) -> Future<ConnectGrant>;

    /// A connection that was granted is there now; [`Backend::disconnected`] follows. One that ended before its grant
    /// came is never told of.
    fn connected(&self, connection: ConnectionId, identity: Arc<Identity>);

    /// Checks the next token of a connection.
    fn refresh(
        &self,
        connection: ConnectionId,
        identity: Arc<Identity>,
        token: Secret,
    ) -> Future<RefreshGrant>;

    /// Checks the right to a channel and says where its stream stands.
    fn subscribe(&self, ask: SubscribeAsk) -> Future<Grant>;

    /// Says where a stream stands, for an application's backend whose key may read those of its organisation.
    fn stream(&self, _organization: OrgId, _channel: String) -> Future<Grant> {
        Box::pin(async { Err(error::NOT_AVAILABLE.into()) })
    }

    /// Reads a page of a stream that was granted before.
    fn read(&self, request: PageRequest) -> Future<Page>;

    /// Publishes on behalf of a client; answered when it is durable, or passed on where it is ephemeral.
    fn publish(
        &self,
        connection: ConnectionId,
        identity: Arc<Identity>,
        channel: String,
        data: Bytes,
    ) -> Future<()>;

    /// Runs an action and returns JSON text. Unknown methods are error 108.
    fn rpc(
        &self,
        connection: ConnectionId,
        identity: Arc<Identity>,
        method: String,
        data: Bytes,
    ) -> Future<Bytes>;

    /// Connections that hold a lease (see [`super::Hub::hold_lease`]) and sent something within the last second.
    fn alive(&self, connections: Vec<ConnectionId>);

    /// A connection that [`Backend::connected`] told of has ended.
    fn disconnected(&self, connection: ConnectionId, identity: Arc<Identity>);
}
