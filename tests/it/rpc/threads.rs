//! Help threads, messages and receipts: what the actions do, and that REST shows the same.

use serde_json::{Value, json};

use crate::harness::db::on_both;
use crate::harness::office::{Office, lasting};

on_both! {
    async fn threads_change_as_over_rest(db: TestDb) {
        let mut office = Office::open(db).await;
        let (id, at) = (office.thread, json!({ "workbox_id": office.thread }));
        let path = format!("/api/v1r1/workboxes/{id}");
        let with = |mut data: Value| {
            data["channel"] = json!(format!("workbox:{id}"));
            data
        };
        let ann = &mut office.ann.device;
        let shown = ann.rpc("workbox.get", at.clone()).await;
        let read = office.server.get(&path).with(&office.ann.token).ok().await;
        assert_eq!(lasting(&shown), lasting(&read));
        assert_eq!(shown["stream"], read["stream"]);

        let renamed = ann.rpc("workbox.update", with(json!({ "title": "Dry again" }))).await;
        assert_eq!(renamed["title"], "Dry again");
        let assigned = ann.rpc("workbox.assign", with(json!({ "user_id": office.ben.id }))).await;
        assert_eq!((&assigned["status"], &assigned["assigned_to"]["id"]), (&json!("ASSIGNED"), &json!(office.ben.id)));
        let nobody = ann.rpc("workbox.assign", with(json!({ "user_id": -1 }))).await;
        assert_eq!((&nobody["status"], &nobody["assigned_to"]["id"]), (&json!("REPORTED"), &json!(-1)));
        let coworkers = with(json!({ "coworker_ids": [office.ben.id, office.carl.id] }));
        let people = ann.rpc("workbox.participants.set", coworkers).await;
        assert_eq!(people["participants"].as_array().unwrap().len(), 3);
        let closed = ann.rpc("workbox.close", at.clone()).await;
        assert_eq!(closed["status"], "CLOSED");
        let list = ann.rpc("workbox.list", json!({ "status": "CLOSED", "limit": 5 })).await;
        assert_eq!(lasting(&list["entries"][0]), lasting(&closed));
        let over_rest = office.server.get("/api/v1r1/workboxes?status=closed&limit=5").with(&office.ann.token);
        assert_eq!(lasting(&list), lasting(&over_rest.ok().await));
        assert_eq!(ann.rpc("workbox.list", json!({ "status": "OPEN" })).await["entries"], json!([]));
        let open = ann.rpc("workbox.reopen", at).await;
        assert_eq!(open["status"], "REPORTED");
        assert_eq!(lasting(&open), lasting(&office.server.get(&path).with(&office.ann.token).ok().await));
    }

    async fn guests_are_invited_and_put_out(db: TestDb) {
        let mut office = Office::open(db).await;
        let (workbox, internal) = (office.workbox(), office.internal());
        office.gus.device.follow_all(&workbox).await;
        let ann = &mut office.ann.device;
        let invitation = json!({ "channel": workbox, "name": "Gil", "email": "gil@guests.test", "action": "" });
        let invited = ann.rpc("workbox.guest.invite", invitation).await;
        let guest = invited["guests"].as_array().unwrap().iter().find(|guest| guest["name"] == "Gil").unwrap();
        let uuid = guest["uuid"].clone();
        ann.rpc("workbox.guest.resend", json!({ "channel": workbox, "uuid": uuid, "message": "please" })).await;
        assert_eq!(ann.refused("workbox.guest.resend", json!({ "channel": workbox, "uuid": office.link })).await, 409);
        // Gus has neither address nor number, but a link, and is in the thread until it is taken back.
        let sent = office.gus.device.rpc("message.send", json!({ "channel": workbox, "text": "Hello?" })).await;
        assert_eq!(sent["user"]["id"], json!(office.gus.id));
        assert_eq!(office.gus.device.refused("message.send", json!({ "channel": internal, "text": "x" })).await, 403);
        ann.rpc("workbox.guest.revoke", json!({ "channel": workbox, "uuid": office.link })).await;
        assert_eq!(office.gus.device.is_closed().await, 4500);
    }

    async fn messages_and_receipts(db: TestDb) {
        let mut office = Office::open(db).await;
        let (workbox, internal) = (office.workbox(), office.internal());
        let key = office.key_of(&office.ann.token).await;
        let uuid = "f3f2c1d0-6a5b-4c3d-8e2f-1a0b9c8d7e6f";
        let draft = json!({
            "channel": workbox, "uuid": uuid, "type": "QRMessage", "version": 2, "username": "Annie",
            "metadata": { "title": "Valve", "message": "V-7" },
        });
        let first = office.ann.device.rpc("message.send", draft.clone()).await;
        assert_eq!((&first["uuid"], &first["type"]), (&json!(uuid), &json!("QRMessage")));
        assert_eq!(office.ann.device.rpc("message.send", draft).await, first);
        let other = json!({ "channel": workbox, "uuid": uuid, "text": "something else" });
        assert_eq!(office.ann.device.refused("message.send", other).await, 409);
        let id = first["id"].clone();
        let over_rest = office.server.get(&format!("/api/v1r1/workbox/messages/{id}")).with(&key).ok().await;
        assert_eq!(office.ann.device.rpc("message.get", json!({ "channel": workbox, "message_id": id })).await, over_rest);

        let second = office.say("second").await["id"].clone();
        let note = office.ann.device.rpc("message.send", json!({ "workbox_id": office.thread, "text": "note", "internal": true })).await;
        let edited = office.ann.device.rpc("message.edit", json!({ "channel": internal, "message_id": note["id"], "text": "better" })).await;
        assert_eq!((&edited["edited"], &edited["metadata"]), (&json!(true), &json!("{\"message\":\"better\"}")));
        let mut history = async |data: Value| -> Vec<Value> {
            let page = office.ben.device.rpc("message.history", data).await;
            page["messages"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect()
        };
        let all = vec![note["id"].clone(), second.clone(), id.clone()];
        assert_eq!(history(json!({ "channel": workbox, "limit": 9 })).await, all);
        assert_eq!(history(json!({ "channel": workbox, "message_id": id, "direction": "ASC", "limit": 1 })).await, std::slice::from_ref(&second));
        assert_eq!(history(json!({ "channel": workbox, "message_id": second, "direction": "DESC", "limit": 9 })).await, std::slice::from_ref(&id));
        let page = office.gus.device.rpc("message.history", json!({ "channel": workbox, "limit": 9 })).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), 2, "a guest finds nothing internal");

        let marks = office.ben.device.rpc("receipt.received", json!({ "channel": workbox, "message_id": second })).await;
        assert_eq!(marks, json!({ "received_id": second, "read_id": 0, "unread": 3 }));
        let marks = office.ben.device.rpc("receipt.read", json!({ "channel": workbox, "message_id": id })).await;
        assert_eq!(marks, json!({ "received_id": second, "read_id": id, "unread": 2 }));
        // They only grow; no number means all there is.
        let marks = office.ben.device.rpc("receipt.read", json!({ "channel": workbox })).await;
        assert_eq!(marks, json!({ "received_id": note["id"], "read_id": note["id"], "unread": 0 }));
        let marks = office.ben.device.rpc("receipt.received", json!({ "channel": workbox, "message_id": id })).await;
        assert_eq!(marks["received_id"], note["id"]);

        office.ann.device.rpc("message.delete", json!({ "channel": workbox, "message_id": second })).await;
        let gone = office.ben.device.rpc("message.get", json!({ "channel": workbox, "message_id": second })).await;
        assert_eq!((&gone["deleted"], &gone["metadata"]), (&json!(true), &json!("{}")));
        let again = json!({ "channel": workbox, "message_id": second, "text": "x" });
        assert_eq!(office.ann.device.refused("message.edit", again).await, 404);
        let foreign = json!({ "channel": workbox, "message_id": id, "text": "x" });
        assert_eq!(office.ben.device.refused("message.edit", foreign).await, 403);
    }

    async fn an_idempotency_key_counts_once(db: TestDb) {
        let mut office = Office::open(db).await;
        let workbox = office.workbox();
        let keyed = |text: &str| json!({ "channel": workbox, "text": text, "idempotency_key": "k-1" });
        let ann = &mut office.ann.device;
        let first = ann.rpc("message.send", keyed("once")).await;
        assert_eq!(ann.rpc("message.send", keyed("once")).await["id"], first["id"]);
        assert_eq!(ann.refused("message.send", keyed("twice")).await, 409);
        // The key is the caller's own, and the action's own.
        let other = office.ben.device.rpc("message.send", keyed("once")).await;
        assert_ne!(other["id"], first["id"]);
        let made = json!({ "title": "New", "idempotency_key": "k-1" });
        let thread = ann.rpc("workbox.create", made.clone()).await;
        assert_eq!(ann.rpc("workbox.create", made).await["id"], thread["id"]);
        let page = ann.rpc("message.history", json!({ "channel": workbox, "limit": 9 })).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    }

    async fn what_is_published_is_sent_or_passed_on(db: TestDb) {
        let mut office = Office::open(db).await;
        let workbox = office.workbox();
        office.ben.device.follow_all(&workbox).await;
        office.ben.device.sees(&workbox, "workbox.created").await;
        office.ben.device.sees(&workbox, "guest.invited").await;
        office.ben.device.sees(&workbox, "guest.joined").await;
        let publish = |data: Value| json!({ "publish": { "channel": workbox, "data": data } });
        let ann = &mut office.ann.device;
        assert_eq!(ann.call(publish(json!({ "type": "message", "text": "plain" }))).await["publish"], json!({}));
        let told = office.ben.device.sees(&workbox, "message.created").await;
        assert_eq!(told["data"]["metadata"], "{\"message\":\"plain\"}");
        let forged = json!({ "type": "typing", "data": { "typing": true }, "actor": { "name": "Eve" }, "id": 1 });
        ann.call(publish(forged)).await;
        let glimpse = office.ben.device.glimpses(&workbox, "typing").await;
        assert_eq!((&glimpse["actor"]["name"], &glimpse["data"]), (&json!("Ann"), &json!({ "typing": true })));
        for (data, code) in [
            (json!({ "type": "pointer" }), 406),
            (json!({ "type": "message.created", "data": {} }), 406),
            (json!({ "type": "message" }), 406),
            (json!([]), 406),
            (json!({}), 406),
        ] {
            assert_eq!(ann.call(publish(data.clone())).await["error"]["code"], code, "{data}");
        }
        for stranger in [&mut office.carl.device, &mut office.otto.device] {
            let reply = stranger.call(publish(json!({ "type": "typing" }))).await;
            assert_eq!(reply["error"]["code"], 103, "{reply}");
            let reply = stranger.call(publish(json!({ "type": "message", "text": "x" }))).await;
            assert!(matches!(reply["error"]["code"].as_u64(), Some(103 | 404)), "{reply}");
        }
    }
}
