//! The walls of the socket: channels and actions of another organisation's things, and of the inside of a thread for
//! its guests. What may not be seen looks like what is not there.

use serde_json::{Value, json};
use switchboard::{http::Auth, realtime::gateway};

use super::{Target as _, Whose, estate::Estate};
use crate::{harness::db::on_both, realtime::Client};

/// Each action with data that names Acme's things.
fn actions(estate: &Estate) -> Vec<(&'static str, Value)> {
    let number = |name: &str| estate.name(name).parse::<i64>().unwrap();
    let (thread, ben) = (number("get_workbox_of_user.id"), number("user_id"));
    let (message, call) = (number("message_id"), estate.name("call_id"));
    let (session, guest) = (estate.name("session_id"), estate.name("uuid"));
    let ring = estate.ringing();
    let channel = format!("workbox:{thread}");
    let in_thread = |more: Value| {
        let mut data = json!({ "workbox_id": thread });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    vec![
        ("message.send", json!({ "channel": channel, "text": "x" })),
        ("message.edit", in_thread(json!({ "message_id": message, "text": "x" }))),
        ("message.delete", in_thread(json!({ "message_id": message }))),
        ("message.history", in_thread(json!({}))),
        ("message.get", in_thread(json!({ "message_id": message }))),
        ("receipt.received", in_thread(json!({ "message_id": message }))),
        ("receipt.read", in_thread(json!({ "message_id": message }))),
        ("workbox.get", in_thread(json!({}))),
        ("workbox.create", json!({ "participant_ids": [ben] })),
        ("workbox.update", in_thread(json!({ "title": "x" }))),
        ("workbox.close", in_thread(json!({}))),
        ("workbox.reopen", in_thread(json!({}))),
        ("workbox.assign", in_thread(json!({ "user_id": ben }))),
        ("workbox.participants.set", in_thread(json!({ "coworker_ids": [ben] }))),
        ("workbox.guest.invite", in_thread(json!({ "name": "G", "email": "g@example.org" }))),
        ("workbox.guest.resend", in_thread(json!({ "uuid": guest }))),
        ("workbox.guest.revoke", in_thread(json!({ "uuid": guest }))),
        ("typing.set", json!({ "channel": channel })),
        ("session.create", json!({ "users": [ben] })),
        ("session.create", json!({ "workbox_id": thread })),
        ("session.get", json!({ "session_id": session })),
        ("ring.start", json!({ "session_id": session })),
        ("ring.accept", json!({ "request_id": ring })),
        ("ring.decline", json!({ "request_id": ring })),
        ("ring.cancel", json!({ "request_id": ring })),
        ("call.join", json!({ "session_id": session, "call_id": call })),
        ("call.leave", json!({ "call_id": call })),
        ("call.end", json!({ "call_id": call })),
        ("call.remove_participant", json!({ "call_id": call, "user_id": ben })),
        ("call.transfer_owner", json!({ "call_id": call, "user_id": ben })),
        ("call.update", json!({ "call_id": call, "alt1_id": "x" })),
        ("call.signal", json!({ "call_id": call, "to": ben, "payload": {} })),
        ("call.recording.start", json!({ "call_id": call })),
        ("call.recording.stop", json!({ "call_id": call })),
    ]
}

impl Estate {
    fn channels(&self) -> Vec<String> {
        let (thread, session) = (self.name("get_workbox_of_user.id"), self.name("session_id"));
        let acme = &self.server.acme;
        vec![
            format!("user:{}", acme.admin.id),
            format!("user:{}", self.name("user_id")),
            format!("org:{}", acme.organization.id),
            format!("workbox:{thread}"),
            format!("internal:{thread}"),
            format!("session:{session}"),
        ]
    }

    /// Connected with that token.
    async fn enter(&self, token: &str) -> Client {
        let mut client = Client::open(self.server.address).await;
        client.connect(token).await;
        client
    }
}

/// The same channel of a thing that is not there.
fn absent(channel: &str) -> String {
    let kind = channel.split(':').next().unwrap();
    let id = if kind == "session" { "00000000-0000-7000-8000-000000000000" } else { "999999999" };
    format!("{kind}:{id}")
}

on_both! {
    async fn strangers_find_no_channel_and_no_action(db: TestDb) {
        let estate = Estate::new(db).await;
        let before = estate.fingerprint().await;
        let mut faults = Vec::new();
        let actions = actions(&estate);
        for kind in [Auth::User, Auth::Enterprise, Auth::Session, Auth::Workbox] {
            let token = estate.token(kind, Whose::Foreigner).await.unwrap();
            let mut client = estate.enter(&token).await;
            for channel in estate.channels() {
                for command in ["subscribe", "history", "presence", "presence_stats", "publish"] {
                    let ask = |channel: &str| json!({ command: { "channel": channel, "data": {}, "limit": 1 } });
                    let (foreign, absent) =
                        (client.call(ask(&channel)).await, client.call(ask(&absent(&channel))).await);
                    if foreign["error"].is_null() || foreign["error"] != absent["error"] {
                        faults.push(format!("{kind:?} {command} {channel}: {foreign}, but absent: {absent}"));
                    }
                }
            }
            for (method, data) in &actions {
                // A session's token stands for its own session, whatever is named.
                if kind == Auth::Session && data.get("session_id").is_some() {
                    continue;
                }
                let reply = client.call(json!({ "rpc": { "method": method, "data": data } })).await;
                let code = reply["error"]["code"].as_i64();
                // Absent, over, not allowed or not usable here; 108: there is no such method.
                if code.is_none() || code == Some(108) || code == Some(100) || code == Some(431) {
                    faults.push(format!("{kind:?} {method} {data}: {reply}"));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let after = estate.fingerprint().await;
        let changed: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
        assert!(changed.is_empty(), "{changed:?}");
    }

    async fn a_guest_finds_nothing_of_the_inside(db: TestDb) {
        let estate = Estate::new(db).await;
        let (server, thread) = (&estate.server, estate.name("get_workbox_of_user.id"));
        let silent = estate.body_of("sign_in_from_url");
        let guest = server.post("/api/v1r1/auth/from_url", silent).ok().await;
        let mut client = estate.enter(guest["token"].as_str().unwrap()).await;
        let shown = client.subscribe(json!({ "channel": format!("workbox:{thread}") })).await;
        assert!(shown["subscribe"].is_object(), "{shown}");
        for channel in estate.channels() {
            if channel.starts_with("workbox:") {
                continue;
            }
            for command in ["subscribe", "history", "presence", "publish"] {
                let ask = |channel: &str| json!({ command: { "channel": channel, "data": {}, "limit": 1 } });
                let (inside, nothing) = (client.call(ask(&channel)).await, client.call(ask(&absent(&channel))).await);
                assert!(!inside["error"].is_null(), "{command} {channel}: {inside}");
                assert_eq!(inside["error"], nothing["error"], "{command} {channel}");
            }
        }
        // What is said inside is not heard, and what is said to all is.
        let place = estate.token(Auth::Workbox, Whose::Master).await.unwrap();
        let send = async |internal: bool| {
            let words = json!({ "type": "Text", "internal": internal, "metadata": { "message": "hush" } });
            server.post("/api/v1r1/workbox/messages", words).with(&place).ok().await["id"].clone()
        };
        let hidden = send(true).await;
        let open = send(false).await;
        loop {
            let push = client.push().await["pub"].clone();
            assert!(!push.to_string().contains(&format!("\"id\":{hidden}")), "{push}");
            if push["data"]["data"]["id"] == open {
                break;
            }
        }
        for (method, data) in [
            ("message.edit", json!({ "workbox_id": thread.parse::<i64>().unwrap(), "message_id": hidden, "text": "x" })),
            ("message.delete", json!({ "workbox_id": thread.parse::<i64>().unwrap(), "message_id": hidden })),
            ("receipt.read", json!({ "workbox_id": thread.parse::<i64>().unwrap(), "message_id": hidden })),
            ("message.send", json!({ "channel": format!("internal:{thread}"), "text": "x" })),
        ] {
            let reply = client.call(json!({ "rpc": { "method": method, "data": data } })).await;
            // That the thread has an inside is no secret; what is in it is.
            let wanted = if method == "message.send" { 403 } else { 404 };
            assert_eq!(reply["error"]["code"], wanted, "{method}: {reply}");
        }
    }
}

/// An action that is added is tried, or said to name nothing.
#[test]
fn every_action_is_tried_or_names_nothing() {
    const NAMELESS: &[&str] = &[
        "presence.get",
        "devices.register",
        "devices.remove",
        "server.time",
        "workbox.list",
        "session.list",
    ];
    let source = include_str!("sockets.rs");
    for method in gateway::methods() {
        let tried = source.contains(&format!("(\"{method}\","));
        assert!(tried || NAMELESS.contains(&method), "{method}");
    }
}
