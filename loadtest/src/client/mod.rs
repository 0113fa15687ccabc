//! The wire: commands and what comes back, in the formats that the targets speak; sockets that come back by themselves;
//! REST.

pub mod json;
pub mod protobuf;
pub mod rest;
pub mod socket;
pub mod subscription;
pub mod tinode;
pub mod wire;
