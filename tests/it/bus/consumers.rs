//! The consumers in `examples/`: every call's record once, whoever is killed meanwhile.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::{
    base::secret::Secret,
    bus::nats::NatsBus,
    config::{self, Config},
    domain::{
        event::{NewEvent, StreamKind},
        ids::{OrgId, StreamId},
    },
    journal::{Append, NewStream},
    store::sql,
};

use super::{Log, until};
use crate::harness::{
    db::{TestDb, on_both},
    nats::NatsServer,
    notes,
};

const CALLS: usize = 40;

on_both! {
    async fn the_consumer_in_rust_writes_every_record_once(db: TestDb) {
        // `cargo test` builds examples beside the tests; `cargo test --test it` alone does not.
        let program = env::current_exe().unwrap().parent().unwrap().with_file_name("examples/call_records");
        if program.is_file() {
            every_record_once(db, &[program]).await;
        } else {
            notes::left_out("the consumer in Rust (cargo build --examples)");
        }
    }

    async fn the_consumer_in_python_writes_every_record_once(db: TestDb) {
        let known = Command::new("python3").args(["-c", "import nats"]).stderr(Stdio::null()).status();
        if known.is_ok_and(|status| status.success()) {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/call_records.py");
            every_record_once(db, &["python3".into(), script]).await;
        } else {
            notes::left_out("the consumer in Python (python3 has no nats-py, see tests/requirements.txt)");
        }
    }
}

/// Ends calls while NATS, the publishing side and the consumer are killed in turn; compares the file with the log.
async fn every_record_once(db: TestDb, consumer: &[PathBuf]) {
    let Some(mut nats) = NatsServer::start() else { return };
    let log = Log::new(db).await;
    let streams = (1..=4)
        .map(|id| NewStream {
            id: StreamId(id),
            organization: OrgId(12),
            kind: StreamKind::Session,
            channel: format!("session:{id}"),
        })
        .collect();
    log.journal.append(Append { streams, ..Append::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.jsonl");
    let url = nats.url();
    let mut following = Some(Consumer::start(consumer, &url, &file));
    for round in 0..4 {
        let config = config::Bus { url: Secret::new(nats.url()), ..Config::with("").unwrap().bus };
        let bus = NatsBus::connect(&config, &log.db.tasks()).await.unwrap();
        let (_, relay) = log.relay(Arc::new(bus));
        for number in 0..CALLS {
            end_call(&log, round * CALLS + number).await;
            if number == CALLS / 2 {
                match round {
                    0 => following = None,
                    1 => nats.kill(),
                    // As a killed process would: nothing is put in order, the position is not stored.
                    2 => relay.abort(),
                    _ => {}
                }
            }
        }
        match round {
            0 => following = Some(Consumer::start(consumer, &url, &file)),
            1 => nats.restart(),
            _ => {}
        }
        if round == 3 {
            log.all_sent().await;
        }
        relay.abort();
    }
    let expected: Vec<(uuid::Uuid,)> =
        sql("select id from event where type = 'call.ended'").all(&log.db.db).await.unwrap();
    assert_eq!(expected.len(), 4 * CALLS);
    until(async || records(&file).len() >= expected.len()).await;
    // Whatever comes again must change nothing.
    drop(following);
    let again = Consumer::start(consumer, &url, &file);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(again);
    let records = records(&file);
    let ids: BTreeSet<String> =
        records.iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(records.len(), ids.len(), "a record was written twice");
    assert_eq!(ids, expected.iter().map(|(id,)| id.to_string()).collect());
    assert!(
        records.iter().all(|record| record["organization"] == 12 && record["call"]["call_id"].is_string())
    );
}

async fn end_call(log: &Log, number: usize) {
    let (id, now) = (log.random.uuid_v7(log.clock.now()), log.clock.now());
    let stream = StreamId(1 + i64::try_from(number % 4).unwrap());
    let data = json!({ "call_id": format!("call_{number}"), "reason": "left" });
    let event = NewEvent::new(stream, "call.ended", id, now, None, &data);
    log.journal.append(Append::of_events(vec![event])).await.unwrap();
}

/// The lines that are whole.
fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A running consumer; `kill -9` when dropped.
struct Consumer(Child);

impl Consumer {
    fn start(command: &[PathBuf], url: &str, file: &Path) -> Self {
        let child = Command::new(&command[0])
            .args(&command[1..])
            .arg(url)
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
