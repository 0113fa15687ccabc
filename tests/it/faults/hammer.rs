//! Many write at once while others come, go, and come back: each of them sees each event once, in order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::{
    base::random::Random,
    domain::ids::{Offset, StreamId},
    journal,
    store::sql,
};
use tokio::time::timeout;

use crate::harness::{
    app::Server,
    db::on_both,
    device::{Device, PATIENCE, Position},
    office::Office,
};

const SETTINGS: &str = "
    [server]
    drain_seconds = 0
    [realtime]
    ping_seconds = 300
    recovery_page = 7
    command_burst = 100000
";
const WRITERS: usize = 4;
const MESSAGES: usize = 100;
const READERS: u64 = 6;

/// Reads a channel in short stays until `stop`, then to its end.
async fn read(
    server: Arc<Server>,
    token: String,
    channel: String,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Vec<Value> {
    let random = Random::seeded(seed);
    let mut seen = Vec::new();
    let mut position = Position { epoch: String::new(), offset: 0 };
    while !stop.load(Ordering::Relaxed) {
        let known = BTreeMap::from([(channel.clone(), position.clone())]);
        let mut device = Device::come_back(&*server, &token, &known).await;
        for _ in 0..random.below(4) {
            let wanted = device.positions()[&channel].offset + 1 + random.below(30);
            // No more may come for a while.
            let _ = timeout(Duration::from_millis(40), device.reaches(&channel, wanted)).await;
            let (left, events) = device.leave(&channel).await;
            seen.extend(events);
            device.follow_from(&channel, &left).await;
        }
        // Goes without a word, with what it has heard so far.
        position = device.positions()[&channel].clone();
        seen.extend_from_slice(device.seen(&channel).1);
    }
    let head = stored(&server, &channel).await.len() as u64;
    let mut device =
        Device::come_back(&*server, &token, &BTreeMap::from([(channel.clone(), position)])).await;
    device.reaches(&channel, head).await;
    seen.extend_from_slice(device.seen(&channel).1);
    seen
}

async fn stored(server: &Server, channel: &str) -> Vec<Value> {
    let (stream,): (StreamId,) =
        sql("select id from stream where name = $1").bind(channel).one(&server.db.db).await.unwrap();
    let rows = journal::read_after(&server.db.db, stream, Offset(0), 100_000).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(&row.body).unwrap()).collect()
}

on_both! {
    async fn each_sees_each_event_once(db: TestDb) {
        let office = Office::open_with(db, SETTINGS).await;
        let (channel, stop) = (office.workbox(), Arc::new(AtomicBool::new(false)));
        let (ann, ben) = (office.ann.token.clone(), office.ben.token.clone());
        let server = Arc::new(office.server);
        let readers: Vec<_> = (0..READERS)
            .map(|seed| {
                let token = if seed % 2 == 0 { &ann } else { &ben };
                tokio::spawn(read(server.clone(), token.clone(), channel.clone(), seed, stop.clone()))
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (server, channel) = (server.clone(), channel.clone());
                let token = if writer % 2 == 0 { ann.clone() } else { ben.clone() };
                tokio::spawn(async move {
                    let mut device = Device::connect(&*server, &token).await;
                    for number in 0..MESSAGES {
                        let text = format!("{writer} {number}");
                        device.rpc("message.send", json!({ "channel": channel, "text": text })).await;
                        if number % 10 == 0 {
                            device.rpc("receipt.read", json!({ "channel": channel })).await;
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            timeout(PATIENCE * 2, writer).await.unwrap().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for reader in readers {
            seen.push(timeout(PATIENCE * 2, reader).await.unwrap().unwrap());
        }
        // A receipt may be announced after the last message; it was not in what the readers waited for.
        let stored = stored(&server, &channel).await;
        let messages = stored.iter().filter(|event| event["type"] == "message.created").count();
        assert_eq!(messages, WRITERS * MESSAGES);
        for events in seen {
            assert!(stored.len() - events.len() < 10, "{} of {}", events.len(), stored.len());
            assert_eq!(events, stored[..events.len()]);
        }
    }
}
