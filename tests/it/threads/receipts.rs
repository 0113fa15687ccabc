//! Watermarks, unread counts and receipt status against a naive count.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::try_join_all;
use serde_json::json;
use switchboard::{
    base::random::Random,
    domain::{
        caller::Caller,
        ids::{ConversationId, MessageId, PersonId},
        machine::conversation::Marks,
        once::Once,
    },
    service::messages::{Draft, ThreadReceipts},
    store::inboxes,
};
use uuid::Uuid;

use super::{
    tallies,
    world::{ADA, ANN, BEN, CARL, World, draft},
};
use crate::harness::db::on_both;

struct Sent {
    id: MessageId,
    author: PersonId,
    internal: bool,
    deleted: bool,
}

/// What everybody should see, counted by hand.
#[derive(Default)]
struct Model {
    messages: Vec<Sent>,
    marks: BTreeMap<PersonId, Marks>,
    inside: BTreeSet<PersonId>,
    guest: PersonId,
}

impl Model {
    fn sees(&self, person: PersonId, message: &Sent) -> bool {
        !message.internal || person != self.guest
    }

    fn visible(&self, person: PersonId) -> impl Iterator<Item = &Sent> {
        self.messages.iter().filter(move |message| self.sees(person, message))
    }

    fn mark(&mut self, person: PersonId, message: MessageId, read: bool) {
        let newest = self.visible(person).map(|message| message.id).max().unwrap_or_default();
        let up_to = if message.0 <= 0 { newest } else { message };
        let marks = self.marks.entry(person).or_default();
        marks.received = marks.received.max(up_to);
        if read {
            marks.read = marks.read.max(up_to);
        }
    }

    fn marks_of(&self, person: PersonId) -> Marks {
        self.marks.get(&person).copied().unwrap_or_default()
    }

    fn unread(&self, person: PersonId) -> usize {
        let read = self.marks_of(person).read;
        let counts = |m: &&Sent| m.id > read && m.author != person && !m.deleted;
        self.visible(person).filter(counts).count()
    }

    /// The newest message that some, and all, who see it (its author apart) have passed.
    fn newest_passed(&self, reader: PersonId, mark: impl Fn(Marks) -> MessageId) -> [Option<MessageId>; 2] {
        let passed = |message: &Sent| -> Vec<bool> {
            self.inside
                .iter()
                .filter(|person| **person != message.author && self.sees(**person, message))
                .map(|person| mark(self.marks_of(*person)) >= message.id)
                .collect()
        };
        let some = self.visible(reader).filter(|m| passed(m).into_iter().any(|p| p)).map(|m| m.id).max();
        let all = self.visible(reader).filter(|m| passed(m).into_iter().all(|p| p)).map(|m| m.id).max();
        [some, all]
    }

    async fn check(&self, world: &World, thread: ConversationId, callers: &BTreeMap<PersonId, Caller>) {
        for person in &self.inside {
            let caller = &callers[person];
            let view = world.view(caller, thread).await;
            assert_eq!(view.unread_messages_count, i64::try_from(self.unread(*person)).unwrap());
            let read = Some(self.marks_of(*person).read).filter(|id| id.0 > 0);
            assert_eq!(view.last_read_message_id, read);
            let newest = self.visible(*person).map(|message| message.id).max();
            assert_eq!(view.last_message.map(|message| message.id), newest);
            let info = world.workboxes.info(caller).await.unwrap();
            assert_eq!(info.unread_count_total, view.unread_messages_count);

            let ThreadReceipts {
                most_recent_partial_received,
                most_recent_all_received,
                most_recent_partial_read,
                most_recent_all_read,
            } = world.messages.thread_receipts(caller, thread).await.unwrap();
            assert_eq!(
                [most_recent_partial_received, most_recent_all_received],
                self.newest_passed(*person, |marks| marks.received),
            );
            assert_eq!(
                [most_recent_partial_read, most_recent_all_read],
                self.newest_passed(*person, |marks| marks.read),
            );
        }
        let places: Vec<_> = callers.keys().map(|person| (thread, *person)).collect();
        let told = inboxes::unread(&world.db, &places).await.unwrap();
        let told: BTreeMap<_, _> =
            told.iter().map(|row| (row.person, (row.unread, row.last_message))).collect();
        let want = self.inside.iter().map(|person| {
            let newest = self.visible(*person).map(|message| message.id).max().unwrap_or_default();
            (*person, (i64::try_from(self.unread(*person)).unwrap(), newest))
        });
        assert_eq!(told, want.collect(), "what inboxes are told");
        if let Some(message) = self.messages.last() {
            let seen = world.messages.receipts_of(&callers[&ANN], thread, message.id).await.unwrap();
            let want = self.inside.iter().filter(|person| self.sees(**person, message));
            assert_eq!(seen.len(), want.count());
            for status in seen {
                let marks = self.marks_of(status.user_id);
                let author = status.user_id == message.author;
                assert_eq!(status.received, author || marks.received >= message.id);
                assert_eq!(status.read, author || marks.read >= message.id);
            }
        }
    }
}

on_both! {
    async fn a_random_walk_counts_like_by_hand(db: TestDb) {
        let mut world = World::new(&db).await;
        let thread = world.thread(&[BEN, CARL]).await;
        let guest = world.guest(thread, "Gus").await;
        let mut callers = BTreeMap::from([(guest.person.unwrap(), guest.clone())]);
        for person in [ANN, BEN, CARL, ADA] {
            callers.insert(person, world.user(person).await);
        }
        let mut model = Model {
            inside: BTreeSet::from([ANN, BEN, CARL, guest.person.unwrap()]),
            guest: guest.person.unwrap(),
            ..Model::default()
        };
        let random = Random::seeded(20_261_122);
        let pick = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
        let mut repeatable = Vec::new();
        for step in 0..240 {
            let inside: Vec<PersonId> = model.inside.iter().copied().collect();
            let person = inside[pick(inside.len())];
            let caller = &callers[&person];
            match pick(14) {
                0..=3 => {
                    let internal = person != model.guest && pick(3) == 0;
                    let text = format!("message {step}");
                    let sent = if internal {
                        world.whisper(caller, thread, &text).await
                    } else {
                        world.send(caller, thread, &text).await
                    };
                    model.messages.push(Sent { id: sent.id, author: person, internal, deleted: false });
                }
                4..=7 => {
                    let seen: Vec<MessageId> = model.visible(person).map(|message| message.id).collect();
                    let message = if seen.is_empty() || pick(3) == 0 {
                        MessageId(-1)
                    } else {
                        seen[pick(seen.len())]
                    };
                    let read = pick(2) == 0;
                    let marks =
                        world.messages.mark(caller, thread, message, read, &Once::none()).await.unwrap();
                    model.mark(person, message, read);
                    let want = model.marks_of(person);
                    assert_eq!((marks.received_id, marks.read_id), (want.received, want.read));
                    assert_eq!(marks.unread, i64::try_from(model.unread(person)).unwrap());
                }
                what @ (8 | 9) => {
                    let own: Vec<usize> = (0..model.messages.len())
                        .filter(|at| model.messages[*at].author == person && !model.messages[*at].deleted)
                        .collect();
                    if !own.is_empty() {
                        let at = own[pick(own.len())];
                        let id = model.messages[at].id;
                        if what == 8 {
                            world.messages.delete(caller, thread, id).await.unwrap();
                            model.messages[at].deleted = true;
                        } else {
                            let words = json!({ "message": "better" });
                            world.messages.edit(caller, thread, id, words).await.unwrap();
                        }
                    }
                }
                10 | 11 => {
                    // Many at once, some of them not for the first time.
                    let (world, none) = (&world, Once::none());
                    let mut said: Vec<(PersonId, Uuid)> =
                        repeatable.iter().copied().filter(|(author, _)| inside.contains(author)).collect();
                    let mut sends = Vec::new();
                    for _ in 0..=pick(12) {
                        let (author, uuid) = if pick(3) == 0 && !said.is_empty() {
                            said[pick(said.len())]
                        } else {
                            let fresh = (inside[pick(inside.len())], random.uuid());
                            repeatable.push(fresh);
                            said.push(fresh);
                            fresh
                        };
                        let draft = Draft { uuid: Some(uuid), ..draft("said once") };
                        let sent = world.messages.send(&callers[&author], thread, draft, &none);
                        sends.push(async move { sent.await.map(|sent| (author, sent.id)) });
                    }
                    for (author, id) in try_join_all(sends).await.unwrap() {
                        if model.messages.iter().all(|message| message.id != id) {
                            model.messages.push(Sent { id, author, internal: false, deleted: false });
                        }
                    }
                    model.messages.sort_unstable_by_key(|message| message.id);
                }
                12 => world = World::start(&db).await,
                _ => {
                    // Ben goes and comes back; his watermarks stay.
                    let with = if model.inside.contains(&BEN) { vec![CARL] } else { vec![BEN, CARL] };
                    world.workboxes.set_participants(&callers[&ANN], thread, with).await.unwrap();
                    if !model.inside.remove(&BEN) {
                        model.inside.insert(BEN);
                    }
                }
            }
            if step % 4 == 0 {
                model.check(&world, thread, &callers).await;
            }
        }
        model.check(&world, thread, &callers).await;
        assert!(tallies::recount(&db, thread).await > 20);
        // A fresh start counts the same.
        let world = World::start(&db).await;
        model.check(&world, thread, &callers).await;

        let open: BTreeSet<i64> = model.messages.iter().filter(|m| !m.internal).map(|m| m.id.0).collect();
        for (kind, data) in world.told(thread).await {
            if kind == "receipt.updated" {
                for receipt in data["receipts"].as_array().into_iter().flatten() {
                    for mark in ["received_id", "read_id"] {
                        let mark = receipt[mark].as_i64().unwrap();
                        assert!(mark == 0 || open.contains(&mark), "a watermark on an internal message");
                    }
                }
            }
        }
    }

    async fn numbers_grow_in_the_order_of_the_stream(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN, CARL]).await;
        let callers = [world.user(ANN).await, world.user(BEN).await, world.user(CARL).await];
        let sends = (0..120).map(|n| {
            let (world, caller) = (&world, &callers[n % 3]);
            async move { world.send(caller, thread, &format!("message {n}")).await }
        });
        let sent = futures_util::future::join_all(sends).await;
        let mut told: Vec<_> = sent.iter().map(|message| (message.offset.unwrap(), message.id)).collect();
        told.sort_unstable();
        assert!(told.windows(2).all(|pair| pair[0].1 < pair[1].1));
        assert_eq!(world.view(&callers[0], thread).await.unread_messages_count, 80);
    }

    async fn receipts_are_told_and_remembered(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let message = world.send(&ann, thread, "hello").await;
        world.read(&ben, thread, message.id).await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let told = world.told(thread).await;
            if let Some((_, data)) = told.iter().find(|(kind, _)| kind == "receipt.updated") {
                assert_eq!(data["receipts"][0]["user_id"], BEN.0);
                assert_eq!(data["receipts"][0]["read_id"], message.id.0);
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "nobody was told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Stored, but never announced: the next start does.
        switchboard::store::sql("update participant set announced_read_id = 0, announced_received_id = 0")
            .execute(&world.db)
            .await
            .unwrap();
        let world = World::start(&db).await;
        world.conversations.wake_unannounced(&world.db).await.unwrap();
        let told = |told: &[(String, serde_json::Value)]| {
            told.iter().filter(|(kind, _)| kind == "receipt.updated").count()
        };
        while told(&world.told(thread).await) < 2 {
            assert!(tokio::time::Instant::now() < deadline, "nobody was told after the start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
