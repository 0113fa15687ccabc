//! The socket by itself: a real server on a free port, clients over real sockets, a journal in memory behind it.

mod backend;
mod catching_up;
pub mod client;
mod commands;
mod emulation;
mod hostile;
mod inboxes;
mod jwks;
mod limits;
mod namespaces;
pub mod raw;
mod rfc6455;
mod sdk;
mod server;
mod server_keys;

use backend::Journal;
pub use client::Client;
use server::Server;
