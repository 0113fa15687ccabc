//! Whom and what the actions refuse: a table of all of them, asked by the wrong people and with the wrong data.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use switchboard::realtime::gateway;

use crate::harness::office::Office;
use crate::harness::{db::on_both, device::Device};

/// What every action's data names, as it is in the office, or as it is nowhere.
struct Names {
    thread: i64,
    message: Value,
    session: Value,
    ring: Value,
    call: Value,
    guest: Value,
    user: i64,
}

const NOWHERE: &str = "00000000-0000-7000-8000-000000000000";

impl Names {
    fn nowhere() -> Self {
        Self {
            thread: 999_999,
            message: json!(999_999),
            session: json!(NOWHERE),
            ring: json!(NOWHERE),
            call: json!(format!("call_{NOWHERE}")),
            guest: json!(NOWHERE),
            user: 999_999,
        }
    }

    /// Every action with data that is right in the office. `.1` says whether it names something of the office.
    fn actions(&self) -> Vec<(&'static str, bool, Value)> {
        let Self { thread, message, session, ring, call, guest, user } = self;
        let channel = format!("workbox:{thread}");
        vec![
            ("message.send", true, json!({ "channel": channel, "text": "x" })),
            ("message.edit", true, json!({ "channel": channel, "message_id": message, "text": "x" })),
            ("message.delete", true, json!({ "channel": channel, "message_id": message })),
            (
                "message.history",
                true,
                json!({ "channel": channel, "message_id": message, "limit": 5, "direction": "ASC" }),
            ),
            ("message.get", true, json!({ "channel": channel, "message_id": message })),
            ("receipt.received", true, json!({ "channel": channel, "message_id": message })),
            ("receipt.read", true, json!({ "channel": channel, "message_id": message })),
            ("workbox.list", false, json!({ "status": "ALL", "filter": "title=x", "limit": 5 })),
            ("workbox.get", true, json!({ "workbox_id": thread })),
            (
                "workbox.create",
                false,
                json!({ "title": "x", "description": "x", "participant_ids": [], "fields": [] }),
            ),
            ("workbox.update", true, json!({ "channel": channel, "title": "x" })),
            ("workbox.close", true, json!({ "channel": channel })),
            ("workbox.reopen", true, json!({ "channel": channel })),
            ("workbox.assign", true, json!({ "channel": channel, "user_id": -1 })),
            ("workbox.participants.set", true, json!({ "channel": channel, "coworker_ids": [] })),
            ("workbox.guest.invite", true, json!({ "channel": channel, "name": "X", "email": "x@y.test" })),
            ("workbox.guest.resend", true, json!({ "channel": channel, "uuid": guest })),
            ("workbox.guest.revoke", true, json!({ "channel": channel, "uuid": guest })),
            ("typing.set", true, json!({ "channel": channel, "typing": true })),
            ("session.create", true, json!({ "users": [user], "workbox_id": thread, "force_new": false })),
            ("session.get", true, json!({ "session_id": session })),
            ("session.list", false, json!({})),
            ("ring.start", true, json!({ "session_id": session, "users": [user], "video": true })),
            ("ring.accept", true, json!({ "request_id": ring })),
            ("ring.decline", true, json!({ "request_id": ring, "reason": 0, "message": "x" })),
            ("ring.cancel", true, json!({ "request_id": ring })),
            ("call.join", true, json!({ "session_id": session })),
            ("call.leave", true, json!({ "call_id": call })),
            ("call.end", true, json!({ "call_id": call })),
            ("call.remove_participant", true, json!({ "call_id": call, "user_id": user })),
            ("call.transfer_owner", true, json!({ "call_id": call, "user_id": user })),
            ("call.recording.start", true, json!({ "call_id": call })),
            ("call.recording.stop", true, json!({ "call_id": call })),
            (
                "call.update",
                true,
                json!({ "call_id": call, "rating": 3, "comment": "x", "tags": ["x"], "alt1_id": "x" }),
            ),
            ("call.signal", true, json!({ "call_id": call, "to": user, "payload": 1 })),
            ("presence.get", false, json!({ "users": [user] })),
            ("devices.register", false, json!({ "device_id": "x", "platform": "web", "push_id": "x" })),
            ("devices.remove", false, json!({ "push_id": "x" })),
            ("server.time", false, json!({})),
        ]
    }
}

impl Office {
    /// A call runs, a ring that is over lies behind it, something was said.
    async fn names(&mut self) -> Names {
        let message = self.say("hello").await["id"].clone();
        let ring = self.ring().await;
        self.ann.device.rpc("ring.cancel", json!({ "request_id": ring })).await;
        let call = self.call().await;
        let (thread, user) = (self.thread, self.ben.id);
        Names { thread, message, session: json!(self.session), ring, call, guest: json!(self.link), user }
    }
}

/// The reply's error, without which something was done.
async fn error(device: &mut Device, method: &str, data: &Value) -> Value {
    let reply = device.call(json!({ "rpc": { "method": method, "data": data } })).await;
    assert!(reply["error"].is_object(), "{method} {data}: {reply}");
    reply["error"].clone()
}

on_both! {
    async fn what_is_foreign_looks_absent(db: TestDb) {
        let mut office = Office::open(db).await;
        let (here, nowhere) = (office.names().await, Names::nowhere());
        let known: BTreeSet<&str> = gateway::methods().collect();
        assert_eq!(here.actions().iter().map(|(method, ..)| *method).collect::<BTreeSet<_>>(), known);
        for ((method, named, real), (_, _, absent)) in here.actions().into_iter().zip(nowhere.actions()) {
            if !named {
                continue;
            }
            for stranger in [&mut office.carl.device, &mut office.otto.device] {
                let refusal = error(stranger, method, &real).await;
                assert_eq!(refusal, error(stranger, method, &absent).await, "{method}");
                let code = refusal["code"].as_u64().unwrap();
                assert!(matches!(code, 404 | 451 | 453), "{method}: {refusal}");
            }
            // Nor does whoever is inside learn anything but that it is not there.
            let code = error(&mut office.ann.device, method, &absent).await["code"].as_u64().unwrap();
            assert!(matches!(code, 404 | 451 | 453), "{method}: {code}");
        }
        let page = office.ann.device.rpc("message.history", json!({ "workbox_id": office.thread, "limit": 9 })).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), 1, "nobody left a trace");
    }

    async fn wrong_data_is_refused(db: TestDb) {
        let mut office = Office::open(db).await;
        let names = office.names().await;
        for (method, _, data) in names.actions() {
            if method == "server.time" || method == "session.list" {
                // Ask for nothing.
                continue;
            }
            for not_an_object in [json!([]), json!("x"), json!(7), json!(null), json!([data])] {
                let refusal = error(&mut office.ann.device, method, &not_an_object).await;
                assert_eq!(refusal["code"], 406, "{method} {not_an_object}: {refusal}");
            }
            for key in data.as_object().unwrap().keys() {
                // Whatever it is, it is not a list of objects of lists.
                let mut wrong = data.clone();
                wrong[key] = json!([{ "a": [[]] }]);
                if (method, key.as_str()) == ("call.signal", "payload") {
                    continue;
                }
                let refusal = error(&mut office.ann.device, method, &wrong).await;
                assert_eq!(refusal["code"], 406, "{method} {wrong}: {refusal}");
            }
        }
        let channel = office.workbox();
        for (method, data, code) in [
            ("message.send", json!({ "channel": channel }), 406),
            ("message.send", json!({ "channel": channel, "text": "x", "metadata": {} }), 406),
            ("message.send", json!({ "channel": channel, "text": "" }), 466),
            ("message.send", json!({ "channel": channel, "text": "a\u{0}b" }), 466),
            ("message.send", json!({ "channel": channel, "type": "Song", "metadata": {} }), 466),
            ("message.send", json!({ "channel": channel, "text": "x".repeat(40_000) }), 413),
            ("message.send", json!({ "channel": format!("{channel} "), "text": "x" }), 406),
            ("message.send", json!({ "channel": "session:1", "text": "x" }), 406),
            ("message.send", json!({ "channel": channel, "workbox_id": 1, "text": "x" }), 406),
            ("message.send", json!({ "channel": channel, "text": "x", "uuid": "no" }), 406),
            ("message.send", json!({ "channel": channel, "text": "x", "idempotency_key": "" }), 406),
            ("message.send", json!({ "channel": channel, "text": "x", "idempotency_key": "x".repeat(300) }), 406),
            ("message.history", json!({ "channel": channel, "direction": "UP" }), 406),
            ("message.history", json!({ "channel": channel, "limit": 100_000 }), 468),
            ("message.get", json!({ "channel": channel, "message_id": -1 }), 404),
            ("message.get", json!({ "channel": channel, "message_id": i64::MAX }), 404),
            ("receipt.read", json!({ "channel": channel, "message_id": 9_223_372_036_854_775_808_u64 }), 406),
            ("workbox.list", json!({ "status": "SOME" }), 406),
            ("workbox.list", json!({ "limit": 0 }), 468),
            ("workbox.list", json!({ "limit": 101 }), 468),
            ("workbox.list", json!({ "after": "nonsense" }), 406),
            ("workbox.list", json!({ "filter": "moon=1" }), 406),
            ("workbox.create", json!({ "title": "x".repeat(256) }), 406),
            ("workbox.create", json!({ "participant_ids": [office.otto.id] }), 406),
            ("workbox.update", json!({ "channel": channel }), 406),
            ("workbox.update", json!({ "channel": channel, "title": "x", "fields": [] }), 406),
            ("workbox.assign", json!({ "channel": channel, "user_id": office.otto.id }), 406),
            ("workbox.guest.invite", json!({ "channel": channel, "name": "X" }), 406),
            ("workbox.guest.invite", json!({ "channel": channel, "name": "X", "email": "nowhere" }), 461),
            ("workbox.guest.resend", json!({ "channel": channel }), 406),
            ("typing.set", json!({ "channel": "chat:1" }), 404),
            ("ring.decline", json!({ "request_id": NOWHERE, "reason": 9 }), 406),
            ("ring.start", json!({}), 406),
            ("call.update", json!({ "call_id": names.call, "rating": 6 }), 406),
            ("call.update", json!({ "call_id": names.call, "tags": [""] }), 469),
            ("presence.get", json!({ "users": (0..101).collect::<Vec<_>>() }), 406),
            ("devices.register", json!({ "device_id": "", "platform": "web", "push_id": "x" }), 406),
        ] {
            let refusal = error(&mut office.ann.device, method, &data).await;
            assert_eq!(refusal["code"], code, "{method} {}: {refusal}", &data.to_string()[..data.to_string().len().min(200)]);
        }
    }

    async fn what_is_not_served_says_so(db: TestDb) {
        let mut office = Office::open(db).await;
        for method in ["chat.send", "workbox", "WORKBOX.GET", "message.send ", "queue.join", ""] {
            let refusal = error(&mut office.ann.device, method, &json!({})).await;
            assert_eq!(refusal, json!({ "code": 108, "message": "not available" }), "{method}");
        }
        for channel in ["chat:0190b1c2-0000-7000-8000-000000000001", "queue:1", "event:x", "moon:1", "nothing", "workbox:01", "workbox:-1"] {
            let reply = office.ann.device.call(json!({ "subscribe": { "channel": channel } })).await;
            assert_eq!(reply["error"]["code"], 102, "{channel}: {reply}");
        }
        let foreign = [
            office.workbox(),
            office.internal(),
            format!("session:{}", office.session),
            format!("user:{}", office.ann.id),
            "org:1".to_owned(),
            "workbox:999999".to_owned(),
        ];
        for channel in &foreign {
            for command in ["subscribe", "history", "presence", "presence_stats"] {
                let reply = office.carl.device.call(json!({ command: { "channel": channel } })).await;
                assert_eq!(reply["error"], json!({ "code": 103, "message": "permission denied" }), "{command} {channel}");
            }
        }
    }

    async fn guests_do_what_guests_may(db: TestDb) {
        let mut office = Office::open(db).await;
        let names = office.names().await;
        let workbox = office.workbox();
        let note = json!({ "channel": office.internal(), "text": "secret" });
        let note = office.ann.device.rpc("message.send", note).await["id"].clone();
        let (inside, elsewhere) = (office.internal(), office.thread + 1);
        let guest = &mut office.gus.device;
        for (method, _, data) in names.actions().into_iter().filter(|(method, ..)| *method != "session.create") {
            let reply = guest.call(json!({ "rpc": { "method": method, "data": data } })).await;
            let code = reply["error"]["code"].as_u64().unwrap_or(0);
            let expected: &[u64] = match method {
                "message.send" | "message.history" | "message.get" | "receipt.received" | "receipt.read"
                | "workbox.list" | "workbox.get" | "typing.set" | "session.list" | "server.time" => &[0],
                // Lives in the session only once somebody lets them in.
                "session.get" | "ring.start" | "call.join" => &[404],
                "ring.accept" | "ring.decline" | "ring.cancel" => &[451],
                "call.leave" | "call.end" | "call.remove_participant" | "call.transfer_owner"
                | "call.recording.start" | "call.recording.stop" | "call.signal" => &[453],
                "call.update" => &[404, 403],
                _ => &[403],
            };
            assert!(expected.contains(&code), "{method} {data}: {reply}");
        }
        let peek = json!({ "channel": workbox, "message_id": note });
        assert_eq!(guest.refused("message.get", peek.clone()).await, 404);
        assert_eq!(guest.refused("receipt.read", peek).await, 404);
        let everybody = json!({ "users": [office.ben.id] });
        assert_eq!(guest.refused("presence.get", everybody.clone()).await, 403);
        // A guest opens the session of the own thread, and no other with people found by counting.
        let reply = guest.call(json!({ "rpc": { "method": "session.create", "data": { "users": [office.carl.id] } } })).await;
        assert_eq!(reply["error"]["code"], 404, "{reply}");
        let elsewhere = json!({ "users": [office.carl.id], "workbox_id": elsewhere });
        assert_eq!(guest.refused("session.create", elsewhere).await, 404);
        let own = guest.rpc("session.create", json!({})).await;
        assert_eq!(own["id"], json!(office.session));
        let reply = guest.call(json!({ "subscribe": { "channel": inside } })).await;
        assert_eq!(reply["error"]["code"], 103);
    }
}
