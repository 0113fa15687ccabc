//! The help thread: opened over REST, talked in over socket and REST.

use serde_json::{Value, json};
use switchboard::store::sql;

use super::people::Story;

const WORKBOX: &str = "/api/v1r1/workbox";
const WORKBOXES: &str = "/api/v1r1/workboxes";
const UUID: &str = "7b0b5a4e-0d0e-4f5c-9d4c-5a3f4b1c2d3e";

impl Story {
    pub async fn open_a_thread(&mut self) {
        let body = json!({ "title": "The pump leaks", "participants": [{ "id": self.ben.id }] });
        let made = self.server.post(WORKBOXES, body).with(self.ann.token()).ok().await;
        self.thread = made["id"].as_i64().unwrap();
        for person in [&mut self.ann, &mut self.ben] {
            let told = person.is_told("workbox.added").await;
            assert_eq!((&told["id"], &told["title"]), (&made["id"], &made["title"]));
            assert_eq!(told["token"], Value::Null);
        }
        let seen = self.server.get(&format!("{WORKBOXES}/{}", self.thread)).with(self.ben.token()).ok().await;
        assert_eq!((&seen["status"], &seen["unread_messages_count"]), (&json!("REPORTED"), &json!(0)));
        assert_eq!(seen["participants"].as_array().unwrap().len(), 2);
        assert_eq!(seen["stream"], made["stream"]);
        self.keys = [&made, &seen].map(|view| view["token"].as_str().unwrap().to_owned());

        let (workbox, internal) = (self.workbox(), format!("internal:{}", self.thread));
        self.everybody_follows(&workbox).await;
        self.everybody_follows(&internal).await;
        let created = self.everybody_sees(&workbox, "workbox.created").await;
        assert_eq!(created["actor"], json!({ "kind": "user", "id": self.ann.id, "name": "Ann" }));
        assert_eq!(created["data"]["participants"].as_array().unwrap().len(), 2);
    }

    pub async fn chat(&mut self) {
        let workbox = self.workbox();
        self.somebody_types().await;
        // Ann writes over REST.
        let body =
            json!({ "type": "Text", "version": 2, "username": "Ann", "metadata": { "message": "It drips" } });
        let sent = self.server.post(&format!("{WORKBOX}/messages"), body).with(&self.keys[0]).ok().await;
        let told = self.everybody_sees(&workbox, "message.created").await;
        assert_eq!((&told["data"]["id"], &told["data"]["uuid"]), (&sent["id"], &sent["uuid"]));
        assert_eq!(told["data"]["metadata"], sent["metadata"]);
        self.messages.push(sent["id"].as_i64().unwrap());
        self.unread([0, 1]).await;

        // Ben's phone has received it, his desk shows it to him.
        let mark = json!({ "channel": workbox, "message_id": sent["id"] });
        let marks = self.ben.phone.rpc("receipt.received", mark.clone()).await;
        assert_eq!(marks, json!({ "received_id": sent["id"], "read_id": 0, "unread": 1 }));
        self.receipt(self.ben.id, &sent["id"], &json!(0)).await;
        let marks = self.ben.desk.rpc("receipt.read", mark).await;
        assert_eq!(marks, json!({ "received_id": sent["id"], "read_id": sent["id"], "unread": 0 }));
        self.receipt(self.ben.id, &sent["id"], &sent["id"]).await;
        self.unread([0, 0]).await;
        let status = self.server.get(&format!("{WORKBOX}/receipt_status")).with(&self.keys[0]).ok().await;
        assert_eq!(status["most_recent_all_read"], sent["id"]);

        // Ben answers over the socket, twice for lack of an answer; Ann reads it over REST.
        let answer = json!({ "channel": workbox, "uuid": UUID, "text": "Since when?" });
        let first = self.ben.desk.rpc("message.send", answer.clone()).await;
        let again = self.ben.desk.rpc("message.send", answer).await;
        assert_eq!((&again["id"], &again["offset"]), (&first["id"], &first["offset"]));
        let told = self.everybody_sees(&workbox, "message.created").await;
        assert_eq!((&told["data"]["id"], &told["data"]["uuid"]), (&first["id"], &json!(UUID)));
        assert_eq!(told["actor"]["name"], "Ben");
        self.messages.push(first["id"].as_i64().unwrap());
        self.unread([1, 0]).await;
        let path = format!("{WORKBOX}/messages/-1/last_read_message");
        self.server.post(&path, json!({})).with(&self.keys[0]).ok().await;
        self.receipt(self.ann.id, &first["id"], &first["id"]).await;
        self.unread([0, 0]).await;

        // Ben corrects himself, and Ann notes something that a guest would not see.
        let edit =
            json!({ "channel": workbox, "message_id": first["id"], "text": "Since when, and how much?" });
        self.ben.desk.rpc("message.edit", edit).await;
        let told = self.everybody_sees(&workbox, "message.edited").await;
        assert_eq!((&told["data"]["id"], &told["data"]["edited"]), (&first["id"], &json!(true)));
        let internal = format!("internal:{}", self.thread);
        let note =
            self.ann.desk.rpc("message.send", json!({ "channel": internal, "text": "Old pump" })).await;
        assert_eq!(note["internal"], true);
        let told = self.everybody_sees(&internal, "message.created").await;
        assert_eq!(told["data"]["id"], note["id"]);
        self.unread([0, 1]).await;
        let mark = json!({ "channel": internal, "message_id": note["id"] });
        self.ben.phone.rpc("receipt.read", mark).await;
        self.unread([0, 0]).await;
        self.whole_truth_is_told_inside(&note["id"]).await;
        self.messages_are_stored().await;
    }

    async fn somebody_types(&mut self) {
        let workbox = self.workbox();
        self.ann.phone.rpc("typing.set", json!({ "channel": workbox })).await;
        for device in self.devices() {
            let glimpse = device.glimpses(&workbox, "typing").await;
            assert_eq!(
                (&glimpse["actor"]["name"], &glimpse["data"]),
                (&json!("Ann"), &json!({ "typing": true }))
            );
        }
    }

    /// The next receipt on the thread's stream says how far somebody is.
    async fn receipt(&mut self, person: i64, received: &Value, read: &Value) {
        let workbox = self.workbox();
        let told = self.everybody_sees(&workbox, "receipt.updated").await;
        let want = json!([{ "user_id": person, "received_id": received, "read_id": read }]);
        assert_eq!(told["data"]["receipts"], want, "{told}");
    }

    /// A watermark on an internal message is told on the internal stream; the other one hears of the newest message
    /// that guests may see.
    async fn whole_truth_is_told_inside(&mut self, note: &Value) {
        let newest = json!(self.messages[1]);
        self.receipt(self.ben.id, &newest, &newest).await;
        let internal = format!("internal:{}", self.thread);
        let told = self.everybody_sees(&internal, "receipt.updated").await;
        assert_eq!(told["data"]["receipts"][0]["read_id"], *note);
    }

    /// What Ann and Ben have not read, in the list over REST.
    async fn unread(&self, counts: [i64; 2]) {
        for (person, count) in [&self.ann, &self.ben].into_iter().zip(counts) {
            let list = self.server.get(&format!("{WORKBOXES}?limit=20")).with(person.token()).ok().await;
            let entry = &list["entries"][0];
            assert_eq!((&entry["id"], &entry["unread_messages_count"]), (&json!(self.thread), &json!(count)));
        }
    }

    /// The thread's messages as rows, and as both people find them over REST.
    pub async fn messages_are_stored(&self) {
        let rows: Vec<(i64, bool)> =
            sql("select id, internal from message where conversation_id = $1 order by id")
                .bind(self.thread)
                .all(&self.server.db.db)
                .await
                .unwrap();
        let open: Vec<i64> = rows.iter().filter(|(_, internal)| !internal).map(|(id, _)| *id).collect();
        assert_eq!((open, rows.len()), (self.messages.clone(), self.messages.len() + 1));
        let revisions: Vec<(i64,)> =
            sql("select message_id from message_revision where conversation_id = $1")
                .bind(self.thread)
                .all(&self.server.db.db)
                .await
                .unwrap();
        assert_eq!(revisions, [(self.messages[1],)]);
        for key in &self.keys {
            let found =
                self.server.get(&format!("{WORKBOX}/messages/recent_history?limit=50")).with(key).ok().await;
            let ids: Vec<i64> =
                found.as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect();
            assert_eq!(ids, rows.iter().rev().map(|(id, _)| *id).collect::<Vec<_>>());
        }
    }
}
