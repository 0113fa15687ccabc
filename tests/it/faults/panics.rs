//! An actor that panics: the caller of what it was doing gets an error that tells them to try again, it comes back from
//! what is stored, and nobody else notices.

use serde_json::{Value, json};
use switchboard::domain::{
    codes::Code,
    ids::{ConversationId, SessionId},
};

use crate::harness::{
    app::{IMPATIENT, Server},
    db::on_both,
    device::Device,
    office::Office,
};

/// Makes the owner of a thread panic in the middle of a change.
async fn break_thread(server: &Server, id: i64) {
    let conversations = server.kernel().conversations().clone();
    let broken = server.kernel().runtime().spawn(async move {
        conversations
            .decide::<()>(ConversationId(id), |state, _| {
                state.rename("half done".to_owned());
                panic!("as the test wants it")
            })
            .await
    });
    let error = broken.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), (Code::Unavailable, true));
}

/// Sends a message; it is taken, whatever happens to the owner of the thread.
async fn send(device: &mut Device, channel: &str, uuid: &str) {
    let data = json!({ "channel": channel, "uuid": uuid, "text": uuid });
    device.rpc("message.send", data).await;
}

/// Whether a panic is counted before patience ends: its caller is answered first, while the actor still unwinds.
async fn panics(server: &Server, kind: &str) -> bool {
    let wanted = format!("switchboard_actor_panics_total{{kind=\"{kind}\"}} ");
    let counted = async {
        while !server.get("/metrics").send().await.response.text().contains(&wanted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), counted).await.is_ok()
}

on_both! {
    async fn a_thread_comes_back(db: TestDb) {
        let mut office = Office::open_with(db, IMPATIENT).await;
        let (channel, id) = (office.workbox(), office.thread);
        let other = office.carl.device.rpc("workbox.create", json!({ "title": "Elsewhere" })).await["id"].clone();
        let elsewhere = format!("workbox:{other}");
        office.ben.device.follow_all(&channel).await;
        office.carl.device.follow_all(&elsewhere).await;
        let Office { server, ann, ben, carl, .. } = &mut office;
        let uuid = |place: u32, number: u32| format!("00000000-0000-4000-8000-{place:04}{number:08}");
        let writing = async {
            for number in 0..60 {
                send(&mut ann.device, &channel, &uuid(1, number)).await;
            }
        };
        let undisturbed = async {
            for number in 0..60 {
                send(&mut carl.device, &elsewhere, &uuid(2, number)).await;
            }
        };
        let breaking = async {
            for _ in 0..5 {
                break_thread(server, id).await;
            }
        };
        tokio::join!(writing, undisturbed, breaking);
        break_thread(server, id).await;
        assert!(panics(server, "conversation").await);

        // Each message is there once, everybody was told once, and nothing of the half done change is left.
        let mut told = Vec::new();
        while told.len() < 60 {
            let offset = ben.device.positions()[&channel].offset;
            ben.device.reaches(&channel, offset + 1).await;
            told = ben.device.seen(&channel).1.iter().filter(|event| event["type"] == "message.created").collect();
        }
        let told: Vec<&Value> = told.iter().map(|event| &event["data"]["uuid"]).collect();
        assert_eq!(told, (0..60).map(|number| json!(uuid(1, number))).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        let shown = ann.device.rpc("workbox.get", json!({ "channel": channel })).await;
        assert_eq!(shown["title"], "The pump leaks");
        let marks = ben.device.rpc("receipt.read", json!({ "channel": channel })).await;
        assert_eq!(marks["unread"], 0);
        let renamed = ann.device.rpc("workbox.update", json!({ "channel": channel, "title": "Dry" })).await;
        assert_eq!(renamed["title"], "Dry");
    }

    async fn a_call_goes_on(db: TestDb) {
        let mut office = Office::open_with(db, IMPATIENT).await;
        let talk = format!("session:{}", office.session);
        let call = office.call().await;
        let id: SessionId = office.session.parse().unwrap();
        let break_it = async |server: &Server| {
            let sessions = server.kernel().sessions().clone();
            let look = async move { sessions.look(id, |_| panic!("as the test wants it")).await };
            let outcome: Result<(), _> = server.kernel().runtime().spawn(look).await.unwrap();
            assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
        };
        break_it(&office.server).await;
        assert!(panics(&office.server, "call_session").await);
        // Both are in the same call, and their leases run on.
        let joined = office.ann.device.rpc("call.join", json!({ "session_id": office.session })).await;
        assert_eq!((&joined["call_id"], joined["participants"].as_array().unwrap().len()), (&call, 2));
        office.ann.device.follow_all(&talk).await;
        for kind in ["session.created", "ring.started", "ring.accepted", "call.started", "participant.joined", "participant.joined"] {
            office.ann.device.sees(&talk, kind).await;
        }
        // Its timers come back with it, although nobody asks it for anything.
        office.ben.device.freeze();
        break_it(&office.server).await;
        let left = office.ann.device.sees(&talk, "participant.left").await;
        assert_eq!((&left["data"]["reason"], &left["data"]["user"]["id"]), (&json!("lost"), &json!(office.ben.id)));
        office.ann.device.sees(&talk, "participant.left").await;
        office.ann.device.sees(&talk, "call.ended").await;
    }
}
