//! RFC 6455, case by case: what is sent, frame by frame, and what must come back. The families are those of the
//! Autobahn test suite. That suite relies on an echo; here the commands `ping` and `rpc echo` show that a payload
//! arrived whole, as text on JSON connections and in binary on Protobuf ones.
//!
//! Each case has a connection of its own and is sent twice: in one piece, and cut up without regard to frames. After it
//! the connection either still answers, or has ended with the close frame that the case names and nothing behind it.

mod closing;
mod framing;
mod limits;
mod utf8;

use super::{
    Server,
    raw::{Back, FIN, PING, PONG, Raw, Wire, frame},
};

/// One line of a table.
pub struct Case {
    pub name: String,
    pub wire: Wire,
    /// Frames of the client.
    pub sent: Vec<u8>,
    /// What comes back, and nothing else.
    pub back: Vec<Back>,
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        wire: Wire,
        sent: impl AsRef<[Vec<u8>]>,
        back: impl Into<Vec<Back>>,
    ) -> Self {
        Self { name: name.into(), wire, sent: sent.as_ref().concat(), back: back.into() }
    }
}

/// `name: frames => what comes back`, on a JSON connection.
macro_rules! cases {
    ($($name:literal: [$($sent:expr),* $(,)?] => [$($back:expr),* $(,)?];)+) => {
        vec![$($crate::realtime::rfc6455::Case::new(
            $name,
            $crate::realtime::raw::Wire::Json,
            [$($sent),*],
            [$($back),*],
        )),+]
    };
}
use cases;

/// A whole text message.
fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | super::raw::TEXT, payload.as_ref())
}

/// The beginning of a text message.
fn begin(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(super::raw::TEXT, payload.as_ref())
}

/// More of a message.
fn more(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(super::raw::CONTINUATION, payload.as_ref())
}

/// The end of a message.
fn end(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | super::raw::CONTINUATION, payload.as_ref())
}

fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | PING, payload.as_ref())
}

fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | PONG, payload.as_ref())
}

/// A command that is answered with its text.
fn echo(id: u32, text: &str) -> Vec<u8> {
    Wire::Json.echo(id, text)
}

/// The answer to that.
fn echoed(id: u32, text: &str) -> Back {
    Back::Echo(id, text.to_owned())
}

fn ponged(payload: impl AsRef<[u8]>) -> Back {
    Back::Pong(payload.as_ref().to_vec())
}

/// Commands of the runner, which no case uses.
const LAST: u32 = 4_242;

async fn run(cases: Vec<Case>) {
    let server = Server::start().await;
    for case in &cases {
        // No piece ends where a frame does, and there are at most some hundred.
        let piece = (case.sent.len() / 300).max(1);
        for size in [case.sent.len().max(1), piece] {
            let what = format!("{} in pieces of {size}", case.name);
            let mut client = Raw::join(server.address, case.wire, "7").await;
            client.send_in(size, &case.sent).await;
            for expected in &case.back {
                assert_eq!(client.back().await, *expected, "{what}");
            }
            if matches!(case.back.last(), Some(Back::Close(_))) {
                assert_eq!(client.back().await, Back::End, "{what}");
            } else {
                client.send(&frame(FIN | case.wire.opcode(), &case.wire.ping(LAST))).await;
                assert_eq!(client.back().await, Back::Reply(LAST), "{what}");
            }
        }
    }
    server.until("no connection", || server.hub.connection_count() == 0).await;
}
