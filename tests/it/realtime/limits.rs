//! What is bounded, and what happens at the bound.

use std::time::Duration;

use serde_json::json;
use switchboard::realtime::Options;
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::Message;

use super::{Client, Server, client::offsets};

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_are_closed_and_recover() {
    let options = Options {
        queue_bytes: 64 * 1024,
        page_bytes: 15_000,
        close_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let server = Server::with(options).await;
    let mut slow = server.join(7).await;
    slow.subscribe(json!({"channel": "workbox:1"})).await;
    let mut quick = server.join(8).await;
    quick.subscribe(json!({"channel": "workbox:1"})).await;
    let text = "x".repeat(10_000);
    let reader = Handle::current().spawn(async move {
        for offset in 1..=2_000 {
            assert_eq!(quick.push().await["pub"]["offset"], offset);
        }
    });
    for n in 0..2_000 {
        server.journal.append("workbox:1", [json!({"n": n, "text": text})]);
        if n % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    reader.await.unwrap();
    server.until("a slow close", || closes(&server, 3008) == 1).await;
    server.until("the socket's end", || server.hub.connection_count() <= 1).await;
    let mut back = server.join(7).await;
    let reply = back
        .subscribe(json!({"channel": "workbox:1", "recover": true, "epoch": "e1", "offset": 1_990}))
        .await;
    assert_eq!(offsets(&reply["subscribe"]["publications"]), [1_991]);
    for offset in 1_992..=2_000 {
        assert_eq!(back.push().await["pub"]["offset"], offset);
    }
}

fn closes(server: &Server, code: u32) -> u64 {
    let label = switchboard::realtime::CloseLabel { code };
    server.hub.metrics().closes.get_or_create(&label).get()
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_sent_and_must_be_answered() {
    let options = Options {
        ping_interval: Duration::from_millis(500),
        pong_timeout: Duration::from_millis(500),
        ..Options::default()
    };
    let server = Server::with(options).await;
    let mut silent = server.join(7).await;
    silent.pongs = false;
    assert_eq!(silent.closed().await, 3012);
    assert_eq!(silent.pings, 1);
    let mut polite = server.join(8).await;
    let waiting = tokio::time::timeout(Duration::from_secs(3), polite.push()).await;
    assert!(waiting.is_err() && polite.pings >= 3, "{}", polite.pings);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_pinged_often_and_reported() {
    let options = Options { lease_ping_interval: Duration::from_millis(500), ..Options::default() };
    let server = Server::with(options).await;
    let mut client = server.join(7).await;
    let id = server.journal.known.lock().unwrap()[0];
    server.hub.hold_lease(id, true);
    let waiting = tokio::time::timeout(Duration::from_millis(2_500), client.push()).await;
    assert!(waiting.is_err() && client.pings >= 3, "{}", client.pings);
    let reports = server.journal.alive.lock().unwrap().clone();
    assert!((1..=3).contains(&reports.len()) && reports.iter().all(|alive| *alive == id), "{reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed() {
    let options = Options { stale_timeout: Duration::from_millis(300), ..Options::default() };
    let server = Server::with(options).await;
    assert_eq!(Client::open(server.address).await.closed().await, 3502);
    let mut refused = Client::open(server.address).await;
    refused.call(json!({"connect": {"token": "expired"}})).await;
    assert_eq!(refused.closed().await, 3502);
    server.until("no connection", || server.hub.connection_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_subscriptions_commands_connections() {
    let options = Options {
        max_subscriptions: 3,
        commands_per_second: 4,
        command_burst: 50,
        max_connections: 2,
        ..Options::default()
    };
    let server = Server::with(options).await;
    let mut client = server.join(7).await;
    for n in 1..=2 {
        let reply = client.subscribe(json!({"channel": format!("workbox:{n}")})).await;
        assert!(reply["error"].is_null());
    }
    assert_eq!(client.subscribe(json!({"channel": "workbox:3"})).await["error"]["code"], 106);
    let _second = server.join(8).await;
    let third =
        tokio_tungstenite::connect_async(format!("ws://{}/connection/websocket", server.address)).await;
    assert!(third.unwrap_err().to_string().contains("503"));
    for id in 100..200 {
        client.try_send(&json!({"id": id, "rpc": {"method": "echo", "data": 1}})).await;
    }
    assert_eq!(client.closed().await, 3013);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_subscriptions() {
    let options = Options { commands_per_second: 100_000, max_subscriptions: 256, ..Options::default() };
    let server = Server::with(options).await;
    let mut greedy = server.join(7).await;
    let (mut taken, mut refused) = (0, 0);
    for from in (0..10_000).step_by(100) {
        let one = |n| json!({"id": 100 + n, "subscribe": {"channel": format!("workbox:{n}")}}).to_string();
        greedy.send_text(&(from..from + 100).map(one).collect::<Vec<_>>().join("\n")).await;
        for id in from..from + 100 {
            let reply = greedy.reply(100 + id).await;
            match reply["error"]["code"].as_u64() {
                None => taken += 1,
                Some(code) => {
                    assert_eq!(code, 106);
                    refused += 1;
                }
            }
        }
    }
    // The inbox is one of them.
    assert_eq!((taken, refused), (255, 9_745));
    assert_eq!(server.hub.metrics().subscriptions.get(), 256);
    // Asked for all at once, they are a flood.
    let options = Options { command_burst: 1_000, ..Options::default() };
    let hasty = Server::with(options).await;
    let mut client = hasty.join(7).await;
    for n in 0..10_000 {
        client.try_send(&json!({"id": 100 + n, "subscribe": {"channel": format!("workbox:{n}")}})).await;
    }
    assert_eq!(client.closed().await, 3013);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_thousands_of_channels_are_looked_at_where_they_are_of_use() {
    let server = Server::start().await;
    let mut client = Client::open(server.address).await;
    let subs: serde_json::Map<_, _> = (0..4_000).map(|n| (format!("x{n}"), json!({}))).collect();
    let reply = client.call(json!({"connect": {"token": "7", "subs": subs}})).await;
    assert_eq!(reply["connect"]["subs"].as_object().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_under_way_hold_back_the_socket_but_lose_nothing() {
    let options = Options { max_in_flight: 4, ..Options::default() };
    let server = Server::with(options).await;
    let mut client = server.join(7).await;
    let started = std::time::Instant::now();
    let frame: Vec<_> =
        (100..112).map(|id| json!({"id": id, "rpc": {"method": "slow"}}).to_string()).collect();
    client.send_text(&frame.join("\n")).await;
    let mut ids: Vec<_> = Vec::new();
    for _ in 0..12 {
        ids.push(client.receive().await["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (100..112).collect::<Vec<_>>());
    assert!(started.elapsed() >= Duration::from_millis(850), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_beyond_the_limit_close_with_1009() {
    let server = Server::start().await;
    let mut client = server.join(7).await;
    let fitting = json!({"id": 5, "rpc": {"method": "echo", "data": "x".repeat(60_000)}}).to_string();
    client.send_text(&fitting).await;
    assert_eq!(client.reply(5).await["rpc"]["data"].as_str().unwrap().len(), 60_000);
    client.send(Message::text("x".repeat(66_000))).await;
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_in_waves_and_refuses_new_connections() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for person in 1..=10 {
        clients.push(server.join(person).await);
    }
    let hub = server.hub.clone();
    let drain = Handle::current().spawn(async move { hub.drain(Duration::from_millis(300)).await });
    for client in &mut clients {
        assert_eq!(client.closed().await, 3001);
    }
    drain.await.unwrap();
    assert_eq!(server.hub.connection_count(), 0);
    let late =
        tokio_tungstenite::connect_async(format!("ws://{}/connection/websocket", server.address)).await;
    assert!(late.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_elsewhere_names_few_only() {
    let server = Server::with(Options { presence_limit: 2, ..Options::default() }).await;
    let mut clients = Vec::new();
    for person in 1..=3 {
        let mut client = server.join(person).await;
        client.subscribe(json!({"channel": "workbox:1"})).await;
        let reply = client.call(json!({"presence": {"channel": "workbox:1"}})).await;
        let expected = if person <= 2 { json!(null) } else { json!(108) };
        assert_eq!(reply["error"]["code"], expected);
        clients.push(client);
    }
    let stats = clients[0].call(json!({"presence_stats": {"channel": "workbox:1"}})).await;
    assert_eq!(stats["presence_stats"]["num_clients"], 3);
}
