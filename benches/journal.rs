//! Acknowledged appends per second of the journal: 200 appenders, each waiting for its answer, messages of 128 bytes.
//!
//! `cargo bench --bench journal` on SQLite (`synchronous = full`); with `SWITCHBOARD_BENCH_POSTGRES=postgres://..` naming
//! an empty database, on PostgreSQL too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prometheus_client::registry::Registry;
use switchboard::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        tasks::Tasks,
    },
    domain::{
        event::{NewEvent, StreamKind},
        ids::{ConversationId, MessageId, OrgId, PersonId, StreamId},
    },
    journal::{Append, Journal, JournalMetrics, JournalOptions, MessageRow, NewStream, NodeEpoch, RowOp},
    store::{DatabaseOptions, Db, ids::Ids},
};
use tokio::runtime::{Handle, Runtime};

const APPENDERS: usize = 200;
const CONVERSATIONS: i64 = 500;

struct Bench {
    journal: Journal,
    ids: Ids,
    random: Random,
    streams: Vec<StreamId>,
    metadata: Arc<str>,
    runtime: Handle,
}

impl Bench {
    async fn open(url: String, tasks: &Tasks) -> Self {
        let db = Db::open(&DatabaseOptions::new(url)).await.expect("the database opens");
        db.migrate(&Clock::system()).await.expect("the schema is made");
        let ids = Ids::open(db.clone(), tasks.clone()).await.expect("ids are there");
        let node = NodeEpoch::claim(&db).await.expect("an epoch is there");
        let random = Random::from_os();
        let metrics = JournalMetrics::register(&mut Registry::default());
        let journal =
            Journal::start(db, node, JournalOptions::default(), random.clone(), Vec::new(), metrics, tasks);
        let mut streams = Vec::new();
        for number in 0..CONVERSATIONS {
            let id: StreamId = ids.next().expect("an id is free");
            let stream = NewStream {
                id,
                organization: OrgId(1),
                kind: StreamKind::Workbox,
                channel: format!("workbox:{}-{number}", id.0),
            };
            let append = Append { streams: vec![stream], ..Append::default() };
            journal.append(append).await.expect("a stream begins");
            streams.push(id);
        }
        let metadata = format!(r#"{{"message":"{}"}}"#, "x".repeat(112)).into();
        Self { journal, ids, random, streams, metadata, runtime: tasks.runtime().clone() }
    }

    fn append(&self, number: usize) -> Append {
        let place = number % self.streams.len();
        let id: MessageId = self.ids.next().expect("an id is free");
        let now = Timestamp(1);
        let event = NewEvent::new(
            self.streams[place],
            "message.created",
            self.random.uuid_v7(now),
            now,
            None,
            &serde_json::json!({ "id": id, "metadata": &*self.metadata }),
        );
        let row = MessageRow {
            conversation: ConversationId(i64::try_from(place).expect("small") + 1),
            id,
            uuid: self.random.uuid_v7(now),
            client_uuid: true,
            author: PersonId(7),
            author_name: "Ann".to_owned(),
            kind: "Text",
            version: 2,
            metadata: Arc::clone(&self.metadata),
            body_hash: [0; 32],
            internal: false,
            sent_at: now,
            created_at: now,
        };
        Append { rows: vec![RowOp::Message(Box::new(row))], events: vec![event], ..Append::default() }
    }

    async fn run(self: &Arc<Self>, appends: u64) -> Duration {
        let started = Instant::now();
        let each = usize::try_from(appends).expect("fits").div_ceil(APPENDERS);
        let tasks: Vec<_> = (0..APPENDERS)
            .map(|appender| {
                let bench = Arc::clone(self);
                self.runtime.spawn(async move {
                    for round in 0..each {
                        let append = bench.append(appender * each + round);
                        bench.journal.append(append).await.expect("the append is stored");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("an appender ends");
        }
        started.elapsed()
    }
}

fn journal(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let tasks = Tasks::new(runtime.handle().clone());
    let folder = tempfile::tempdir().expect("a folder");
    let mut urls = vec![("sqlite", format!("sqlite://{}/bench.db", folder.path().display()))];
    if let Ok(url) = std::env::var("SWITCHBOARD_BENCH_POSTGRES") {
        urls.push(("postgres", url));
    }
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(10));
    for (engine, url) in urls {
        let bench = Arc::new(runtime.block_on(Bench::open(url, &tasks)));
        group.bench_function(format!("{engine}, 200 appenders"), |b| {
            b.iter_custom(|appends| {
                let rounded = appends.max(20_000);
                let took = runtime.block_on(bench.run(rounded));
                took / u32::try_from(rounded / appends.max(1)).unwrap_or(1)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
