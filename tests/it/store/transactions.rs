//! A transaction lasts when committed and only then.

use std::time::Duration;

use switchboard::store::{DatabaseOptions, Db, StoreError, Tx, sql};

use crate::harness::db::{TestDb, on_both, run_on_sqlite};

async fn put(tx: &mut Tx, name: &str) -> Result<u64, StoreError> {
    sql("insert into meta (name, value) values ($1, '')").bind(name).execute(tx).await
}

async fn names(db: &Db) -> Vec<String> {
    let rows: Vec<(String,)> = sql("select name from meta order by name").all(db).await.unwrap();
    rows.into_iter().map(|(name,)| name).collect()
}

on_both! {
    async fn commit_lasts_and_is_seen_at_once(db: TestDb) {
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await.unwrap();
        assert!(names(&db).await.is_empty());
        let inside: Vec<(String,)> = sql("select name from meta").all(&mut tx).await.unwrap();
        assert_eq!(inside.len(), 1);
        tx.commit().await.unwrap();
        assert_eq!(names(&db).await, ["a"]);
        assert_eq!(names(&db.reopen().await).await, ["a"]);
    }

    async fn dropping_rolls_back(db: TestDb) {
        for _ in 0..20 {
            let mut tx = db.begin().await.unwrap();
            put(&mut tx, "a").await.unwrap();
            drop(tx);
        }
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "b").await.unwrap();
        tx.rollback().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "c").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(&db).await, ["c"]);
    }

    async fn a_cancelled_future_rolls_back(db: TestDb) {
        for patience in 0..40_u64 {
            let work = async {
                let mut tx = db.begin().await?;
                put(&mut tx, "a").await?;
                put(&mut tx, "b").await?;
                tx.rollback().await
            };
            let _ = tokio::time::timeout(Duration::from_micros(patience * 25), work).await;
        }
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "c").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(&db).await, ["c"]);
    }

    async fn a_cancelled_commit_is_whole_or_nothing(db: TestDb) {
        let mut acknowledged = Vec::new();
        for number in 0..60_u64 {
            let (first, second) = (format!("{number:02}a"), format!("{number:02}b"));
            let work = async {
                let mut tx = db.begin().await?;
                put(&mut tx, &first).await?;
                put(&mut tx, &second).await?;
                tx.commit().await
            };
            if let Ok(Ok(())) = tokio::time::timeout(Duration::from_micros(number * 25), work).await {
                acknowledged.push(first);
            }
        }
        // Behind whatever is still under way.
        db.begin().await.unwrap().rollback().await.unwrap();
        let names = names(&db).await;
        for pair in names.chunks(2) {
            assert_eq!(pair.len(), 2);
            assert_eq!(pair[0][..2], pair[1][..2]);
        }
        assert!(acknowledged.iter().all(|name| names.contains(name)));
    }

    async fn savepoints_isolate_a_failure(db: TestDb) {
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await.unwrap();
        tx.savepoint("one").await.unwrap();
        put(&mut tx, "b").await.unwrap();
        assert!(put(&mut tx, "a").await.unwrap_err().is_unique_violation());
        tx.rollback_to("one").await.unwrap();
        put(&mut tx, "c").await.unwrap();
        tx.release("one").await.unwrap();
        tx.savepoint("one").await.unwrap();
        put(&mut tx, "d").await.unwrap();
        tx.release("one").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(&db).await, ["a", "c", "d"]);
    }

    async fn a_failure_aborts_the_whole(db: TestDb) {
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await.unwrap();
        assert!(put(&mut tx, "a").await.unwrap_err().is_unique_violation());
        assert!(put(&mut tx, "b").await.is_err());
        assert!(tx.commit().await.is_err());
        assert!(names(&db).await.is_empty());
    }

    async fn writers_do_not_overwrite_each_other(db: TestDb) {
        sql("insert into sequence (name, next) values ('probe', 0)").execute(&*db).await.unwrap();
        let tasks = db.tasks();
        let all: Vec<_> = (0..8).map(|_| {
            let db = db.db.clone();
            tasks.spawn("writer", async move {
                for _ in 0..25 {
                    let mut tx = db.begin().await.unwrap();
                    sql("update sequence set next = next + 1 where name = 'probe'").execute(&mut tx).await.unwrap();
                    tx.commit().await.unwrap();
                }
            })
        }).collect();
        for task in all {
            task.await.unwrap().unwrap();
        }
        let next: (i64,) = sql("select next from sequence where name = 'probe'").one(&*db).await.unwrap();
        assert_eq!(next, (200,));
    }
}

/// Who waits too long for the writer fails as unavailable, and so does another process behind the busy timeout.
#[test]
fn a_busy_writer_is_unavailable() {
    run_on_sqlite(|db: TestDb| async move {
        let patience = Duration::from_millis(300);
        let options =
            DatabaseOptions { busy_timeout: patience, acquire_timeout: patience, ..db.options().clone() };
        let impatient = Db::open(&options).await.unwrap();
        let held = impatient.begin().await.unwrap();
        assert!(impatient.begin().await.err().unwrap().is_unavailable());
        let other = Db::open(&options).await.unwrap();
        assert!(other.begin().await.err().unwrap().is_unavailable());
        held.rollback().await.unwrap();
        other.begin().await.unwrap().rollback().await.unwrap();
        impatient.begin().await.unwrap().rollback().await.unwrap();
    });
}
