//! Messages that were sent while something went wrong, and what became of each.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    device::{Device, PATIENCE},
    process::Process,
};

/// What a writer knows of the messages it has sent.
#[derive(Default)]
pub struct Ledger {
    /// UUIDs of messages that the server has acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// UUIDs of messages that it refused for the moment.
    pub refused: BTreeSet<String>,
    sent: u64,
}

impl Ledger {
    /// Sends one message; true when it was acknowledged. A refusal must say that a retry can help.
    pub async fn send(&mut self, device: &mut Device, channel: &str, padding: usize) -> bool {
        self.sent += 1;
        let uuid = format!("00000000-0000-4000-8000-{:012}", self.sent);
        self.send_as(device, channel, uuid, padding).await
    }

    async fn send_as(&mut self, device: &mut Device, channel: &str, uuid: String, padding: usize) -> bool {
        let text = format!("{uuid}{}", "x".repeat(padding));
        let data = json!({ "channel": channel, "uuid": uuid, "text": text });
        let reply = device.call(json!({ "rpc": { "method": "message.send", "data": data } })).await;
        let error = &reply["error"];
        if error.is_null() {
            self.refused.remove(&uuid);
            return self.acknowledged.insert(uuid);
        }
        assert_eq!(error["temporary"], true, "{reply}");
        assert!(matches!(error["code"].as_u64(), Some(430..=432)), "{reply}");
        self.refused.insert(uuid);
        false
    }

    /// Sends what was refused once more: now it is taken.
    pub async fn send_again(&mut self, device: &mut Device, channel: &str, padding: usize) {
        for uuid in self.refused.clone() {
            assert!(self.send_as(device, channel, uuid, padding).await, "still refused");
        }
    }

    /// Exactly what was acknowledged is there, each once, over REST and on the stream.
    pub async fn check(&self, server: &Process, token: &str, thread: i64) {
        let mut device = Device::connect(server, token).await;
        let channel = format!("workbox:{thread}");
        device.follow_all(&channel).await;
        let created = |device: &Device| -> Vec<String> {
            let events = device.seen(&channel).1.iter().filter(|event| event["type"] == "message.created");
            events.map(|event| event["data"]["uuid"].as_str().unwrap().to_owned()).collect()
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while created(&device).len() < self.acknowledged.len() {
            assert!(tokio::time::Instant::now() < deadline, "some were lost");
            let offset = device.positions()[&channel].offset;
            device.reaches(&channel, offset + 1).await;
        }
        let told = created(&device);
        assert_eq!(told.len(), self.acknowledged.len(), "some came twice");
        assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), self.acknowledged);

        let mut stored = BTreeSet::new();
        let mut from = json!(0);
        loop {
            let page = json!({ "channel": channel, "message_id": from, "direction": "ASC", "limit": 50 });
            let page = device.rpc("message.history", page).await;
            let Some(last) = page["messages"].as_array().unwrap().last() else { break };
            from = last["id"].clone();
            for message in page["messages"].as_array().unwrap() {
                assert!(stored.insert(message["uuid"].as_str().unwrap().to_owned()), "twice: {message}");
            }
        }
        assert_eq!(stored, self.acknowledged);
    }
}

/// A thread's token, for REST.
pub async fn key(server: &Process, token: &str, thread: i64) -> String {
    let answer = server.request(&format!("GET /api/v1r1/workboxes/{thread}"), token, &Value::Null).await;
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// Sends a message over REST; status and body.
pub async fn post(server: &Process, key: &str, text: &str) -> (u16, Value) {
    let body = json!({ "type": "Text", "version": 2, "username": "x", "metadata": { "message": text } });
    let answer =
        server.request("POST /api/v1r1/workbox/messages\ncontent-type: application/json", key, &body).await;
    (answer.status, answer.json())
}
