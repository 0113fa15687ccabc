//! The Centrifuge client protocol, version 2: the messages and their two wire formats.
//!
//! A client's frame holds one or more commands: JSON objects separated by newlines, or Protobuf messages each behind
//! its length. Parsing is total: whatever the bytes, the answer is commands or [`Malformed`], never a panic, and
//! memory stays within a small multiple of the frame.

mod decode;
mod json;
mod reply;
mod request;

pub use decode::{Malformed, commands, emulation_request};
pub use reply::*;
pub use request::*;

use bytes::Bytes;
use prost::Message as _;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text: one JSON object per message, no newline inside.
    Json,
    /// Binary: one Protobuf message behind its length as a varint.
    Protobuf,
}

/// Encodes one reply. JSON has no newline at its end; Protobuf is length-delimited.
pub fn encode_reply(encoding: Encoding, reply: &Reply) -> Bytes {
    match encoding {
        Encoding::Json => {
            let mut text = Vec::with_capacity(128);
            json::write_reply(&mut text, reply);
            text.into()
        }
        Encoding::Protobuf => reply.encode_length_delimited_to_vec().into(),
    }
}

/// A publication as one push, ready for a transport to frame. With `id` the push names the channel by its number
/// (channel compaction) instead of by name.
pub fn encode_publication(encoding: Encoding, channel: &str, id: i64, publication: &Publication) -> Bytes {
    match encoding {
        Encoding::Json => {
            let mut text = Vec::with_capacity(publication.data.len() + channel.len() + 64);
            json::write_publication_push(&mut text, channel, id, publication);
            text.into()
        }
        Encoding::Protobuf => {
            let channel = if id == 0 { channel.to_owned() } else { String::new() };
            let push = Push { id, channel, publication: Some(publication.clone()), ..Push::default() };
            let reply = Reply { push: Some(push), ..Reply::default() };
            reply.encode_length_delimited_to_vec().into()
        }
    }
}

/// The server's ping: an empty reply.
pub const fn ping(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Json => b"{}",
        Encoding::Protobuf => b"\0",
    }
}
