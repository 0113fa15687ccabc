//! The relay: from the event log, which is the outbox, to the bus.
//!
//! Promises: every committed event is published at least once, those of one stream in their order (the next goes out
//! when the bus has stored the one before); the stored position moves only over what is acknowledged without a hole, so
//! that after an outage of either side or a crash it goes on where it was, and what is published twice carries the same
//! id. One relay runs per database.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};

use super::{
    Bus, BusError, Message,
    envelope::Envelope,
    progress::{Hole, Progress},
    subject,
};
use crate::{
    base::{clock::Clock, metrics::RelayMetrics, tasks::Tasks, trace::Trace},
    domain::{event::StreamKind, ids::StreamId},
    journal::{AfterCommit, Commit},
    store::{
        Db, Dialect, StoreError,
        relay::{self as log, LogRow},
    },
};

/// Name of the relay to the bus in `relay_position`.
pub const POSITION: &str = "bus";

/// Publishes on their way at once, each of another stream.
const IN_FLIGHT: usize = 256;
/// Between two looks at the log when nobody wakes the relay, and between two measurements of its lag.
const POLL: Duration = Duration::from_secs(1);
/// The same while a hole in the log waits for a transaction to end.
const POLL_HOLE: Duration = Duration::from_millis(20);
/// Between two writes of the position: each costs a commit, a crash repeats so much.
const PERSIST: Duration = Duration::from_millis(200);
/// How long acknowledgements are waited for when the server stops.
const STOP: Duration = Duration::from_secs(2);
/// Between two lines in the log that say why events wait.
const COMPLAIN: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tells the relay that something was committed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Something was committed. Never blocks; any number of calls before the relay looks count as one.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl AfterCommit for Wake {
    fn committed(&self, _: &Commit) {
        self.wake();
    }
}

/// The relay, to be run as a task.
pub struct Relay {
    db: Db,
    bus: Arc<dyn Bus>,
    batch: u32,
    wake: Wake,
    clock: Clock,
    metrics: RelayMetrics,
    progress: Progress,
    in_flight: FuturesUnordered<BoxFuture<'static, (StreamId, i64)>>,
    hole: Option<Hole>,
    /// There may be more in the log than was read.
    more: bool,
    persisted: i64,
    persist_at: Instant,
    trouble: Trouble,
    /// Measurements in a row that found trouble.
    troubled: u32,
    complain_at: Instant,
}

/// Why the bus did not store an event, the last time that it did not; taken by who says so.
type Trouble = Arc<Mutex<Option<BusError>>>;

impl Relay {
    /// A relay that reads `batch` events at once (`bus.batch`).
    pub fn new(
        db: Db,
        bus: Arc<dyn Bus>,
        batch: u32,
        wake: Wake,
        clock: Clock,
        metrics: RelayMetrics,
    ) -> Self {
        Self {
            db,
            bus,
            batch,
            wake,
            clock,
            metrics,
            progress: Progress::default(),
            in_flight: FuturesUnordered::new(),
            hole: None,
            more: true,
            persisted: 0,
            persist_at: Instant::now(),
            trouble: Trouble::default(),
            troubled: 0,
            complain_at: Instant::now(),
        }
    }

    /// Runs until the server stops.
    pub async fn run(mut self, tasks: Tasks) {
        let stopping = tasks.stopping();
        tokio::select! {
            () = stopping => {}
            () = self.run_for_ever() => {}
        }
        let drained = async { while self.acknowledge().await {} };
        // What is not acknowledged in time is published again after the start.
        let _ = tokio::time::timeout(STOP, drained).await;
        if let Err(error) = self.persist().await {
            tracing::warn!(%error, "the relay's position was not stored");
        }
    }

    async fn run_for_ever(&mut self) {
        while let Err(error) = self.load_position().await {
            tracing::warn!(%error, "the relay cannot read its position");
            tokio::time::sleep(POLL).await;
        }
        let mut measure_at = Instant::now();
        loop {
            if let Err(error) = self.step(&mut measure_at).await {
                tracing::warn!(%error, "the relay cannot use the database");
                tokio::time::sleep(POLL).await;
            }
            let pause = match self.hole {
                Some(_) => POLL_HOLE,
                None if self.persisted < self.progress.position() => PERSIST,
                None => POLL,
            };
            let wake = Arc::clone(&self.wake.0);
            tokio::select! {
                () = wake.notified() => self.more = true,
                () = tokio::time::sleep(pause) => self.more = true,
                true = self.acknowledge() => {}
            }
        }
    }

    async fn load_position(&mut self) -> Result<(), StoreError> {
        let position = log::position(&self.db, POSITION).await?;
        // Also where it is 0: retention keeps what lies behind the position only if there is one.
        log::advance(&self.db, POSITION, position).await?;
        self.persisted = position;
        self.progress = Progress::starting_at(position);
        Ok(())
    }

    async fn step(&mut self, measure_at: &mut Instant) -> Result<(), StoreError> {
        let window = self.batch as usize;
        while self.more && self.progress.outstanding() < window {
            self.read().await?;
            self.start();
        }
        self.start();
        let now = Instant::now();
        if now >= self.persist_at && self.persisted < self.progress.position() {
            self.persist().await?;
            self.persist_at = now + PERSIST;
        }
        if now >= *measure_at {
            self.measure().await?;
            *measure_at = now + POLL;
        }
        Ok(())
    }

    /// Takes the next page of the log, up to the first hole that may yet be filled.
    async fn read(&mut self) -> Result<(), StoreError> {
        let page = log::page(&self.db, self.progress.read_through(), self.batch).await?;
        self.more = page.rows.len() >= self.batch as usize;
        let last = page.rows.last().map_or(0, |row| row.seq);
        for row in page.rows {
            let follows = row.seq == self.progress.read_through() + 1 || self.db.dialect() == Dialect::Sqlite;
            if !follows && !self.hole.is_some_and(|hole| hole.is_final(row.seq, page.floor)) {
                return self.see_hole(row.seq, last).await;
            }
            self.progress.take(row);
        }
        self.hole = None;
        Ok(())
    }

    async fn see_hole(&mut self, seq: i64, last: i64) -> Result<(), StoreError> {
        if self.hole.is_none_or(|hole| hole.below < seq) {
            self.hole = Some(Hole { below: last, ceiling: log::ceiling(&self.db).await? });
            // Mostly nothing is open any more: look again at once.
            self.more = true;
        } else {
            self.more = false;
        }
        Ok(())
    }

    fn start(&mut self) {
        while self.in_flight.len() < IN_FLIGHT {
            let Some(row) = self.progress.next() else { return };
            let publish =
                publish(Arc::clone(&self.bus), self.metrics.clone(), Arc::clone(&self.trouble), row);
            self.in_flight.push(Box::pin(publish));
        }
    }

    /// Waits for the next acknowledgement; false when nothing is on its way.
    async fn acknowledge(&mut self) -> bool {
        let Some((stream, seq)) = self.in_flight.next().await else { return false };
        self.metrics.published.inc();
        self.progress.acknowledge(stream, seq);
        true
    }

    async fn persist(&mut self) -> Result<(), StoreError> {
        let position = self.progress.position();
        if position > self.persisted {
            log::advance(&self.db, POSITION, position).await?;
            self.persisted = position;
        }
        Ok(())
    }

    async fn measure(&mut self) -> Result<(), StoreError> {
        let (head, next) = log::behind(&self.db, self.progress.read_through()).await?;
        let waiting = i64::try_from(self.progress.outstanding()).unwrap_or(i64::MAX);
        self.metrics.lag_rows.set(waiting + head - self.progress.read_through());
        let oldest = self.progress.oldest().or(next);
        let age = oldest.map_or(Duration::ZERO, |time| self.clock.now().since(time));
        self.metrics.lag.set(age.as_secs_f64());
        self.complain(age);
        Ok(())
    }

    /// Says why events wait, now and then: a bus that is there and refuses would go unnoticed otherwise. Not at once: a
    /// connection that comes back is refused for a moment.
    fn complain(&mut self, age: Duration) {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(error) = trouble.filter(|_| self.progress.outstanding() > 0) else {
            self.troubled = 0;
            return;
        };
        self.troubled += 1;
        let now = Instant::now();
        if self.troubled > 1 && now >= self.complain_at {
            let (rows, seconds) = (self.metrics.lag_rows.get(), age.as_secs());
            tracing::warn!(%error, rows, seconds, "events wait for the bus");
            self.complain_at = now + COMPLAIN;
        }
    }
}

/// Publishes until the bus has it.
async fn publish(bus: Arc<dyn Bus>, metrics: RelayMetrics, trouble: Trouble, row: LogRow) -> (StreamId, i64) {
    let key = (row.stream_id, row.seq);
    let Some(mut message) = message_of(&row) else {
        tracing::error!(stream.kind = row.stream_kind, "an event of an unknown stream kind stays in the log");
        return key;
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match bus.publish(message.clone()).await {
            Ok(()) => return key,
            Err(BusError::TooLarge { size, limit }) => {
                tracing::warn!(event.id = %row.id, size, limit, "an event goes out without its data");
                metrics.failed.inc();
                if let Some(envelope) = envelope_of(&row) {
                    message.payload = envelope.encode_without_data();
                }
            }
            Err(error) => {
                metrics.failed.inc();
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn message_of(row: &LogRow) -> Option<Message> {
    let envelope = envelope_of(row)?;
    Some(Message {
        subject: subject::stored(row.organization_id, envelope.stream, envelope.stream_id, &row.kind),
        id: row.id,
        payload: envelope.encode(),
    })
}

fn envelope_of(row: &LogRow) -> Option<Envelope<'_>> {
    Some(Envelope {
        organization: row.organization_id,
        stream: StreamKind::by_name(&row.stream_kind)?,
        stream_id: row.channel.split_once(':')?.1,
        epoch: Some(&row.epoch),
        offset: Some(row.stream_offset),
        id: row.id,
        kind: &row.kind,
        time: row.time,
        trace: row.trace.as_deref().and_then(Trace::from_bytes),
        body: &row.data,
    })
}
