//! From the first ring to the records.

use serde_json::{Value, json};
use switchboard::store::sql;

use super::people::Story;

impl Story {
    pub async fn ring(&mut self) {
        let opening = json!({ "users": [self.ben.id], "workbox_id": self.thread });
        let session = self.ann.phone.rpc("session.create", opening).await;
        session["id"].as_str().unwrap().clone_into(&mut self.session);
        let talk = self.talk();
        for person in [&mut self.ann, &mut self.ben] {
            let told = person.is_told("session.added").await;
            assert_eq!((&told["session_id"], &told["workbox_id"]), (&session["id"], &json!(self.thread)));
        }
        self.everybody_follows(&talk).await;
        let created = self.everybody_sees(&talk, "session.created").await;
        assert_eq!(created["data"]["users"].as_array().unwrap().len(), 2);

        let rung = self.ann.phone.rpc("ring.start", json!({ "session_id": self.session })).await;
        let ring = &rung["requests"][0];
        assert_eq!((&ring["user_id"], &ring["state"]), (&json!(self.ben.id), &json!("ringing")));
        assert_eq!(rung["request_ids"], json!([ring["request_id"]]));
        let incoming = self.ben.is_told("ring.incoming").await;
        assert_eq!(incoming["request_id"], ring["request_id"]);
        assert_eq!(incoming["from"], json!({ "id": self.ann.id, "name": "Ann" }));
        let started = self.everybody_sees(&talk, "ring.started").await;
        assert_eq!(started["data"], incoming);
        assert_eq!(self.ring_state(&ring["request_id"]).await, "ringing");
    }

    async fn ring_state(&self, ring: &Value) -> String {
        let ring: uuid::Uuid = ring.as_str().unwrap().parse().unwrap();
        let row: (String,) =
            sql("select state from ring where id = $1").bind(ring).one(&self.server.db.db).await.unwrap();
        row.0
    }

    pub async fn answer_on_one_device(&mut self) {
        let (talk, workbox) = (self.talk(), self.workbox());
        let ring = self.ben.phone.seen(&self.ben.inbox()).1.last().unwrap()["data"]["request_id"].clone();
        let entered = self.ben.desk.rpc("ring.accept", json!({ "request_id": ring })).await;
        assert_eq!(entered["session_id"], json!(self.session));
        entered["call_id"].as_str().unwrap().clone_into(&mut self.call);
        // The phone falls silent, and is too late.
        let stopped = self.ben.is_told("ring.stopped").await;
        assert_eq!((&stopped["request_id"], &stopped["cause"]), (&ring, &json!("accepted_elsewhere")));
        assert_eq!(self.ben.phone.refused("ring.accept", json!({ "request_id": ring })).await, 451);
        assert_eq!(self.ben.phone.refused("ring.decline", json!({ "request_id": ring })).await, 451);
        assert_eq!(self.ring_state(&ring).await, "accepted");

        let joined = self.ann.phone.rpc("call.join", json!({ "session_id": self.session })).await;
        assert_eq!((&joined["call_id"], &joined["started"]), (&json!(self.call), &json!(true)));
        assert_eq!(joined["participants"].as_array().unwrap().len(), 2);
        self.everybody_sees(&talk, "ring.accepted").await;
        let started = self.everybody_sees(&talk, "call.started").await;
        assert_eq!(started["data"]["dialer"]["id"], json!(self.ann.id));
        let who = [self.ann.id, self.ben.id];
        for person in who {
            let joined = self.everybody_sees(&talk, "participant.joined").await;
            assert_eq!(joined["data"]["user"]["id"], json!(person));
        }
        let told = self.everybody_sees(&workbox, "call.started").await;
        assert_eq!(told["data"], started["data"]);

        // Whoever looks now, by whatever door, finds the call.
        let key = &self.keys[1];
        let active = self.server.get("/api/v1r1/workbox/active_call").with(key).ok().await;
        assert_eq!((&active["id"], &active["video_active"]), (&json!(self.session), &json!(true)));
        let path = format!("/api/v1/calls/{}", self.call);
        let record = self.server.get(&path).with(self.ben.token()).ok().await;
        assert_eq!((&record["timeCallEnded"], &record["reasonCallEnded"]), (&json!(""), &json!("")));
        assert_eq!(
            self.ben
                .phone
                .refused("ring.start", json!({ "session_id": "00000000-0000-7000-8000-000000000000" }))
                .await,
            404
        );
        self.signal().await;
    }

    /// Ann's offer reaches Ben's devices, and nobody else's.
    async fn signal(&mut self) {
        let talk = self.talk();
        let offer = json!({ "call_id": self.call, "to": self.ben.id, "payload": { "sdp": "v=0" } });
        self.ann.phone.rpc("call.signal", offer).await;
        for device in self.ben.devices() {
            let signal = device.glimpses(&talk, "signal").await;
            assert_eq!(signal["data"]["payload"], json!({ "sdp": "v=0" }));
            assert_eq!(signal["data"]["from"], json!(self.ann.id));
        }
    }

    pub async fn attach_during_the_call(&mut self) {
        let (talk, workbox) = (self.talk(), self.workbox());
        let file = json!({
            "attachment": "aGVsbG8=", "name": "valve.txt", "mime_type": "text/plain", "type": "incall",
            "timestamp": 1_790_000_000,
        });
        let path = format!("/api/v1r1/user/calls/{}/attachments", self.call);
        let made = self.server.post(&path, file).with(self.ann.token()).ok().await;
        let told = self.everybody_sees(&talk, "attachment.created").await;
        assert_eq!((&told["data"]["id"], &told["data"]["name"]), (&made["id"], &json!("valve.txt")));
        assert_eq!(told["data"]["signed_url"], Value::Null);
        assert_eq!(self.everybody_sees(&workbox, "attachment.created").await["data"], told["data"]);
        let listed = self.server.get(&path).with(self.ben.token()).ok().await;
        assert_eq!((&listed[0]["id"], &listed[0]["size"]), (&made["id"], &json!(5)));
    }

    /// Ben's desk loses its network: nobody says so, but its time runs out, and Ann is left alone.
    pub async fn lose_the_connection(&mut self) {
        let (talk, workbox) = (self.talk(), self.workbox());
        self.ben.desk.freeze();
        let watchers = [&mut self.ann.phone, &mut self.ann.desk, &mut self.ben.phone];
        for device in watchers {
            let left = device.sees(&talk, "participant.left").await;
            assert_eq!(
                (&left["data"]["reason"], &left["data"]["user"]["id"]),
                (&json!("lost"), &json!(self.ben.id))
            );
            let left = device.sees(&talk, "participant.left").await;
            assert_eq!(
                (&left["data"]["reason"], &left["data"]["user"]["id"]),
                (&json!("ended"), &json!(self.ann.id))
            );
            let ended = device.sees(&talk, "call.ended").await;
            assert_eq!(
                (&ended["data"]["reason"], &ended["data"]["call_id"]),
                (&json!("empty"), &json!(self.call))
            );
            assert_eq!(device.sees(&workbox, "call.ended").await["data"], ended["data"]);
        }
        let rows: Vec<(i64, Option<String>)> =
            sql("select person_id, leave_reason from call_participant where call_id = $1 order by person_id")
                .bind(self.call.as_str())
                .all(&self.server.db.db)
                .await
                .unwrap();
        assert_eq!(rows, [(self.ann.id, Some("ended".to_owned())), (self.ben.id, Some("lost".to_owned()))]);
        // The desk is back, with what it knew when its network went.
        let known = self.ben.desk.positions();
        let token = &self.ben.tokens[1];
        self.ben.desk = crate::harness::device::Device::come_back(&self.server, token, &known).await;
        for kind in ["participant.left", "participant.left", "call.ended"] {
            self.ben.desk.sees(&talk, kind).await;
        }
        self.ben.desk.sees(&workbox, "call.ended").await;
        assert_eq!(self.ben.desk.welcome["active_call"], Value::Null);
    }

    pub async fn look_at_the_records(&mut self) {
        let (ann, ben) = (self.ann.token(), self.ben.token());
        let path = format!("/api/v1/calls/{}", self.call);
        let record = self.server.get(&path).with(ann).ok().await;
        assert_eq!(
            (&record["reasonCallEnded"], &record["has_attachments"]),
            (&json!("Call Ended"), &json!(true))
        );
        assert_eq!(
            (&record["session_id"], &record["workbox_id"]),
            (&json!(self.session), &json!(self.thread))
        );
        assert_eq!(record["dialerId"], json!(self.ann.id.to_string()));
        assert_eq!(record["receiverId"], json!(self.ben.id.to_string()));
        assert_eq!(record["participants"].as_array().unwrap().len(), 2);
        assert_eq!(record["requests"][0]["requests"][0]["reason"], "accepted");
        assert_eq!(self.server.get(&path).with(ben).ok().await, record);
        for (token, outgoing) in [(ann, true), (ben, false)] {
            let recent = self.server.get("/api/v1/calls/recent").with(token).ok().await;
            assert_eq!(recent.as_array().unwrap().len(), 1, "{recent}");
            assert_eq!(
                (&recent[0]["call_id"], &recent[0]["outgoing"]),
                (&json!(self.call), &json!(outgoing))
            );
            assert_eq!(
                (&recent[0]["reason"], &recent[0]["has_attachments"]),
                (&json!("accepted"), &json!(true))
            );
            let entries = self.server.get(&format!("{path}/event_stream")).with(token).ok().await;
            let kinds: Vec<&str> = entries
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["data"]["event_type"].as_str().or(entry["type"].as_str()).unwrap())
                .collect();
            assert_eq!(
                kinds,
                [
                    "request",
                    "call_started",
                    "participant_joined",
                    "participant_joined",
                    "attachment",
                    "participant_left",
                    "participant_left",
                    "call_ended"
                ]
            );
        }
    }

    /// Everything is there, and goes on where it was.
    pub async fn go_on_after_the_restart(&mut self) {
        self.messages_are_stored().await;
        self.look_at_the_records().await;
        let workbox = self.workbox();
        let sent = self.ann.desk.rpc("message.send", json!({ "channel": workbox, "text": "Fixed" })).await;
        let told = self.everybody_sees(&workbox, "message.created").await;
        assert_eq!(told["data"]["id"], sent["id"]);
        assert_eq!(self.ann.desk.positions()[&workbox].offset, sent["offset"].as_u64().unwrap());
        assert!(sent["id"].as_i64().unwrap() > *self.messages.last().unwrap());
        self.server.post("/api/v1r1/workbox/close", json!({})).with(&self.keys[0]).ok().await;
        self.everybody_sees(&workbox, "workbox.closed").await;
        let late = json!({ "channel": workbox, "text": "One more thing" });
        assert_eq!(self.ben.phone.refused("message.send", late).await, 409);
    }
}
