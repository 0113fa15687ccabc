//! What is handed to the journal, and what comes back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;

use crate::{
    base::{clock::Timestamp, trace::Trace},
    domain::{
        codes::Code,
        error::Error,
        event::{NewEvent, StreamKind},
        ids::{ConversationId, MessageId, Offset, OrgId, PersonId, StreamId},
    },
    store::Stmt,
};

/// One all-or-nothing change: everything in it is committed together, or nothing is.
#[derive(Debug, Default)]
pub struct Append {
    /// Streams that begin with this change.
    pub streams: Vec<NewStream>,
    /// What must hold inside the commit.
    pub guards: Vec<Guard>,
    /// Rows that belong with the events.
    pub rows: Vec<RowOp>,
    /// Events, in order; those of one stream get consecutive offsets.
    pub events: Vec<NewEvent>,
    /// Set by an owner whose state runs ahead of the commit.
    pub chain: Option<Chain>,
    /// True where a refusal leaves the owner's state right: the chain goes on behind it.
    pub harmless: bool,
    /// The request it is made for. [`Journal::submit`](super::Journal::submit) knows it; timers begin one.
    pub trace: Option<Trace>,
}

/// Appends that were decided one upon the other: once one of them fails, those behind it are refused too, since the
/// state they were decided on never came to be. An owner begins a new chain whenever it loads its state.
#[derive(Clone, Debug, Default)]
pub struct Chain(Arc<AtomicBool>);

impl Chain {
    /// True once an append of the chain has failed.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Tells chains apart while they are held.
    pub(super) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Refuses everything behind.
    pub fn break_off(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Append {
    /// Only events.
    pub fn of_events(events: Vec<NewEvent>) -> Self {
        Self { events, ..Self::default() }
    }

    /// Adds a statement whose effect belongs with the rest.
    #[must_use]
    pub fn with(mut self, stmt: Stmt) -> Self {
        self.rows.push(RowOp::exec(stmt));
        self
    }

    /// True when only batched rows and events are in it: such appends share statements with their neighbours.
    pub(super) fn is_plain(&self) -> bool {
        self.streams.is_empty()
            && self.guards.is_empty()
            && !self.rows.iter().any(|row| matches!(row, RowOp::Exec { .. }))
    }
}

/// A stream that begins.
#[derive(Clone, Debug)]
pub struct NewStream {
    /// Its number.
    pub id: StreamId,
    /// Whose data it carries.
    pub organization: OrgId,
    /// What it is about.
    pub kind: StreamKind,
    /// Its channel, `workbox:42`.
    pub channel: String,
}

/// Why an append is refused: what its waiter is told.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The text for the caller.
    pub message: &'static str,
}

impl Refusal {
    /// A refusal with a text for the caller.
    pub const fn new(code: Code, message: &'static str) -> Self {
        Self { code, message }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}

/// A condition that is checked inside the commit, before the append's own rows are written.
#[derive(Debug)]
pub enum Guard {
    /// The query must give at least one row.
    Holds {
        /// A `select` of one integer column.
        stmt: Stmt,
        /// What the waiter is told when it gives none.
        otherwise: Refusal,
    },
}

/// A row that is written with the events.
#[derive(Debug)]
pub enum RowOp {
    /// A message. Written in bulk with those of other appends; keeps the conversation's last activity up to date.
    /// The same `(conversation, author, uuid)` a second time refuses the append with `constraint`.
    Message(Box<MessageRow>),
    /// Somebody's receipt watermarks. Written in bulk; they only grow.
    Marker(MarkerRow),
    /// A statement that refers to events: runs when all events of the commit are in place, those of appends before
    /// this one included.
    Late(Stmt),
    /// A late statement that changes events of `stream`, so that no copy of them may be served any more.
    Rewrite {
        /// Whose events change.
        stream: StreamId,
        /// The statement.
        stmt: Stmt,
    },
    /// Any other statement.
    Exec {
        /// The statement.
        stmt: Stmt,
        /// Refuse the append unless so many rows were touched.
        expect: Option<(u64, Refusal)>,
    },
}

impl RowOp {
    /// A statement that may touch any number of rows.
    pub fn exec(stmt: Stmt) -> Self {
        Self::Exec { stmt, expect: None }
    }

    /// A statement that must touch exactly one row.
    pub fn exec_one(stmt: Stmt, otherwise: Refusal) -> Self {
        Self::Exec { stmt, expect: Some((1, otherwise)) }
    }
}

/// A message as stored. Its `stream_offset` is the offset of the append's first event.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its number.
    pub id: MessageId,
    /// The client's (or our) UUID: unique per conversation and author, for good.
    pub uuid: Uuid,
    /// True when the client made the UUID, so that it may be a repetition.
    pub client_uuid: bool,
    /// Who wrote it.
    pub author: PersonId,
    /// The name it was written under.
    pub author_name: String,
    /// `Text`, `Image` ...
    pub kind: &'static str,
    /// Version of the metadata format.
    pub version: i64,
    /// The content as JSON text.
    pub metadata: Arc<str>,
    /// SHA-256 of what the client sent: tells a repetition from another message.
    pub body_hash: [u8; 32],
    /// Hidden from guests.
    pub internal: bool,
    /// The client's time of sending.
    pub sent_at: Timestamp,
    /// Our time.
    pub created_at: Timestamp,
}

/// Receipt watermarks of one participant.
#[derive(Clone, Copy, Debug)]
pub struct MarkerRow {
    /// The conversation.
    pub conversation: ConversationId,
    /// Whose.
    pub person: PersonId,
    /// Newest message received.
    pub received: MessageId,
    /// Newest message read.
    pub read: MessageId,
}

/// What became of an append.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Stream and offset of each event, in the order of [`Append::events`].
    pub positions: Vec<(StreamId, Offset)>,
}

impl Committed {
    /// The offset of the first event in `stream`.
    pub fn offset_in(&self, stream: StreamId) -> Option<Offset> {
        self.positions.iter().find(|(id, _)| *id == stream).map(|(_, offset)| *offset)
    }
}
