//! Calls outside all help threads get one when somebody asks for it.

use serde_json::{Value, json};

use crate::harness::{app::Server, db::on_both};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

on_both! {
    async fn a_direct_call_gets_a_thread_of_its_own(db: TestDb) {
        let server = Server::start(db).await;
        for name in ["Ann", "Ben", "Carl"] {
            server.hire(name).await;
        }
        let (ann, ben) = (server.sign_in("ann@acme.test").await, server.sign_in("ben@acme.test").await);
        let carl = server.sign_in("carl@acme.test").await;
        let phone = json!({ "device_id": "phone", "platform": "web", "push_id": "phone-of-ben" });
        server.post("/api/v1r1/device", phone).with(&ben).ok().await;
        let session = server.post("/api/v1/sessions", json!({ "contact_tokens": [ben] })).with(&ann).ok().await;
        let rung = server.post("/api/v1r1/session/video", json!({})).with(text(&session["token"])).ok().await;
        let of_ben = server.get(&format!("/api/v1/sessions/{}", text(&session["id"]))).with(&ben).ok().await;
        let answer = json!({ "request_id": rung["request_id"] });
        let accept = server.post("/api/v1r1/session/video/accept", answer).with(text(&of_ben["token"]));
        let path = format!("/api/v1r1/workboxes/by_call_id/{}", text(&accept.ok().await["call_id"]));
        // Who was not in the call learns nothing of it.
        assert_eq!(server.get(&path).with(&carl).refused().await.1, "not_found");
        let (of_ann, of_ben) = tokio::join!(server.get(&path).with(&ann).ok(), server.get(&path).with(&ben).ok());
        assert_eq!(of_ann["workbox"]["id"], of_ben["workbox"]["id"]);
        assert_eq!(of_ann["auto_created"], true);
        assert_eq!(of_ann["workbox"]["participants"].as_array().unwrap().len(), 2);
        let again = server.get(&path).with(&ann).ok().await;
        assert_eq!(again["workbox"]["id"], of_ann["workbox"]["id"]);
        assert_eq!(server.get(&path).with(&carl).refused().await.1, "not_found");
        let missing = "/api/v1r1/workboxes/by_call_id/call_00000000-0000-4000-8000-000000000000";
        assert_eq!(server.get(missing).with(&ann).refused().await.1, "not_found");
    }
}
