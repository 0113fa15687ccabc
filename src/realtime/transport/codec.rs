//! WebSocket frames from a client (RFC 6455): masked, perhaps fragmented, bounded. Pure: bytes in, frames or the close
//! code out, so that the fuzz targets try the very code that reads sockets.

use std::ops::Range;

use crate::realtime::Disconnect;

/// A frame that is not allowed: the socket closes with this.
pub type Violation = Disconnect;

const PROTOCOL: Violation = Disconnect { code: 1002, reason: "protocol error" };
const TEXT: Violation = Disconnect { code: 1007, reason: "invalid UTF-8" };
const TOO_BIG: Violation = Disconnect { code: 1009, reason: "message too big" };
/// A message of the other type than the connection's encoding.
pub const UNSUPPORTED: Violation = Disconnect { code: 1003, reason: "unsupported data" };

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message that began before.
    Continuation,
    /// A message in UTF-8, or its beginning.
    Text,
    /// A message of bytes, or its beginning.
    Binary,
    /// The end, perhaps with a code and a reason.
    Close,
    /// To be answered by a pong with the same payload.
    Ping,
    /// An answer, or a sign of life.
    Pong,
}

/// One frame; the payload lies unmasked at `payload` of the buffer, the next frame begins at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// No fragment follows.
    pub last: bool,
    /// What it is.
    pub opcode: Opcode,
    /// Where in the buffer its content is.
    pub payload: Range<usize>,
}

/// Reads the frame that begins at `start`; `None` while it is incomplete.
pub fn parse(buffer: &mut [u8], start: usize, limit: usize) -> Result<Option<Raw>, Violation> {
    let Some(&[first, second]) = buffer.get(start..start + 2) else { return Ok(None) };
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(PROTOCOL),
    };
    let last = first & 0x80 != 0;
    let control = first & 0x08 != 0;
    // Reserved bits belong to extensions, and none was agreed; clients must mask; control frames are short and whole.
    if first & 0x70 != 0 || second & 0x80 == 0 || (control && (!last || second & 0x7f > 125)) {
        return Err(PROTOCOL);
    }
    let extended = start + 2;
    // A length stands in the shortest of its three forms (5.2).
    let (width, least) = match second & 0x7f {
        126 => (2, 126),
        127 => (8, 1 << 16),
        _ => (0, 0),
    };
    let mask_at = extended + width;
    let Some(bytes) = buffer.get(extended..mask_at) else { return Ok(None) };
    let length = match width {
        0 => u64::from(second & 0x7f),
        _ => bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
    };
    if length < least {
        return Err(PROTOCOL);
    }
    let Ok(length) = usize::try_from(length) else { return Err(TOO_BIG) };
    if length > limit {
        return Err(TOO_BIG);
    }
    let payload = mask_at + 4..mask_at + 4 + length;
    if buffer.len() < payload.end {
        return Ok(None);
    }
    let mask: [u8; 4] = buffer[mask_at..mask_at + 4].try_into().expect("four bytes");
    unmask(&mut buffer[payload.clone()], mask);
    Ok(Some(Raw { last, opcode, payload }))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut chunks = payload.chunks_exact_mut(8);
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    for chunk in &mut chunks {
        let bytes: [u8; 8] = (&*chunk).try_into().expect("eight bytes");
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    chunks.into_remainder().iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// Joins the fragments of a message.
#[derive(Default)]
pub struct Assembly(Option<Box<(Opcode, Vec<u8>)>>);

/// A whole message.
pub enum Whole<'a> {
    /// It came in one frame.
    Borrowed(Opcode, &'a [u8]),
    /// It came in several.
    Joined(Opcode, Vec<u8>),
    /// More is to come.
    Partial,
}

impl Assembly {
    /// Takes a data frame.
    pub fn take<'a>(&mut self, raw: &Raw, payload: &'a [u8], limit: usize) -> Result<Whole<'a>, Violation> {
        match (&mut self.0, raw.opcode) {
            (None, Opcode::Continuation) => Err(PROTOCOL),
            (None, opcode) if raw.last => Ok(Whole::Borrowed(opcode, payload)),
            (None, opcode) => {
                self.0 = Some(Box::new((opcode, payload.to_vec())));
                Ok(Whole::Partial)
            }
            (Some(started), Opcode::Continuation) => {
                if started.1.len() + payload.len() > limit {
                    return Err(TOO_BIG);
                }
                started.1.extend_from_slice(payload);
                match self.0.take_if(|_| raw.last) {
                    Some(whole) => Ok(Whole::Joined(whole.0, whole.1)),
                    None => Ok(Whole::Partial),
                }
            }
            (Some(_), _) => Err(PROTOCOL),
        }
    }
}

/// Text must be UTF-8.
pub fn check_text(text: &[u8]) -> Result<(), Violation> {
    std::str::from_utf8(text).map(drop).map_err(|_| TEXT)
}

/// The code to answer a close frame with.
pub fn close_code(payload: &[u8]) -> Result<u16, Violation> {
    match payload {
        [] => Ok(1000),
        [_] => Err(PROTOCOL),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            check_text(reason)?;
            if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) { Ok(code) } else { Err(PROTOCOL) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                frame.push(0xfe);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    #[test]
    fn whole_and_incomplete_frames() {
        for length in [0, 1, 7, 8, 9, 125, 126, 4_000] {
            let payload: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            let mut frame = client_frame(0x82, &payload);
            let cut = frame.len() - 1;
            assert_eq!(parse(&mut frame.clone()[..cut], 0, 4_000), Ok(None));
            let raw = parse(&mut frame, 0, 4_000).unwrap().unwrap();
            assert_eq!((raw.last, raw.opcode, &frame[raw.payload]), (true, Opcode::Binary, &payload[..]));
        }
    }

    #[test]
    fn violations() {
        for (mut frame, violation) in [
            (client_frame(0xc1, b""), PROTOCOL),
            (client_frame(0x83, b""), PROTOCOL),
            (client_frame(0x09, b""), PROTOCOL),
            (client_frame(0x89, &[0; 126]), PROTOCOL),
            (vec![0x81, 0x02, b'h', b'i'], PROTOCOL),
            (vec![0x81, 0xfe, 0, 125], PROTOCOL),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], PROTOCOL),
            (client_frame(0x81, &[0; 101]), TOO_BIG),
            (vec![0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], TOO_BIG),
        ] {
            assert_eq!(parse(&mut frame, 0, 100), Err(violation));
        }
        assert_eq!(close_code(&[3]), Err(PROTOCOL));
        assert_eq!(close_code(&[3, 0xed]), Err(PROTOCOL));
        assert_eq!(close_code(&[0x03, 0xe8, b'x']), Ok(1000));
    }

    #[test]
    fn fragments_are_joined_within_the_limit() {
        let raw = |last, opcode| Raw { last, opcode, payload: 0..0 };
        let mut assembly = Assembly::default();
        assert!(matches!(assembly.take(&raw(false, Opcode::Text), b"ab", 5), Ok(Whole::Partial)));
        assert!(matches!(assembly.take(&raw(false, Opcode::Continuation), b"cd", 5), Ok(Whole::Partial)));
        match assembly.take(&raw(true, Opcode::Continuation), b"e", 5) {
            Ok(Whole::Joined(Opcode::Text, text)) => assert_eq!(text, b"abcde"),
            _ => panic!("not joined"),
        }
        assert!(assembly.take(&raw(true, Opcode::Continuation), b"", 5).is_err());
        assert!(assembly.take(&raw(false, Opcode::Binary), b"abc", 5).is_ok());
        assert!(assembly.take(&raw(true, Opcode::Text), b"", 5).is_err());
        assert_eq!(assembly.take(&raw(false, Opcode::Continuation), b"def", 5).err(), Some(TOO_BIG));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), start in 0_usize..70) {
            let _ = parse(&mut bytes, start, 1_000);
            let _ = close_code(&bytes);
        }
    }
}
