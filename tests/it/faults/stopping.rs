//! A server that is told to stop: it takes leave of its sockets, ends what it has begun, and keeps what it acknowledged.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::ledger::{Ledger, key};
use crate::{
    harness::{db::block_on, device::Device, process::Process},
    http::client::Connection,
};

#[test]
fn sigterm_drains() {
    block_on(async {
        let mut server = Process::start(&[("SERVER__DRAIN_SECONDS", "1")]);
        let people = server.recruit(2);
        let (thread, channel) = (people[0].threads[0], format!("workbox:{}", people[0].threads[0]));
        let key = key(&server, &people[0].token, thread).await;
        let mut ledger = Ledger::default();
        let mut devices = Vec::new();
        for number in 0..10 {
            devices.push(Device::connect(&server, &people[number % 2].token).await);
        }
        for device in &mut devices {
            assert!(ledger.send(device, &channel, 0).await);
        }
        // A request whose body is on its way.
        let body =
            json!({ "type": "Text", "version": 2, "username": "x", "metadata": { "message": "late" } });
        let uuid = "00000000-0000-4000-9000-000000000001";
        let body = {
            let mut body = body;
            body["uuid"] = uuid.into();
            body.to_string()
        };
        let (one, two) = body.split_at(20);
        let mut late = Connection::open(SocketAddr::from(&server)).await;
        let head = format!(
            "POST /api/v1r1/workbox/messages HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{one}",
            body.len()
        );
        late.write(head).await;
        // It has begun for sure when something behind it was answered.
        assert_eq!(server.status("/readyz").await, 200);

        server.terminate();
        for device in &mut devices {
            assert_eq!(device.is_closed().await, 3001);
        }
        late.write(two).await;
        let answer = late.read(false).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        ledger.acknowledged.insert(uuid.to_owned());
        drop(late);
        assert_eq!(server.ended().await, Some(0), "{}", server.log());

        server.restart();
        ledger.check(&server, &people[1].token, thread).await;
        let seen = server.request("GET /api/v1r1/workboxes", &people[1].token, &Value::Null).await.json();
        assert_eq!(seen["entries"][0]["unread_messages_count"], 6);
    });
}
