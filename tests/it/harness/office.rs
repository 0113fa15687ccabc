//! An office: Ann and Ben with a help thread, its guest Gus, their colleague Carl, and Otto of another organisation.

use serde_json::{Value, json};

use super::{app::Server, db::TestDb, device::Device};

const SETTINGS: &str = "
    [server]
    drain_seconds = 0
    [realtime]
    ping_seconds = 300
    command_burst = 10000
";

/// Somebody with one device.
pub struct Person {
    pub id: i64,
    pub token: String,
    pub device: Device,
}

pub struct Office {
    pub server: Server,
    pub ann: Person,
    pub ben: Person,
    pub carl: Person,
    pub otto: Person,
    /// The guest; the link's uuid.
    pub gus: Person,
    pub link: String,
    pub thread: i64,
    /// The thread's session.
    pub session: String,
}

impl Office {
    pub async fn open(db: TestDb) -> Self {
        Self::open_with(db, SETTINGS).await
    }

    /// With settings, as TOML.
    pub async fn open_with(db: TestDb, settings: &str) -> Self {
        let server = Server::start_live(db, settings).await;
        let mut people = Vec::new();
        for name in ["Ann", "Ben", "Carl"] {
            let id = server.hire(name).await;
            people.push(Person::arrive(&server, id, &format!("{}@acme.test", name.to_lowercase())).await);
        }
        let (carl, ben, mut ann) = (people.pop().unwrap(), people.pop().unwrap(), people.pop().unwrap());
        let otto = Person::arrive(&server, server.other.admin.id.0, "otto@other.test").await;

        let new = json!({ "title": "The pump leaks", "participant_ids": [ben.id] });
        let made = ann.device.rpc("workbox.create", new).await;
        let (thread, key) = (made["id"].as_i64().unwrap(), made["token"].as_str().unwrap());
        let invite = json!({ "name": "Gus", "action": "" });
        let invited = server.post("/api/v1r1/workbox/invite/silent", invite).with(key).ok().await;
        let link = invited["uuid"].as_str().unwrap().to_owned();
        let pair = server.post("/api/v1r1/auth/from_url", json!({ "link_url": invited["link"] })).ok().await;
        let token = pair["token"].as_str().unwrap().to_owned();
        let device = Device::connect(&server, &token).await;
        let gus = Person { id: device.welcome["user"]["id"].as_i64().unwrap(), token, device };

        let opening = json!({ "users": [ben.id], "workbox_id": thread });
        let session = ann.device.rpc("session.create", opening).await["id"].as_str().unwrap().to_owned();
        Self { server, ann, ben, carl, otto, gus, link, thread, session }
    }

    pub fn workbox(&self) -> String {
        format!("workbox:{}", self.thread)
    }

    pub fn internal(&self) -> String {
        format!("internal:{}", self.thread)
    }

    /// Ann says something in the thread; the message.
    pub async fn say(&mut self, text: &str) -> Value {
        let channel = self.workbox();
        self.ann.device.rpc("message.send", json!({ "channel": channel, "text": text })).await
    }

    /// Ann rings Ben; the request.
    pub async fn ring(&mut self) -> Value {
        let rung = self.ann.device.rpc("ring.start", json!({ "session_id": self.session })).await;
        assert_eq!(rung["requests"][0]["state"], "ringing", "{rung}");
        rung["requests"][0]["request_id"].clone()
    }

    /// Ann and Ben are in a call; its id.
    pub async fn call(&mut self) -> Value {
        let request = self.ring().await;
        let entered = self.ben.device.rpc("ring.accept", json!({ "request_id": request })).await;
        self.ann.device.rpc("call.join", json!({ "session_id": self.session })).await;
        entered["call_id"].clone()
    }

    /// The token that a member holds for the thread.
    pub async fn key_of(&self, token: &str) -> String {
        let path = format!("/api/v1r1/workboxes/{}", self.thread);
        self.server.get(&path).with(token).ok().await["token"].as_str().unwrap().to_owned()
    }
}

impl Person {
    async fn arrive(server: &Server, id: i64, address: &str) -> Self {
        let token = server.sign_in(address).await;
        let device = Device::connect(server, &token).await;
        Self { id, token, device }
    }
}

/// Without what is made anew for each reply: tokens, signed addresses, and where the stream stands.
pub fn lasting(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let lasting = object.iter().filter(|(key, _)| !matches!(key.as_str(), "token" | "stream"));
            Value::Object(lasting.map(|(key, value)| (key.clone(), self::lasting(value))).collect())
        }
        Value::Array(list) => list.iter().map(lasting).collect(),
        other => other.clone(),
    }
}
