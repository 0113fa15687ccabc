//! What a connection may do is what its token may do: tokens of one place stay in that place, whoever they were made for.

use serde_json::json;

use crate::harness::office::Office;
use crate::harness::{db::on_both, device::Device};

/// The code with which a channel is refused.
async fn refused(device: &mut Device, channel: &str) -> u64 {
    let reply = device.call(json!({ "subscribe": { "channel": channel } })).await;
    reply["error"]["code"].as_u64().unwrap_or_else(|| panic!("{channel}: {reply}"))
}

on_both! {
    async fn a_session_token_is_for_its_session(db: TestDb) {
        let mut office = Office::open(db).await;
        let shown = office.ann.device.rpc("session.get", json!({ "session_id": office.session })).await;
        let other = office.ann.device.rpc("session.create", json!({ "users": [office.carl.id] })).await;
        let mut device = Device::connect(&office.server, shown["token"].as_str().unwrap()).await;
        assert_eq!(device.channels().count(), 0, "no inbox");
        // In its own session everything, named or not.
        device.follow_all(&format!("session:{}", office.session)).await;
        assert_eq!(device.rpc("session.get", json!({})).await["id"], json!(office.session));
        let rung = device.rpc("ring.start", json!({ "session_id": office.session })).await;
        let request = json!({ "request_id": rung["requests"][0]["request_id"] });
        let entered = office.ben.device.rpc("ring.accept", request).await;
        device.rpc("call.join", json!({})).await;
        device.rpc("call.leave", json!({ "call_id": entered["call_id"] })).await;
        // Elsewhere nothing: neither another session, nor the person's threads, nor the person.
        assert_eq!(device.refused("session.get", json!({ "session_id": other["id"] })).await, 450);
        assert_eq!(device.refused("ring.start", json!({ "session_id": other["id"] })).await, 450);
        for channel in [office.workbox(), office.internal(), format!("user:{}", office.ann.id), format!("session:{}", other["id"].as_str().unwrap())] {
            assert_eq!(refused(&mut device, &channel).await, 103, "{channel}");
        }
        let workbox = office.workbox();
        for (method, data) in [
            ("workbox.list", json!({})),
            ("workbox.get", json!({ "channel": workbox })),
            ("workbox.create", json!({ "title": "x" })),
            ("message.send", json!({ "channel": workbox, "text": "x" })),
            ("message.history", json!({ "channel": workbox })),
            ("receipt.read", json!({ "channel": workbox })),
            ("session.create", json!({ "users": [office.carl.id] })),
            ("session.list", json!({})),
            ("devices.register", json!({ "device_id": "x", "platform": "web", "push_id": "x" })),
        ] {
            assert_eq!(device.refused(method, data).await, 403, "{method}");
        }
        assert_eq!(device.refused("typing.set", json!({ "channel": workbox })).await, 404);
        let sneaked = json!({ "publish": { "channel": workbox, "data": { "type": "message", "text": "x" } } });
        assert_eq!(device.call(sneaked).await["error"]["code"], 403);
    }

    async fn a_workbox_token_is_for_its_thread(db: TestDb) {
        let mut office = Office::open(db).await;
        let other = office.ann.device.rpc("workbox.create", json!({ "title": "Another" })).await["id"].clone();
        let key = office.key_of(&office.ann.token).await;
        let mut device = Device::connect(&office.server, &key).await;
        assert_eq!(device.channels().count(), 0, "no inbox");
        let (workbox, elsewhere) = (office.workbox(), format!("workbox:{other}"));
        device.follow_all(&workbox).await;
        device.follow_all(&office.internal()).await;
        device.rpc("message.send", json!({ "channel": workbox, "text": "by key" })).await;
        device.rpc("workbox.update", json!({ "channel": workbox, "title": "By key" })).await;
        let session = device.rpc("session.create", json!({})).await;
        assert_eq!(session["id"], json!(office.session), "the thread's own");
        for channel in [elsewhere.clone(), format!("user:{}", office.ann.id), format!("session:{}", office.session)] {
            assert_eq!(refused(&mut device, &channel).await, 103, "{channel}");
        }
        for (method, data, code) in [
            ("workbox.get", json!({ "channel": elsewhere }), 404),
            ("message.send", json!({ "channel": elsewhere, "text": "x" }), 404),
            ("session.create", json!({ "users": [office.ben.id], "workbox_id": other }), 404),
            ("workbox.list", json!({}), 403),
            ("workbox.create", json!({ "title": "x" }), 403),
            ("session.list", json!({}), 403),
            ("ring.start", json!({ "session_id": office.session }), 403),
            ("presence.get", json!({ "users": [office.ben.id] }), 403),
        ] {
            assert_eq!(device.refused(method, data).await, code, "{method}");
        }
    }

    async fn what_a_token_lacks_it_lacks_here(db: TestDb) {
        let office = Office::open(db).await;
        let admin = office.server.administer("ada@acme.test").await;
        let path = format!(
            "/api/v1r1/enterprise/impersonate/{}?remove_permissions=use_workboxes,call,edit_account,view_contacts",
            office.ann.id
        );
        let acting = office.server.get(&path).with(&admin).ok().await["token"].as_str().unwrap().to_owned();
        let mut device = Device::connect(&office.server, &acting).await;
        let (workbox, talk) = (office.workbox(), format!("session:{}", office.session));
        for (method, data) in [
            ("workbox.list", json!({})),
            ("message.send", json!({ "channel": workbox, "text": "x" })),
            ("receipt.read", json!({ "channel": workbox })),
            ("typing.set", json!({ "channel": workbox })),
            ("session.list", json!({})),
            ("ring.start", json!({ "session_id": office.session })),
            ("presence.get", json!({ "users": [1] })),
            ("devices.remove", json!({ "push_id": "x" })),
        ] {
            assert_eq!(device.refused(method, data).await, 403, "{method}");
        }
        for channel in [&workbox, &talk] {
            assert_eq!(refused(&mut device, channel).await, 103, "{channel}");
        }
        assert!(device.rpc("server.time", json!({})).await["time"].is_string());
    }

    async fn services_see_what_administrators_see(db: TestDb) {
        let office = Office::open(db).await;
        let admin = office.server.administer("ada@acme.test").await;
        let mut device = Device::connect(&office.server, &admin).await;
        for channel in [format!("org:{}", office.server.acme.organization.id), office.workbox(), office.internal()] {
            device.follow_all(&channel).await;
        }
        for channel in [format!("org:{}", office.server.other.organization.id), format!("session:{}", office.session)] {
            assert_eq!(refused(&mut device, &channel).await, 103, "{channel}");
        }
        assert_eq!(device.refused("message.send", json!({ "channel": office.workbox(), "text": "x" })).await, 403);
        let presence = device.rpc("presence.get", json!({ "users": [office.ben.id, office.otto.id] })).await;
        assert_eq!(presence["users"].as_array().unwrap().len(), 1);
        let foreign = office.server.administer("otto@other.test").await;
        let mut foreign = Device::connect(&office.server, &foreign).await;
        assert_eq!(refused(&mut foreign, &office.workbox()).await, 103);
    }
}
