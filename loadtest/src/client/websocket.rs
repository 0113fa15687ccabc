//! A WebSocket after its handshake, for thousands of them in one process: all sockets of a thread are read through one
//! buffer, which stays in the processor's cache; frames are handed on where they lie; what is to be written goes out in one
//! piece. Frame headers are tungstenite's.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Cursor},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream,
    tungstenite::protocol::frame::{
        FrameHeader,
        coding::{Control, Data, OpCode},
    },
};

use crate::failure::{Failure, Outcome};

/// Bytes of one read.
const READ: usize = 64 * 1024;
/// The largest message: a page of a long history.
const LARGEST: usize = 64 << 20;
/// Masks keep scripts in browsers from talking to proxies; here is neither, and any mask costs the server the same.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x3c];

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message in text.
    Text(&'a str),
    /// A message in bytes.
    Binary(&'a [u8]),
    /// Wants to be answered with the same bytes.
    Ping(&'a [u8]),
    /// The end, with its code: 1005 where the server gave none.
    Close(u16, &'a str),
}

/// An open socket.
pub(super) struct Socket {
    stream: MaybeTlsStream<TcpStream>,
    assembly: Assembly,
}

impl Socket {
    /// Goes on where the handshake ended.
    pub(super) fn new(stream: MaybeTlsStream<TcpStream>) -> Self {
        Self { stream, assembly: Assembly::default() }
    }

    /// Waits until something arrives, and hands on what is whole by then.
    pub(super) async fn read(&mut self, mut take: impl FnMut(Frame<'_>) -> Outcome<()>) -> Outcome<()> {
        poll_fn(|context| self.poll_read(context, &mut take)).await
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: &mut impl FnMut(Frame<'_>) -> Outcome<()>,
    ) -> Poll<Outcome<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            Poll::Ready(match read {
                Ok(()) if !buffer.filled().is_empty() => self.assembly.add(buffer.filled(), take),
                _ => Err(Failure::Disconnected),
            })
        })
    }

    /// Writes all that is queued.
    pub(super) async fn write(&mut self, queue: &mut Queue) -> io::Result<()> {
        if queue.0.is_empty() {
            return Ok(());
        }
        // The memory is given back: thousands of sockets are quiet most of the time.
        let bytes = std::mem::take(&mut queue.0);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }
}

/// Frames that are to be written.
#[derive(Debug, Default)]
pub struct Queue(Vec<u8>);

impl Queue {
    /// Adds a message in text.
    pub fn text(&mut self, text: &str) {
        self.frame(OpCode::Data(Data::Text), text.as_bytes());
    }

    /// Adds a message in bytes.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.frame(OpCode::Data(Data::Binary), bytes);
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, bytes: &[u8]) {
        self.frame(OpCode::Control(Control::Pong), bytes);
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) {
        self.frame(OpCode::Control(Control::Close), &[]);
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        let header = FrameHeader { opcode, mask: Some(MASK), ..FrameHeader::default() };
        let length = payload.len() as u64;
        self.0.reserve(header.len(length) + payload.len());
        header.format(length, &mut self.0).expect("a Vec takes all that is written");
        let from = self.0.len();
        self.0.extend_from_slice(payload);
        for group in self.0[from..].chunks_mut(MASK.len()) {
            group.iter_mut().zip(MASK).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// Puts together what comes in pieces.
#[derive(Debug, Default)]
struct Assembly {
    /// The begin of a frame whose end has not come yet.
    begun: Vec<u8>,
    /// The first frames of a message that has several.
    message: Option<(Data, Vec<u8>)>,
}

impl Assembly {
    fn add(&mut self, arrived: &[u8], take: &mut impl FnMut(Frame<'_>) -> Outcome<()>) -> Outcome<()> {
        if self.begun.is_empty() {
            let used = self.cut(arrived, take)?;
            self.begun.extend_from_slice(&arrived[used..]);
        } else {
            let mut bytes = std::mem::take(&mut self.begun);
            bytes.extend_from_slice(arrived);
            let used = self.cut(&bytes, take)?;
            if used < bytes.len() {
                bytes.drain(..used);
                self.begun = bytes;
            }
        }
        Ok(())
    }

    /// Hands on the whole frames of `bytes`; gives their length.
    fn cut(&mut self, bytes: &[u8], take: &mut impl FnMut(Frame<'_>) -> Outcome<()>) -> Outcome<usize> {
        let mut used = 0;
        loop {
            let mut rest = Cursor::new(&bytes[used..]);
            let header = FrameHeader::parse(&mut rest).map_err(|error| broken(&error.to_string()))?;
            let Some((header, length)) = header else { return Ok(used) };
            let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST);
            let length = length.ok_or_else(|| broken("a frame that is too large"))?;
            let from = used + rest.position() as usize;
            let Some(payload) = bytes.get(from..from + length) else { return Ok(used) };
            used = from + length;
            if header.mask.is_some() || header.rsv1 || header.rsv2 || header.rsv3 {
                return Err(broken("a frame that is masked or extended"));
            }
            self.frame(header.opcode, header.is_final, payload, take)?;
        }
    }

    fn frame(
        &mut self,
        opcode: OpCode,
        is_final: bool,
        payload: &[u8],
        take: &mut impl FnMut(Frame<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        match (opcode, self.message.take()) {
            (OpCode::Control(control), message) => {
                self.message = message;
                match control {
                    Control::Ping => take(Frame::Ping(payload)),
                    Control::Close => take(close(payload)?),
                    Control::Pong | Control::Reserved(_) => Ok(()),
                }
            }
            (OpCode::Data(Data::Continue), Some((kind, mut message))) => {
                if message.len() + payload.len() > LARGEST {
                    return Err(broken("a message that is too large"));
                }
                message.extend_from_slice(payload);
                if is_final {
                    return take(data(kind, &message)?);
                }
                self.message = Some((kind, message));
                Ok(())
            }
            (OpCode::Data(kind), None) if kind != Data::Continue => {
                if is_final {
                    return take(data(kind, payload)?);
                }
                self.message = Some((kind, payload.to_vec()));
                Ok(())
            }
            (OpCode::Data(_), _) => Err(broken("a message inside another, or the end of none")),
        }
    }
}

fn data(kind: Data, payload: &[u8]) -> Outcome<Frame<'_>> {
    match kind {
        Data::Text => text(payload).map(Frame::Text),
        _ => Ok(Frame::Binary(payload)),
    }
}

fn close(payload: &[u8]) -> Outcome<Frame<'_>> {
    /// Stands for "no code", and is never sent.
    const NO_CODE: u16 = 1005;
    match payload.split_first_chunk() {
        Some((code, reason)) => Ok(Frame::Close(u16::from_be_bytes(*code), text(reason)?)),
        None => Ok(Frame::Close(NO_CODE, "")),
    }
}

fn text(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes).map_err(|_| broken("text that is not UTF-8"))
}

fn broken(what: &str) -> Failure {
    Failure::Unexpected(format!("{what}, on a WebSocket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = FrameHeader { opcode, is_final, ..FrameHeader::default() };
        header.format(payload.len() as u64, &mut bytes).unwrap();
        bytes.extend(payload);
        bytes
    }

    /// What is handed on when `bytes` come in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Outcome<Vec<String>> {
        let (mut assembly, mut seen) = (Assembly::default(), Vec::new());
        for piece in bytes.chunks(size) {
            assembly.add(piece, &mut |frame| {
                seen.push(format!("{frame:?}"));
                Ok(())
            })?;
        }
        assert!(assembly.begun.is_empty(), "something was left over");
        Ok(seen)
    }

    #[test]
    fn frames_are_whole_however_they_arrive() {
        let long = "x".repeat(70_000);
        let bytes = [
            frame(OpCode::Data(Data::Text), true, "grüß".as_bytes()),
            frame(OpCode::Data(Data::Binary), false, &[1]),
            frame(OpCode::Control(Control::Ping), true, b"now"),
            frame(OpCode::Data(Data::Continue), false, &[2]),
            frame(OpCode::Data(Data::Continue), true, &[3]),
            frame(OpCode::Data(Data::Text), true, long.as_bytes()),
            frame(OpCode::Data(Data::Text), true, b""),
            frame(OpCode::Control(Control::Close), true, b"\x0d\xacgone"),
        ]
        .concat();
        let expected = [
            format!("{:?}", Frame::Text("grüß")),
            format!("{:?}", Frame::Ping(b"now")),
            format!("{:?}", Frame::Binary(&[1, 2, 3])),
            format!("{:?}", Frame::Text(&long)),
            format!("{:?}", Frame::Text("")),
            format!("{:?}", Frame::Close(3500, "gone")),
        ];
        for size in [1, 2, 3, 7, 1000, bytes.len()] {
            assert_eq!(read(&bytes, size).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_no_server_may_send_ends_the_connection() {
        let text = OpCode::Data(Data::Text);
        let more = OpCode::Data(Data::Continue);
        let mut huge = frame(text, true, &[]);
        huge[1] = 127;
        huge.extend((LARGEST as u64 + 1).to_be_bytes());
        for (what, bytes) in [
            ("no UTF-8", frame(text, true, &[0xff])),
            ("the end of nothing", frame(more, true, b"x")),
            ("one in another", [frame(text, false, b"x"), frame(text, true, b"x")].concat()),
            ("too large", huge),
        ] {
            assert!(matches!(read(&bytes, bytes.len()), Err(Failure::Unexpected(_))), "{what}");
        }
    }

    #[test]
    fn what_is_queued_is_masked() {
        let mut queue = Queue::default();
        queue.text("hello");
        queue.pong(&[]);
        let mut rest = Cursor::new(&queue.0);
        let (header, length) = FrameHeader::parse(&mut rest).unwrap().unwrap();
        let from = rest.position() as usize;
        assert_eq!((header.opcode, length), (OpCode::Data(Data::Text), 5));
        let mask = header.mask.unwrap();
        let payload = &queue.0[from..from + 5];
        let plain: Vec<_> = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(plain, b"hello");
        let (header, length) = FrameHeader::parse(&mut Cursor::new(&queue.0[from + 5..])).unwrap().unwrap();
        assert_eq!((header.opcode, length), (OpCode::Control(Control::Pong), 0));
    }
}
