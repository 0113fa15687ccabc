//! Sending twice, editing, refusing, starting again.

use serde_json::json;
use switchboard::{
    base::{clock::Timestamp, random::Random},
    domain::{codes::Code, ids::MessageId, once::Once},
    service::messages::{Direction, Draft},
};

use super::world::{ANN, BEN, OTTO, World, again, code, draft, once};
use crate::harness::db::on_both;

on_both! {
    async fn the_same_uuid_is_one_message(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let uuid = Random::seeded(1).uuid();
        let make = || Draft { uuid: Some(uuid), ..draft("once") };
        let none = Once::none();
        let sends = (0..10).map(|_| world.messages.send(&ann, thread, make(), &none));
        let sent = futures_util::future::try_join_all(sends).await.unwrap();
        let first = serde_json::to_value(&sent[0]).unwrap();
        for twin in &sent {
            assert_eq!(serde_json::to_value(twin).unwrap(), first);
        }
        assert_eq!(world.messages.recent(&ann, thread, 50).await.unwrap().len(), 1);
        let other = Draft { metadata: json!({ "message": "twice" }), ..make() };
        assert_eq!(code(world.messages.send(&ann, thread, other, &Once::none()).await), Code::Constraint);
        // The uuid is the author's: somebody else's is another.
        world.messages.send(&ben, thread, make(), &Once::none()).await.unwrap();
        // A refused message leaves no trace in the state.
        let newest = world.messages.recent(&ann, thread, 1).await.unwrap()[0].id;
        world.read(&ann, thread, MessageId(0)).await;
        assert_eq!(world.view(&ann, thread).await.last_read_message_id, Some(newest));
        // Also after the thread was closed.
        world.workboxes.close(&ann, thread, &Once::none()).await.unwrap();
        assert_eq!(world.messages.send(&ann, thread, make(), &Once::none()).await.unwrap().id, sent[0].id);
        assert_eq!(code(world.messages.send(&ann, thread, draft("new"), &Once::none()).await), Code::Constraint);
    }

    async fn many_refused_messages_leave_the_newest_one(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let ann = world.user(ANN).await;
        let uuid = Some(Random::seeded(3).uuid());
        let first = world.messages.send(&ann, thread, Draft { uuid, ..draft("once") }, &Once::none()).await.unwrap();
        let none = Once::none();
        let sends = (0..10).map(|_| world.messages.send(&ann, thread, Draft { uuid, ..draft("once") }, &none));
        futures_util::future::try_join_all(sends).await.unwrap();
        world.read(&ann, thread, MessageId(0)).await;
        assert_eq!(world.view(&ann, thread).await.last_read_message_id, Some(first.id));
    }

    async fn an_idempotency_key_counts_once(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let ann = world.user(ANN).await;
        let key = once(&ann, "send_message", "k1");
        let first = world.messages.send(&ann, thread, draft("keyed"), &key).await.unwrap();
        assert!(key.is_settled());
        let key = again(&db, &ann, "send_message", "k1").await;
        let second = world.messages.send(&ann, thread, draft("keyed"), &key).await.unwrap();
        assert_eq!(serde_json::to_value(&first).unwrap(), serde_json::to_value(&second).unwrap());
        assert_eq!(world.messages.recent(&ann, thread, 9).await.unwrap().len(), 1);
        let key = once(&ann, "mark", "k2");
        world.messages.mark(&ann, thread, first.id, true, &key).await.unwrap();
        assert!(key.is_settled());
        // A refused message leaves no outcome behind, though its row stood in the same append.
        let uuid = Some(Random::seeded(2).uuid());
        let sent = Draft { uuid, ..draft("x") };
        world.messages.send(&ann, thread, sent, &Once::none()).await.unwrap();
        let key = once(&ann, "send_message", "k3");
        let repeated = Draft { uuid, ..draft("x") };
        world.messages.send(&ann, thread, repeated, &key).await.unwrap();
        let rows: Vec<(String,)> = switchboard::store::sql("select outcome from idempotency where idempotency_key = 'k3'")
            .all(&world.db).await.unwrap();
        assert!(rows.is_empty());
    }

    async fn messages_are_found_again(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben, otto) = (world.user(ANN).await, world.user(BEN).await, world.user(OTTO).await);
        let start = world.clock.now();
        let mut sent = Vec::new();
        for n in 0..5 {
            sent.push(world.send(&ann, thread, &format!("number {n}")).await.id);
        }
        world.messages.edit(&ann, thread, sent[0], json!({ "message": "number zero" })).await.unwrap();
        let world = World::start(&db).await;
        let m = &world.messages;
        let ids = |views: Vec<switchboard::service::messages::MessageView>| -> Vec<MessageId> {
            views.iter().map(|view| view.id).collect()
        };
        let reversed: Vec<_> = sent.iter().rev().copied().collect();
        assert_eq!(ids(m.recent(&ben, thread, 9).await.unwrap()), reversed);
        assert_eq!(ids(m.around(&ben, thread, sent[1], Direction::Ascending, 9).await.unwrap()), sent[2..]);
        assert_eq!(ids(m.around(&ben, thread, sent[3], Direction::Descending, 2).await.unwrap()), [sent[2], sent[1]]);
        assert_eq!(m.updates_since(&ben, thread, start, 9).await.unwrap().len(), 5);
        let edited = m.get(&ben, thread, sent[0]).await.unwrap();
        assert!(edited.edited && edited.metadata.contains("number zero") && edited.read == Some(false));
        let since = edited.edited_at.map(|at| Timestamp(at.0 - 1)).unwrap();
        assert_eq!(ids(m.updates_since(&ben, thread, since, 9).await.unwrap()), [sent[0]]);

        assert_eq!(code(m.get(&otto, thread, sent[0]).await), Code::NotFound);
        assert_eq!(code(m.send(&otto, thread, draft("x"), &Once::none()).await), Code::NotFound);
        assert_eq!(code(m.edit(&ben, thread, sent[0], json!({ "message": "x" })).await), Code::Authorization);
        assert_eq!(code(m.delete(&ben, thread, sent[0]).await), Code::Authorization);
        assert_eq!(code(m.mark(&ben, thread, MessageId(sent[4].0 + 1), true, &Once::none()).await), Code::NotFound);
    }

    async fn bad_messages_are_named(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[]).await;
        let ann = world.user(ANN).await;
        let send = async |draft| code(world.messages.send(&ann, thread, draft, &Once::none()).await);
        for bad in [
            Draft { kind: "Song".into(), ..draft("x") },
            Draft { metadata: json!([]), ..draft("x") },
            Draft { metadata: json!({}), ..draft("x") },
            Draft { metadata: json!({ "message": 7 }), ..draft("x") },
            Draft { metadata: json!({ "message": "a\u{0}b" }), ..draft("x") },
            Draft { metadata: json!("nonsense"), ..draft("x") },
            Draft { kind: "Image".into(), ..draft("x") },
            Draft { version: 3, ..draft("x") },
        ] {
            assert_eq!(send(bad).await, Code::InvalidMessage);
        }
        assert_eq!(send(draft(&"x".repeat(40_000))).await, Code::TooLarge);
        assert_eq!(send(Draft { username: Some("x".repeat(256)), ..draft("x") }).await, Code::InvalidName);
        let text = Draft { metadata: json!("{\"message\":\"as text\"}"), ..draft("x") };
        assert_eq!(world.messages.send(&ann, thread, text, &Once::none()).await.unwrap().metadata, "{\"message\":\"as text\"}");
    }
}
