//! Sessions, rings, calls and their records over REST; every reply is checked against the contract.

use serde_json::{Value, json};

use crate::harness::{app::Server, db::on_both};

/// Ann, Ben (who can be rung) and Carl of Acme, each with a user token.
struct Story {
    server: Server,
    ann: String,
    ben: String,
    carl: String,
}

impl Story {
    async fn begin(db: crate::harness::db::TestDb) -> Self {
        let server = Server::start(db).await;
        for name in ["Ann", "Ben", "Carl"] {
            server.hire(name).await;
        }
        let (ann, ben) = (server.sign_in("ann@acme.test").await, server.sign_in("ben@acme.test").await);
        let carl = server.sign_in("carl@acme.test").await;
        let phone = json!({ "device_id": "phone", "platform": "web", "push_id": "phone-of-ben" });
        server.post("/api/v1r1/device", phone).with(&ben).ok().await;
        Self { server, ann, ben, carl }
    }

    /// Ann's session with Ben, as both see it.
    async fn session(&self) -> (Value, Value) {
        let new = json!({ "contact_tokens": [self.ben] });
        let of_ann = self.server.post("/api/v1/sessions", new).with(&self.ann).ok().await;
        let path = format!("/api/v1/sessions/{}", text(&of_ann["id"]));
        let of_ben = self.server.get(&path).with(&self.ben).ok().await;
        (of_ann, of_ben)
    }

    /// Ann rings, Ben answers; the session as both see it, and the call.
    async fn call(&self) -> (Value, Value, String) {
        let (of_ann, of_ben) = self.session().await;
        let rung =
            self.server.post("/api/v1r1/session/video", json!({})).with(text(&of_ann["token"])).ok().await;
        let answer = json!({ "request_id": rung["request_id"] });
        let accept = self.server.post("/api/v1r1/session/video/accept", answer).with(text(&of_ben["token"]));
        let call = text(&accept.ok().await["call_id"]).to_owned();
        (of_ann, of_ben, call)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

on_both! {
    async fn the_same_people_get_the_same_session(db: TestDb) {
        let story = Story::begin(db).await;
        let (of_ann, of_ben) = story.session().await;
        let server = &story.server;
        assert_eq!(of_ann["id"], of_ben["id"]);
        assert_ne!(of_ann["token"], of_ben["token"]);
        let again = json!({ "contact_tokens": [story.ann] });
        assert_eq!(server.post("/api/v1/sessions", again.clone()).with(&story.ben).ok().await["id"], of_ann["id"]);
        let fresh = json!({ "contact_tokens": [story.ann], "force_new": true });
        let key = |body: &Value| {
            server.post("/api/v1/sessions", body.clone()).with(&story.ben).header("idempotency-key", "k1")
        };
        let made = key(&fresh).ok().await;
        assert_ne!(made["id"], of_ann["id"]);
        assert_eq!(key(&fresh).ok().await["id"], made["id"]);
        let list = server.get("/api/v1/sessions?max_sessions=1").with(&story.ann).ok().await;
        assert_eq!((list["entries"].as_array().unwrap().len(), &list["total_entries"]), (1, &json!(2)));
        let path = format!("/api/v1/sessions/{}", text(&of_ann["id"]));
        assert_eq!(server.get(&path).with(&story.carl).refused().await.0, 404);
        let alone = json!({ "contact_tokens": [] });
        assert_eq!(server.post("/api/v1/sessions", alone).with(&story.ann).refused().await.0, 400);
    }

    async fn a_ring_is_answered_once(db: TestDb) {
        let story = Story::begin(db).await;
        let (server, (of_ann, of_ben)) = (&story.server, story.session().await);
        let (ann, ben) = (text(&of_ann["token"]), text(&of_ben["token"]));
        let rung = server.post("/api/v1r1/session/video", json!({})).with(ann).ok().await;
        assert_eq!(rung["request_ids"], json!([rung["request_id"]]));
        assert_eq!(rung["requests"][0]["state"], "ringing");
        assert!(text(&rung["session_auth"]["gss_info"]["wsserver"]).ends_with("/connection/websocket"));
        // Ringing again keeps the request that rings.
        let v1 = server.post("/api/v1/session/video", json!({ "user_token": story.ann })).with(ann).ok().await;
        assert_eq!(v1["requests"], rung["requests"]);
        let foreign = json!({ "user_token": story.ben });
        assert_eq!(server.post("/api/v1/session/video", foreign).with(ann).refused().await.0, 401);
        let answer = json!({ "request_id": rung["request_id"] });
        let accept = || server.post("/api/v1r1/session/video/accept", answer.clone());
        assert_eq!(accept().with(ann).refused().await.1, "session_invalid");
        let accepted = accept().with(ben).ok().await;
        assert_eq!(accept().with(ben).refused().await, (400, "session_invalid".to_owned()));
        let call = format!("/api/v1/calls/{}", text(&accepted["call_id"]));
        let record = server.get(&call).with(&story.ann).ok().await;
        assert_eq!((&record["reasonCallEnded"], &record["timeCallEnded"]), (&json!(""), &json!("")));
        assert_eq!(record["dialderId"], record["dialerId"]);
        assert_eq!(record["requests"][0]["requests"][0]["reason"], "accepted");
        assert_eq!(server.get(&call).with(&story.carl).refused().await.0, 404);
    }

    async fn rings_end_without_a_call(db: TestDb) {
        let story = Story::begin(db).await;
        let (server, (of_ann, of_ben)) = (&story.server, story.session().await);
        let (ann, ben) = (text(&of_ann["token"]), text(&of_ben["token"]));
        let ring = || async { server.post("/api/v1r1/session/video", json!({})).with(ann).ok().await };
        let request_id = ring().await["request_id"].clone();
        let decline = json!({ "request_id": request_id, "reason": 1, "message": "later" });
        let path = "/api/v1r1/session/video/decline";
        let wrong = json!({ "request_id": request_id, "reason": 7 });
        assert_eq!(server.post(path, wrong).with(ben).refused().await.0, 400);
        server.post(path, decline.clone()).with(ben).ok().await;
        assert_eq!(server.post(path, decline).with(ben).refused().await.0, 400);
        ring().await;
        server.delete("/api/v1r1/session/video").with(ann).ok().await;
        ring().await;
        server.delete(&format!("/api/v1/session/video?user_token={}", story.ann)).with(ann).ok().await;
        server.get("/api/v1r1/session/auth").with(ben).ok().await;
        let recent = server.get("/api/v1/calls/recent").with(&story.ben).ok().await;
        let reasons: Vec<&str> =
            recent.as_array().unwrap().iter().map(|entry| text(&entry["reason"])).collect();
        assert_eq!(reasons.len(), 3);
        assert!(reasons.contains(&"declined") && reasons.contains(&"cancelled"));
    }

    async fn people_speak_about_a_call(db: TestDb) {
        let story = Story::begin(db).await;
        let server = &story.server;
        let (_, _, call) = story.call().await;
        let user = format!("/api/v1r1/user/calls/{call}");
        let at = |tail: &str| format!("{user}{tail}");
        server.post(&at("/tags"), json!(["red", "blue"])).with(&story.ann).ok().await;
        server.put(&at("/tags"), json!(["green"])).with(&story.ben).ok().await;
        assert_eq!(server.post(&at("/tags"), json!([""])).with(&story.ann).refused().await.1, "invalid_tag");
        server.post(&at("/rating"), json!({ "rating": 5 })).with(&story.ann).ok().await;
        assert_eq!(server.post(&at("/rating"), json!({ "rating": 9 })).with(&story.ann).refused().await.0, 400);
        let said = json!({ "comment": "went well" });
        let key = || server.post(&at("/comments"), said.clone()).with(&story.ann).header("idempotency-key", "c");
        assert_eq!(key().ok().await["id"], key().ok().await["id"]);
        let comments = server.get(&at("/comments")).with(&story.ben).ok().await;
        assert_eq!((comments.as_array().unwrap().len(), &comments[0]["comment"]), (1, &json!("went well")));
        assert_eq!(server.get(&at("/comments")).with(&story.carl).refused().await.0, 400);
        let file = json!({
            "attachment": "aGVsbG8=", "name": "note.txt", "mime_type": "text/plain", "type": "incall",
            "timestamp": 1_700_000_000,
        });
        let attached = server.post(&at("/attachments"), file).with(&story.ann).ok().await;
        let listed = server.get(&at("/attachments")).with(&story.ben).ok().await;
        assert_eq!(listed[0]["id"], attached["id"]);
        let mine = json!({ "alt1_id": "T-1", "extra_info": "x" });
        server.put(&format!("/api/v1/calls/{call}"), mine).with(&story.ann).ok().await;
        let long = json!({ "alt1_id": "x".repeat(513) });
        assert_eq!(server.put(&format!("/api/v1/calls/{call}"), long).with(&story.ann).refused().await.0, 400);
        let record = server.get(&format!("/api/v1/calls/{call}")).with(&story.ann).ok().await;
        assert_eq!(record["tags"], json!(["green"]));
        assert_eq!((&record["alt1_id"], &record["has_attachments"]), (&json!("T-1"), &json!(true)));
        server.get(&format!("/api/v1/calls/{call}/events")).with(&story.ann).ok().await;
        let stream = server.get(&format!("/api/v1/calls/{call}/event_stream")).with(&story.ben).ok().await;
        assert_eq!(stream[0]["type"], "request");
        assert_eq!(server.get("/api/v1/calls").with(&story.ben).ok().await.as_array().unwrap().len(), 1);
    }

    async fn administrators_see_their_organisation(db: TestDb) {
        let story = Story::begin(db).await;
        let server = &story.server;
        let (of_ann, _, call) = story.call().await;
        let file = json!({
            "attachment": "aGVsbG8=", "name": "note.txt", "mime_type": "text/plain", "type": "postcall",
        });
        let attach = server.post(&format!("/api/v1r1/user/calls/{call}/attachments"), file).with(&story.ann);
        let attached = attach.ok().await["id"].as_i64().unwrap();
        let (ada, otto) = (server.administer("ada@acme.test").await, server.administer("otto@other.test").await);
        let list = server.get(&format!("/api/v1/enterprise/calls?filter=session.call_id={call}")).with(&ada);
        assert_eq!(list.ok().await["total_entries"], 1);
        let none = server.get("/api/v1/enterprise/calls?order=-start_time&filter=tag.name|=a,b").with(&ada);
        assert_eq!(none.ok().await["total_entries"], 0);
        let unknown = server.get("/api/v1/enterprise/calls?filter=moon=1").with(&ada);
        assert_eq!(unknown.refused().await.0, 400);
        let one = format!("/api/v1/enterprise/calls/{call}");
        assert_eq!(server.get(&one).with(&ada).ok().await["call"]["call_id"], call);
        assert_eq!(server.get(&one).with(&otto).refused().await.0, 404);
        let session = format!("/api/v1/enterprise/sessions/{}", text(&of_ann["id"]));
        assert_eq!(server.get(&session).with(&ada).ok().await[0]["call_id"], call);
        assert_eq!(server.get(&session).with(&otto).ok().await, json!([]));
        let attachment = format!("/api/v1r1/enterprise/calls/{call}/attachments/{attached}");
        assert_eq!(server.get(&attachment).with(&ada).ok().await[0]["name"], "note.txt");
        assert_eq!(server.get(&attachment).with(&otto).refused().await.0, 400);
        server.delete(&attachment).with(&ada).ok().await;
        let listed = server.get(&format!("/api/v1r1/enterprise/calls/{call}/attachments")).with(&ada).ok().await;
        assert_eq!((&listed[0]["deleted"], &listed[0]["signed_url"]), (&json!(true), &json!("")));
    }

    async fn contacts_are_invited_into_a_running_call(db: TestDb) {
        let story = Story::begin(db).await;
        let server = &story.server;
        let (of_ann, of_ben, call) = story.call().await;
        let invite = |token: &str| json!({ "call_id": call, "contact_tokens": [story.carl], "user_token": token });
        let path = "/api/v1/session/invite";
        assert_eq!(server.post(path, invite(&story.ann)).with(text(&of_ben["token"])).refused().await.0, 401);
        server.post(path, invite(&story.ann)).with(text(&of_ann["token"])).ok().await;
        let session = format!("/api/v1/sessions/{}", text(&of_ann["id"]));
        let of_carl = server.get(&session).with(&story.carl).ok().await;
        assert_eq!(of_carl["users"].as_array().unwrap().len(), 3);
        let wrong = json!({ "call_id": "call_x", "contact_tokens": [story.carl], "user_token": story.ann });
        assert_eq!(server.post(path, wrong).with(text(&of_ann["token"])).refused().await.0, 409);
    }
}
