//! The relay over a bus in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;
use switchboard::{
    bus::{Message, memory::MemoryBus},
    store::sql,
};
use tokio::sync::broadcast::Receiver;

use super::{Log, stop, until};
use crate::harness::db::on_both;

/// Everything that arrived so far, per stream, as offsets.
fn offsets(arrived: &mut Receiver<Message>, into: &mut HashMap<String, Vec<i64>>) {
    while let Ok(message) = arrived.try_recv() {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["id"], message.id.to_string());
        into.entry(event["subject"].as_str().unwrap().to_owned())
            .or_default()
            .push(event["streamoffset"].as_i64().unwrap());
    }
}

fn whole(streams: i64, each: i64) -> HashMap<String, Vec<i64>> {
    (1..=streams).map(|stream| (format!("workbox:{stream}"), (1..=each).collect())).collect()
}

on_both! {
    async fn everything_goes_out_once_and_in_order(db: TestDb) {
        let log = Log::new(db).await;
        log.streams(10).await;
        let bus = Arc::new(MemoryBus::new(10_000));
        let mut arrived = bus.listen();
        let relay = log.relay(bus);
        log.write(10, 40).await;
        log.all_sent().await;
        let mut got = HashMap::new();
        offsets(&mut arrived, &mut got);
        assert_eq!(got, whole(10, 40));
        until(async || log.metrics.relay.lag_rows.get() == 0).await;
        stop(relay).await;
        assert_eq!(log.metrics.relay.published.get(), 400);
    }

    async fn an_outage_of_the_bus_delays_and_loses_nothing(db: TestDb) {
        let log = Log::new(db).await;
        log.streams(5).await;
        let bus = Arc::new(MemoryBus::new(10_000));
        let mut arrived = bus.listen();
        let relay = log.relay(bus.clone());
        log.write(5, 10).await;
        log.all_sent().await;
        bus.set_away(true);
        log.write(5, 10).await;
        log.clock.advance(Duration::from_secs(60));
        until(async || log.metrics.relay.lag_rows.get() == 50 && log.metrics.relay.lag.get() >= 60.0).await;
        assert!(log.metrics.relay.failed.get() > 0);
        assert!(bus.refused().iter().all(|subject| subject.starts_with("switchboard.12.workbox.")));
        bus.set_away(false);
        log.all_sent().await;
        let mut got = HashMap::new();
        offsets(&mut arrived, &mut got);
        assert_eq!(got, whole(5, 20));
        stop(relay).await;
    }

    async fn a_restart_goes_on_where_it_was(db: TestDb) {
        let log = Log::new(db).await;
        log.streams(3).await;
        let bus = Arc::new(MemoryBus::new(10_000));
        let relay = log.relay(bus.clone());
        log.write(3, 10).await;
        log.all_sent().await;
        stop(relay).await;
        log.write(3, 10).await;
        let mut arrived = bus.listen();
        let relay = log.relay(bus);
        log.all_sent().await;
        let mut got = HashMap::new();
        offsets(&mut arrived, &mut got);
        assert_eq!(got, (1..=3).map(|s| (format!("workbox:{s}"), (11..=20).collect())).collect());
        stop(relay).await;
    }
}

const RAW_EVENT: &str = "insert into event (stream_id, stream_offset, id, type, time, data) \
    values (99, $1, $2, 'message.created', 0, '{}')";

/// What a journal of another node would do, step by step: the stream's head is locked before events are written.
async fn lock(tx: &mut switchboard::store::Tx, stream: i64) {
    sql("update stream set head = head + 1 where id = $1").bind(stream).execute(&mut *tx).await.unwrap();
}

#[test]
fn numbers_of_open_transactions_are_waited_for() {
    crate::harness::db::run_on_postgres(async |db| {
        let log = Log::new(db).await;
        log.streams(100).await;
        let bus = Arc::new(MemoryBus::new(10_000));
        let mut arrived = bus.listen();
        let relay = log.relay(bus);

        // The older transaction writes the later number, and is the first to commit.
        let mut older = log.db.begin().await.unwrap();
        lock(&mut older, 50).await;
        let mut open = log.db.begin().await.unwrap();
        lock(&mut open, 99).await;
        let insert = |offset: i64| sql(RAW_EVENT).bind(offset).bind(log.random.uuid());
        insert(1).execute(&mut open).await.unwrap();
        sql("insert into event (stream_id, stream_offset, id, type, time, data) \
            values (50, 1, $1, 'message.created', 0, '{}')")
        .bind(log.random.uuid())
        .execute(&mut older)
        .await
        .unwrap();
        older.commit().await.unwrap();
        log.write(10, 5).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(arrived.try_recv().is_err(), "something overtook an open transaction");
        assert_eq!(log.position().await, 0);

        open.commit().await.unwrap();
        log.all_sent().await;
        let mut got = HashMap::new();
        offsets(&mut arrived, &mut got);
        let mut expected = whole(10, 5);
        expected.insert("workbox:50".to_owned(), vec![1]);
        expected.insert("workbox:99".to_owned(), vec![1]);
        assert_eq!(got, expected);

        // A number that was rolled back holds nothing up.
        let mut open = log.db.begin().await.unwrap();
        lock(&mut open, 99).await;
        insert(2).execute(&mut open).await.unwrap();
        log.write(1, 1).await;
        drop(open);
        log.all_sent().await;
        stop(relay).await;
    });
}
