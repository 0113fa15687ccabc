//! What the journal remembers from one commit to the next is checked by the next; what it tells of commits comes in order.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use futures_util::future::join_all;
use prometheus_client::registry::Registry;
use serde_json::json;
use switchboard::{
    base::random::Random,
    domain::{
        codes::Code,
        error::Result,
        event::{NewEvent, StreamKind},
        ids::{ConversationId, MessageId, Offset, OrgId, PersonId, StreamId},
    },
    journal::{
        AfterCommit, Append, Chain, Commit, Committed, Guard, Journal, JournalMetrics, JournalOptions,
        MessageRow, NewStream, NodeEpoch, Refusal, RowOp, read_after,
    },
    store::{Db, sql},
};
use uuid::Uuid;

use crate::harness::db::{START, TestDb, on_both};

/// A stream that any node may write to, and one that has an owner.
const INBOX: StreamId = StreamId(1);
const THREAD: StreamId = StreamId(2);

struct Node {
    db: Db,
    journal: Journal,
    random: Random,
}

impl Node {
    async fn start(db: &TestDb, after: Vec<Arc<dyn AfterCommit>>, batch: usize) -> Self {
        let random = Random::from_os();
        let journal = Journal::start(
            db.db.clone(),
            NodeEpoch::claim(db).await.unwrap(),
            JournalOptions { batch, ..JournalOptions::default() },
            random.clone(),
            after,
            JournalMetrics::register(&mut Registry::default()),
            &db.tasks(),
        );
        Self { db: db.db.clone(), journal, random }
    }

    async fn begin_streams(&self) {
        let stream = |id, kind, channel: &str| NewStream {
            id,
            organization: OrgId(12),
            kind,
            channel: channel.to_owned(),
        };
        let streams =
            vec![stream(INBOX, StreamKind::User, "user:7"), stream(THREAD, StreamKind::Workbox, "workbox:2")];
        self.journal.append(Append { streams, ..Append::default() }).await.unwrap();
    }

    fn event(&self, stream: StreamId) -> NewEvent {
        let id = self.random.uuid_v7(START);
        NewEvent::new(stream, "message.created", id, START, None, &json!({ "id": id }))
    }

    /// Writes an event and gives its offset.
    async fn write(&self, stream: StreamId) -> Result<i64> {
        let committed = self.journal.append(Append::of_events(vec![self.event(stream)])).await?;
        Ok(committed.offset_in(stream).unwrap().0)
    }

    fn message(&self, id: i64, uuid: Uuid) -> Append {
        let row = MessageRow {
            conversation: ConversationId(2),
            id: MessageId(id),
            uuid,
            client_uuid: true,
            author: PersonId(7),
            author_name: "Ann".into(),
            kind: "Text",
            version: 2,
            metadata: "{}".into(),
            body_hash: [0; 32],
            internal: false,
            sent_at: START,
            created_at: START,
        };
        Append { rows: vec![RowOp::Message(Box::new(row))], ..Append::of_events(vec![self.event(THREAD)]) }
    }

    async fn offsets(&self, stream: StreamId) -> Vec<i64> {
        let events = read_after(&self.db, stream, Offset(0), 10_000).await.unwrap();
        events.iter().map(|event| event.offset.0).collect()
    }
}

/// What ports were told: the newest offset, and whether one came out of turn.
#[derive(Default)]
struct Told {
    newest: AtomicI64,
    out_of_turn: Mutex<Vec<i64>>,
}

impl AfterCommit for Told {
    fn committed(&self, commit: &Commit) {
        for event in &commit.events {
            if self.newest.swap(event.offset.0, Ordering::SeqCst) != event.offset.0 - 1 {
                self.out_of_turn.lock().unwrap().push(event.offset.0);
            }
        }
    }
}

on_both! {
    async fn two_nodes_write_to_one_stream_without_a_gap(db: TestDb) {
        let one = Node::start(&db, Vec::new(), 1_000).await;
        one.begin_streams().await;
        let two = Node::start(&db, Vec::new(), 1_000).await;
        for offset in 1..=10 {
            let node = if offset % 4 < 2 { &one } else { &two };
            assert_eq!(node.write(INBOX).await.unwrap(), offset, "the other node wrote to it too");
        }
        // At once, so that both hold and wait for the row.
        let writes = (0..40).map(|n| if n % 2 == 0 { one.write(INBOX) } else { two.write(INBOX) });
        let mut offsets: Vec<i64> = join_all(writes).await.into_iter().map(Result::unwrap).collect();
        offsets.sort_unstable();
        assert_eq!(offsets, (11..=50).collect::<Vec<_>>());
        assert_eq!(one.offsets(INBOX).await, (1..=50).collect::<Vec<_>>());
    }

    async fn more_rows_than_a_statement_takes_are_written_in_their_order(db: TestDb) {
        let node = Node::start(&db, Vec::new(), 100).await;
        node.begin_streams().await;
        let mut append = node.message(1, Uuid::from_u128(1));
        append.events.extend((0..2_100).map(|_| node.event(INBOX)));
        let ids: Vec<Uuid> = append.events[1..].iter().map(|event| event.id).collect();
        let committed = node.journal.append(append).await.unwrap();
        assert_eq!(committed.positions.len(), 2_101);
        let events = read_after(&db, INBOX, Offset(0), 10_000).await.unwrap();
        assert!(events.iter().map(|event| event.id).eq(ids));
        assert_eq!(node.offsets(INBOX).await, (1..=2_100).collect::<Vec<_>>());
        assert_eq!(node.offsets(THREAD).await, [1]);
        assert_eq!(node.write(INBOX).await.unwrap(), 2_101);
    }

    async fn an_owner_is_fenced_out_though_it_remembers_the_stream_as_its_own(db: TestDb) {
        let stale = Node::start(&db, Vec::new(), 1_000).await;
        stale.begin_streams().await;
        assert_eq!(stale.write(THREAD).await.unwrap(), 1);
        let successor = Node::start(&db, Vec::new(), 1_000).await;
        assert_eq!(successor.write(THREAD).await.unwrap(), 2);
        let refused = stale.write(THREAD).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert_eq!(stale.write(THREAD).await.unwrap_err().code(), Code::Unavailable, "nor is it remembered now");
        assert_eq!(successor.write(THREAD).await.unwrap(), 3);
        assert_eq!(successor.offsets(THREAD).await, [1, 2, 3]);
    }

    async fn a_stream_that_is_gone_is_not_found_though_it_is_remembered(db: TestDb) {
        let node = Node::start(&db, Vec::new(), 1_000).await;
        node.begin_streams().await;
        assert_eq!(node.write(THREAD).await.unwrap(), 1);
        sql("delete from stream where id = $1").bind(THREAD).execute(&db.db).await.unwrap();
        assert_eq!(node.write(THREAD).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(node.write(INBOX).await.unwrap(), 1);
    }

    async fn a_repeated_uuid_costs_nobody_else_anything(db: TestDb) {
        let node = Node::start(&db, Vec::new(), 1_000).await;
        node.begin_streams().await;
        let known = node.random.uuid();
        node.journal.append(node.message(1, known)).await.unwrap();
        // Twice: at first the index finds it, then the journal has learnt to ask.
        for round in [10, 20] {
            let fresh = node.random.uuid();
            let sends = [(0, node.random.uuid()), (1, known), (2, fresh), (3, fresh), (4, node.random.uuid())];
            let sends = sends.map(|(n, uuid)| node.journal.append(node.message(round + n, uuid)));
            let codes = join_all(sends).await.into_iter().map(|sent| sent.err().map(|error| error.code()));
            let repeated = Some(Code::Constraint);
            assert_eq!(codes.collect::<Vec<_>>(), [None, repeated, None, repeated, None]);
        }
        let ids: Vec<(i64,)> = sql("select id from message order by id").all(&db.db).await.unwrap();
        assert_eq!(ids, [1, 10, 12, 14, 20, 22, 24].map(|id| (id,)));
        assert_eq!(node.offsets(THREAD).await, (1..=7).collect::<Vec<_>>(), "no offset is lost to a refusal");
    }

    async fn a_refusal_keeps_its_reason_when_its_batch_is_made_anew(db: TestDb) {
        let node = Node::start(&db, Vec::new(), 1_000).await;
        node.begin_streams().await;
        let known = node.random.uuid();
        node.journal.append(node.message(1, known)).await.unwrap();
        // While the stream is held, what comes next gathers behind the first.
        let mut held = db.begin().await.unwrap();
        let hold = "update stream set first_offset = first_offset where id = $1";
        sql(hold).bind(THREAD).execute(&mut held).await.unwrap();
        let first = node.journal.append(node.message(2, node.random.uuid()));
        let chain = Chain::default();
        let never = Guard::Holds {
            stmt: sql("select cast(1 as bigint) where 1 = 0"),
            otherwise: Refusal::new(Code::Authorization, "it never holds"),
        };
        let refused = Append {
            guards: vec![never],
            chain: Some(chain.clone()),
            ..Append::of_events(vec![node.event(THREAD)])
        };
        let behind = Append { chain: Some(chain.clone()), ..Append::of_events(vec![node.event(THREAD)]) };
        let appends = [refused, behind, node.message(3, known), node.message(4, node.random.uuid())];
        let rest = join_all(appends.map(|append| node.journal.append(append)));
        let release = async { held.rollback().await.unwrap() };
        let (first, rest, ()) = tokio::join!(first, rest, release);
        first.unwrap();
        let codes: Vec<_> = rest.into_iter().map(|sent| sent.err().map(|error| error.code())).collect();
        assert_eq!(codes, [Some(Code::Authorization), Some(Code::Unavailable), Some(Code::Constraint), None]);
        assert!(chain.is_broken());
        assert_eq!(node.offsets(THREAD).await, [1, 2, 3]);
    }

    async fn commits_are_told_of_in_order_and_before_their_waiters(db: TestDb) {
        let told = Arc::new(Told::default());
        // Small batches: many commits, with more waiting behind each.
        let node = Node::start(&db, vec![told.clone()], 7).await;
        node.begin_streams().await;
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..700 {
            let (told, answers) = (told.clone(), answers.clone());
            let append = Append::of_events(vec![node.event(INBOX)]);
            node.journal.submit(append, move |outcome: Result<Committed>| {
                let offset = outcome.unwrap().offset_in(INBOX).unwrap().0;
                answers.send((offset, told.newest.load(Ordering::SeqCst))).unwrap();
            });
        }
        drop(answers);
        let mut count = 0;
        while let Some((offset, newest)) = answered.recv().await {
            count += 1;
            assert_eq!(offset, count, "answers come in the order of commits");
            assert!(newest >= offset, "{offset} was answered when {newest} was the last that was told of");
        }
        assert_eq!(count, 700);
        assert_eq!(*told.out_of_turn.lock().unwrap(), Vec::<i64>::new());
    }
}
