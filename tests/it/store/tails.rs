//! The newest events in memory are always what the journal holds.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::json;
use switchboard::{
    base::random::Random,
    domain::{
        event::{NewEvent, StreamKind},
        ids::{Offset, OrgId, StreamId},
    },
    journal::{
        Append, Journal, JournalMetrics, JournalOptions, NewStream, NodeEpoch, Page, RowOp, TailOptions,
        Tails, read_after,
    },
    store::sql,
};

use crate::harness::db::{START, TestDb, on_both};

const STREAMS: i64 = 3;

struct World {
    db: TestDb,
    journal: Journal,
    tails: Tails,
    random: Random,
}

impl World {
    async fn new(db: TestDb, options: TailOptions) -> Self {
        let tails = Tails::new(db.db.clone(), db.tasks(), options);
        let random = Random::from_os();
        let journal = Journal::start(
            db.db.clone(),
            NodeEpoch::claim(&db).await.unwrap(),
            JournalOptions::default(),
            random.clone(),
            vec![Arc::new(tails.clone())],
            JournalMetrics::register(&mut Registry::default()),
            &db.tasks(),
        );
        let streams = (1..=STREAMS)
            .map(|id| NewStream {
                id: StreamId(id),
                organization: OrgId(12),
                kind: StreamKind::Workbox,
                channel: format!("workbox:{id}"),
            })
            .collect();
        journal.append(Append { streams, ..Append::default() }).await.unwrap();
        Self { db, journal, tails, random }
    }

    async fn write(&self, stream: i64, kind: &'static str, count: usize) {
        let event = |number| {
            let id = self.random.uuid_v7(START);
            NewEvent::new(StreamId(stream), kind, id, START, None, &json!({ "number": number }))
        };
        self.journal.append(Append::of_events((0..count).map(event).collect())).await.unwrap();
    }

    fn rewriting(stream: i64, offset: i64) -> RowOp {
        let stream = StreamId(stream);
        let text = "update event set data = '{}' where stream_id = $1 and stream_offset = $2";
        RowOp::Rewrite { stream, stmt: sql(text).bind(stream).bind(Offset(offset)) }
    }

    async fn rewrite(&self, stream: i64, offset: i64) {
        let rows = vec![Self::rewriting(stream, offset)];
        self.journal.append(Append { rows, ..Append::default() }).await.unwrap();
    }

    async fn page(&self, stream: i64, after: i64, limit: u32) -> Vec<(i64, Bytes)> {
        let page: Page = self.tails.after(StreamId(stream), Offset(after), limit).await.unwrap();
        page.iter().map(|(offset, body)| (offset.0, body.clone())).collect()
    }

    async fn stored(&self, stream: i64, after: i64, limit: u32) -> Vec<(i64, Bytes)> {
        let rows = read_after(&self.db, StreamId(stream), Offset(after), limit).await.unwrap();
        rows.into_iter().map(|row| (row.offset.0, Bytes::from(row.body))).collect()
    }

    /// Events that can be read only from memory.
    async fn lose_the_database(&self) {
        sql("delete from event").execute(&self.db.db).await.unwrap();
    }
}

on_both! {
    async fn a_tail_is_what_the_journal_holds(db: TestDb) {
        // Small bounds, so that tails are cut and dropped all the time.
        let world = World::new(db, TailOptions { events: 8, bytes: 2_000 }).await;
        let mut heads = [0_i64; 3];
        for _ in 0..300 {
            let stream = 1 + i64::try_from(world.random.below(3)).unwrap();
            let head = &mut heads[usize::try_from(stream - 1).unwrap()];
            match world.random.below(4) {
                0 => {
                    let count = 1 + world.random.below(5);
                    world.write(stream, "message.created", usize::try_from(count).unwrap()).await;
                    *head += i64::try_from(count).unwrap();
                }
                1 if world.random.below(8) == 0 => world.rewrite(stream, *head).await,
                _ => {
                    let after = (*head - i64::try_from(world.random.below(12)).unwrap()).max(0);
                    let limit = 1 + u32::try_from(world.random.below(10)).unwrap();
                    assert_eq!(world.page(stream, after, limit).await, world.stored(stream, after, limit).await);
                }
            }
        }
    }

    async fn a_room_is_read_once(db: TestDb) {
        let world = World::new(db, TailOptions::default()).await;
        world.write(1, "message.created", 5).await;
        let first = world.page(1, 2, 100).await;
        assert_eq!(first.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [3, 4, 5]);
        world.lose_the_database().await;
        assert_eq!(world.page(1, 2, 100).await, first);
        assert_eq!(world.page(1, 4, 100).await, first[2..]);
        world.write(1, "message.created", 1).await;
        assert_eq!(world.page(1, 2, 100).await.len(), 4, "what is committed later belongs to it");
        assert_eq!(world.page(1, 0, 100).await.len(), 1, "what came before is asked of the database");
    }

    async fn whoever_asks_as_an_answer_comes_is_answered_too(db: TestDb) {
        let world = World::new(db, TailOptions::default()).await;
        world.write(1, "message.created", 3).await;
        // A page that does not reach the end is read anew each time: by the first, for all who ask meanwhile.
        let asking = (0..8).map(|_| {
            let tails = world.tails.clone();
            tokio::spawn(async move {
                for _ in 0..300 {
                    let page = tails.after(StreamId(1), Offset(0), 2).await.unwrap();
                    assert_eq!(page.len(), 2);
                }
            })
        });
        for asks in asking.collect::<Vec<_>>() {
            asks.await.unwrap();
        }
    }

    async fn what_may_be_rewritten_is_read_again(db: TestDb) {
        let world = World::new(db, TailOptions::default()).await;
        world.write(1, "message.created", 3).await;
        assert_eq!(world.page(1, 0, 100).await.len(), 3);
        world.rewrite(1, 2).await;
        let page = world.page(1, 0, 100).await;
        assert_eq!((page.len(), &page[1].1[..]), (3, &b"{}"[..]));
    }

    async fn a_rewriting_of_another_stream_drops_that_one(db: TestDb) {
        let world = World::new(db, TailOptions::default()).await;
        for stream in [1, 2] {
            world.write(stream, "attachment.created", 2).await;
            assert_eq!(world.page(stream, 0, 100).await.len(), 2);
        }
        // The events of the commit are in one stream, what it rewrites in the other.
        let id = world.random.uuid_v7(START);
        let gone = NewEvent::new(StreamId(1), "message.deleted", id, START, None, &json!({}));
        let mut append = Append::of_events(vec![gone]);
        append.rows.push(World::rewriting(2, 1));
        world.journal.append(append).await.unwrap();
        assert_eq!(&world.page(2, 0, 100).await[0].1[..], b"{}");
        world.lose_the_database().await;
        assert_eq!(world.page(1, 0, 100).await.len(), 3, "nothing of this one was rewritten");
    }
}
