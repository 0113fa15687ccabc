//! WebSocket frames (RFC 6455) on their way in.

use switchboard::realtime::transport::codec::{self, Assembly, Opcode, Whole};

/// Longest message; short, so that inputs pass it.
const LIMIT: usize = 600;
/// Longer inputs only cost time.
const MOST: usize = 4_096;

/// What a reader saw: whole messages and control frames, and at the end the code that it would close with, or how much
/// is left over.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    messages: Vec<(Opcode, Vec<u8>)>,
    end: Result<usize, u16>,
}

/// Reads frames that come in pieces, as a socket's task does.
fn seen<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let (mut buffer, mut assembly, mut messages) = (Vec::new(), Assembly::default(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let raw = match codec::parse(&mut buffer, at, LIMIT) {
                Ok(Some(raw)) => raw,
                Ok(None) => break,
                Err(violation) => return Seen { messages, end: Err(violation.code) },
            };
            assert!(raw.payload.start >= at + 6 && raw.payload.end <= buffer.len());
            at = raw.payload.end;
            let payload = &buffer[raw.payload.clone()];
            let outcome = match raw.opcode {
                Opcode::Text | Opcode::Binary | Opcode::Continuation => assembly.take(&raw, payload, LIMIT),
                control => {
                    assert!(raw.last && payload.len() <= 125);
                    Ok(Whole::Borrowed(control, payload))
                }
            };
            match outcome {
                Ok(Whole::Borrowed(opcode, message)) => messages.push((opcode, message.to_vec())),
                Ok(Whole::Joined(opcode, message)) => messages.push((opcode, message)),
                Ok(Whole::Partial) => {}
                Err(violation) => return Seen { messages, end: Err(violation.code) },
            }
        }
        buffer.drain(..at);
    }
    Seen { messages, end: Ok(buffer.len()) }
}

/// A message as one frame with that mask.
fn frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let first = match opcode {
        Opcode::Continuation => 0x80,
        Opcode::Text => 0x81,
        Opcode::Binary => 0x82,
        Opcode::Close => 0x88,
        Opcode::Ping => 0x89,
        Opcode::Pong => 0x8a,
    };
    let mut frame = vec![first];
    match u16::try_from(payload.len()).expect("within the limit") {
        short @ 0..=125 => frame.push(0x80 | short.to_be_bytes()[1]),
        long => {
            frame.push(0xfe);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// However the bytes are cut, the same messages come of them; each of them within the limit, and the same again when it
/// is sent whole; what is wrong ends in one of two codes.
pub fn read(data: &[u8]) -> bool {
    let data = &data[..data.len().min(MOST)];
    let whole = seen(std::iter::once(data));
    assert_eq!(seen(data.chunks(1)), whole, "byte by byte");
    assert_eq!(seen(data.chunks(7)), whole, "in pieces");
    match whole.end {
        Ok(left) => assert!(left < LIMIT + 14, "{left} bytes that are no frame"),
        Err(code) => assert!(matches!(code, 1002 | 1009), "{code}"),
    }
    let mask = [data.len().to_le_bytes()[0], 0xff, 0x00, 0x5a];
    for (opcode, message) in &whole.messages {
        assert!(message.len() <= LIMIT && *opcode != Opcode::Continuation);
        let again = seen(std::iter::once(&frame(*opcode, message, mask)[..]));
        assert_eq!(again, Seen { messages: vec![(*opcode, message.clone())], end: Ok(0) });
        if *opcode == Opcode::Close {
            match codec::close_code(message) {
                Ok(code) => {
                    assert!((1000..5000).contains(&code) && !matches!(code, 1004..=1006 | 1015..=2999));
                }
                Err(violation) => assert!(matches!(violation.code, 1002 | 1007)),
            }
        }
    }
    !whole.messages.is_empty()
}
