//! A PostgreSQL that throws everybody out, and one that is gone for a while: what is asked meanwhile is refused for the
//! moment, nothing that was acknowledged is lost, and the server needs no restart.

use std::str::FromStr as _;

use serde_json::Value;
use sqlx::{ConnectOptions as _, Executor as _, postgres::PgConnectOptions};

use super::ledger::{Ledger, key, post};
use crate::harness::{
    db::{TestDb, block_on},
    device::Device,
    postgres::Cluster,
    process::Process,
};

#[test]
fn terminated_backends_cost_a_retry() {
    block_on(async {
        let Some(db) = TestDb::postgres().await else { return };
        let server = Process::start(&[("DATABASE__URL", &db.options().url)]);
        let people = server.recruit(2);
        let (thread, channel) = (people[0].threads[0], format!("workbox:{}", people[0].threads[0]));
        let mut writer = Device::connect(&server, &people[0].token).await;
        let mut ledger = Ledger::default();
        let mut killer = PgConnectOptions::from_str(&db.options().url).unwrap().connect().await.unwrap();
        let mut undisturbed = 0;
        for round in 0..40 {
            if round % 4 == 0 {
                let text = "select pg_terminate_backend(pid) from pg_stat_activity \
                    where datname = current_database() and pid <> pg_backend_pid()";
                killer.execute(text).await.unwrap();
            }
            undisturbed += u32::from(ledger.send(&mut writer, &channel, 0).await);
        }
        assert!(undisturbed >= 10, "{undisturbed} of 40");
        server.is_ready(true).await;
        ledger.send_again(&mut writer, &channel, 0).await;
        ledger.check(&server, &people[1].token, thread).await;
    });
}

#[test]
fn a_database_that_is_gone_for_a_while() {
    let Some(cluster) = Cluster::start() else {
        return eprintln!("SWITCHBOARD_TEST_POSTGRES is not set: skipped");
    };
    block_on(async {
        let mut server = Process::start(&[
            ("DATABASE__URL", &cluster.url),
            ("DATABASE__WAIT_SECONDS", "1"),
            ("SERVER__DRAIN_SECONDS", "0"),
        ]);
        let people = server.recruit(2);
        let (ann, ben, thread) = (&people[0], &people[1], people[0].threads[0]);
        let channel = format!("workbox:{thread}");
        let key = key(&server, &ann.token, thread).await;
        let mut writer = Device::connect(&server, &ann.token).await;
        let mut reader = Device::connect(&server, &ben.token).await;
        reader.follow_all(&channel).await;
        let mut ledger = Ledger::default();
        for _ in 0..5 {
            assert!(ledger.send(&mut writer, &channel, 0).await);
        }
        cluster.stop();
        server.is_ready(false).await;
        assert_eq!(server.status("/livez").await, 200);
        for _ in 0..3 {
            assert!(!ledger.send(&mut writer, &channel, 0).await);
        }
        let (status, body) = post(&server, &key, "gone").await;
        assert_eq!((status, &body["name"]), (503, &Value::from("data_unavailable")), "{body}");
        let list = server.request("GET /api/v1r1/workboxes", &ann.token, &Value::Null).await;
        assert_eq!(list.status, 503, "{}", list.text());

        cluster.start_again();
        server.is_ready(true).await;
        ledger.send_again(&mut writer, &channel, 0).await;
        for _ in 0..5 {
            assert!(ledger.send(&mut writer, &channel, 0).await);
        }
        reader.reaches(&channel, ledger.acknowledged.len() as u64 + 1).await;
        ledger.check(&server, &ben.token, thread).await;
        server.kill();
        server.restart();
        ledger.check(&server, &ann.token, thread).await;
    });
}
