//! `/connection/http_stream` and `/connection/sse`: a connection whose frames leave in the body of an HTTP response.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::frame::Wire;
use crate::{
    base::secret::Secret,
    realtime::{
        Hub,
        connection::Connection,
        protocol::Encoding,
        session::{self, Arrival},
        shard::Shard,
    },
};

/// What the opening request brought.
#[derive(Debug, Default)]
pub struct Opening {
    /// The first frame of commands, which begins with `connect`.
    pub frame: Bytes,
    /// Header `x-helplightning-api-key`.
    pub api_key: Option<Secret>,
    /// Who the peer is, behind proxies that are believed.
    pub address: Option<IpAddr>,
}

/// The body of the response; dropping it ends the connection.
pub struct Body {
    shard: Rc<Shard>,
    connection: Rc<Connection>,
}

/// Opens a connection that receives lines or length-delimited messages. Must be called on an actix worker; `None`
/// when the node takes no more connections (503).
pub fn open_http_stream(hub: &Hub, encoding: Encoding, opening: Opening) -> Option<Body> {
    let wire = match encoding {
        Encoding::Json => Wire::StreamJson,
        Encoding::Protobuf => Wire::StreamProtobuf,
    };
    open(hub, wire, opening)
}

/// Opens a connection that receives server-sent events. Must be called on an actix worker; `None` when the node takes
/// no more connections (503).
pub fn open_sse(hub: &Hub, opening: Opening) -> Option<Body> {
    open(hub, Wire::Sse, opening)
}

fn open(hub: &Hub, wire: Wire, opening: Opening) -> Option<Body> {
    if !hub.admit() {
        return None;
    }
    let shard = Shard::local(hub);
    let connection = shard.add(wire, None);
    // The way back must not be guessable: who knows this text acts as the connection.
    let secret = hub.random.token::<16>();
    hub.sessions.insert(secret.clone(), connection.id);
    let Opening { frame, api_key, address } = opening;
    connection.session.borrow_mut().opened(Arrival { api_key, address }, secret);
    session::receive(&shard, &connection, &frame);
    Some(Body { shard, connection })
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut next = self.connection.poll_chunk(cx);
        if next.is_pending() {
            self.shard.drained(&self.connection);
            if !self.connection.out.borrow().is_empty() {
                next = self.connection.poll_chunk(cx);
            }
        }
        if let Poll::Ready(Some(chunk)) = &next {
            self.shard.hub.metrics.bytes.inc_by(chunk.len() as u64);
        }
        next.map(|chunk| chunk.map(Ok))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.shard.remove(&self.connection);
    }
}
