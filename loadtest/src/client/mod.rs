//! The wire: commands and what comes back, in the formats that the targets speak; sockets that come back by themselves;
//! REST.

mod handshake;
pub mod json;
pub mod protobuf;
mod questions;
pub mod rest;
mod session;
pub mod socket;
pub mod subscription;
pub mod tinode;
mod websocket;
pub mod wire;
