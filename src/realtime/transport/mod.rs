//! Bytes in, bytes out: what carries frames between a client and its session.
//!
//! WebSocket connections are taken over as raw sockets in the upgrade service of `actix_http`, beside the App, which
//! therefore sees none of them: origin, path and limits are checked here. The other transports are streamed HTTP
//! responses with `POST /emulation` for the way back; `http::socket` mounts them all.

mod body;
pub mod codec;
pub mod emulation;
mod origin;
pub mod websocket;

pub use body::{Body, Opening, open_http_stream, open_sse};
pub use origin::{Claimed, is_welcome};

use super::frame;
