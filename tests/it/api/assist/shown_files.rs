//! Files that messages show: fresh addresses for readers, none in what is stored, and all of it goes with the message.

use std::path::Path;

use serde_json::{Value, json};
use switchboard::store::sql;

use crate::{
    harness::{app::Server, db::on_both},
    http::client,
};

const WORKBOX: &str = "/api/v1r1/workbox";
const NAME: &str = "plan-of-the-pump.txt";

/// A thread of Ann with Ben: tokens of both for it.
struct Story {
    server: Server,
    ann: String,
    ben: String,
    ben_id: i64,
}

impl Story {
    async fn begin(db: crate::harness::db::TestDb) -> Self {
        let server = Server::start_with(db, "[retention]\nsweep_seconds = 1\n").await;
        server.hire("Ann").await;
        let ben_id = server.hire("Ben").await;
        let (ann, ben) = Self::thread(&server, ben_id).await;
        Self { server, ann, ben, ben_id }
    }

    async fn thread(server: &Server, ben: i64) -> (String, String) {
        let (ann, of_ben) = (server.sign_in("ann@acme.test").await, server.sign_in("ben@acme.test").await);
        let body = json!({ "title": "Pump", "participants": [ben] });
        let made = server.post("/api/v1r1/workboxes", body).with(&ann).ok().await;
        let seen = server.get(&format!("/api/v1r1/workboxes/{}", made["id"])).with(&of_ben).ok().await;
        (text(&made["token"]), text(&seen["token"]))
    }

    async fn upload(&self, token: &str, internal: bool) -> Value {
        let part = |name: &str, rest: &str, content: &str| {
            format!("--XX\r\ncontent-disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{content}\r\n")
        };
        let file = format!("; filename=\"{NAME}\"\r\ncontent-type: text/plain");
        let body = [
            part("internal", "", &internal.to_string()),
            part("attachment", &file, "turn it off, then on"),
            "--XX--\r\n".to_owned(),
        ];
        let head = format!(
            "POST {WORKBOX}/attachments\nauthorization: {token}\ncontent-type: multipart/form-data; boundary=XX"
        );
        let response = client::send(self.server.address, &head, &body.concat()).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    async fn send(&self, token: &str, metadata: Value, internal: bool) -> Value {
        let message = json!({ "type": "Document", "version": 2, "username": "x", "metadata": metadata, "internal": internal });
        self.server.post(&format!("{WORKBOX}/messages"), message).with(token).ok().await
    }

    /// What the address that a message shows leads to.
    async fn open(&self, message: &Value) -> client::Response {
        let path = address(message);
        let path = &path[path.find("/files/").expect("a signed address")..];
        client::send(self.server.address, &format!("GET {path}"), "").await
    }

    async fn events(&self) -> Vec<String> {
        let rows: Vec<(String,)> =
            sql("select data from event order by seq").all(&self.server.db.db).await.unwrap();
        rows.into_iter().map(|(data,)| data).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn metadata(message: &Value) -> Value {
    serde_json::from_str(message["metadata"].as_str().unwrap()).unwrap()
}

fn address(message: &Value) -> String {
    text(&metadata(message)["url"])
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

on_both! {
    async fn readers_get_fresh_addresses_and_the_log_none(db: TestDb) {
        let story = Story::begin(db).await;
        let file = story.upload(&story.ann, false).await;
        let sent = story.send(&story.ann, json!({ "url": file["signed_url"], "filename": NAME }), false).await;
        assert_eq!(metadata(&sent)["attachment_id"], file["id"]);
        assert_eq!(story.open(&sent).await.text(), "turn it off, then on");
        // Addresses live a quarter of an hour, messages longer.
        story.server.wait(1_200);
        assert_ne!(story.open(&sent).await.status, 200);
        let ben = story.server.sign_in("ben@acme.test").await;
        let boxes = story.server.get("/api/v1r1/workboxes").with(&ben).ok().await;
        let entry = &boxes["entries"][0];
        assert_eq!(story.open(&entry["last_message"]).await.status, 200);
        let token = text(&entry["token"]);
        let seen = story.server.get(&format!("{WORKBOX}/messages")).with(&token).ok().await;
        assert_eq!(story.open(&seen["entries"][0]).await.text(), "turn it off, then on");
        let events = story.events().await.concat();
        assert!(events.contains(NAME) && !events.contains("/files/"), "{events}");
    }

    async fn an_attachment_is_shown_by_number_in_its_own_thread_only(db: TestDb) {
        let story = Story::begin(db).await;
        let file = story.upload(&story.ann, false).await;
        let sent = story.send(&story.ann, json!({ "attachment_id": file["id"] }), false).await;
        assert_eq!(metadata(&sent)["filename"], NAME);
        assert_eq!(story.open(&sent).await.status, 200);
        let secret = story.upload(&story.ann, true).await;
        story.send(&story.ann, json!({ "attachment_id": secret["id"] }), true).await;
        let (other, _) = Story::thread(&story.server, story.ben_id).await;
        for (token, metadata) in [
            (&other, json!({ "attachment_id": file["id"] })),
            (&other, json!({ "url": file["signed_url"], "filename": NAME })),
            (&story.ann, json!({ "attachment_id": secret["id"] })),
            (&story.ann, json!({ "attachment_id": 77_777 })),
        ] {
            let message = json!({ "type": "Document", "version": 2, "username": "x", "metadata": metadata });
            let call = story.server.post(&format!("{WORKBOX}/messages"), message).with(token);
            assert_eq!(call.refused().await.0, 400, "{metadata}");
        }
        // What somebody claims of a name is not believed.
        let claim = json!({ "url": "https://elsewhere.test/x", "filename": "x", "attachment_uuid": secret["uuid"] });
        let sent = story.send(&story.ben, claim, false).await;
        assert_eq!(address(&sent), "https://elsewhere.test/x");
    }

    async fn a_deleted_message_takes_its_file_along(db: TestDb) {
        let story = Story::begin(db).await;
        let folder = story.server.files();
        let file = story.upload(&story.ann, false).await;
        let sent = story.send(&story.ann, json!({ "url": file["signed_url"], "filename": NAME }), false).await;
        // Ben shows it too; it is not his, so it stays when his message goes.
        let shown = story.send(&story.ben, json!({ "url": file["signed_url"], "filename": NAME }), false).await;
        assert_eq!(files(&folder), 1);
        let path = |message: &Value| format!("{WORKBOX}/messages/{}", message["id"]);
        story.server.delete(&path(&shown)).with(&story.ben).ok().await;
        assert_eq!(story.open(&sent).await.status, 200);
        story.server.delete(&path(&sent)).with(&story.ann).ok().await;
        assert_eq!(story.open(&sent).await.status, 404);
        assert_eq!(files(&folder), 0);
        let list = story.server.get(&format!("{WORKBOX}/attachments")).with(&story.ann).ok().await;
        assert_eq!(list["entries"], json!([]));
        let events = story.events().await;
        assert!(!events.concat().contains(NAME), "{events:#?}");
        assert!(events.iter().any(|event| event.contains("attachment.deleted")));
        let (left,): (i64,) = sql("select count(*) from attachment where name <> ''").one(&story.server.db.db).await.unwrap();
        assert_eq!(left, 0);
    }

    async fn a_file_that_went_first_leaves_no_name_behind_its_message(db: TestDb) {
        let story = Story::begin(db).await;
        let file = story.upload(&story.ann, false).await;
        let sent = story.send(&story.ann, json!({ "url": file["signed_url"], "filename": NAME }), false).await;
        story.server.delete(&format!("{WORKBOX}/attachments/{}", file["id"])).with(&story.ann).ok().await;
        assert!(story.events().await.concat().contains(NAME), "the message still tells");
        story.server.delete(&format!("{WORKBOX}/messages/{}", sent["id"])).with(&story.ann).ok().await;
        let events = story.events().await;
        assert!(!events.concat().contains(NAME), "{events:#?}");
        assert_eq!(events.iter().filter(|event| event.contains("attachment.deleted")).count(), 1);
        let (left,): (i64,) = sql("select count(*) from attachment where name <> ''").one(&story.server.db.db).await.unwrap();
        assert_eq!(left, 0);
    }

    async fn what_a_crash_leaves_of_uploads_is_swept(db: TestDb) {
        let story = Story::begin(db).await;
        let folder = story.server.files();
        story.upload(&story.ann, false).await;
        let path = "1/2026-01/00000000-0000-4000-8000-000000000001";
        std::fs::create_dir_all(folder.join("1/2026-01")).unwrap();
        for rest in ["", "#1", ".thumbnail.png"] {
            std::fs::write(folder.join(format!("{path}{rest}")), "half").unwrap();
        }
        sql("insert into upload (path, started_at) values ($1, $2)")
            .bind(path)
            .bind(story.server.clock.now())
            .execute(&story.server.db.db)
            .await
            .unwrap();
        story.server.wait(3_600);
        assert_eq!(files(&folder), 4, "an upload may take its time");
        story.server.wait(24 * 3_600);
        // The files go first, then what names them.
        let named = async || -> (i64,) {
            sql("select count(*) from upload").one(&story.server.db.db).await.unwrap()
        };
        while files(&folder) > 1 || named().await > (0,) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn visitors_who_were_let_in_nowhere_are_forgotten(db: TestDb) {
        let story = Story::begin(db).await;
        for name in ["Vera", "Vic"] {
            story.server.post("/api/v1/anonymous/auth", json!({ "display_name": name })).ok().await;
        }
        let count = async |table: &'static str| {
            let (count,): (i64,) = sql(table).one(&story.server.db.db).await.unwrap();
            count
        };
        let people = "select count(*) from person where kind = 'anonymous'";
        let families = "select count(*) from token_family where origin = 'anonymous'";
        assert_eq!((count(people).await, count(families).await), (2, 2));
        let streams = count("select count(*) from stream").await;
        story.server.wait(31 * 24 * 3_600);
        while count(people).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(count(families).await, 0);
        assert_eq!(count("select count(*) from stream").await, streams - 2);
    }
}
