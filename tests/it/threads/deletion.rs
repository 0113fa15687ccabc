//! What is deleted is gone: out of rows, history, events and, on SQLite, out of the files.

use serde_json::json;
use switchboard::{
    domain::codes::Code,
    store::{Dialect, sql},
};

use super::world::{ANN, BEN, World, code};
use crate::harness::db::on_both;

on_both! {
    async fn deleted_content_is_nowhere(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        world.send(&ann, thread, "stays-visible").await;
        let message = world.send(&ann, thread, "zebra-crossing").await;
        for n in 0..3 {
            let text = format!("zebra-crossing {n}");
            world.messages.edit(&ann, thread, message.id, json!({ "message": text })).await.unwrap();
        }
        let inside = world.whisper(&ben, thread, "zebra-inside").await;
        let heads = (world.told(thread).await.len(), world.told_inside(thread).await.len());
        world.messages.delete(&ann, thread, message.id).await.unwrap();
        world.messages.delete(&ben, thread, inside.id).await.unwrap();
        assert_eq!(code(world.messages.delete(&ann, thread, message.id).await), Code::NotFound);
        assert_eq!(code(world.messages.edit(&ann, thread, message.id, json!({ "message": "x" })).await), Code::NotFound);

        let told = world.told(thread).await;
        assert_eq!((told.len(), world.told_inside(thread).await.len()), (heads.0 + 1, heads.1 + 1));
        let tomb = world.messages.get(&ben, thread, message.id).await.unwrap();
        assert!(tomb.deleted && tomb.metadata == "{}" && tomb.user_name.is_empty());
        let all = world.told(thread).await.into_iter().chain(world.told_inside(thread).await);
        let all: String = all.map(|(_, data)| data.to_string()).collect();
        assert!(!all.contains("zebra") && all.contains("stays-visible"));
        let rows: Vec<(String,)> = sql("select metadata from message union all select metadata from message_revision")
            .all(&world.db).await.unwrap();
        assert!(rows.iter().all(|(text,)| !text.contains("zebra")));

        if world.db.dialect() == Dialect::Sqlite {
            sql("vacuum").execute(&world.db).await.unwrap();
            sql("pragma wal_checkpoint(truncate)").execute(&world.db).await.unwrap();
            let path = db.options().url.strip_prefix("sqlite://").unwrap().to_owned();
            for file in [path.clone(), format!("{path}-wal")] {
                let Ok(bytes) = std::fs::read(&file) else { continue };
                assert!(!bytes.windows(5).any(|part| part == b"zebra"), "{file}");
            }
        }
    }

    async fn an_edit_at_the_same_moment_leaves_nothing(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let ann = world.user(ANN).await;
        for n in 0..20 {
            let message = world.send(&ann, thread, &format!("okapi {n}")).await.id;
            let edit = |k: i32| world.messages.edit(&ann, thread, message, json!({ "message": format!("okapi {n} {k}") }));
            // Either may come first; a refused edit is no matter.
            let (.., gone, _) = tokio::join!(edit(1), edit(2), world.messages.delete(&ann, thread, message), edit(3));
            gone.unwrap();
        }
        let told: String = world.told(thread).await.into_iter().map(|(_, data)| data.to_string()).collect();
        assert!(!told.contains("okapi"));
        // Refused edits did not stop the conversation.
        world.send(&ann, thread, "goes on").await;
    }
}
