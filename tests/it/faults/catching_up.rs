//! A client that was away for a hundred thousand events, on the real program: it gets them all, in order, and the server
//! holds a page of them at a time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::json;
use switchboard::store::{DatabaseOptions, Db, Dialects, sql, sql_for};

use crate::{
    harness::{
        db::{TestDb, block_on},
        process::{Process, Recruit},
    },
    realtime::client::Client,
};

const EVENTS: u64 = 100_000;
/// What the server may need on top for a few clients that catch up, whatever they have missed.
const MEMORY: u64 = 32 * 1024 * 1024;

/// A client that pauses answers no ping meanwhile.
const PATIENT: [(&str, &str); 1] = [("REALTIME__PING_SECONDS", "600")];

/// Fills the stream as if so much had happened: half a kilobyte each, so fifty megabytes in all.
const FILL: Dialects = Dialects {
    sqlite: "with recursive n(x) as (select 1 union all select x + 1 from n where x < $2) \
        insert into event (stream_id, stream_offset, id, type, time, data) \
        select s.id, s.head + n.x, randomblob(16), 'workbox.updated', 0, \
        '{\"id\":\"' || n.x || '\",\"type\":\"workbox.updated\",\"data\":{\"text\":\"' || $3 || '\"}}' \
        from stream s cross join n where s.name = $1 order by n.x",
    postgres: "insert into event (stream_id, stream_offset, id, type, time, data) \
        select s.id, s.head + n.x, gen_random_uuid(), 'workbox.updated', 0, \
        '{\"id\":\"' || n.x || '\",\"type\":\"workbox.updated\",\"data\":{\"text\":\"' || $3::text || '\"}}' \
        from stream s cross join generate_series(1, $2::bigint) n(x) where s.name = $1 order by n.x",
};

async fn fill(db: &Db, channel: &str) {
    let mut tx = db.begin().await.unwrap();
    let count = EVENTS.cast_signed();
    sql_for(FILL).bind(channel).bind(count).bind("x".repeat(450)).execute(&mut tx).await.unwrap();
    sql("update stream set head = head + $2 where name = $1")
        .bind(channel)
        .bind(count)
        .execute(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Reads everything as an SDK does; every offset comes once, in order.
async fn read_all(
    server: SocketAddr,
    person: Recruit,
    channel: String,
    pause: bool,
    read: Arc<AtomicU64>,
) -> u64 {
    let mut client = Client::open(server).await;
    client.connect(&person.token).await;
    let request = json!({ "channel": channel, "recover": true, "epoch": "", "offset": 0 });
    let reply = client.subscribe(request).await;
    let result = &reply["subscribe"];
    assert_eq!((&result["recovered"], result["offset"].as_u64().unwrap_or(0)), (&json!(true), 0), "{reply}");
    let first = result["publications"].as_array().unwrap();
    assert!(first.len() <= 1_000);
    let mut position = first.len() as u64;
    let mut held = pause;
    loop {
        let push = client.push().await;
        if push["channel"] != channel.as_str() {
            // The inbox has its own news.
            continue;
        }
        position += 1;
        assert_eq!(push["pub"]["offset"], position);
        read.fetch_max(position, Ordering::Relaxed);
        if push["pub"]["data"]["type"] == "message.created" {
            return position;
        }
        if held && position > 5_000 {
            // A client that reads nothing while another one takes everything costs a page.
            held = false;
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            while read.load(Ordering::Relaxed) < EVENTS {
                ticks.tick().await;
            }
        }
    }
}

async fn catch_up(server: Process, db: Db) {
    let people = server.recruit(3);
    let thread = people[0].threads[0];
    let channel = format!("workbox:{thread}");
    fill(&db, &channel).await;
    let mut people = people.into_iter();
    let writer = people.next().unwrap();
    let before = server.memory();
    let read = Arc::new(AtomicU64::new(0));
    let address = SocketAddr::from(&server);
    let readers: Vec<_> = people
        .zip([false, true])
        .map(|(person, pause)| tokio::spawn(read_all(address, person, channel.clone(), pause, read.clone())))
        .collect();
    let mut most = before;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    while read.load(Ordering::Relaxed) < EVENTS {
        ticks.tick().await;
        most = most.max(server.memory());
        assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader gave up");
    }
    // What happens now comes last, to both.
    let mut client = Client::open(address).await;
    client.connect(&writer.token).await;
    let data = json!({ "channel": channel, "text": "now" });
    let sent = client.call(json!({ "rpc": { "method": "message.send", "data": data } })).await;
    let offset = sent["rpc"]["data"]["offset"].as_u64().unwrap_or_else(|| panic!("{sent}"));
    assert!(offset > EVENTS);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), offset);
        most = most.max(server.memory());
    }
    assert!(most < before + MEMORY, "{} kB more", (most - before) / 1024);
}

#[test]
fn a_hundred_thousand_events_behind_on_sqlite() {
    block_on(async {
        let server = Process::start(&PATIENT);
        let db = Db::open(&DatabaseOptions::new(server.sqlite())).await.unwrap();
        catch_up(server, db).await;
    });
}

#[test]
fn a_hundred_thousand_events_behind_on_postgres() {
    block_on(async {
        let Some(db) = TestDb::postgres().await else { return };
        let server = Process::start(&[&PATIENT[..], &[("DATABASE__URL", &db.options().url)]].concat());
        catch_up(server, db.db.clone()).await;
    });
}
