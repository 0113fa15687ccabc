//! A disk that takes nothing more: writing is refused for the moment, reading goes on, and when there is room again so
//! does writing, without a restart.

use serde_json::Value;

use super::ledger::{Ledger, key, post};
use crate::harness::{db::block_on, device::Device, process::Process};

/// Of each message while the disk fills.
const PADDING: usize = 20_000;

#[test]
fn a_full_disk_refuses_writing_and_loses_nothing() {
    block_on(async {
        let mut server = Process::start(&[("SERVER__DRAIN_SECONDS", "0")]);
        let people = server.recruit(2);
        let (ann, ben, thread) = (&people[0], &people[1], people[0].threads[0]);
        let channel = format!("workbox:{thread}");
        let key = key(&server, &ann.token, thread).await;
        let mut ledger = Ledger::default();
        let mut writer = Device::connect(&server, &ann.token).await;
        let mut reader = Device::connect(&server, &ben.token).await;
        reader.follow_all(&channel).await;
        for _ in 0..5 {
            assert!(ledger.send(&mut writer, &channel, PADDING).await);
        }
        // Room for a few more, whichever file they go to.
        let size = |name: &str| {
            let path = server.sqlite().replace("sqlite://", "") + name;
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        server.limit_files(Some(size("").max(size("-wal")) + 100_000));
        let mut taken = 0;
        while ledger.send(&mut writer, &channel, PADDING).await {
            taken += 1;
            assert!(taken < 10_000, "the disk never fills");
        }
        // Not only when nothing at all fits any more.
        server.is_ready(false).await;
        for _ in 0..5 {
            assert!(!ledger.send(&mut writer, &channel, PADDING).await);
        }
        let (status, body) = post(&server, &key, &"y".repeat(PADDING)).await;
        assert_eq!((status, &body["name"]), (503, &Value::from("data_unavailable")), "{body}");
        // Reading goes on, and nobody was thrown out.
        assert_eq!(server.status("/livez").await, 200);
        let read =
            server.request("GET /api/v1r1/workbox/messages/recent_history?limit=5", &key, &Value::Null).await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert!(Device::connect(&server, &ben.token).await.welcome["user"].is_object());

        server.limit_files(None);
        server.is_ready(true).await;
        ledger.send_again(&mut writer, &channel, PADDING).await;
        for _ in 0..5 {
            assert!(ledger.send(&mut writer, &channel, PADDING).await);
        }
        ledger.check(&server, &ben.token, thread).await;
        // Who had followed all the time saw the same.
        let created = |device: &Device| {
            device.seen(&channel).1.iter().filter(|event| event["type"] == "message.created").count()
        };
        while created(&reader) < ledger.acknowledged.len() {
            let offset = reader.positions()[&channel].offset;
            reader.reaches(&channel, offset + 1).await;
        }
        server.kill();
        server.restart();
        ledger.check(&server, &ann.token, thread).await;
    });
}
