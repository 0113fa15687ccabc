//! Help threads over REST: the main path, every declared refusal, other tenants, sending twice.

use serde_json::{Value, json};
use switchboard::store::sql;

use crate::harness::{
    app::{Call, Server},
    db::on_both,
};

const WORKBOXES: &str = "/api/v1r1/workboxes";
const WORKBOX: &str = "/api/v1r1/workbox";

/// Ann's thread with Ben: its number, and a token of each for it.
struct Thread {
    id: i64,
    ann: String,
    ben: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn message(words: &str) -> Value {
    json!({ "type": "Text", "version": 2, "username": "x", "metadata": { "message": words } })
}

impl Server {
    async fn open_thread(&self) -> Thread {
        self.hire("Ann").await;
        let ben = self.hire("Ben").await;
        let ann = self.sign_in("ann@acme.test").await;
        let body = json!({ "title": "The pump leaks", "participants": [{ "id": ben }] });
        let made = self.post(WORKBOXES, body).with(&ann).ok().await;
        let id = made["id"].as_i64().unwrap();
        let ben = self.sign_in("ben@acme.test").await;
        let seen = self.get(&format!("{WORKBOXES}/{id}")).with(&ben).ok().await;
        Thread { id, ann: text(&made["token"]), ben: text(&seen["token"]) }
    }
}

async fn name(call: Call<'_>) -> String {
    let (status, name) = call.refused().await;
    assert_eq!(status, 400);
    name
}

on_both! {
    async fn a_thread_from_end_to_end(db: TestDb) {
        let server = Server::start(db).await;
        let Thread { id, ann, ben } = server.open_thread().await;
        let sent = server.post(&format!("{WORKBOX}/messages"), message("hello")).with(&ann).ok().await;
        assert_eq!(sent["metadata"], json!("{\"message\":\"hello\"}"));
        let user = server.sign_in("ben@acme.test").await;
        let listed = server.get(&format!("{WORKBOXES}?status=open&limit=-1&filter=title~=%25pump%25")).with(&user).ok().await;
        let entry = &listed["entries"][0];
        assert_eq!((&entry["id"], &entry["unread_messages_count"], &listed["after"]), (&json!(id), &json!(1), &json!(null)));
        assert_eq!((&entry["last_message"]["id"], &entry["assigned_to"]["id"]), (&sent["id"], &json!(-1)));
        assert_eq!(entry["stream"]["channel"], json!(format!("workbox:{id}")));

        let read = server.post(&format!("{WORKBOX}/messages/-1/last_read_message"), json!({})).with(&ben).ok().await;
        assert_eq!((&read["unread_messages_count"], &read["last_read_message_id"]), (&json!(0), &sent["id"]));
        let status = server.get(&format!("{WORKBOX}/receipt_status")).with(&ann).ok().await;
        assert_eq!(status["most_recent_all_read"], sent["id"]);
        let path = format!("{WORKBOX}/messages/{}", sent["id"]);
        let each = server.get(&format!("{path}/receipt_status")).with(&ann).ok().await;
        assert!(each.as_array().unwrap().iter().all(|one| one["read"] == json!(true)));
        assert_eq!(server.put(&path, json!({ "metadata": { "message": "hi" } })).with(&ann).ok().await, json!(true));
        assert_eq!(server.get(&path).with(&ben).ok().await["edited"], json!(true));
        for list in ["messages", "messages/recent_history?limit=1", "messages/history_by_direction?direction=ASC", "messages/updates_since?timestamp=2020-01-01T00:00:00"] {
            let list = server.get(&format!("{WORKBOX}/{list}")).with(&ben).ok().await;
            let entries = list.get("entries").unwrap_or(&list);
            assert_eq!(entries[0]["id"], sent["id"]);
        }
        assert_eq!(server.delete(&path).with(&ann).ok().await, json!(true));
        assert_eq!(server.get(&path).with(&ben).ok().await["metadata"], json!("{}"));

        let info = server.get(&format!("{WORKBOXES}/info")).with(&user).ok().await;
        assert_eq!((&info["open"], &info["total"]), (&json!(1), &json!(1)));
        server.put(&format!("{WORKBOX}/title"), json!({ "title": "Dry" })).with(&ben).ok().await;
        let seen = server.get(WORKBOX).with(&ann).ok().await;
        assert_eq!((&seen["title"], &seen["version"]), (&json!("Dry"), &json!("2")));
        let carl = server.hire("Carl").await;
        let seen = server.put(&format!("{WORKBOX}/participants"), json!({ "coworker_ids": carl })).with(&ann).ok().await;
        assert_eq!(seen["participants"].as_array().unwrap().len(), 3);
        assert_eq!(name(server.get(WORKBOX).with(&ben)).await, "invalid_token");
        let added = server.post(&format!("{WORKBOX}/procedure"), json!({ "procedure_id": 7 })).with(&ann).ok().await;
        let step = json!({ "id": added["procedures"][0]["id"], "state": "DONE", "action_time": "2026-01-01T00:00:00Z" });
        let moved = server.put(&format!("{WORKBOX}/procedure"), step).with(&ann).ok().await;
        assert_eq!((&moved["procedures"][0]["state"], &moved["procedureCount"]), (&json!("DONE"), &json!(1)));
        assert_eq!(server.post(&format!("{WORKBOX}/close"), json!({})).with(&ann).ok().await["status"], json!("CLOSED"));
        assert_eq!(name(server.post(&format!("{WORKBOX}/messages"), message("late")).with(&ann)).await, "constraint");
        assert_eq!(server.post(&format!("{WORKBOX}/reopen"), json!({})).with(&ann).ok().await["status"], json!("REPORTED"));

        let admin = server.administer("ada@acme.test").await;
        let all = server.get("/api/v1r1/enterprise/workboxes?status=ALL").with(&admin).ok().await;
        assert_eq!((&all["entries"][0]["id"], &all["entries"][0]["token"]), (&json!(id), &json!(null)));
        server.get(&format!("/api/v1r1/enterprise/workboxes/{id}")).with(&admin).ok().await;
        let other = server.administer("otto@other.test").await;
        assert_eq!(name(server.get(&format!("/api/v1r1/enterprise/workboxes/{id}")).with(&other)).await, "not_found");
        let otto = server.sign_in("otto@other.test").await;
        assert_eq!(name(server.get(&format!("{WORKBOXES}/{id}")).with(&otto)).await, "not_found");
    }

    async fn a_call_finds_its_thread(db: TestDb) {
        let server = Server::start(db).await;
        let Thread { id, .. } = server.open_thread().await;
        let call = "call_6f2c1b52-6d0c-4c3a-9f0e-0d7d6c1a2b3c";
        sql("update conversation set call_id = $2, auto_created = true where id = $1").bind(id).bind(call).execute(&server.db.db).await.unwrap();
        let ann = server.sign_in("ann@acme.test").await;
        let admin = server.administer("ada@acme.test").await;
        let found = server.get(&format!("{WORKBOXES}/by_call_id/{call}")).with(&ann).ok().await;
        assert_eq!((&found["auto_created"], &found["workbox"]["id"]), (&json!(true), &json!(id)));
        let path = "/api/v1r1/enterprise/workboxes/by_call_id";
        let found = server.get(&format!("{path}/{call}")).with(&admin).ok().await;
        assert_eq!((&found["id"], &found["workbox"]["id"]), (&json!(id), &json!(id)));
        assert_eq!(name(server.get(&format!("{WORKBOXES}/by_call_id/call_x")).with(&ann)).await, "not_found");
        assert_eq!(name(server.get(&format!("{path}/call_x")).with(&admin)).await, "not_found");
    }

    async fn a_guest_from_link_to_revocation(db: TestDb) {
        let server = Server::start(db).await;
        let Thread { id, ann, .. } = server.open_thread().await;
        let invite = format!("{WORKBOX}/invite");
        let invited = server.post(&format!("{invite}/silent"), json!({ "name": "Gus", "action": "" })).with(&ann).ok().await;
        let (link, uuid) = (text(&invited["link"]), text(&invited["uuid"]));
        let pair = server.post("/api/v1r1/auth/from_url", json!({ "link_url": link })).ok().await;
        let guest = text(&pair["token"]);
        let by_url = format!("{WORKBOXES}/by_url?link_url={}", link.replace(':', "%3A").replace('?', "%3F").replace('=', "%3D"));
        let seen = server.get(&by_url).with(&guest).ok().await;
        assert_eq!((&seen["id"], &seen["guests"][0]["has_joined"]), (&json!(id), &json!(true)));
        let place = text(&seen["token"]);
        server.post(&format!("{WORKBOX}/messages"), message("from outside")).with(&place).ok().await;
        let whisper = json!({ "type": "Text", "internal": true, "metadata": { "message": "psst" } });
        let hidden = server.post(&format!("{WORKBOX}/messages"), whisper).with(&ann).ok().await;
        let newest = server.get(&format!("{WORKBOX}/messages/recent_history")).with(&place).ok().await;
        assert_eq!(newest.as_array().unwrap().len(), 1);
        assert_eq!(name(server.get(&format!("{WORKBOX}/messages/{}", hidden["id"])).with(&place)).await, "not_found");
        assert_eq!(name(server.put(&format!("{WORKBOX}/title"), json!({ "title": "x" })).with(&place)).await, "authorization");

        for (body, want) in [
            (json!({ "name": "", "email": "a@b.test" }), "invalid_name"),
            (json!({ "name": "G", "email": "nobody" }), "invalid_email"),
            (json!({ "name": "G", "phone": "12" }), "invalid_number"),
            (json!({ "name": "G", "action": "fly" }), "method_parameters_invalid"),
        ] {
            assert_eq!(name(server.post(&invite, body.clone()).with(&ann)).await, want);
            assert_eq!(name(server.post(&format!("{invite}/silent"), body).with(&ann)).await, want);
        }
        assert_eq!(name(server.post(&invite, json!({ "name": "G" })).with(&ann)).await, "method_parameters_invalid");
        assert_eq!(name(server.post(&format!("{invite}/{uuid}"), json!({})).with(&ann)).await, "constraint");
        let mailed = json!({ "name": "Gil", "email": "gil@example.org", "message": "please" });
        let view = server.post(&invite, mailed).with(&ann).ok().await;
        let gil = text(&view["guests"][1]["uuid"]);
        server.post(&format!("{invite}/{gil}"), json!({})).with(&ann).ok().await;
        let (notices,): (i64,) = sql("select count(*) from notice where recipient = 'gil@example.org'").one(&server.db.db).await.unwrap();
        assert_eq!(notices, 2);

        server.delete(&format!("{invite}/{uuid}")).with(&ann).ok().await;
        assert_eq!(name(server.delete(&format!("{invite}/{uuid}")).with(&ann)).await, "not_found");
        assert_eq!(name(server.post("/api/v1r1/auth/from_url", json!({ "link_url": link }))).await, "link_expired");
        for token in [&place, &guest] {
            assert_eq!(name(server.get(if token == &place { WORKBOX } else { WORKBOXES }).with(token)).await, "link_expired");
        }
        let user = server.sign_in("ann@acme.test").await;
        assert_eq!(name(server.get(&by_url).with(&user)).await, "link_expired");
        let carl = server.hire("Carl").await;
        assert!(carl > 0);
        let invited = server.post(&format!("{invite}/silent"), json!({ "name": "Gia" })).with(&ann).ok().await;
        let by_url = format!("{WORKBOXES}/by_url?link_url={}", text(&invited["link"]).replace('?', "%3F").replace('=', "%3D"));
        let carl = server.sign_in("carl@acme.test").await;
        assert_eq!(name(server.get(&by_url).with(&carl)).await, "not_found");
    }

    async fn sending_twice_is_sending_once(db: TestDb) {
        let server = Server::start(db).await;
        let Thread { ann, .. } = server.open_thread().await;
        let user = server.sign_in("ann@acme.test").await;
        let twice = async |path: &str, body: Value, token: &str| {
            let send = || server.post(path, body.clone()).with(token).header("idempotency-key", path).ok();
            (send().await, send().await)
        };
        let (a, b) = twice(WORKBOXES, json!({}), &user).await;
        assert_eq!(a["id"], b["id"]);
        assert!(b["token"].is_string());
        let (a, b) = twice(&format!("{WORKBOX}/messages"), message("once"), &ann).await;
        assert_eq!(a, b);
        let last = format!("{WORKBOX}/messages/{}/last_read_message", a["id"]);
        twice(&last, json!({}), &ann).await;
        let (a, b) = twice(&format!("{WORKBOX}/invite/silent"), json!({ "name": "G" }), &ann).await;
        assert_eq!(a["link"], b["link"]);
        let (a, b) = twice(&format!("{WORKBOX}/invite"), json!({ "name": "H", "email": "h@x.test" }), &ann).await;
        assert_eq!(a["guests"], b["guests"]);
        let (a, b) = twice(&format!("{WORKBOX}/invite/{}", text(&a["guests"][1]["uuid"])), json!({}), &ann).await;
        assert_eq!(a["id"], b["id"]);
        let (a, b) = twice(&format!("{WORKBOX}/procedure"), json!({ "procedure_id": 1 }), &ann).await;
        assert_eq!((&a["procedureCount"], &b["procedureCount"]), (&json!(1), &json!(1)));
        twice(&format!("{WORKBOX}/close"), json!({}), &ann).await;
        twice(&format!("{WORKBOX}/reopen"), json!({}), &ann).await;
        let admin = server.administer("ada@acme.test").await;
        let (a, b) = twice("/api/v1r1/enterprise/custom_fields", json!({ "name": "F", "type": "TEXT" }), &admin).await;
        assert_eq!(a["id"], b["id"]);
        let other = server.post(WORKBOXES, json!({ "title": "other" })).with(&user).header("idempotency-key", WORKBOXES);
        assert_eq!(name(other).await, "constraint");
    }

    async fn custom_fields_over_rest(db: TestDb) {
        let server = Server::start(db).await;
        let admin = server.administer("ada@acme.test").await;
        let fields = "/api/v1r1/enterprise/custom_fields";
        let body = json!({ "name": "Colour", "type": "LIST", "mandatory": "MANDATORY_ON_CREATION", "options": ["red", { "name": "green" }], "defaultValue": 1 });
        let made = server.post(fields, body).with(&admin).ok().await;
        assert_eq!(made["options"][1], json!({ "id": 2, "name": "green" }));
        let Thread { ann, .. } = server.open_thread().await;
        let values = |value: Value| json!({ "values": [{ "id": made["id"], "value": value }] });
        let set = server.put(&format!("{WORKBOX}/custom_fields"), values(json!("2"))).with(&ann).ok().await;
        assert_eq!((&set["fields"][0]["value"], &set["ticketFieldsFull"][0]["valueAsString"]), (&json!(2), &json!("green")));
        assert_eq!(name(server.put(&format!("{WORKBOX}/custom_fields"), values(json!(null))).with(&ann)).await, "constraint");
        assert_eq!(name(server.put(&format!("{WORKBOX}/custom_fields"), values(json!(9))).with(&ann)).await, "method_parameters_invalid");
        let path = format!("{fields}/{}", made["id"]);
        let changed = server.put(&path, json!({ "name": "Hue", "defaultValue": null })).with(&admin).ok().await;
        assert_eq!((&changed["name"], &changed["defaultValue"]), (&json!("Hue"), &json!(null)));
        assert_eq!(server.get(fields).with(&admin).ok().await.as_array().unwrap().len(), 1);
        for bad in [json!({}), json!({ "name": "x", "type": "COLOUR" }), json!({ "name": "x", "options": ["a"] })] {
            assert_eq!(name(server.post(fields, bad).with(&admin)).await, "method_parameters_invalid");
        }
        server.delete(&path).with(&admin).ok().await;
        assert_eq!(name(server.put(&path, json!({ "name": "x" })).with(&admin)).await, "not_found");
        assert_eq!(name(server.delete(&path).with(&admin)).await, "not_found");
    }

    async fn who_is_out_finds_nothing(db: TestDb) {
        let server = Server::start(db).await;
        let Thread { id, ben, .. } = server.open_thread().await;
        // The token is still believed for some seconds, as on another node; the thread knows better.
        server.get(WORKBOX).with(&ben).ok().await;
        sql("update participant set removed_at = 1 where conversation_id = $1 and not creator").bind(id).execute(&server.db.db).await.unwrap();
        let at = |path: &str| format!("{WORKBOX}{path}");
        let uuid = "6f2c1b52-6d0c-4c3a-9f0e-0d7d6c1a2b3c";
        for call in [
            server.get(WORKBOX),
            server.post(&at("/close"), json!({})),
            server.post(&at("/reopen"), json!({})),
            server.put(&at("/custom_fields"), json!({ "values": [] })),
            server.put(&at("/title"), json!({ "title": "x" })),
            server.put(&at("/participants"), json!({ "coworker_ids": [] })),
            server.post(&at("/procedure"), json!({ "procedure_id": 1 })),
            server.put(&at("/procedure"), json!({ "id": 1 })),
            server.get(&at("/receipt_status")),
            server.get(&at("/messages")),
            server.post(&at("/messages"), message("x")),
            server.get(&at("/messages/history_by_direction")),
            server.get(&at("/messages/recent_history")),
            server.get(&at("/messages/updates_since")),
            server.get(&at("/messages/1")),
            server.put(&at("/messages/1"), json!({ "metadata": { "message": "x" } })),
            server.delete(&at("/messages/1")),
            server.get(&at("/messages/1/receipt_status")),
            server.post(&at("/messages/0/last_read_message"), json!({})),
            server.post(&at("/invite"), json!({ "name": "G", "email": "g@x.test" })),
            server.post(&at("/invite/silent"), json!({ "name": "G" })),
            server.post(&at(&format!("/invite/{uuid}")), json!({})),
            server.delete(&at(&format!("/invite/{uuid}"))),
        ] {
            assert_eq!(name(call.with(&ben)).await, "not_found");
        }
    }

    async fn bad_input_is_named(db: TestDb) {
        let server = Server::start(db).await;
        let Thread { ann, .. } = server.open_thread().await;
        let user = server.sign_in("ann@acme.test").await;
        let admin = server.administer("ada@acme.test").await;
        for limit in ["0", "-2", "101", "99999999999"] {
            for list in ["messages", "messages/recent_history", "messages/history_by_direction", "messages/updates_since"] {
                assert_eq!(name(server.get(&format!("{WORKBOX}/{list}?limit={limit}")).with(&ann)).await, "invalid_limit");
            }
            assert_eq!(name(server.get(&format!("{WORKBOXES}?limit={limit}")).with(&user)).await, "invalid_limit");
            assert_eq!(name(server.get(&format!("/api/v1r1/enterprise/workboxes?limit={limit}")).with(&admin)).await, "invalid_limit");
        }
        for query in ["status=GONE", "filter=x=1", "after=x", "limit=many"] {
            assert_eq!(name(server.get(&format!("{WORKBOXES}?{query}")).with(&user)).await, "method_parameters_invalid");
        }
        for query in ["messages?after=x", "messages/history_by_direction?direction=UP", "messages/updates_since?timestamp=soon"] {
            assert_eq!(name(server.get(&format!("{WORKBOX}/{query}")).with(&ann)).await, "method_parameters_invalid");
        }
        for (body, want) in [
            (json!({}), "method_parameters_invalid"),
            (json!({ "type": "Song", "metadata": {} }), "invalid_message"),
            (json!({ "type": "Text", "metadata": { "message": "x" }, "uuid": "x" }), "method_parameters_invalid"),
            (json!({ "type": "Text", "metadata": { "message": "x" }, "sent_at": "soon" }), "method_parameters_invalid"),
            (json!({ "type": "Text", "metadata": { "message": "x" }, "username": "a\u{7}" }), "invalid_name"),
            (json!({ "type": "Text", "metadata": { "message": "a\u{0}" } }), "method_parameters_invalid"),
        ] {
            assert_eq!(name(server.post(&format!("{WORKBOX}/messages"), body).with(&ann)).await, want);
        }
        let sent = server.post(&format!("{WORKBOX}/messages"), message("x")).with(&ann).ok().await;
        let edit = server.put(&format!("{WORKBOX}/messages/{}", sent["id"]), json!({ "metadata": "{}" }));
        assert_eq!(name(edit.with(&ann)).await, "invalid_message");
        for (path, body) in [
            ("/title", json!({})),
            ("/title", json!({ "title": "x".repeat(300) })),
            ("/participants", json!({})),
            ("/participants", json!({ "coworker_ids": [server.other.admin.id] })),
            ("/custom_fields", json!({ "values": [{ "id": 77, "value": 1 }] })),
            ("/custom_fields", json!({ "values": "x" })),
            ("/procedure", json!({})),
        ] {
            assert_eq!(name(server.put(&format!("{WORKBOX}{path}"), body).with(&ann)).await, "method_parameters_invalid");
        }
        assert_eq!(name(server.put(&format!("{WORKBOX}/procedure"), json!({ "id": 7 })).with(&ann)).await, "not_found");
        assert_eq!(name(server.post(&format!("{WORKBOX}/procedure"), json!({ "procedure_id": 0 })).with(&ann)).await, "method_parameters_invalid");
        for id in ["0", "-1", "9223372036854775807", "99999999999999999999", "x"] {
            assert_eq!(name(server.get(&format!("{WORKBOXES}/{id}")).with(&user)).await, "not_found");
            assert_eq!(name(server.get(&format!("{WORKBOX}/messages/{id}")).with(&ann)).await, "not_found");
        }
        for bad in [json!({ "participant_ids": ["x"] }), json!({ "participants": {} }), json!({ "title": 7 }), json!([])] {
            assert_eq!(name(server.post(WORKBOXES, bad).with(&user)).await, "method_parameters_invalid");
        }
    }
}
