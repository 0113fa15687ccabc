//! The newest events of streams that somebody has just caught up on, kept in memory: when all sockets of a server come
//! back at once, reads of the database grow with the rooms, not with the sockets.
//!
//! A tail begins when a page that reaches the end of its stream was read, grows with every commit and is dropped when
//! an event in it may have been rewritten, when a commit does not continue it, or when memory runs out (oldest first).
//! It answers only where it has something: that nothing is missing is for the database to say. Twins of a read that is
//! under way wait for it.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    port::{AfterCommit, Commit, CommittedEvent},
    read::read_after,
};
use crate::{
    base::tasks::Tasks,
    domain::{
        error::{Error, Result},
        ids::{Offset, StreamId},
    },
    store::Db,
};

/// Bounds of the memory.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// Newest events of a stream.
    pub events: usize,
    /// Bytes of all events together.
    pub bytes: usize,
}

impl Default for TailOptions {
    fn default() -> Self {
        Self { events: 1_000, bytes: 64 << 20 }
    }
}

/// Events of one stream: offset and publication, oldest first.
pub type Page = Arc<Vec<(Offset, Bytes)>>;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Tails(Arc<Shared>);

struct Shared {
    db: Db,
    tasks: Tasks,
    options: TailOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tails: HashMap<StreamId, Tail>,
    /// In the order in which they began; streams that are gone from `tails` are skipped.
    order: VecDeque<StreamId>,
    bytes: usize,
    /// Counts rewritings: what was read before one must not be kept.
    rewritings: u64,
    reading: HashMap<Question, Vec<oneshot::Sender<Option<Page>>>>,
}

type Question = (StreamId, Offset, u32);

struct Tail {
    /// Offset of the first event.
    first: i64,
    events: VecDeque<Bytes>,
    bytes: usize,
}

impl Tails {
    /// Nothing is remembered yet. Must be among those who are told of commits, before those who wake readers.
    pub fn new(db: Db, tasks: Tasks, options: TailOptions) -> Self {
        Self(Arc::new(Shared { db, tasks, options, state: Mutex::default() }))
    }

    /// Up to `limit` events with offsets above `after`, oldest first.
    pub async fn after(&self, stream: StreamId, after: Offset, limit: u32) -> Result<Page> {
        let question = (stream, after, limit);
        let (sender, receiver) = oneshot::channel();
        let begins = {
            let mut state = self.lock();
            if let Some(page) = state.tails.get(&stream).and_then(|tail| tail.after(after, limit)) {
                return Ok(page);
            }
            match state.reading.entry(question) {
                Entry::Occupied(mut entry) => {
                    entry.get_mut().push(sender);
                    None
                }
                Entry::Vacant(entry) => {
                    entry.insert(vec![sender]);
                    Some(state.rewritings)
                }
            }
        };
        if let Some(rewritings) = begins {
            let this = self.clone();
            // A task of its own: whoever asked first may go away.
            self.0.tasks.spawn("journal page", async move { this.read(question, rewritings).await });
        }
        match receiver.await {
            Ok(Some(page)) => Ok(page),
            // The cause is in the log of whoever read.
            Ok(None) | Err(_) => Err(Error::unavailable("a page of the journal could not be read")),
        }
    }

    async fn read(&self, question: Question, rewritings: u64) {
        let (stream, after, limit) = question;
        let waiting = Waiting { tails: self, question: Some(question) };
        let page = match read_after(&self.0.db, stream, after, limit).await {
            Ok(rows) => Some(Arc::new(
                rows.into_iter().map(|row| (row.offset, Bytes::from(row.body))).collect::<Vec<_>>(),
            )),
            Err(error) => {
                tracing::error!(%error, "a page of the journal could not be read");
                None
            }
        };
        let reaches_end = page.as_ref().is_some_and(|page| page.len() < limit as usize);
        if let (Some(page), true) = (&page, reaches_end) {
            self.keep(stream, page, rewritings);
        }
        for sender in waiting.take() {
            // Whoever went away needs no answer.
            let _ = sender.send(page.clone());
        }
    }

    fn keep(&self, stream: StreamId, page: &[(Offset, Bytes)], rewritings: u64) {
        let Some((last, _)) = page.last() else { return };
        let newest = &page[page.len().saturating_sub(self.0.options.events)..];
        let Some((first, _)) = newest.first() else { return };
        let contiguous = last.0 - first.0 + 1 == i64::try_from(newest.len()).unwrap_or(-1);
        let mut state = self.lock();
        if state.rewritings != rewritings || !contiguous {
            return;
        }
        // One that is there may have grown meanwhile, and begins no later than it must.
        if state.tails.get(&stream).is_some_and(|tail| tail.end() >= last.0 && tail.first <= first.0) {
            return;
        }
        let events: VecDeque<Bytes> = newest.iter().map(|(_, body)| body.clone()).collect();
        let bytes = events.iter().map(Bytes::len).sum();
        state.forget(stream);
        state.tails.insert(stream, Tail { first: first.0, events, bytes });
        state.order.push_back(stream);
        state.bytes += bytes;
        state.shrink(self.0.options.bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who wait for a read: told by their dropped senders if it never answers.
struct Waiting<'t> {
    tails: &'t Tails,
    /// `None` once they were taken: whoever asks the same after that waits for the next read.
    question: Option<Question>,
}

impl Waiting<'_> {
    fn take(mut self) -> Vec<oneshot::Sender<Option<Page>>> {
        self.remove()
    }

    fn remove(&mut self) -> Vec<oneshot::Sender<Option<Page>>> {
        let Some(question) = self.question.take() else { return Vec::new() };
        self.tails.lock().reading.remove(&question).unwrap_or_default()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Tail {
    /// Offset of the last event.
    fn end(&self) -> i64 {
        self.first + i64::try_from(self.events.len()).unwrap_or(0) - 1
    }

    fn after(&self, after: Offset, limit: u32) -> Option<Page> {
        let skip = usize::try_from(after.0 + 1 - self.first).ok()?;
        let page: Vec<_> = (after.0 + 1..)
            .zip(self.events.iter().skip(skip).take(limit as usize))
            .map(|(offset, body)| (Offset(offset), body.clone()))
            .collect();
        (!page.is_empty()).then(|| Arc::new(page))
    }
}

impl State {
    fn forget(&mut self, stream: StreamId) {
        if let Some(tail) = self.tails.remove(&stream) {
            self.bytes -= tail.bytes;
        }
        // Its place in the order is skipped, until there are too many of those.
        if self.order.len() > 2 * self.tails.len() + 64 {
            let tails = &self.tails;
            self.order.retain(|kept| tails.contains_key(kept));
        }
    }

    fn append(&mut self, event: &CommittedEvent, options: &TailOptions) {
        let Some(tail) = self.tails.get_mut(&event.stream) else { return };
        if event.offset.0 != tail.end() + 1 {
            return self.forget(event.stream);
        }
        tail.events.push_back(event.body.clone());
        tail.bytes += event.body.len();
        self.bytes += event.body.len();
        while tail.events.len() > options.events {
            let gone = tail.events.pop_front().map_or(0, |body| body.len());
            tail.first += 1;
            tail.bytes -= gone;
            self.bytes -= gone;
        }
    }

    /// Drops the oldest tails until the rest fits.
    fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some(stream) = self.order.pop_front() else { return };
            if let Some(tail) = self.tails.remove(&stream) {
                self.bytes -= tail.bytes;
            }
        }
    }
}

impl AfterCommit for Tails {
    fn committed(&self, commit: &Commit) {
        let mut state = self.lock();
        for stream in &commit.rewritten {
            state.rewritings += 1;
            state.forget(*stream);
        }
        for event in &commit.events {
            state.append(event, &self.0.options);
        }
        state.shrink(self.0.options.bytes);
    }
}
