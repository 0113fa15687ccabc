//! The bus and the relay: nothing lost, nothing out of order, whoever goes away.

mod consumers;
mod nats;
mod relay;
mod traces;

use std::{sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use serde_json::json;
use switchboard::{
    base::{clock::Clock, metrics::Metrics, random::Random, tasks::Tasks},
    bus::{
        Bus,
        relay::{POSITION, Relay, Wake},
    },
    domain::{
        event::{NewEvent, StreamKind},
        ids::{OrgId, StreamId},
    },
    journal::{Append, Journal, JournalMetrics, JournalOptions, NewStream, NodeEpoch},
    store::relay as log,
};
use tokio::{task::JoinHandle, time::Instant};

use crate::harness::db::{START, TestDb};

/// A database whose journal wakes a relay.
struct Log {
    db: TestDb,
    journal: Journal,
    random: Random,
    metrics: Metrics,
    wake: Wake,
    clock: Clock,
}

impl Log {
    async fn new(db: TestDb) -> Self {
        let (random, wake) = (Random::from_os(), Wake::default());
        let journal = Journal::start(
            db.db.clone(),
            NodeEpoch::claim(&db).await.unwrap(),
            JournalOptions { queue: 10_000, batch: 100 },
            random.clone(),
            vec![Arc::new(wake.clone())],
            JournalMetrics::register(&mut Registry::default()),
            &db.tasks(),
        );
        Self { db, journal, random, metrics: Metrics::new(), wake, clock: Clock::manual(START) }
    }

    /// Makes the streams `workbox:1` to `workbox:<count>`.
    async fn streams(&self, count: i64) {
        let streams = (1..=count)
            .map(|id| NewStream {
                id: StreamId(id),
                organization: OrgId(12),
                kind: StreamKind::Workbox,
                channel: format!("workbox:{id}"),
            })
            .collect();
        self.journal.append(Append { streams, ..Append::default() }).await.unwrap();
    }

    fn event(&self, stream: i64, text: &str) -> NewEvent {
        let id = self.random.uuid_v7(START);
        NewEvent::new(StreamId(stream), "message.created", id, START, None, &json!({ "text": text }))
    }

    /// Appends `each` events to each of `streams` streams, as a busy server would: interleaved, several at a time.
    async fn write(&self, streams: i64, each: usize) {
        let mut waiting = Vec::new();
        for number in 0..each {
            for stream in 1..=streams {
                let event = self.event(stream, &format!("{stream} {number}"));
                let journal = self.journal.clone();
                waiting
                    .push(tokio::spawn(async move { journal.append(Append::of_events(vec![event])).await }));
            }
            if number % 10 == 9 {
                tokio::task::yield_now().await;
            }
        }
        for append in waiting {
            append.await.unwrap().unwrap();
        }
    }

    /// Starts a relay; the tasks stop it.
    fn relay(&self, bus: Arc<dyn Bus>) -> (Tasks, JoinHandle<()>) {
        let tasks = self.db.tasks();
        let relay = Relay::new(
            self.db.db.clone(),
            bus,
            50,
            self.wake.clone(),
            self.clock.clone(),
            self.metrics.relay.clone(),
        );
        (tasks.clone(), tokio::spawn(relay.run(tasks)))
    }

    async fn position(&self) -> i64 {
        log::position(&self.db, POSITION).await.unwrap()
    }

    /// Waits until all that is in the log was acknowledged.
    async fn all_sent(&self) {
        all_sent(&self.db).await;
    }
}

/// Waits until the bus has acknowledged all that the log holds, and the relay stands at its very end. One event on the bus
/// says nothing about those before it in other streams: only streams have an order.
async fn all_sent(db: &TestDb) {
    until(async || log::position(db, POSITION).await.unwrap() == log::behind(db, 0).await.unwrap().0).await;
}

async fn stop((tasks, relay): (Tasks, JoinHandle<()>)) {
    tasks.stop(Duration::from_secs(5)).await;
    relay.await.unwrap();
}

/// Polls until `holds`, for half a minute at most.
async fn until(holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
