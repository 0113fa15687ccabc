//! One group commit: many appends, one transaction, few statements.
//!
//! Order inside the transaction: appends that need statements of their own (each under a savepoint), then the heads of all
//! streams, in ascending order, then the bulk rows of everything that was accepted. So a refusal costs only its own append
//! and leaves nothing of it, and a thousand messages cost four statements (on PostgreSQL one, see [`Together`]).
//!
//! Where streams with an owner stand is remembered from the commits before, since nobody else writes to them, and that a
//! message's uuid is new is left to its index. Where a remembered head or a uuid turns out to be wrong, nothing of the
//! transaction stays, and it is made once more with both read from the database first.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    append::{Append, Committed, Guard, MarkerRow, MessageRow, Refusal, RowOp},
    fence::NodeEpoch,
    heads::{self, Head, Remembered},
    port::{Commit, CommittedEvent},
};
use crate::{
    base::{failpoint::failpoint, trace::Trace},
    domain::{
        codes::Code,
        error::Error,
        ids::{ConversationId, MessageId, Offset, PersonId, StreamId},
    },
    store::{
        Bulk,
        Column::{self, Bool, Bytes, Int, Text},
        Db, Rows, StoreError, Together, Tuple, Tx, sql, statements,
    },
};

statements! {
    /// A stream begins.
    NEW_STREAM = "insert into stream (id, organization_id, kind, name, epoch, head, first_offset, owner_epoch) \
        values ($1, $2, $3, $4, $5, 0, 1, 0)";
    /// Whether this event stands at this place.
    IS_STORED = "select stream_offset from event where stream_id = $1 and stream_offset = $2 and id = $3";
}

/// Message uuids that are there: conversation, author, uuid.
static KNOWN_UUIDS: Bulk = Bulk::new(
    "select m.conversation_id, m.author_id, m.uuid from",
    &[Int, Int, Column::Uuid],
    "join message m on m.conversation_id = v.column1 and m.author_id = v.column2 and m.uuid = v.column3",
);
static MESSAGES: Bulk = Bulk::new(
    "insert into message (conversation_id, id, uuid, author_id, author_name, type, version, metadata, body_hash, \
     internal, sent_at, created_at, stream_offset) select * from",
    &[Int, Int, Column::Uuid, Int, Text, Text, Int, Text, Bytes, Bool, Int, Int, Int],
    "where column1 is not null",
);
static EVENTS: Bulk = Bulk::new(
    "insert into event (stream_id, stream_offset, id, type, time, data, trace) select * from",
    &[Int, Int, Column::Uuid, Text, Int, Text, Bytes],
    "where column1 is not null",
);
/// Newest message and time per conversation, without internal ones and with them.
static ACTIVITY: Bulk = Bulk::new(
    "update conversation set \
     last_message_id = case when v.column2 > last_message_id then v.column2 else last_message_id end, \
     last_active_at = case when v.column3 > last_active_at then v.column3 else last_active_at end, \
     internal_message_id = case when v.column4 > internal_message_id then v.column4 else internal_message_id end, \
     internal_active_at = case when v.column5 > internal_active_at then v.column5 else internal_active_at end from",
    &[Int, Int, Int, Int, Int],
    "where conversation.id = v.column1",
);
/// Watermarks of a participant: conversation, person, received, read.
static MARKERS: Bulk = Bulk::new(
    "update participant set \
     received_id = case when v.column3 > received_id then v.column3 else received_id end, \
     read_id = case when v.column4 > read_id then v.column4 else read_id end from",
    &[Int, Int, Int, Int],
    "where participant.conversation_id = v.column1 and participant.person_id = v.column2",
);
/// What a commit writes, once its streams are seen to stand where they were thought to.
pub(super) static ROWS: Together<5> = Together::new([&heads::MOVED, &MESSAGES, &ACTIVITY, &MARKERS, &EVENTS]);
/// All of them, for tests that prepare and explain each text.
pub(super) static BULK_STATEMENTS: [&Bulk; 7] =
    [&heads::HEADS, &KNOWN_UUIDS, &MESSAGES, &EVENTS, &ACTIVITY, &MARKERS, &heads::MOVED];
/// The savepoint of an append with statements of its own.
const ALONE: &str = "alone";

/// An append was refused by a guard, an expectation, a repeated uuid or the fence.
type Outcome = Result<Committed, Error>;

/// So many commits ask for known uuids first, after one was repeated.
const WARY: u32 = 100;

/// What is known from the commits before.
#[derive(Default)]
pub(super) struct Memory {
    heads: Remembered,
    /// Commits that will ask whether uuids are known.
    wary: u32,
}

/// Everything that a commit made, with an outcome per append.
pub(super) struct Written {
    pub outcomes: Vec<Outcome>,
    pub commit: Commit,
}

/// Why a commit did not succeed.
pub(super) struct Unwritten {
    pub error: StoreError,
    /// What was to be committed, where only the answer is missing: all of it is there, or nothing.
    pub doubtful: Option<Commit>,
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Self {
        Self { error, doubtful: None }
    }
}

/// Appends that are to be written in one transaction.
pub(super) struct Batch<'a> {
    pub db: &'a Db,
    pub node: NodeEpoch,
    /// Gives the random part of the epoch of a stream that begins.
    pub epochs: &'a (dyn Fn() -> String + Sync),
    pub appends: &'a [Append],
}

impl Batch<'_> {
    /// Writes them, at the second attempt where the first was misled by what is remembered or left to an index.
    pub(super) async fn write(&self, memory: &mut Memory) -> Result<Written, Unwritten> {
        let written = match self.attempt(memory).await {
            Err(Unwritten { error, doubtful: None }) if error.is_overtaken() => self.attempt(memory).await,
            Err(Unwritten { error, doubtful: None })
                if error.violates("message_uuid", "message.author_id") =>
            {
                memory.wary = WARY;
                self.attempt(memory).await
            }
            outcome => outcome,
        }?;
        // Only now: an attempt that is made anew must find the chains as they were.
        for (append, outcome) in self.appends.iter().zip(&written.outcomes) {
            if let (Err(_), Some(chain), false) = (outcome, &append.chain, append.harmless) {
                chain.break_off();
            }
        }
        Ok(written)
    }

    async fn attempt(&self, memory: &mut Memory) -> Result<Written, Unwritten> {
        let Self { db, node, epochs, appends } = *self;
        let mut heads = memory.heads.take(appends);
        let mut tx = db.begin().await?;
        let mut refusals: Vec<Option<Refusal>> = vec![None; appends.len()];
        // What can be refused without running anything of an append comes first: nothing of it may stay.
        let fresh: HashSet<StreamId> =
            appends.iter().flat_map(|a| &a.streams).map(|stream| stream.id).collect();
        let missing = heads::missing(appends, &heads, |id| !fresh.contains(&id));
        heads.extend(heads::read(&mut tx, node, &missing).await?);
        refuse_fenced(appends, &heads, &fresh, &mut refusals);
        let ask = memory.wary > 0;
        memory.wary = memory.wary.saturating_sub(1);
        refuse_repeated(&mut tx, appends, ask, &mut refusals).await?;
        let mut broken: HashSet<usize> = HashSet::new();
        for (append, refusal) in appends.iter().zip(&mut refusals) {
            if append.chain.as_ref().is_some_and(|chain| chain.is_broken() || broken.contains(&chain.key())) {
                let text = "what this was based on was not stored, try again";
                *refusal = Some(Refusal::new(Code::Unavailable, text));
            } else if refusal.is_none() && !append.is_plain() {
                *refusal = run_alone(&mut tx, epochs, append).await?;
            }
            if let (Some(_), Some(chain), false) = (&refusal, &append.chain, append.harmless) {
                broken.insert(chain.key());
            }
        }
        if !fresh.is_empty() {
            let begun = heads::missing(appends, &heads, |id| fresh.contains(&id));
            heads.extend(heads::read(&mut tx, node, &begun).await?);
        }

        let mut written = Written { outcomes: Vec::with_capacity(appends.len()), commit: Commit::default() };
        let mut messages = Vec::new();
        let mut markers = Vec::new();
        let mut late = Vec::new();
        for (append, refusal) in appends.iter().zip(refusals) {
            if let Some(refusal) = refusal {
                written.outcomes.push(Err(refusal.into()));
                continue;
            }
            let committed = place_events(append, &mut heads, &mut written.commit.events);
            let offset = committed.positions.first().map_or(Offset(0), |(_, offset)| *offset);
            for row in &append.rows {
                match row {
                    RowOp::Message(message) => messages.push((&**message, offset)),
                    RowOp::Marker(marker) => markers.push(*marker),
                    RowOp::Late(stmt) => late.push(stmt),
                    RowOp::Rewrite { stream, stmt } => {
                        written.commit.rewritten.push(*stream);
                        late.push(stmt);
                    }
                    RowOp::Exec { .. } => {}
                }
            }
            written.outcomes.push(Ok(committed));
        }
        // Neighbours in every index, one behind the other.
        messages.sort_unstable_by_key(|(message, _)| (message.conversation, message.id));
        let rows = [
            heads::moves(node, &heads),
            message_rows(&messages),
            activity_rows(&messages),
            marker_rows(markers),
            event_rows(&written.commit.events),
        ];
        if !ROWS.execute(&mut tx, rows).await? {
            return Err(StoreError::overtaken().into());
        }
        #[cfg(feature = "failpoints")]
        if db.dialect() == crate::store::Dialect::Postgres {
            // SQLite is torn between two of the statements.
            failpoint!("journal.torn-batch", std::process::abort());
        }
        for stmt in late {
            stmt.clone().execute(&mut tx).await?;
        }
        failpoint!("journal.slow-commit", |ms| tokio::time::sleep(std::time::Duration::from_millis(ms))
            .await);
        failpoint!("journal.commit-error", return Err(StoreError::planted().into()));
        failpoint!("journal.acknowledge-early", {
            // Nobody is told what stands nowhere; whoever waits is.
            return Ok(Written { commit: Commit::default(), ..written });
        });
        let committed = tx.commit().await;
        failpoint!("journal.unknown-commit", {
            return Err(Unwritten { error: StoreError::planted(), doubtful: Some(written.commit) });
        });
        match committed {
            Ok(()) => {
                memory.heads.keep(heads);
                Ok(written)
            }
            Err(error) => Err(Unwritten { error, doubtful: Some(written.commit) }),
        }
    }
}

/// Whether an event stands where its commit was to put it.
pub(super) async fn is_stored(db: &Db, event: &CommittedEvent) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    // On PostgreSQL a commit without an answer may still be under way: it holds the stream until it is through.
    heads::HEADS.all::<_, (i64,)>(&mut tx, &[event.stream], |v, id| v.bind(*id)).await?;
    let found: Option<(i64,)> =
        sql(IS_STORED).bind(event.stream).bind(event.offset).bind(event.id).optional(&mut tx).await?;
    Ok(found.is_some())
}

/// Guards and statements of an append that has some, under a savepoint of its own.
async fn run_alone(
    tx: &mut Tx,
    epochs: &(dyn Fn() -> String + Sync),
    append: &Append,
) -> Result<Option<Refusal>, StoreError> {
    tx.savepoint(ALONE).await?;
    let refusal = try_alone(tx, epochs, append).await?;
    if refusal.is_some() {
        tx.rollback_to(ALONE).await?;
    }
    tx.release(ALONE).await?;
    Ok(refusal)
}

async fn try_alone(
    tx: &mut Tx,
    epochs: &(dyn Fn() -> String + Sync),
    append: &Append,
) -> Result<Option<Refusal>, StoreError> {
    for Guard::Holds { stmt, otherwise } in &append.guards {
        let row: Option<(i64,)> = stmt.clone().optional(&mut *tx).await?;
        if row.is_none() {
            return Ok(Some(otherwise.clone()));
        }
    }
    for stream in &append.streams {
        sql(NEW_STREAM)
            .bind(stream.id)
            .bind(stream.organization)
            .bind(stream.kind.name())
            .bind(stream.channel.as_str())
            .bind(epochs())
            .execute(&mut *tx)
            .await?;
    }
    for row in &append.rows {
        let RowOp::Exec { stmt, expect } = row else { continue };
        let touched = match (stmt.clone().execute(&mut *tx).await, expect) {
            (Ok(touched), _) => touched,
            // On PostgreSQL a violated constraint spoils the transaction up to the savepoint, which is rolled back.
            (Err(error), Some((_, refusal))) if error.is_unique_violation() => {
                return Ok(Some(refusal.clone()));
            }
            (Err(error), _) => return Err(error),
        };
        if let Some((rows, refusal)) = expect
            && touched != *rows
        {
            return Ok(Some(refusal.clone()));
        }
    }
    Ok(None)
}

/// An append to a stream that a later node has taken over, or to one that is gone, is refused.
fn refuse_fenced(
    appends: &[Append],
    heads: &HashMap<StreamId, Head>,
    fresh: &HashSet<StreamId>,
    refusals: &mut [Option<Refusal>],
) {
    for (append, refusal) in appends.iter().zip(refusals) {
        for event in append.events.iter().filter(|event| !fresh.contains(&event.stream)) {
            match heads.get(&event.stream) {
                Some(head) if !head.fenced => {}
                Some(_) => {
                    let text = "another node has taken this stream over, try again";
                    *refusal = Some(Refusal::new(Code::Unavailable, text));
                }
                None => *refusal = Some(Refusal::new(Code::NotFound, "the stream is gone")),
            }
        }
    }
}

/// The same `(conversation, author, uuid)` again, earlier in this batch or, where it is asked, in the database, is refused.
async fn refuse_repeated(
    tx: &mut Tx,
    appends: &[Append],
    ask: bool,
    refusals: &mut [Option<Refusal>],
) -> Result<(), StoreError> {
    type Key = (ConversationId, PersonId, Uuid);
    let mut keys: Vec<(usize, Key)> = Vec::new();
    for (index, append) in appends.iter().enumerate() {
        for row in &append.rows {
            if let RowOp::Message(message) = row
                && message.client_uuid
            {
                keys.push((index, (message.conversation, message.author, message.uuid)));
            }
        }
    }
    let mut seen: HashSet<Key> = HashSet::with_capacity(keys.len());
    if ask {
        let mut asked: Vec<Key> = keys.iter().map(|(_, key)| *key).collect();
        asked.sort_unstable();
        let known = KNOWN_UUIDS.all::<_, Key>(tx, &asked, |v, (conversation, author, uuid)| {
            v.bind(*conversation).bind(*author).bind(*uuid)
        });
        seen.extend(known.await?);
    }
    for (index, key) in keys {
        if refusals[index].is_none() && !seen.insert(key) {
            refusals[index] = Some(Refusal::new(Code::Constraint, REPEATED_UUID));
        }
    }
    Ok(())
}

/// Text of the refusal of a repeated message uuid; the service turns it into the first message.
pub(super) const REPEATED_UUID: &str = "a message with this uuid exists";

fn place_events(
    append: &Append,
    heads: &mut HashMap<StreamId, Head>,
    events: &mut Vec<CommittedEvent>,
) -> Committed {
    let mut positions = Vec::with_capacity(append.events.len());
    for event in &append.events {
        // Appends to streams without a head were refused before.
        let Some(head) = heads.get_mut(&event.stream) else { continue };
        head.head += 1;
        positions.push((event.stream, Offset(head.head)));
        events.push(CommittedEvent {
            stream: event.stream,
            channel: Arc::clone(&head.channel),
            epoch: Arc::clone(&head.epoch),
            offset: Offset(head.head),
            organization: head.organization,
            kind: event.kind,
            id: event.id,
            time: event.time,
            trace: append.trace,
            body: event.body.clone(),
        });
    }
    Committed { positions }
}

fn message_rows(rows: &[(&MessageRow, Offset)]) -> Rows {
    let fill = |v: Tuple, (row, offset): &(&MessageRow, Offset)| {
        v.bind(row.conversation)
            .bind(row.id)
            .bind(row.uuid)
            .bind(row.author)
            .bind(row.author_name.as_str())
            .bind(row.kind)
            .bind(row.version)
            .bind(&*row.metadata)
            .bind(row.body_hash)
            .bind(row.internal)
            .bind(row.sent_at)
            .bind(row.created_at)
            .bind(*offset)
    };
    MESSAGES.rows(rows, fill)
}

fn event_rows(events: &[CommittedEvent]) -> Rows {
    let fill = |v: Tuple, event: &CommittedEvent| {
        v.bind(event.stream)
            .bind(event.offset)
            .bind(event.id)
            .bind(event.kind)
            .bind(event.time)
            .bind(std::str::from_utf8(&event.body).unwrap_or_default())
            .bind(event.trace.map(Trace::to_bytes))
    };
    EVENTS.rows(events, fill)
}

/// Newest message and time per conversation: what lists are ordered by.
fn activity_rows(rows: &[(&MessageRow, Offset)]) -> Rows {
    #[derive(Default)]
    struct Activity {
        last: (i64, i64),
        internal: (i64, i64),
    }
    let mut activity: BTreeMap<ConversationId, Activity> = BTreeMap::new();
    for (row, _) in rows {
        let entry = activity.entry(row.conversation).or_default();
        let new = (row.id.0, row.created_at.0);
        entry.internal = (entry.internal.0.max(new.0), entry.internal.1.max(new.1));
        if !row.internal {
            entry.last = (entry.last.0.max(new.0), entry.last.1.max(new.1));
        }
    }
    let activity: Vec<_> = activity.into_iter().collect();
    let fill = |v: Tuple, (id, a): &(ConversationId, Activity)| {
        v.bind(*id).bind(a.last.0).bind(a.last.1).bind(a.internal.0).bind(a.internal.1)
    };
    ACTIVITY.rows(&activity, fill)
}

/// Watermarks to be raised; several of one participant in a batch become one row.
fn marker_rows(markers: Vec<MarkerRow>) -> Rows {
    let mut merged: HashMap<(ConversationId, PersonId), (MessageId, MessageId)> = HashMap::new();
    for marker in markers {
        match merged.entry((marker.conversation, marker.person)) {
            Entry::Occupied(mut entry) => {
                let (received, read) = entry.get_mut();
                *received = (*received).max(marker.received);
                *read = (*read).max(marker.read);
            }
            Entry::Vacant(entry) => {
                entry.insert((marker.received, marker.read));
            }
        }
    }
    let mut merged: Vec<_> = merged.into_iter().collect();
    merged.sort_unstable();
    let fill = |v: Tuple,
                ((conversation, person), (received, read)): &(
        (ConversationId, PersonId),
        (MessageId, MessageId),
    )| {
        // What is read has been received.
        v.bind(*conversation).bind(*person).bind((*received).max(*read)).bind(*read)
    };
    MARKERS.rows(&merged, fill)
}
