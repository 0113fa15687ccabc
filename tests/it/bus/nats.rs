//! The bus over a real nats-server that is killed now and then.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::{self, consumer::pull, stream};
use futures_util::StreamExt as _;
use serde_json::Value;
use switchboard::{
    base::{secret::Secret, tasks::Tasks},
    bus::{
        Bus, Message,
        nats::{NatsBus, STREAM},
    },
    config::{self, Config},
};

use super::{Log, stop, until};
use crate::harness::{db::on_both, log::complaints, nats::NatsServer};

/// A figure that no other test uses: it is looked for in the log of all of them.
const ROOM: u64 = 7_654_321;

async fn connect(nats: &NatsServer, tasks: &Tasks) -> Arc<NatsBus> {
    let config = config::Bus { url: Secret::new(nats.url()), ..Config::with("").unwrap().bus };
    Arc::new(NatsBus::connect(&config, tasks).await.unwrap())
}

/// All that the JetStream stream holds.
pub(super) async fn stored(nats: &NatsServer) -> Vec<jetstream::Message> {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream(STREAM).await.unwrap();
    let count = stream.cached_info().state.messages;
    let consumer = stream.create_consumer(pull::Config::default()).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < count {
        all.push(messages.next().await.unwrap().unwrap());
    }
    all
}

on_both! {
    async fn kills_of_nats_lose_nothing(db: TestDb) {
        let Some(mut nats) = NatsServer::start() else { return };
        let log = Log::new(db).await;
        log.streams(10).await;
        let bus = connect(&nats, &log.db.tasks()).await;
        let relay = log.relay(bus.clone());
        for _ in 0..3 {
            log.write(10, 10).await;
            nats.kill();
            log.write(10, 10).await;
            nats.restart();
        }
        log.all_sent().await;
        let mut ids = HashSet::new();
        let mut offsets: HashMap<String, Vec<i64>> = HashMap::new();
        for message in stored(&nats).await {
            let event: Value = serde_json::from_slice(&message.payload).unwrap();
            let headers = message.headers.as_ref().unwrap();
            assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), event["id"].as_str().unwrap());
            assert_eq!(headers.get("Content-Type").unwrap().as_str(), "application/cloudevents+json");
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "JetStream holds an event twice");
            offsets.entry(message.subject.to_string()).or_default().push(event["streamoffset"].as_i64().unwrap());
        }
        let expected = (1..=10)
            .map(|s| (format!("switchboard.12.workbox.{s}.message.created"), (1..=60).collect()))
            .collect();
        assert_eq!(offsets, expected);
        stop(relay).await;
    }
}

#[tokio::test]
async fn the_stream_gets_the_configured_limits_and_keeps_the_rest() {
    let Some(nats) = NatsServer::start() else { return };
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context
        .create_stream(stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["switchboard.1.>".to_owned()],
            description: Some("ours".to_owned()),
            ..stream::Config::default()
        })
        .await
        .unwrap();
    let bus = connect(&nats, &Tasks::new(tokio::runtime::Handle::current())).await;
    let message = |subject: &str| Message {
        subject: subject.to_owned(),
        id: uuid::Uuid::from_u128(7),
        payload: "{}".into(),
    };
    until(async || bus.publish(message("switchboard.2.org.2.user.created")).await.is_ok()).await;
    bus.publish(message("switchboard.2.org.2.user.created")).await.unwrap();
    let mut stream = context.get_stream(STREAM).await.unwrap();
    let info = stream.info().await.unwrap();
    assert_eq!(info.state.messages, 1, "a repeated id was stored");
    assert_eq!(info.config.subjects, ["switchboard.>"]);
    assert_eq!(info.config.max_age, Duration::from_hours(168));
    assert_eq!(info.config.description.as_deref(), Some("ours"));

    // Ephemeral events pass by and are not kept.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut passing = client.subscribe("switchboard-live.>").await.unwrap();
    let arrived = loop {
        // The server may hear of the subscription after the first of them.
        bus.publish_live(message("switchboard-live.2.workbox.3.typing"));
        if let Ok(arrived) = tokio::time::timeout(Duration::from_millis(50), passing.next()).await {
            break arrived.unwrap();
        }
    };
    assert_eq!(arrived.subject.as_str(), "switchboard-live.2.workbox.3.typing");
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}

#[test]
fn a_bus_without_room_is_named_in_the_log_and_nothing_is_lost_meanwhile() {
    crate::harness::db::run_on_sqlite(async |db| {
        let Some(mut nats) = NatsServer::start() else { return };
        nats.restart_with_room(ROOM - 1);
        let log = Log::new(db).await;
        log.streams(2).await;
        let config = config::Bus {
            url: Secret::new(nats.url()),
            max_bytes: ROOM.try_into().unwrap(),
            ..Config::with("").unwrap().bus
        };
        let bus = NatsBus::connect(&config, &log.db.tasks()).await.unwrap();
        log.write(2, 5).await;
        until(async || bus.is_connected()).await;
        let relay = log.relay(Arc::new(bus));
        let reason = format!("bus.max_bytes = {ROOM}");
        let named = || complaints(&["WARN", "events wait for the bus", &reason, "rows=10"]);
        until(async || named() > 0).await;
        assert_eq!(log.position().await, 0);
        nats.restart_with_room(ROOM);
        log.all_sent().await;
        assert_eq!(stored(&nats).await.len(), 10);
        assert_eq!(named(), 1, "the log is flooded");
        stop(relay).await;
    });
}

#[test]
fn an_event_beyond_the_bus_s_limit_goes_out_without_data() {
    crate::harness::db::run_on_sqlite(async |db| {
        let Some(nats) = NatsServer::start_with("max_payload: 4096") else { return };
        let log = Log::new(db).await;
        log.streams(1).await;
        let bus = connect(&nats, &log.db.tasks()).await;
        let relay = log.relay(bus.clone());
        let large = log.event(1, &"x".repeat(10_000));
        let append = switchboard::journal::Append::of_events(vec![large, log.event(1, "small")]);
        log.journal.append(append).await.unwrap();
        log.all_sent().await;
        let events: Vec<Value> = stored(&nats)
            .await
            .iter()
            .map(|message| serde_json::from_slice(&message.payload).unwrap())
            .collect();
        assert!(events[0].get("data").is_none() && events[0]["streamoffset"] == 1);
        assert_eq!(events[1]["data"]["data"]["text"], "small");
        stop(relay).await;
    });
}
