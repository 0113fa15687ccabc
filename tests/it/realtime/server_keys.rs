//! What keys of the server API read of streams, over the whole server.

use serde_json::{Value, json};

use super::Client;
use crate::{
    harness::{app::Server, db::on_both},
    http::client,
};

const SETTINGS: &str = r#"
[[realtime.namespaces]]
name = "rooms"
history_size = 10
history_seconds = 60
[[realtime.server_keys]]
organization = 1
key = "reads-streams-of-one"
streams = true
[[realtime.server_keys]]
organization = 1
key = "reads-no-stream-of-one"
[[realtime.server_keys]]
organization = 2
key = "reads-streams-of-two"
streams = true
"#;

async fn call(server: &Server, key: &str, method: &str, body: Value) -> Value {
    let head = format!("POST /api/{method}\nx-api-key: {key}\ncontent-type: application/json");
    let response = client::send(server.address, &head, &body.to_string()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

on_both! {
    async fn keys_read_the_streams_that_they_may(db: TestDb) {
        let server = Server::start_with(db, SETTINGS).await;
        assert_eq!((server.acme.organization.id.0, server.other.organization.id.0), (1, 2));
        server.hire("Ann").await;
        let ask = async |key: &'static str, method: &'static str, body: Value| call(&server, key, method, body).await;
        let key = "reads-streams-of-one";
        let whole = ask(key, "history", json!({ "channel": "org:1", "limit": 10 })).await["result"].clone();
        let events = whole["publications"].as_array().unwrap();
        assert_eq!(events.len(), 2, "Ada and Ann: {whole}");
        assert_eq!((&events[1]["offset"], &events[1]["data"]["type"]), (&json!(2), &json!("user.created")));
        let since = json!({ "offset": 1, "epoch": whole["epoch"] });
        let page = ask(key, "history", json!({ "channel": "org:1", "limit": 10, "since": since })).await;
        assert_eq!(page["result"]["publications"], json!([events[1]]));
        let newest = ask(key, "history", json!({ "channel": "org:1", "limit": 1, "reverse": true })).await;
        assert_eq!(newest["result"]["publications"], json!([events[1]]));
        let since = json!({ "offset": 1, "epoch": "another" });
        let answer = ask(key, "history", json!({ "channel": "org:1", "limit": 1, "since": since })).await;
        assert_eq!(answer["error"]["code"], 112);
        for (key, channel) in
            [("reads-no-stream-of-one", "org:1"), ("reads-streams-of-two", "org:1"), (key, "org:2"), (key, "user:99")]
        {
            for method in ["history", "presence", "presence_stats"] {
                let answer = ask(key, method, json!({ "channel": channel })).await;
                assert_eq!(answer["error"]["code"], 102, "{key} {method} {channel}: {answer}");
            }
        }
        // Reading is all: nothing is published into streams from outside.
        assert_eq!(ask(key, "publish", json!({ "channel": "org:1", "data": 1 })).await["error"]["code"], 102);

        let token = server.sign_in("ann@acme.test").await;
        let mut ann = Client::open(server.address).await;
        let welcome = ann.connect(&token).await;
        let inbox = welcome["subs"].as_object().unwrap().keys().next().unwrap().clone();
        let present = ask(key, "presence", json!({ "channel": inbox })).await;
        assert_eq!(present["result"]["presence"].as_object().unwrap().len(), 1, "{present}");
        assert!(ask(key, "rpc", json!({ "method": "server.time" })).await["result"]["data"]["time"].is_string());
        let answer = ask(key, "rpc", json!({ "method": "message.send" })).await;
        assert_eq!(answer["error"]["code"], 108);
    }

    async fn a_publication_under_a_key_is_made_once(db: TestDb) {
        let server = Server::start_with(db, SETTINGS).await;
        let publish = async |channel: &str, key: &str| {
            let body = json!({ "channel": channel, "data": {}, "idempotency_key": key });
            call(&server, "reads-no-stream-of-one", "publish", body).await["result"]["offset"].clone()
        };
        assert_eq!(publish("rooms:1", "a").await, 1);
        assert_eq!(publish("rooms:1", "a").await, 1);
        assert_eq!(publish("rooms:1", "b").await, 2);
        assert_eq!(publish("rooms:2", "a").await, 1);
        let history = json!({ "channel": "rooms:1", "limit": 10 });
        let history = call(&server, "reads-streams-of-one", "history", history).await;
        assert_eq!(history["result"]["offset"], 2);
    }
}
