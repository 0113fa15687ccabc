//! A connection's place in a channel, and the channel's places on one shard.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    connection::Connection,
    frame::{Frame, wire_name},
    protocol::{Encoding, SubscribeRequest, SubscribeResult},
};
use crate::{base::clock::Timestamp, domain::ids::StreamId};

/// Frames kept while a page is read. What no longer fits is read from the journal again.
const BUFFERED_FRAMES: usize = 1_024;

/// A channel with subscribers on this shard.
pub(super) struct Channel {
    /// What the hub knows it by: its name, for channels of namespaces behind the organisation.
    pub(super) key: Arc<str>,
    pub(super) places: RefCell<Vec<Rc<Subscription>>>,
}

impl Channel {
    /// What clients call it.
    pub(super) fn name(&self) -> &str {
        wire_name(&self.key)
    }
}

/// How far a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The backend is asked for the grant.
    Asking,
    /// Granted; the first page is read, or the connect reply is made. The reply is outstanding.
    Preparing,
    /// Replied; pages follow.
    CatchingUp,
    /// Gets what is broadcast.
    Live,
    /// Removed.
    Gone,
}

/// Whether a client gets publications as differences from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delta {
    /// Did not ask, or may not.
    Off,
    /// Agreed; the next publication must be whole.
    Agreed,
    /// Has the last publication.
    Ready,
}

/// What the grant says, as far as it is needed later.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) stream: Option<StreamId>,
    /// Of a namespace: kept in memory, if at all.
    pub(super) relayed: bool,
    pub(super) presence: bool,
    pub(super) join_leave: bool,
    pub(super) info: Bytes,
    /// End of the subscription's token.
    pub(super) expires_at: Option<Timestamp>,
}

/// Who waits for the outcome of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A subscribe command with this id.
    Command(u32),
    /// The connect reply, which names all server-side subscriptions.
    Connect,
    /// Nobody asked: a push tells the client.
    Server,
}

/// What only a subscription that is not live needs.
pub(super) struct Pending {
    /// Who waits; `None` once replied.
    pub(super) target: Option<Target>,
    /// The client's request.
    pub(super) request: SubscribeRequest,
    /// The reply in the making.
    pub(super) result: SubscribeResult,
    /// The highest offset known to exist.
    pub(super) known_head: u64,
    /// The newest broadcast frames.
    pub(super) buffer: VecDeque<Arc<Frame>>,
}

/// See the module.
pub(super) struct Subscription {
    /// Number within the connection; never used again.
    pub(super) key: u32,
    pub(super) connection: Rc<Connection>,
    pub(super) channel: Rc<Channel>,
    /// Index in the channel's places.
    pub(super) slot: Cell<usize>,
    pub(super) mode: Cell<Mode>,
    /// Offset of the last event that was queued to the client, or from which on it wants them.
    pub(super) position: Cell<u64>,
    /// The client asked for the channel's number in place of its name, and can read it.
    pub(super) compact: bool,
    /// The client asked for joins and leaves.
    pub(super) wants_joins: bool,
    pub(super) server_side: bool,
    /// Whether publications may come as differences.
    pub(super) delta: Cell<Delta>,
    pub(super) facts: RefCell<Facts>,
    pub(super) pending: RefCell<Option<Box<Pending>>>,
}

impl Subscription {
    pub(super) fn new(
        key: u32,
        connection: Rc<Connection>,
        channel: Rc<Channel>,
        request: SubscribeRequest,
        target: Target,
    ) -> Self {
        // The JavaScript SDK asks for numbers in Protobuf too but reads them as objects that never compare equal.
        let readable = connection.wire.encoding() == Encoding::Json;
        let compact = readable && request.flag & SubscribeRequest::COMPACTION != 0;
        let wants_joins = request.join_leave;
        let pending = Pending {
            target: Some(target),
            request,
            result: SubscribeResult::default(),
            known_head: 0,
            buffer: VecDeque::new(),
        };
        Self {
            key,
            connection,
            channel,
            slot: Cell::new(usize::MAX),
            mode: Cell::new(Mode::Asking),
            position: Cell::new(0),
            compact,
            wants_joins,
            server_side: !matches!(target, Target::Command(_)),
            delta: Cell::new(Delta::Off),
            facts: RefCell::default(),
            pending: RefCell::new(Some(Box::new(pending))),
        }
    }

    /// True once the client knows of it.
    pub(super) fn is_established(&self) -> bool {
        matches!(self.mode.get(), Mode::Live | Mode::CatchingUp)
    }

    /// Number of the channel in pushes to this client; 0 = its name.
    pub(super) fn number(&self) -> i64 {
        if !self.compact {
            return 0;
        }
        self.facts.borrow().stream.map_or(0, |stream| stream.0.max(0))
    }

    /// A frame's bytes for this client, which is about to get them.
    pub(super) fn bytes(&self, frame: &Frame) -> Bytes {
        let wire = self.connection.wire;
        match self.delta.get() {
            Delta::Off => frame.bytes(wire, self.compact).clone(),
            Delta::Agreed => {
                self.delta.set(Delta::Ready);
                frame.difference(wire, false)
            }
            Delta::Ready => frame.difference(wire, true),
        }
    }

    /// Remembers a frame that was broadcast while this subscription cannot take it.
    pub(super) fn remember(&self, frame: &Arc<Frame>) {
        if let Some(pending) = self.pending.borrow_mut().as_mut() {
            pending.known_head = pending.known_head.max(frame.offset);
            if pending.buffer.len() >= BUFFERED_FRAMES {
                pending.buffer.pop_front();
            }
            pending.buffer.push_back(frame.clone());
        }
    }
}
