//! Sessions, rings and calls: what the actions do, and that REST shows the same.

use serde_json::{Value, json};

use crate::harness::db::on_both;
use crate::harness::office::{Office, lasting};

on_both! {
    async fn sessions_as_over_rest(db: TestDb) {
        let mut office = Office::open(db).await;
        let ann = &mut office.ann.device;
        let made = ann.rpc("session.create", json!({ "users": [office.ben.id] })).await;
        let again = ann.rpc("session.create", json!({ "contact_tokens": [office.ben.token] })).await;
        assert_eq!(again["id"], made["id"], "the same people");
        let fresh = ann.rpc("session.create", json!({ "users": [office.ben.id], "force_new": true })).await;
        assert_ne!(fresh["id"], made["id"]);
        let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
        let over_rest = office.server.get(&path).with(&office.ben.token).ok().await;
        let shown = office.ben.device.rpc("session.get", json!({ "session_id": made["id"] })).await;
        assert_eq!(lasting(&shown), lasting(&over_rest));
        assert_eq!(shown["stream"]["channel"], json!(format!("session:{}", made["id"].as_str().unwrap())));
        let list = ann.rpc("session.list", json!({})).await;
        assert_eq!((&list["total"], list["sessions"].as_array().unwrap().len()), (&json!(3), 3));
        assert_eq!(ann.refused("session.create", json!({ "users": [] })).await, 406);
        assert_eq!(ann.refused("session.create", json!({ "users": [office.otto.id] })).await, 404);
    }

    async fn rings_end_in_every_way(db: TestDb) {
        let mut office = Office::open(db).await;
        let inbox = format!("user:{}", office.ben.id);
        for kind in ["workbox.added", "session.added"] {
            // From before Ben's device was there to see it, or not: what counts comes next.
            let seen = office.ben.device.sees(&inbox, kind).await;
            assert_eq!(seen["data"]["token"], Value::Null);
        }
        let request = office.ring().await;
        office.ben.device.sees(&inbox, "ring.incoming").await;
        office.ann.device.rpc("ring.cancel", json!({ "request_id": request })).await;
        let stopped = office.ben.device.sees(&inbox, "ring.stopped").await;
        assert_eq!((&stopped["data"]["request_id"], &stopped["data"]["cause"]), (&request, &json!("cancelled")));
        assert_eq!(office.ann.device.refused("ring.cancel", json!({ "request_id": request })).await, 451);

        let request = office.ring().await;
        office.ben.device.sees(&inbox, "ring.incoming").await;
        let no = json!({ "request_id": request, "reason": 1, "message": "in a meeting" });
        assert_eq!(office.ben.device.rpc("ring.decline", no.clone()).await, json!({}));
        let stopped = office.ben.device.sees(&inbox, "ring.stopped").await;
        assert_eq!(stopped["data"]["cause"], "declined_elsewhere");
        assert_eq!(office.ben.device.refused("ring.decline", no).await, 451);

        // Who is not there cannot be rung, and a link may help.
        let carl = json!({ "users": [office.carl.id], "force_new": true });
        let session = office.ann.device.rpc("session.create", carl).await["id"].clone();
        let token = office.carl.token.clone();
        drop(std::mem::replace(&mut office.carl.device, crate::harness::device::Device::open(&office.server).await));
        let ring = json!({ "session_id": session });
        let mut state = json!("ringing");
        let deadline = tokio::time::Instant::now() + crate::harness::device::PATIENCE;
        while state == "ringing" {
            assert!(tokio::time::Instant::now() < deadline, "Carl is still thought to be there");
            let rung = office.ann.device.rpc("ring.start", ring.clone()).await;
            state = rung["requests"][0]["state"].clone();
            if state == "ringing" {
                let request = json!({ "request_id": rung["requests"][0]["request_id"] });
                office.ann.device.rpc("ring.cancel", request).await;
            }
        }
        assert_eq!(state, "unreachable");
        let device = crate::harness::device::Device::connect(&office.server, &token).await;
        office.carl.device = device;
        let rung = office.ann.device.rpc("ring.start", ring).await;
        assert_eq!(rung["requests"][0]["state"], "ringing");
        assert!(rung["session_auth"]["gss_info"]["token"].is_string());
    }

    async fn a_call_from_join_to_end(db: TestDb) {
        let mut office = Office::open(db).await;
        let talk = format!("session:{}", office.session);
        office.ben.device.follow_all(&talk).await;
        let call = office.call().await;
        let at = json!({ "call_id": call });
        let with = |mut data: Value| {
            data["call_id"] = call.clone();
            data
        };
        for kind in ["session.created", "ring.started", "ring.accepted", "call.started", "participant.joined", "participant.joined"] {
            office.ben.device.sees(&talk, kind).await;
        }
        let invite = json!({ "users": [office.carl.id], "workbox_id": office.thread });
        assert_eq!(office.ann.device.refused("session.create", invite.clone()).await, 404, "Carl is not in the thread");
        let coworkers = json!({ "workbox_id": office.thread, "coworker_ids": [office.ben.id, office.carl.id] });
        office.ann.device.rpc("workbox.participants.set", coworkers).await;
        office.ann.device.rpc("session.create", invite).await;
        office.ben.device.sees(&talk, "member.added").await;
        let joined = office.carl.device.rpc("call.join", json!({ "session_id": office.session })).await;
        assert_eq!((&joined["call_id"], joined["participants"].as_array().unwrap().len()), (&call, 3));
        assert_eq!(joined["media"], json!({ "kind": "p2p" }));
        office.ben.device.sees(&talk, "participant.joined").await;

        let owner = office.ann.id;
        assert_eq!(joined["owner_id"], json!(owner));
        assert_eq!(office.ben.device.refused("call.end", at.clone()).await, 403, "of three only the owner ends it");
        office.ann.device.rpc("call.transfer_owner", with(json!({ "user_id": office.ben.id }))).await;
        let changed = office.ben.device.sees(&talk, "owner.changed").await;
        assert_eq!((&changed["data"]["owner_id"], &changed["data"]["previous_owner_id"]), (&json!(office.ben.id), &json!(owner)));
        assert_eq!(office.ann.device.refused("call.transfer_owner", with(json!({ "user_id": owner }))).await, 403);
        office.ben.device.rpc("call.recording.start", at.clone()).await;
        office.ben.device.sees(&talk, "recording.started").await;
        office.ben.device.rpc("call.recording.stop", at.clone()).await;
        office.ben.device.sees(&talk, "recording.stopped").await;

        let offer = with(json!({ "to": office.ben.id, "payload": { "ice": [1, 2] } }));
        office.ann.device.rpc("call.signal", offer).await;
        let signal = office.ben.device.glimpses(&talk, "signal").await;
        assert_eq!(signal["data"], json!({ "call_id": call, "from": owner, "payload": { "ice": [1, 2] } }));
        let large = with(json!({ "to": office.ben.id, "payload": "x".repeat(64 * 1024) }));
        // Beyond the frame limit the connection ends; the limit of a signal is not above it.
        office.ann.device.say(&json!({ "id": 1_000, "rpc": { "method": "call.signal", "data": large } }).to_string());
        assert_eq!(office.ann.device.is_closed().await, 1009);

        office.ben.device.rpc("call.remove_participant", with(json!({ "user_id": office.carl.id }))).await;
        let left = office.ben.device.sees(&talk, "participant.left").await;
        assert_eq!((&left["data"]["user"]["id"], &left["data"]["reason"]), (&json!(office.carl.id), &json!("removed")));
        assert_eq!(office.carl.device.refused("call.join", json!({ "session_id": office.session })).await, 403);
        let tags = with(json!({ "tags": ["pump"], "rating": 4, "comment": "wet", "alt1_id": "T-1" }));
        office.ben.device.rpc("call.update", tags).await;
        for changed in ["references", "tags", "rating", "comment"] {
            let told = office.ben.device.sees(&talk, "call.updated").await;
            assert_eq!(told["data"]["call_id"], call, "{changed}");
        }
        office.ben.device.rpc("call.leave", at.clone()).await;
        office.ben.device.sees(&talk, "participant.left").await;
        assert_eq!(office.ben.device.refused("call.leave", at.clone()).await, 453);
        assert_eq!(office.ben.device.refused("call.signal", with(json!({ "to": owner, "payload": 1 }))).await, 453);
        let path = format!("/api/v1/calls/{}", call.as_str().unwrap());
        let record = office.server.get(&path).with(&office.ben.token).ok().await;
        assert_eq!((&record["tags"], &record["alt1_id"]), (&json!(["pump"]), &json!("T-1")));
        assert_eq!(record["ratings"][0]["rating"], "4");
    }

    async fn either_of_two_ends_a_call(db: TestDb) {
        let mut office = Office::open(db).await;
        let call = office.call().await;
        let again = office.ben.device.rpc("call.join", json!({ "session_id": office.session })).await;
        assert_eq!(again["call_id"], call, "who is in it already takes the place up again");
        office.ben.device.rpc("call.end", json!({ "call_id": call })).await;
        assert_eq!(office.ann.device.refused("call.end", json!({ "call_id": call })).await, 453);
    }

    async fn presence_devices_and_time(db: TestDb) {
        let mut office = Office::open(db).await;
        let ann = &mut office.ann.device;
        let asked = json!({ "users": [office.ben.id, office.otto.id, 999_999] });
        let presence = ann.rpc("presence.get", asked).await;
        assert_eq!(presence, json!({ "users": [{ "user_id": office.ben.id, "reachable": true, "status": presence["users"][0]["status"] }] }));
        let device = json!({ "device_id": "phone", "platform": "web", "push_id": "p-1" });
        assert_eq!(ann.rpc("devices.register", device.clone()).await, json!({}));
        assert_eq!(ann.rpc("devices.register", device).await, json!({}));
        assert_eq!(office.ben.device.refused("devices.remove", json!({ "push_id": "p-1" })).await, 473);
        assert_eq!(ann.rpc("devices.remove", json!({ "push_id": "p-1" })).await, json!({}));
        assert_eq!(ann.refused("devices.remove", json!({ "push_id": "p-1" })).await, 473);
        let strange = json!({ "device_id": "x", "platform": "pager", "push_id": "p" });
        assert_eq!(ann.refused("devices.register", strange).await, 472);
        let time = ann.rpc("server.time", json!({})).await;
        assert!(time["time"].as_str().unwrap().ends_with('Z'));
    }
}
