//! The Centrifuge protocol in Protobuf: the few messages that a load test needs, written and read by hand, so that a
//! publication is only pointed at. Field numbers are those of `client.proto`.

use super::wire::{Body, Command, Incoming, Malformed, Position};

/// One command behind its length.
pub fn encode(id: u32, command: &Command) -> Vec<u8> {
    let mut inner = Writer::default();
    let field = match command {
        Command::Connect { token, positions } => {
            inner.text(1, token);
            for (channel, at) in positions {
                let mut entry = Writer::default();
                entry.text(1, channel);
                entry.message(2, &subscribe("", Some(at)));
                inner.message(3, &entry);
            }
            inner.text(4, "loadtest");
            4
        }
        Command::Subscribe { channel, since } => {
            inner = subscribe(channel, since.as_ref());
            5
        }
        Command::Publish { channel, data } => {
            inner.text(1, channel);
            inner.text(2, data);
            7
        }
        Command::History { channel, since, limit } => {
            inner.text(1, channel);
            // A negative int32 takes ten bytes, as if it had 64 bits.
            inner.number(7, i64::from(*limit).cast_unsigned());
            let mut position = Writer::default();
            position.number(1, since.offset);
            position.text(2, &since.epoch);
            inner.message(8, &position);
            10
        }
        Command::Rpc { method, data } => {
            inner.text(1, data);
            inner.text(2, method);
            13
        }
    };
    let mut command = Writer::default();
    command.number(1, u64::from(id));
    command.message(field, &inner);
    let mut frame = Writer::default();
    frame.varint(command.0.len() as u64);
    frame.0.extend(command.0);
    frame.0
}

fn subscribe(channel: &str, since: Option<&Position>) -> Writer {
    let mut writer = Writer::default();
    writer.text(1, channel);
    if let Some(at) = since {
        writer.number(3, 1);
        writer.text(6, &at.epoch);
        writer.number(7, at.offset);
    }
    writer
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(field << 3));
            self.varint(value);
        }
    }

    fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

/// All messages of a frame, each behind its length.
pub fn decode<'a>(mut frame: &'a [u8], mut take: impl FnMut(Incoming<'a>)) -> Result<(), Malformed> {
    while !frame.is_empty() {
        let reply = chunk(&mut frame).ok_or_else(cut_off)?;
        take(reply_of(reply).ok_or_else(cut_off)?);
    }
    Ok(())
}

fn cut_off() -> Malformed {
    Malformed("a Protobuf message is cut off".to_owned())
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => &[],
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => 0,
        }
    }

    fn text(&self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn chunk<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (chunk, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(chunk)
}

/// Calls `each` for every field of a message; `None` when it is cut off.
fn fields<'a>(mut rest: &'a [u8], mut each: impl FnMut(u64, &Value<'a>) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            2 => Value::Bytes(chunk(&mut rest)?),
            _ => return None,
        };
        each(key >> 3, &value)?;
    }
    Some(())
}

fn reply_of(reply: &[u8]) -> Option<Incoming<'_>> {
    let (mut id, mut push, mut error, mut body) = (0_u32, None, None, Body::default());
    fields(reply, |field, value| {
        match field {
            1 => id = u32::try_from(value.number()).ok()?,
            2 => error = Some(error_of(value.bytes())?),
            4 => push = Some(push_of(value.bytes())?),
            5 => body = connected(value.bytes())?,
            6 => body = page(value.bytes(), &SUBSCRIBE)?,
            11 => body = page(value.bytes(), &HISTORY)?,
            13 => {
                fields(value.bytes(), |_, value| {
                    body.data = value.bytes().to_vec();
                    Some(())
                })?;
            }
            _ => {}
        }
        Some(())
    })?;
    Some(match (push, error) {
        (Some(push), _) => push,
        (None, Some(error)) => Incoming::Reply(id, Err(error)),
        (None, None) if id == 0 => Incoming::Ping,
        (None, None) => Incoming::Reply(id, Ok(body)),
    })
}

fn error_of(message: &[u8]) -> Option<(u32, String)> {
    let mut error = (0, String::new());
    fields(message, |field, value| {
        match field {
            1 => error.0 = u32::try_from(value.number()).ok()?,
            2 => error.1 = value.text().to_owned(),
            _ => {}
        }
        Some(())
    })?;
    Some(error)
}

fn push_of(message: &[u8]) -> Option<Incoming<'_>> {
    let (mut channel, mut event, mut code) = ("", None, None);
    fields(message, |field, value| {
        match field {
            2 => channel = value.text(),
            4 => event = Some(publication(value.bytes())?),
            7 => {
                code = Some(0);
                fields(value.bytes(), |field, value| {
                    if field == 2 {
                        code = u32::try_from(value.number()).ok();
                    }
                    Some(())
                })?;
            }
            _ => {}
        }
        Some(())
    })?;
    Some(match (event, code) {
        (Some((offset, data)), _) => Incoming::Publication { channel, offset, data },
        (None, Some(code)) => Incoming::Unsubscribed { channel, code },
        (None, None) => Incoming::Other,
    })
}

fn publication(message: &[u8]) -> Option<(u64, &[u8])> {
    let (mut offset, mut data) = (0, [].as_slice());
    fields(message, |field, value| {
        match field {
            4 => data = value.bytes(),
            6 => offset = value.number(),
            _ => {}
        }
        Some(())
    })?;
    Some((offset, data))
}

/// Where a page's fields stand.
struct PageFields {
    epoch: u64,
    offset: u64,
    publications: u64,
    recovered: u64,
    was_recovering: u64,
}

const SUBSCRIBE: PageFields =
    PageFields { epoch: 6, publications: 7, recovered: 8, offset: 9, was_recovering: 12 };
const HISTORY: PageFields =
    PageFields { publications: 1, epoch: 2, offset: 3, recovered: u64::MAX, was_recovering: u64::MAX };

fn page(message: &[u8], numbers: &PageFields) -> Option<Body> {
    let mut body = Body::default();
    fields(message, |field, value| {
        if field == numbers.epoch {
            body.position.epoch = value.text().to_owned();
        } else if field == numbers.offset {
            body.position.offset = value.number();
        } else if field == numbers.publications {
            let (offset, data) = publication(value.bytes())?;
            body.publications.push((offset, data.to_vec()));
        } else if field == numbers.recovered {
            body.recovered = value.number() != 0;
        } else if field == numbers.was_recovering {
            body.was_recovering = value.number() != 0;
        }
        Some(())
    })?;
    Some(body)
}

fn connected(message: &[u8]) -> Option<Body> {
    let mut body = Body::default();
    fields(message, |field, value| {
        match field {
            5 => body.data = value.bytes().to_vec(),
            6 => {
                let (mut channel, mut place) = (String::new(), Body::default());
                fields(value.bytes(), |field, value| {
                    match field {
                        1 => channel = value.text().to_owned(),
                        2 => place = page(value.bytes(), &SUBSCRIBE)?,
                        _ => {}
                    }
                    Some(())
                })?;
                body.subscriptions.push((channel, place));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(reply: &Writer) -> Vec<u8> {
        let mut frame = Writer::default();
        frame.varint(reply.0.len() as u64);
        frame.0.extend(&reply.0);
        frame.0
    }

    #[test]
    fn a_publication_is_pointed_at() {
        let (mut event, mut push, mut reply) = (Writer::default(), Writer::default(), Writer::default());
        event.text(4, r#"{"a":1}"#);
        event.number(6, 300);
        push.text(2, "workbox:1");
        push.message(4, &event);
        reply.message(4, &push);
        let mut frame = framed(&reply);
        frame.extend(framed(&Writer::default()));
        let mut seen = Vec::new();
        decode(&frame, |incoming| seen.push(format!("{incoming:?}"))).unwrap();
        assert_eq!(seen.len(), 2);
        assert!(seen[0].starts_with(r#"Publication { channel: "workbox:1", offset: 300"#), "{}", seen[0]);
        assert_eq!(seen[1], "Ping");
        assert!(decode(&frame[..frame.len() - 3], |_| ()).is_err());
    }

    #[test]
    fn errors_and_pages_are_read() {
        let (mut event, mut page, mut reply) = (Writer::default(), Writer::default(), Writer::default());
        event.text(4, "{}");
        event.number(6, 8);
        page.text(6, "e");
        page.message(7, &event);
        page.number(8, 1);
        page.number(9, 7);
        page.number(12, 1);
        reply.number(1, 5);
        reply.message(6, &page);
        decode(&framed(&reply), |incoming| {
            let Incoming::Reply(5, Ok(body)) = incoming else { panic!("{incoming:?}") };
            assert_eq!(body.position, Position { offset: 7, epoch: "e".to_owned() });
            assert!(body.recovered && body.was_recovering);
            assert_eq!(body.publications, [(8, b"{}".to_vec())]);
        })
        .unwrap();
        let (mut error, mut reply) = (Writer::default(), Writer::default());
        error.number(1, 109);
        error.text(2, "token expired");
        reply.number(1, 1);
        reply.message(2, &error);
        decode(&framed(&reply), |incoming| {
            assert!(matches!(incoming, Incoming::Reply(1, Err((109, _)))), "{incoming:?}");
        })
        .unwrap();
    }
}
