//! What waits to be written to one connection.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
};

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

/// Frames per write: enough to make the system call cheap, well below the kernel's 1,024.
const SLICES: usize = 64;
/// An idle connection keeps no larger buffer than for this many frames.
const IDLE_FRAMES: usize = 4;
/// A chunk of a streamed HTTP body.
const CHUNK_BYTES: usize = 64 * 1024;

/// A queue of shared frames. The owner bounds it by [`Outbound::bytes`].
#[derive(Default)]
pub(super) struct Outbound {
    frames: VecDeque<Bytes>,
    /// Bytes of the first frame that are written already.
    written: usize,
    bytes: usize,
}

/// How far a write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left.
    Emptied,
    /// The socket takes no more for now.
    Blocked,
}

impl Outbound {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Drops what has not been started: a half-written frame must be finished.
    pub(super) fn clear(&mut self) {
        let started = (self.written > 0).then(|| self.frames.pop_front()).flatten();
        self.frames.clear();
        self.bytes = 0;
        if let Some(frame) = started {
            self.bytes = frame.len() - self.written;
            self.frames.push_back(frame);
        }
    }

    /// Writes as much as the socket takes, many frames per system call. Returns the bytes written.
    pub(super) fn write_to(&mut self, io: &TcpStream) -> io::Result<(Progress, u64)> {
        let mut total = 0_u64;
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(if count == 0 { &frame[self.written..] } else { frame });
                count += 1;
            }
            match io.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written as u64;
                    self.advance(written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((Progress::Blocked, total)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.frames.capacity() > IDLE_FRAMES {
            self.frames = VecDeque::new();
        }
        Ok((Progress::Emptied, total))
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        written += self.written;
        while let Some(first) = self.frames.front() {
            if written < first.len() {
                break;
            }
            written -= first.len();
            self.frames.pop_front();
        }
        self.written = written;
    }

    /// Takes a chunk for a streamed HTTP body.
    pub(super) fn take_chunk(&mut self) -> Option<Bytes> {
        let first = self.frames.pop_front()?;
        self.bytes -= first.len();
        if self.frames.is_empty() || first.len() >= CHUNK_BYTES {
            return Some(first);
        }
        let mut chunk = BytesMut::from(&first[..]);
        while chunk.len() < CHUNK_BYTES {
            let Some(frame) = self.frames.pop_front() else { break };
            self.bytes -= frame.len();
            chunk.extend_from_slice(&frame);
        }
        Some(chunk.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_keep_count() {
        let mut out = Outbound::default();
        for frame in ["abc", "de", "fghij"] {
            out.push(Bytes::from_static(frame.as_bytes()));
        }
        out.advance(4);
        assert_eq!((out.bytes(), out.written, out.frames.len()), (6, 1, 2));
        out.clear();
        assert_eq!((out.bytes(), out.frames.len()), (1, 1));
        out.advance(1);
        assert!(out.is_empty() && out.bytes() == 0 && out.written == 0);
    }

    #[test]
    fn chunks_join_frames() {
        let mut out = Outbound::default();
        assert_eq!(out.take_chunk(), None);
        for _ in 0..3 {
            out.push(Bytes::from_static(b"ab"));
        }
        assert_eq!(out.take_chunk().unwrap(), "ababab");
        assert!(out.is_empty() && out.bytes() == 0);
    }
}
