//! Publications encoded once per wire format and shared by reference.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::protocol::{self, Encoding, Publication, Reply};

/// How a connection's bytes look: encoding and what the transport puts around a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wire {
    /// A WebSocket text frame per message.
    SocketJson,
    /// A WebSocket binary frame per message.
    SocketProtobuf,
    /// A line per message.
    StreamJson,
    /// A length-delimited message.
    StreamProtobuf,
    /// A server-sent event per message.
    Sse,
}

const WIRES: usize = 5;

impl Wire {
    /// The encoding inside.
    pub(super) const fn encoding(self) -> Encoding {
        match self {
            Self::SocketJson | Self::StreamJson | Self::Sse => Encoding::Json,
            Self::SocketProtobuf | Self::StreamProtobuf => Encoding::Protobuf,
        }
    }

    /// Name of the transport.
    pub(super) const fn transport(self) -> &'static str {
        match self {
            Self::SocketJson | Self::SocketProtobuf => "websocket",
            Self::StreamJson | Self::StreamProtobuf => "http_stream",
            Self::Sse => "sse",
        }
    }

    /// True for WebSocket connections; the others need a disconnect push in place of a close code, and emulation.
    pub(super) const fn is_socket(self) -> bool {
        matches!(self, Self::SocketJson | Self::SocketProtobuf)
    }

    /// Puts around one encoded message what the transport wants.
    pub(super) fn wrap(self, message: Bytes) -> Bytes {
        match self {
            Self::SocketJson => socket_frame(OPCODE_TEXT, &message),
            Self::SocketProtobuf => socket_frame(OPCODE_BINARY, &message),
            Self::StreamJson => [&message[..], b"\n"].concat().into(),
            Self::StreamProtobuf => message,
            Self::Sse => [b"data: ", &message[..], b"\n\n"].concat().into(),
        }
    }

    /// One reply, ready to be queued.
    pub(super) fn reply(self, reply: &Reply) -> Bytes {
        self.wrap(protocol::encode_reply(self.encoding(), reply))
    }

    /// One publication, ready to be queued. `id` other than 0 stands in place of the channel's name.
    pub(super) fn publication(self, channel: &str, id: i64, publication: &Publication) -> Bytes {
        self.wrap(protocol::encode_publication(self.encoding(), channel, id, publication))
    }

    /// A page of publications in few frames: clients read many small messages of one frame much faster.
    pub(super) fn page(self, channel: &str, id: i64, publications: &[Publication]) -> Vec<Bytes> {
        let encoding = self.encoding();
        let mut frames = Vec::new();
        let mut messages = BytesMut::new();
        for publication in publications {
            let message = protocol::encode_publication(encoding, channel, id, publication);
            if self == Self::Sse {
                frames.push(self.wrap(message));
                continue;
            }
            if messages.len() + message.len() > PAGE_FRAME_BYTES && !messages.is_empty() {
                frames.push(self.wrap(messages.split().freeze()));
            }
            if encoding == Encoding::Json && !messages.is_empty() {
                messages.put_u8(b'\n');
            }
            messages.put_slice(&message);
        }
        if !messages.is_empty() {
            frames.push(self.wrap(messages.freeze()));
        }
        frames
    }

    /// The server's ping.
    pub(super) fn ping(self) -> Bytes {
        match self {
            Self::SocketJson => Bytes::from_static(b"\x81\x02{}"),
            Self::SocketProtobuf => Bytes::from_static(b"\x82\x01\0"),
            Self::StreamJson => Bytes::from_static(b"{}\n"),
            Self::StreamProtobuf => Bytes::from_static(b"\0"),
            Self::Sse => Bytes::from_static(b"data: {}\n\n"),
        }
    }
}

/// Bytes of one frame of a page, about.
const PAGE_FRAME_BYTES: usize = 16 * 1024;
const OPCODE_TEXT: u8 = 1;
const OPCODE_BINARY: u8 = 2;
/// RFC 6455 close frame.
pub(super) const OPCODE_CLOSE: u8 = 8;
/// RFC 6455 pong frame.
pub(super) const OPCODE_PONG: u8 = 10;

/// An unmasked, unfragmented server frame (RFC 6455, 5.2).
pub(super) fn socket_frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.put_u8(length),
        (_, Ok(length)) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(payload.len() as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// A publication on its way to many subscribers.
pub(super) struct Frame {
    /// What the hub knows the channel by.
    pub(super) key: Arc<str>,
    /// Number of the channel for connections that asked for one; 0 = none.
    pub(super) id: i64,
    /// Offset in the stream; 0 = the channel has no positions.
    pub(super) offset: u64,
    publication: Publication,
    encoded: [OnceLock<Bytes>; WIRES * 2],
    differences: Option<Box<Differences>>,
}

/// The forms for clients that agreed to deltas.
struct Differences {
    /// Data of the publication before, where this one may go as a difference from it.
    before: Option<Bytes>,
    encoded: [OnceLock<Bytes>; WIRES * 2],
}

/// What clients call a channel: keys of namespaces begin with the organisation and a zero.
pub(super) fn wire_name(key: &str) -> &str {
    key.split_once('\0').map_or(key, |(_, name)| name)
}

impl Frame {
    /// A frame that encodes itself on first use.
    pub(super) fn new(key: Arc<str>, id: i64, publication: Publication) -> Self {
        let offset = publication.offset;
        let encoded = [const { OnceLock::new() }; WIRES * 2];
        Self { key, id, offset, publication, encoded, differences: None }
    }

    /// A frame of a channel where clients may agree to deltas; `before` is the data of the last publication, where
    /// the publisher wants this one to go as a difference from it.
    pub(super) fn with_differences(key: Arc<str>, publication: Publication, before: Option<Bytes>) -> Self {
        let encoded = [const { OnceLock::new() }; WIRES * 2];
        let differences = Some(Box::new(Differences { before, encoded }));
        Self { differences, ..Self::new(key, 0, publication) }
    }

    /// The bytes for a subscriber; `compact` where it asked for the channel's number.
    pub(super) fn bytes(&self, wire: Wire, compact: bool) -> &Bytes {
        let compact = compact && self.id != 0;
        self.encoded[wire as usize * 2 + usize::from(compact)].get_or_init(|| {
            let id = if compact { self.id } else { 0 };
            wire.publication(wire_name(&self.key), id, &self.publication)
        })
    }

    /// The bytes for a subscriber that agreed to deltas; `ready` where it has the publication before.
    pub(super) fn difference(&self, wire: Wire, ready: bool) -> Bytes {
        let Some(differences) = &self.differences else {
            return wire.publication(wire_name(&self.key), 0, &as_difference(wire, &self.publication, None));
        };
        let before = differences.before.as_ref().filter(|_| ready);
        differences.encoded[wire as usize * 2 + usize::from(before.is_some())]
            .get_or_init(|| {
                wire.publication(wire_name(&self.key), 0, &as_difference(wire, &self.publication, before))
            })
            .clone()
    }
}

/// A publication for a client that agreed to deltas: a difference where that is shorter, else whole. In JSON both are
/// texts.
pub(super) fn as_difference(wire: Wire, publication: &Publication, before: Option<&Bytes>) -> Publication {
    let text = wire.encoding() == Encoding::Json;
    let difference =
        before.map(|before| fossil_delta::delta(&publication.data, before)).filter(|difference| {
            difference.len() < publication.data.len() && !(text && std::str::from_utf8(difference).is_err())
        });
    let delta = difference.is_some();
    let data = difference.map_or_else(|| publication.data.clone(), Bytes::from);
    let data = if text {
        let quoted = serde_json::to_vec(&String::from_utf8_lossy(&data));
        quoted.expect("a text can be quoted").into()
    } else {
        data
    };
    Publication { data, delta, ..publication.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_texts_in_json() {
        let before = Bytes::from(format!("{{\"text\":\"{}\",\"n\":1}}", "long ".repeat(40)));
        let data = Bytes::from(format!("{{\"text\":\"{}\",\"n\":2}}", "long ".repeat(40)));
        let publication = Publication { data: data.clone(), offset: 2, ..Publication::default() };
        let whole = as_difference(Wire::SocketJson, &publication, None);
        assert!(!whole.delta);
        assert_eq!(serde_json::from_slice::<String>(&whole.data).unwrap().as_bytes(), data);
        let difference = as_difference(Wire::SocketJson, &publication, Some(&before));
        assert!(difference.delta && difference.data.len() < 60);
        let text = serde_json::from_slice::<String>(&difference.data).unwrap();
        assert_eq!(fossil_delta::apply(&before, text.as_bytes()).unwrap(), data);
        let short = Publication { data: "1".into(), ..publication };
        assert!(!as_difference(Wire::SocketProtobuf, &short, Some(&before)).delta);
    }

    #[test]
    fn lengths_of_socket_frames() {
        assert_eq!(socket_frame(1, b"hi")[..], *b"\x81\x02hi");
        assert_eq!(socket_frame(2, &[0; 126])[..4], [0x82, 126, 0, 126]);
        assert_eq!(socket_frame(1, &vec![0; 65_536])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_frame_is_encoded_once_per_form() {
        let publication = Publication { data: "{}".into(), offset: 3, ..Publication::default() };
        let frame = Frame::new("c".into(), 9, publication);
        let named = frame.bytes(Wire::StreamJson, false);
        assert_eq!(named, "{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":{},\"offset\":3}}}\n");
        assert_eq!(named.as_ptr(), frame.bytes(Wire::StreamJson, false).as_ptr());
        let numbered = frame.bytes(Wire::Sse, true);
        assert_eq!(numbered, "data: {\"push\":{\"id\":9,\"pub\":{\"data\":{},\"offset\":3}}}\n\n");
    }
}
