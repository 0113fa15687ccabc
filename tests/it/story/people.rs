//! Who is in the story, what they hold in their hands, and what is looked up behind their backs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use switchboard::{
    domain::ids::{Offset, StreamId},
    journal,
    store::sql,
};

use crate::harness::{
    app::{IMPATIENT, Server},
    db::TestDb,
    device::{Device, Position},
};

/// A person with a phone and a desk.
pub struct Person {
    pub id: i64,
    /// User tokens, one sign-in per device.
    pub tokens: [String; 2],
    pub phone: Device,
    pub desk: Device,
}

impl Person {
    async fn arrive(server: &Server, name: &str) -> Self {
        let id = server.hire(name).await;
        let address = format!("{}@acme.test", name.to_lowercase());
        let tokens = [server.sign_in(&address).await, server.sign_in(&address).await];
        let (phone, desk) =
            (Device::connect(server, &tokens[0]).await, Device::connect(server, &tokens[1]).await);
        Self { id, tokens, phone, desk }
    }

    pub fn token(&self) -> &str {
        &self.tokens[0]
    }

    pub fn inbox(&self) -> String {
        format!("user:{}", self.id)
    }

    pub fn devices(&mut self) -> [&mut Device; 2] {
        [&mut self.phone, &mut self.desk]
    }

    /// Both devices see it next in the person's own inbox; the data.
    pub async fn is_told(&mut self, kind: &str) -> Value {
        let inbox = self.inbox();
        let phone = self.phone.sees(&inbox, kind).await;
        assert_eq!(self.desk.sees(&inbox, kind).await, phone);
        phone["data"].clone()
    }
}

pub struct Story {
    pub server: Server,
    pub ann: Person,
    pub ben: Person,
    /// The help thread, once there is one.
    pub thread: i64,
    /// The call's session, and the call.
    pub session: String,
    pub call: String,
    /// Workbox tokens of Ann and Ben.
    pub keys: [String; 2],
    /// The messages of the thread that guests may see.
    pub messages: Vec<i64>,
}

impl Story {
    pub async fn begin(db: TestDb) -> Self {
        let server = Server::start_live(db, IMPATIENT).await;
        let (ann, ben) = (Person::arrive(&server, "Ann").await, Person::arrive(&server, "Ben").await);
        Self {
            server,
            ann,
            ben,
            thread: 0,
            session: String::new(),
            call: String::new(),
            keys: [String::new(), String::new()],
            messages: Vec::new(),
        }
    }

    pub fn workbox(&self) -> String {
        format!("workbox:{}", self.thread)
    }

    pub fn talk(&self) -> String {
        format!("session:{}", self.session)
    }

    pub fn devices(&mut self) -> [&mut Device; 4] {
        let [a, b] = self.ann.devices();
        let [c, d] = self.ben.devices();
        [a, b, c, d]
    }

    /// All four devices see it next on a channel, and the same; the event.
    pub async fn everybody_sees(&mut self, channel: &str, kind: &str) -> Value {
        let mut seen = Vec::new();
        for device in self.devices() {
            seen.push(device.sees(channel, kind).await);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
        seen.swap_remove(0)
    }

    /// All four devices begin to follow a stream from its first event on.
    pub async fn everybody_follows(&mut self, channel: &str) {
        for device in self.devices() {
            device.follow_all(channel).await;
        }
    }

    pub async fn sign_in(&mut self) {
        for (person, name) in [(&mut self.ann, "Ann"), (&mut self.ben, "Ben")] {
            let (id, inbox) = (person.id, person.inbox());
            for device in person.devices() {
                assert_eq!(device.welcome["user"], json!({ "id": id, "name": name, "kind": "user" }));
                assert_eq!(device.welcome["organization"]["id"], self.server.acme.organization.id.0);
                assert_eq!(device.welcome["rings"], json!([]));
                assert_eq!(device.welcome["active_call"], Value::Null);
                assert_eq!(device.channels().collect::<Vec<_>>(), [inbox.as_str()]);
            }
        }
        let families: Vec<(i64,)> = sql("select person_id from token_family where person_id in (")
            .push_bind(self.ann.id)
            .push(", ")
            .push_bind(self.ben.id)
            .push(") and revoked_at is null")
            .all(&self.server.db.db)
            .await
            .unwrap();
        assert_eq!(families.len(), 4, "a sign-in per device");
    }

    /// The events of a stream as they are stored.
    pub async fn stored(&self, channel: &str) -> Vec<Value> {
        let (stream,): (StreamId,) =
            sql("select id from stream where name = $1").bind(channel).one(&self.server.db.db).await.unwrap();
        let rows = journal::read_after(&self.server.db.db, stream, Offset(0), 10_000).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(&row.body).unwrap()).collect()
    }

    /// What each device was pushed is what is stored, to the last event, in order, once; nothing else came.
    pub async fn compare_with_what_is_stored(&mut self) {
        let channels: BTreeSet<String> =
            self.devices().iter().flat_map(|device| device.channels()).map(str::to_owned).collect();
        let mut stored = BTreeMap::new();
        for channel in channels {
            stored.insert(channel.clone(), self.stored(&channel).await);
        }
        for device in self.devices() {
            for (channel, stored) in &stored {
                if !device.channels().any(|followed| followed == channel) {
                    continue;
                }
                device.reaches(channel, stored.len() as u64).await;
                let (begun, seen) = device.seen(channel);
                assert_eq!(seen, &stored[usize::try_from(begun).unwrap()..], "{channel}");
            }
            device.glimpsed_all();
        }
    }

    /// The server stops and starts; every device comes back with what it knew and finds nothing missing, and a device
    /// that knows nothing reads all of it from the beginning.
    pub async fn restart(&mut self) {
        let mut before: Vec<BTreeMap<String, Position>> = Vec::new();
        for device in self.devices() {
            before.push(device.positions());
        }
        self.server.restart().await;
        for device in self.devices() {
            assert_eq!(device.is_closed().await, 3001);
        }
        for (number, known) in before.iter().enumerate() {
            let person = if number < 2 { &mut self.ann } else { &mut self.ben };
            let device = Device::come_back(&self.server, &person.tokens[number % 2], known).await;
            assert_eq!(device.positions(), *known, "nothing happened meanwhile, nothing is missing");
            *person.devices()[number % 2] = device;
        }
        let all = [self.workbox(), format!("internal:{}", self.thread), self.talk()];
        let token = self.server.sign_in("ben@acme.test").await;
        let mut fresh = Device::connect(&self.server, &token).await;
        for channel in all {
            let stored = self.stored(&channel).await;
            fresh.follow_all(&channel).await;
            fresh.reaches(&channel, stored.len() as u64).await;
            assert_eq!(fresh.seen(&channel), (0, &stored[..]));
        }
    }
}
