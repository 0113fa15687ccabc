//! From the past to the present: no gap, no duplicate, whatever happens meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::realtime::Options;
use tokio::runtime::Handle;

use super::{Client, Server, client::offsets};

fn recover(channel: &str, offset: u64) -> Value {
    json!({"channel": channel, "recover": true, "epoch": "e1", "offset": offset})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_repeats_the_requested_offset_and_pages_follow() {
    let options = Options { recovery_page: 100, ..Options::default() };
    let server = Server::with(options).await;
    server.journal.append("workbox:1", (1..=1_050).map(|n| json!({ "n": n })));
    let mut client = server.join(7).await;
    let reply = client.subscribe(recover("workbox:1", 20)).await;
    let result = &reply["subscribe"];
    assert_eq!((&result["recovered"], &result["offset"]), (&json!(true), &json!(20)));
    assert_eq!(result["was_recovering"], true);
    assert_eq!(offsets(&result["publications"]), (21..=120).collect::<Vec<_>>());
    for offset in 121..=1_050 {
        let push = client.push().await;
        assert_eq!((&push["pub"]["offset"], &push["pub"]["data"]["n"]), (&json!(offset), &json!(offset)));
    }
    server.journal.append("workbox:1", [json!("live")]);
    assert_eq!(client.push().await["pub"], json!({"data": "live", "offset": 1_051}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recovered_is_said_so() {
    let server = Server::start().await;
    server.journal.append("workbox:1", (1..=10).map(|n| json!(n)));
    server.journal.cut("workbox:1", 5);
    let mut client = server.join(7).await;
    for (offset, epoch, recovered) in [
        (2, "e1", false),
        (3, "e1", false),
        (4, "e1", true),
        (10, "e1", true),
        (11, "e1", false),
        (6, "e0", false),
    ] {
        let request = json!({"channel": "workbox:1", "recover": true, "epoch": epoch, "offset": offset});
        let reply = client.subscribe(request.clone()).await;
        let result = &reply["subscribe"];
        assert_eq!(result["recovered"].as_bool().unwrap_or(false), recovered, "{offset} {epoch}");
        assert_eq!(result["offset"], if recovered { offset } else { 10 });
        if recovered {
            assert_eq!(offsets(&result["publications"]), (offset + 1..=10).collect::<Vec<_>>());
        }
        client.call(json!({"unsubscribe": {"channel": "workbox:1"}})).await;
        let mut strict = request;
        strict["flag"] = 2.into();
        let reply = client.subscribe(strict).await;
        assert_eq!(reply["error"]["code"], if recovered { Value::Null } else { json!(112) });
        client.call(json!({"unsubscribe": {"channel": "workbox:1"}})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_where_a_visitor_may_see_it() {
    let server = Server::start().await;
    server.journal.append("workbox:1", (1..=10).map(|n| json!(n)));
    server.journal.show_from("workbox:1", 8);
    let mut client = server.join(7).await;
    let reply = client.subscribe(recover("workbox:1", 0)).await;
    assert_eq!(reply["subscribe"]["recovered"], true);
    assert_eq!(offsets(&reply["subscribe"]["publications"]), [8, 9, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_subscriptions_recover_in_the_connect_reply() {
    let server = Server::start().await;
    server.journal.append("user:7", (1..=1_500).map(|n| json!(n)));
    let mut client = Client::open(server.address).await;
    let subs = json!({"user:7": {"recover": true, "epoch": "e1", "offset": 100}});
    let reply = client.call(json!({"connect": {"token": "7", "subs": subs}})).await;
    let inbox = &reply["connect"]["subs"]["user:7"];
    assert_eq!((&inbox["recovered"], &inbox["offset"]), (&json!(true), &json!(100)));
    assert_eq!(offsets(&inbox["publications"]), (101..=1_100).collect::<Vec<_>>());
    for offset in 1_101..=1_500 {
        assert_eq!(client.push().await["pub"]["offset"], offset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_broadcast_is_read_from_the_journal() {
    let server = Server::start().await;
    let mut client = server.join(7).await;
    client.subscribe(json!({"channel": "workbox:1"})).await;
    server.journal.append("workbox:1", [json!(1)]);
    server.journal.append_silently("workbox:1", &json!(2));
    server.journal.append_silently("workbox:1", &json!(3));
    server.journal.append("workbox:1", [json!(4)]);
    for offset in 1..=4 {
        assert_eq!(client.push().await["pub"], json!({"data": offset, "offset": offset}));
    }
    assert_eq!(server.hub.metrics().gaps.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_overtakes_a_recovery_asks_for_a_new_one() {
    let options = Options { recovery_page: 10, ..Options::default() };
    let server = Server::with(options).await;
    server.journal.append("workbox:1", (1..=30).map(|n| json!(n)));
    server.journal.delay.store(100, Ordering::Relaxed);
    let mut client = server.join(7).await;
    let reply = client.subscribe(recover("workbox:1", 0)).await;
    assert_eq!(offsets(&reply["subscribe"]["publications"]), (1..=10).collect::<Vec<_>>());
    server.journal.cut("workbox:1", 25);
    let mut push = client.push().await;
    while push["unsubscribe"].is_null() {
        push = client.push().await;
    }
    assert_eq!(push["unsubscribe"]["code"], 2500);
}

const CHANNELS: u64 = 3;

/// Clients come and go, subscribe, unsubscribe and recover, while events are committed all the time.
#[tokio::test(flavor = "multi_thread")]
async fn hammered_streams_have_no_gap_and_no_duplicate() {
    let options = Options { recovery_page: 7, commands_per_second: 100_000, ..Options::default() };
    let server = Arc::new(Server::with(options).await);
    server.journal.delay.store(3, Ordering::Relaxed);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..CHANNELS)
        .map(|channel| {
            let (server, stop) = (server.clone(), stop.clone());
            Handle::current().spawn(async move {
                let mut head = 0;
                while !stop.load(Ordering::Relaxed) {
                    let burst = 1 + head % 5;
                    let events = (head + 1..=head + burst).map(|n| json!({ "n": n }));
                    head = server.journal.append(&format!("workbox:{channel}"), events);
                    tokio::time::sleep(Duration::from_micros(200 * (head % 17))).await;
                }
                head
            })
        })
        .collect();
    let readers: Vec<_> = (0..12_u64)
        .map(|reader| Handle::current().spawn(read(server.clone(), reader, stop.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    let mut heads = Vec::new();
    for writer in writers {
        heads.push(writer.await.unwrap());
    }
    let mut seen = 0;
    for reader in readers {
        let (channel, position) = reader.await.unwrap();
        let head = heads[usize::try_from(channel).unwrap()];
        assert_eq!(position, head, "reader of workbox:{channel} stopped short");
        seen += position;
    }
    assert!(seen > 100, "too little happened: {seen}");
}

async fn read(server: Arc<Server>, reader: u64, stop: Arc<AtomicBool>) -> (u64, u64) {
    let channel = reader % CHANNELS;
    let name = format!("workbox:{channel}");
    let (mut position, mut rounds) = (0, 0_u64);
    loop {
        let last = stop.load(Ordering::Relaxed);
        rounds += 1;
        let mut client = server.join(100 + i64::try_from(reader).unwrap()).await;
        for _ in 0..3 {
            let reply = client.subscribe(recover(&name, position)).await;
            let result = &reply["subscribe"];
            assert_eq!(
                (&result["recovered"], result["offset"].as_u64().unwrap_or(0)),
                (&json!(true), position)
            );
            for offset in offsets(&result["publications"]) {
                assert_eq!(offset, position + 1, "in the reply");
                position = offset;
            }
            let quota = 5 + (reader * 7 + rounds * 13) % 40;
            for _ in 0..quota {
                let push = tokio::time::timeout(Duration::from_millis(300), client.push()).await;
                let Ok(push) = push else { break };
                assert_eq!(push["pub"]["offset"], position + 1, "in a push");
                assert_eq!(push["pub"]["data"]["n"], position + 1);
                position += 1;
            }
            let reply = client.call_in_order(json!({"unsubscribe": {"channel": name}}), &mut position).await;
            assert_eq!(reply["unsubscribe"], json!({}));
        }
        if last {
            let mut client = server.join(100).await;
            let reply = client.subscribe(recover(&name, position)).await;
            for offset in offsets(&reply["subscribe"]["publications"]) {
                assert_eq!(offset, position + 1);
                position = offset;
            }
            while let Ok(push) = tokio::time::timeout(Duration::from_millis(500), client.push()).await {
                assert_eq!(push["pub"]["offset"], position + 1);
                position += 1;
            }
            return (channel, position);
        }
    }
}
