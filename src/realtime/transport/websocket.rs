//! `/connection/websocket`: handshake, and one small task per socket.

use std::{io::ErrorKind, net::IpAddr, rc::Rc};

use actix_codec::Framed;
use actix_http::{
    HttpMessage as _, Method, Request, Response, StatusCode, Version,
    body::BodySize,
    h1,
    header::{self, HeaderMap, HeaderValue},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use sha1::{Digest as _, Sha1};
use tokio::net::TcpStream;

use super::{
    codec::{self, Assembly, Opcode, UNSUPPORTED, Violation, Whole},
    frame::{OPCODE_PONG, Wire, socket_frame},
    origin::{self, Claimed},
};
use crate::{
    base::secret::Secret,
    realtime::{
        Disconnect, Hub, Options, close,
        connection::{Connection, Life, Wakeup},
        protocol::Encoding,
        session::{self, Arrival},
        shard::Shard,
    },
};

/// The path that is served; every other upgrade is refused.
pub const PATH: &str = "/connection/websocket";

const PROTOBUF: &str = "centrifuge-protobuf";
const JSON: &str = "centrifuge-json";
/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgrade request with its socket.
pub type Upgrade = (Request, Framed<TcpStream, h1::Codec>);

/// Answers the handshake and, where it is right, hands the socket to a task of its own.
/// Must be called on an actix worker thread; `address` is who the peer is, behind proxies that are believed.
pub async fn accept(hub: Hub, upgrade: Upgrade, address: Option<IpAddr>) {
    let (request, mut framed) = upgrade;
    let (response, agreed) = match handshake(&hub.options, &request, address) {
        Ok(agreed) if hub.admit() => (agreed.response(), Some(agreed)),
        Ok(_) => (refusal(StatusCode::SERVICE_UNAVAILABLE), None),
        Err(status) => (refusal(status), None),
    };
    let sent = framed.send(h1::Message::Item((response, BodySize::None))).await;
    let Some(agreed) = agreed else { return };
    if sent.is_err() {
        return hub.release();
    }
    let parts = framed.into_parts();
    let _ = parts.io.set_nodelay(true);
    let shard = Shard::local(&hub);
    let connection = shard.add(agreed.wire, Some(parts.io));
    connection.session.borrow_mut().opened(agreed.arrival, String::new());
    actix_rt::spawn(serve(shard, connection, parts.read_buf));
}

struct Agreed {
    wire: Wire,
    protocol: Option<&'static str>,
    accept: String,
    arrival: Arrival,
}

impl Agreed {
    fn response(&self) -> Response<()> {
        let mut response = Response::build(StatusCode::SWITCHING_PROTOCOLS);
        response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, self.accept.as_str()));
        if let Some(protocol) = self.protocol {
            response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocol));
        }
        response.finish().drop_body()
    }
}

fn refusal(status: StatusCode) -> Response<()> {
    let mut response = Response::build(status);
    response.insert_header((header::CONTENT_LENGTH, "0")).force_close();
    if status == StatusCode::UPGRADE_REQUIRED {
        response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
    }
    response.finish().drop_body()
}

/// RFC 6455, 4.2.1. No extension is ever agreed to.
fn handshake(options: &Options, request: &Request, address: Option<IpAddr>) -> Result<Agreed, StatusCode> {
    let headers = request.headers();
    if request.path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let host = text(headers, header::HOST);
    let upgrade = text(headers, header::UPGRADE).unwrap_or_default();
    if request.head().version != Version::HTTP_11
        || host.is_none()
        || !has_token(upgrade, "websocket")
        || !request.upgrade()
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY).ok_or(StatusCode::BAD_REQUEST)?;
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(StatusCode::BAD_REQUEST);
    }
    let forwarded = headers.contains_key(header::X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
    if !origin::is_welcome(options, Claimed { origin: text(headers, header::ORIGIN), host, forwarded }) {
        return Err(StatusCode::FORBIDDEN);
    }
    let offers = |protocol| {
        let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        lists.filter_map(|list| list.to_str().ok()).any(|list| has_token(list, protocol))
    };
    let query = request.uri().query().unwrap_or_default();
    let (wire, protocol) = if offers(PROTOBUF) {
        (Wire::SocketProtobuf, Some(PROTOBUF))
    } else if query.split('&').any(|part| part == "cf_protocol=protobuf") {
        (Wire::SocketProtobuf, None)
    } else {
        (Wire::SocketJson, offers(JSON).then_some(JSON))
    };
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize());
    let arrival = Arrival {
        api_key: text(headers, header::HeaderName::from_static("x-helplightning-api-key")).map(Secret::new),
        address,
    };
    Ok(Agreed { wire, protocol, accept, arrival })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(HeaderValue::to_str).and_then(Result::ok)
}

/// A header that must not come twice.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

fn has_token(list: &str, wanted: &str) -> bool {
    list.split(',').any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

/// What a socket has sent of a frame or message that is not whole yet.
#[derive(Default)]
struct Inbound {
    rest: Bytes,
    assembly: Assembly,
}

async fn serve(shard: Rc<Shard>, connection: Rc<Connection>, first: BytesMut) {
    let mut inbound = Inbound::default();
    if first.is_empty() {
        // It keeps the 8 KiB that the handshake was read into, for as long as the socket is open.
        drop(first);
    } else {
        inbound.rest = first.freeze();
        take(&shard, &connection, &mut inbound, |_, _| Ok(1));
    }
    let limit = shard.hub.options.max_in_flight;
    loop {
        let wakeup = std::future::poll_fn(|cx| {
            let reading = !connection.session.borrow().is_held_back(limit);
            connection.poll_wakeup(cx, reading)
        });
        match wakeup.await {
            Wakeup::Readable => {
                if !take(&shard, &connection, &mut inbound, TcpStream::try_read_buf) {
                    break;
                }
            }
            Wakeup::Writable => shard.flush(&connection),
            Wakeup::Dead => break,
        }
        tokio::task::consume_budget().await;
    }
    shard.remove(&connection);
}

/// Reads what there is into the worker's buffer and takes the frames in it. False at the end of the socket.
fn take(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    inbound: &mut Inbound,
    read: impl FnOnce(&TcpStream, &mut BytesMut) -> std::io::Result<usize>,
) -> bool {
    let Some(io) = connection.socket() else { return false };
    let mut buffer = std::mem::take(&mut *shard.buffer.borrow_mut());
    buffer.clear();
    buffer.extend_from_slice(&std::mem::take(&mut inbound.rest));
    buffer.reserve(READ_BYTES);
    let alive = match read(io, &mut buffer) {
        Ok(0) => false,
        Ok(_) => match frames(shard, connection, &mut inbound.assembly, &mut buffer) {
            Ok(taken) => {
                inbound.rest = Bytes::copy_from_slice(&buffer[taken..]);
                connection.life.get() != Life::Dead
            }
            Err(violation) => {
                shard.close(connection, violation);
                true
            }
        },
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            inbound.rest = Bytes::copy_from_slice(&buffer);
            true
        }
        Err(_) => false,
    };
    *shard.buffer.borrow_mut() = buffer;
    alive
}

/// Takes all whole frames of the buffer and returns how much of it that was.
fn frames(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    assembly: &mut Assembly,
    buffer: &mut [u8],
) -> Result<usize, Violation> {
    let limit = shard.hub.options.max_message_bytes;
    let mut at = 0;
    while let Some(raw) = codec::parse(buffer, at, limit)? {
        at = raw.payload.end;
        let payload = &buffer[raw.payload.clone()];
        match raw.opcode {
            // They are cheaper to send than to answer, so they come out of the same allowance as commands.
            Opcode::Ping | Opcode::Pong if session::passes_rate(shard, connection) => {
                return Err(close::TOO_MANY_REQUESTS);
            }
            Opcode::Ping => shard.push(connection, socket_frame(OPCODE_PONG, payload)),
            Opcode::Pong => {}
            Opcode::Close if connection.is_open() => {
                let code = codec::close_code(payload)?;
                shard.hang_up(connection, Disconnect { code, reason: "" });
            }
            Opcode::Close => connection.life.set(Life::Dead),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                match assembly.take(&raw, payload, limit)? {
                    Whole::Borrowed(opcode, message) => receive(shard, connection, opcode, message)?,
                    Whole::Joined(opcode, message) => receive(shard, connection, opcode, &message)?,
                    Whole::Partial => {}
                }
            }
        }
        if !connection.is_open() {
            // What follows a close is of no interest.
            return Ok(buffer.len());
        }
    }
    Ok(at)
}

fn receive(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    opcode: Opcode,
    message: &[u8],
) -> Result<(), Violation> {
    match (opcode, connection.wire.encoding()) {
        (Opcode::Text, Encoding::Json) => codec::check_text(message)?,
        (Opcode::Binary, Encoding::Protobuf) => {}
        _ => return Err(UNSUPPORTED),
    }
    session::receive(shard, connection, message);
    Ok(())
}
