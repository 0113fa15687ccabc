//! What the whole server tells people's own streams and sessions, over the real socket.

use serde_json::{Value, json};
use switchboard::store::sql;

use super::Client;
use crate::harness::{app::Server, db::on_both, nats::NatsServer};

/// Somebody with a connection.
struct Person {
    id: i64,
    token: String,
    socket: Client,
}

impl Person {
    async fn arrive(server: &Server, name: &str) -> Self {
        let id = server.hire(name).await;
        let token = server.sign_in(&format!("{}@acme.test", name.to_lowercase())).await;
        let mut socket = Client::open(server.address).await;
        socket.connect(&token).await;
        Self { id, token, socket }
    }

    async fn rpc(&mut self, method: &str, data: Value) -> Value {
        let reply = self.socket.call(json!({ "rpc": { "method": method, "data": data } })).await;
        assert!(reply["error"].is_null(), "{method}: {reply}");
        reply["rpc"]["data"].clone()
    }

    async fn refused(&mut self, method: &str, data: Value) -> i64 {
        let reply = self.socket.call(json!({ "rpc": { "method": method, "data": data } })).await;
        reply["error"]["code"].as_i64().unwrap_or_else(|| panic!("{method}: {reply}"))
    }

    async fn follow(&mut self, channel: &str) {
        let reply = self.socket.subscribe(json!({ "channel": channel })).await;
        assert!(reply["error"].is_null(), "{channel}: {reply}");
    }

    /// The next event of that type, whatever comes before.
    async fn told(&mut self, kind: &str) -> Value {
        loop {
            let push = self.socket.push().await;
            if push["pub"]["data"]["type"] == kind {
                return push["pub"]["data"].clone();
            }
        }
    }

    /// The next event of that type whose data fit.
    async fn told_that(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.told(kind).await;
            if fits(&event["data"]) {
                return event["data"].clone();
            }
        }
    }

    async fn thread_with(&mut self, others: &[&Self]) -> String {
        let people: Vec<i64> = others.iter().map(|other| other.id).collect();
        let made = self.rpc("workbox.create", json!({ "title": "Pump", "participants": people })).await;
        format!("workbox:{}", made["id"])
    }
}

on_both! {
    async fn inboxes_hear_how_much_is_unread(db: TestDb) {
        let server = Server::start(db).await;
        let (mut ann, mut ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        let channel = ann.thread_with(&[&ben]).await;
        for text in ["one", "two", "three"] {
            ann.rpc("message.send", json!({ "channel": channel, "text": text })).await;
        }
        let last = ann.rpc("message.send", json!({ "channel": channel, "text": "four", "internal": true })).await;
        let told = ben.told_that("unread", |data| data["unread"] == 4).await;
        assert_eq!(format!("workbox:{}", told["workbox_id"]), channel);
        assert_eq!(told["last_message_id"], last["id"]);
        ben.rpc("receipt.read", json!({ "channel": channel, "message_id": 0 })).await;
        ben.told_that("unread", |data| data["unread"] == 0).await;
        // Her own messages are not unread to her.
        let own = ann.told("unread").await;
        assert_eq!((&own["data"]["unread"], &own["ephemeral"]), (&json!(0), &json!(true)));
        // Deleting what was not read takes it off.
        let third = ann.rpc("message.send", json!({ "channel": channel, "text": "five" })).await;
        ben.told_that("unread", |data| data["unread"] == 1).await;
        ann.rpc("message.delete", json!({ "channel": channel, "message_id": third["id"] })).await;
        ben.told_that("unread", |data| data["unread"] == 0).await;
    }

    async fn inboxes_hear_who_can_be_reached(db: TestDb) {
        let server = Server::start(db).await;
        let (mut ann, mut ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        ann.thread_with(&[&ben]).await;
        let id = ben.id;
        let about_ben = |data: &Value| data["user_id"] == id;
        server.post("/api/v1/info/unavailable", json!({})).with(&ben.token).ok().await;
        let away = ann.told_that("presence", |data| about_ben(data) && data["status"] == 104).await;
        assert_eq!(away["reachable"], true);
        server.delete("/api/v1/info/unavailable").with(&ben.token).ok().await;
        ann.told_that("presence", |data| about_ben(data) && data["status"] == 100).await;
        // An absence that ends by itself is told as well.
        server.post("/api/v1/info/unavailable", json!({ "expires_after": 60 })).with(&ben.token).ok().await;
        ann.told_that("presence", |data| about_ben(data) && data["status"] == 104).await;
        server.wait(61);
        ann.told_that("presence", |data| about_ben(data) && data["status"] == 100).await;
        drop(ben.socket);
        let gone = ann.told_that("presence", |data| about_ben(data) && data["reachable"] == false).await;
        assert_eq!(gone["status"], 101);
        ben.socket = Client::open(server.address).await;
        ben.socket.connect(&ben.token).await;
        let back = ann.told_that("presence", |data| about_ben(data) && data["reachable"] == true).await;
        assert_eq!(back["status"], 100);
        let asked = ann.rpc("presence.get", json!({ "users": [id] })).await;
        assert_eq!(asked["users"][0], json!({ "user_id": id, "reachable": true, "status": 100 }));
    }

    async fn administrators_hear_of_absences(db: TestDb) {
        let server = Server::start(db).await;
        let ben = Person::arrive(&server, "Ben").await;
        let admin = server.administer("ada@acme.test").await;
        let mut office = Client::open(server.address).await;
        office.connect(&admin).await;
        let channel = format!("org:{}", server.acme.organization.id);
        let reply = office.subscribe(json!({ "channel": channel })).await;
        assert!(reply["error"].is_null(), "{reply}");
        server.post("/api/v1/info/unavailable", json!({})).with(&ben.token).ok().await;
        let event = office.push().await["pub"]["data"].clone();
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!("user.updated"), &json!(ben.id)));
        assert_eq!((&event["data"]["available"], &event["data"]["status"]), (&json!(false), &json!(104)));
    }

    async fn inboxes_hear_of_dead_tokens(db: TestDb) {
        let server = Server::start(db).await;
        let mut ben = Person::arrive(&server, "Ben").await;
        let made = server.post("/api/v1r1/personal_access_token", json!({ "description": "x" }));
        let made = made.with(&ben.token).ok().await;
        let path = format!("/api/v1r1/personal_access_token/{}", made["id"]);
        server.delete(&path).with(&ben.token).ok().await;
        let event = ben.told("token.revoked").await;
        assert_eq!((&event["data"]["reason"], &event["data"]["all"]), (&json!("removed"), &json!(false)));
        assert_eq!(event["data"]["sign_ins"].as_array().unwrap().len(), 1);
        assert_eq!(event["actor"]["id"], ben.id);
        // Another sign-in of the same person ends with the password.
        server.sign_in("ben@acme.test").await;
        let change = json!({ "password": "another horse" });
        server.put("/api/v1r1/user", change).with(&ben.token).ok().await;
        let event = ben.told("token.revoked").await;
        assert_eq!(event["data"]["reason"], "password_changed");
    }

    async fn a_refresh_token_that_comes_late_is_told(db: TestDb) {
        let server = Server::start(db).await;
        let mut ben = Person::arrive(&server, "Ben").await;
        let credentials = json!({ "email": "ben@acme.test", "password": crate::harness::app::PASSWORD });
        let pair = server.post("/api/v1/auth", credentials).ok().await;
        let refresh = json!({ "refresh_token": pair["refresh"] });
        server.post("/api/v1/auth/refresh", refresh.clone()).ok().await;
        server.wait(31);
        server.post("/api/v1/auth/refresh", refresh).refused().await;
        let event = ben.told("token.revoked").await;
        assert_eq!((&event["data"]["reason"], &event["actor"]), (&json!("refresh_reused"), &Value::Null));
    }

    async fn who_is_invited_finds_it_in_the_inbox(db: TestDb) {
        let server = Server::start(db).await;
        let admin = server.administer("ada@acme.test").await;
        let new = json!({ "name": "Cleo", "email": "cleo@elsewhere.test", "invite": true });
        let made = server.post("/api/v1r1/enterprise/users", new).with(&admin).ok().await;
        let (data,): (String,) = sql("select e.data from event e join stream s on s.id = e.stream_id \
            where s.name = $1 and e.type = 'invitation.received'")
            .bind(format!("user:{}", made["id"]))
            .one(&server.db.db)
            .await
            .unwrap();
        let event: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(event["data"]["enterprise_name"], "Acme");
        assert_eq!(event["data"]["accepted"], false);
    }

    async fn members_of_a_session_talk(db: TestDb) {
        let server = Server::start(db).await;
        let (mut ann, mut ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        let mut carl = Person::arrive(&server, "Carl").await;
        let session = ann.rpc("session.create", json!({ "users": [ben.id] })).await;
        let channel = format!("session:{}", session["id"].as_str().unwrap());
        ben.follow(&channel).await;
        let uuid = "00000000-0000-4000-8000-000000000007";
        let message = json!({ "channel": channel, "uuid": uuid, "text": "Hello" });
        let sent = ann.rpc("message.send", message.clone()).await;
        let event = ben.told("message.created").await;
        assert_eq!(event["data"]["metadata"], r#"{"message":"Hello"}"#);
        assert_eq!((&event["data"]["id"], &event["data"]["user"]["id"]), (&sent["id"], &json!(ann.id)));
        assert_eq!(ann.rpc("message.send", message).await, sent, "sent twice is sent once");
        let other = json!({ "channel": channel, "uuid": uuid, "text": "Other" });
        ann.refused("message.send", other).await;
        let absent = carl.refused("message.send", json!({ "channel": channel, "text": "Hello" })).await;
        let unknown = json!({ "channel": "session:00000000-0000-4000-8000-000000000000", "text": "Hello" });
        assert_eq!(absent, carl.refused("message.send", unknown).await);
        let publication = json!({ "channel": channel, "data": { "type": "message", "data": { "text": "Hi" } } });
        let reply = ben.socket.call(json!({ "publish": publication })).await;
        assert!(reply["error"].is_null(), "{reply}");
        let event = ben.told("message.created").await;
        assert_eq!(event["data"]["user"]["id"], ben.id);
    }

    async fn a_session_of_a_thread_tells_of_new_owners(db: TestDb) {
        let server = Server::start(db).await;
        let (mut ann, mut ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        let channel = ann.thread_with(&[&ben]).await;
        let thread: i64 = channel.trim_start_matches("workbox:").parse().unwrap();
        let session = ann.rpc("session.create", json!({ "workbox_id": thread, "users": [ann.id] })).await;
        let channel = format!("session:{}", session["id"].as_str().unwrap());
        ann.follow(&channel).await;
        ben.rpc("session.create", json!({ "workbox_id": thread, "users": [ann.id] })).await;
        ann.rpc("session.create", json!({ "workbox_id": thread, "users": [ben.id] })).await;
        ann.told("member.added").await;
        let event = ann.told("session.updated").await;
        assert_eq!(event["data"]["changed"], json!(["organizers"]));
        let owners: Vec<&Value> =
            event["data"]["organizers"].as_array().unwrap().iter().map(|owner| &owner["id"]).collect();
        assert_eq!(owners, [&json!(ann.id), &json!(ben.id)]);
    }

    async fn the_organisations_policy_records_the_next_call(db: TestDb) {
        let server = Server::start(db).await;
        let (mut ann, mut ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        let session = ann.rpc("session.create", json!({ "users": [ben.id] })).await;
        let id = session["id"].as_str().unwrap().to_owned();
        let channel = format!("session:{id}");
        ben.follow(&channel).await;
        let here = json!({ "session_id": id });
        let call = ann.rpc("call.join", here.clone()).await["call_id"].clone();
        ben.rpc("call.join", here.clone()).await;
        ben.told("call.started").await;
        sql("update organization set recording_policy = 'always_on'").execute(&server.db.db).await.unwrap();
        ann.rpc("call.end", json!({ "call_id": call })).await;
        ben.told("call.ended").await;
        ann.rpc("call.join", here.clone()).await;
        ben.rpc("call.join", here).await;
        let recording = ben.told("recording.started").await;
        assert_ne!(recording["data"]["call_id"], call, "the call before was not recorded");
        let stop = json!({ "call_id": recording["data"]["call_id"] });
        ann.refused("call.recording.stop", stop).await;
    }

    async fn what_is_not_stored_goes_to_the_bus_too(db: TestDb) {
        use futures_util::StreamExt as _;
        let Some(nats) = NatsServer::start() else { return };
        let client = async_nats::connect(nats.url()).await.unwrap();
        let mut live = client.subscribe("switchboard-live.>").await.unwrap();
        client.flush().await.unwrap();
        let server = Server::start_with(db, &format!("[bus]\nurl = \"{}\"\n", nats.url())).await;
        let (mut ann, ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        let channel = ann.thread_with(&[&ben]).await;
        let subject = format!("switchboard-live.{}.workbox.{}.typing", server.acme.organization.id, &channel[8..]);
        // NATS may be reached a little later than the server is ready; nothing waits for it.
        let message = loop {
            ann.rpc("typing.set", json!({ "channel": channel })).await;
            let next = tokio::time::timeout(std::time::Duration::from_millis(100), live.next()).await;
            match next {
                Ok(Some(message)) if message.subject.as_str() == subject => break message,
                _ => {}
            }
        };
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!((&event["type"], &event["data"]["type"]), (&json!("switchboard.typing"), &json!("typing")));
        assert_eq!((&event["data"]["ephemeral"], &event["data"]["actor"]["id"]), (&json!(true), &json!(ann.id)));
        assert!(event.get("streamoffset").is_none());
        assert_eq!(event["traceparent"].as_str().unwrap().len(), 55);
    }
}
