//! `POST /emulation`: the way back of connections that receive by `http_stream` or sse.

use crate::realtime::{
    Hub,
    hub::Message,
    protocol::{Encoding, emulation_request},
};

/// Why commands were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Not an emulation request (400).
    Malformed,
    /// No such session on this node (404): it ended, or never was.
    UnknownSession,
}

/// Hands commands to their connection. They are answered over its stream. `encoding` is that of the body and of the
/// connection alike.
pub fn take(hub: &Hub, encoding: Encoding, body: &[u8]) -> Result<(), Rejected> {
    let request = emulation_request(encoding, body).map_err(|_| Rejected::Malformed)?;
    let connection = hub.sessions.get(&request.session).map(|entry| *entry.value());
    let connection = connection.ok_or(Rejected::UnknownSession)?;
    hub.send(connection, Message::Commands(connection, request.data));
    Ok(())
}
