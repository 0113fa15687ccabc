//! One connection: its transport, its queue, its timers. Lives on one worker thread.

use std::{
    cell::{Cell, RefCell},
    net::Shutdown,
    os::fd::AsFd as _,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::net::TcpStream;

use super::{
    frame::Wire,
    outbound::{Outbound, Progress},
    port::ConnectionId,
    session::Session,
};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Works.
    Open,
    /// The last frames are on their way; nothing more is accepted.
    Closing,
    /// Everything is written; waits for the peer to hang up.
    Flushed,
    /// The task must let go of it.
    Dead,
}

/// See the module.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) wire: Wire,
    /// `None` where an HTTP body carries the frames.
    io: Option<TcpStream>,
    pub(super) out: RefCell<Outbound>,
    pub(super) session: RefCell<Session>,
    pub(super) life: Cell<Life>,
    /// On the shard's dirty list.
    pub(super) dirty: Cell<bool>,
    /// The socket takes no more; its task waits until it does.
    blocked: Cell<bool>,
    /// The queue passed its bound: to be closed as slow.
    pub(super) overflown: Cell<bool>,
    /// Holds a lease in a call: pinged often, reported alive.
    pub(super) lease: Cell<bool>,
    /// Sent something since leases were reported last.
    pub(super) heard: Cell<bool>,
    /// Tick for which the wheel holds this connection.
    pub(super) due: Cell<u32>,
    /// Tick of the next ping.
    pub(super) ping_at: Cell<u32>,
    /// Tick by which a pong must be there; 0 = none is awaited.
    pub(super) pong_by: Cell<u32>,
    /// Tick at which a closing connection is let go of.
    pub(super) gone_at: Cell<u32>,
    /// The tick of the last command, and how many more were allowed then.
    pub(super) rate: Cell<(u32, u32)>,
    waker: Cell<Option<Waker>>,
}

/// Why a socket's task was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// There are bytes, or the end.
    Readable,
    /// The queue can be written again.
    Writable,
    /// The connection is dead.
    Dead,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, wire: Wire, io: Option<TcpStream>) -> Self {
        Self {
            id,
            wire,
            io,
            out: RefCell::default(),
            session: RefCell::default(),
            life: Cell::new(Life::Open),
            dirty: Cell::new(false),
            blocked: Cell::new(false),
            overflown: Cell::new(false),
            lease: Cell::new(false),
            heard: Cell::new(false),
            due: Cell::new(0),
            ping_at: Cell::new(0),
            pong_by: Cell::new(0),
            gone_at: Cell::new(0),
            rate: Cell::new((0, 0)),
            waker: Cell::new(None),
        }
    }

    /// True while frames may be queued.
    pub(super) fn is_open(&self) -> bool {
        self.life.get() == Life::Open
    }

    /// The raw socket, where there is one.
    pub(super) fn socket(&self) -> Option<&TcpStream> {
        self.io.as_ref()
    }

    /// Writes the queue. An HTTP body is woken instead, and reports by itself when it took everything.
    pub(super) fn flush(&self) -> std::io::Result<(Progress, u64)> {
        let Some(io) = &self.io else {
            self.wake();
            return Ok((Progress::Blocked, 0));
        };
        if self.blocked.get() {
            return Ok((Progress::Blocked, 0));
        }
        let result = self.out.borrow_mut().write_to(io)?;
        if result.0 == Progress::Blocked {
            self.blocked.set(true);
            self.wake();
        }
        Ok(result)
    }

    /// Takes a chunk for the HTTP body that carries this connection, or says to wait or that it ends.
    pub(super) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(chunk) = self.out.borrow_mut().take_chunk() {
            return Poll::Ready(Some(chunk));
        }
        if !self.is_open() {
            return Poll::Ready(None);
        }
        self.listen(cx);
        Poll::Pending
    }

    /// Waits until there is something for the socket's task to do. `reading` is false while commands hold it back.
    pub(super) fn poll_wakeup(&self, cx: &mut Context<'_>, reading: bool) -> Poll<Wakeup> {
        if self.life.get() == Life::Dead {
            return Poll::Ready(Wakeup::Dead);
        }
        let Some(io) = &self.io else { return Poll::Ready(Wakeup::Dead) };
        self.listen(cx);
        if self.blocked.get() && io.poll_write_ready(cx).is_ready() {
            self.blocked.set(false);
            return Poll::Ready(Wakeup::Writable);
        }
        if reading && io.poll_read_ready(cx).is_ready() {
            return Poll::Ready(Wakeup::Readable);
        }
        Poll::Pending
    }

    fn listen(&self, cx: &Context<'_>) {
        match self.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => self.waker.set(Some(waker)),
            _ => self.waker.set(Some(cx.waker().clone())),
        }
    }

    /// Wakes the task of the socket or body.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake_by_ref();
            self.waker.set(Some(waker));
        }
    }

    /// Says to the peer that nothing more comes. Its last bytes are still read, so that the kernel does not answer
    /// them with a reset that would overtake our close frame.
    pub(super) fn finish_writing(&self) {
        if let Some(io) = &self.io
            && let Ok(handle) = io.as_fd().try_clone_to_owned()
        {
            let _ = std::net::TcpStream::from(handle).shutdown(Shutdown::Write);
        }
        self.life.set(Life::Flushed);
        self.wake();
    }
}
