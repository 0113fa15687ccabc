//! Opening, migrating, readiness, backup.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use switchboard::{
    base::clock::{Clock, Timestamp},
    store::{DatabaseOptions, Db, Dialect, ids::Ids, sql, statistics},
};

use crate::harness::db::{START, TestDb, on_both, run_on_sqlite};

const MIGRATIONS: &str = "select name, applied_at from schema_migration order by name";

on_both! {
    async fn a_start_on_an_existing_database_makes_nothing_anew(db: TestDb) {
        let made: Vec<(String, Timestamp)> = sql(MIGRATIONS).all(&db.db).await.unwrap();
        assert!(!made.is_empty());
        let again = db.reopen().await;
        let later = Clock::manual(Timestamp(START.0 + 60_000));
        again.migrate(&later).await.unwrap();
        Ids::open(again.clone(), db.tasks()).await.unwrap();
        again.ping().await.unwrap();
        let found: Vec<(String, Timestamp)> = sql(MIGRATIONS).all(&again).await.unwrap();
        assert_eq!(found, made);
    }

    async fn a_changed_migration_is_refused(db: TestDb) {
        sql("update schema_migration set checksum = 'x' where name = '0001_core'").execute(&*db).await.unwrap();
        let error = db.migrate(&Clock::manual(START)).await.unwrap_err();
        assert!(error.to_string().contains("0001_core"), "{error}");
    }

    async fn a_newer_database_is_refused(db: TestDb) {
        let newer = "insert into schema_migration (name, checksum, applied_at) values ('9999_later', '', 0)";
        sql(newer).execute(&*db).await.unwrap();
        let error = db.migrate(&Clock::manual(START)).await.unwrap_err();
        assert!(error.to_string().contains("9999_later"), "{error}");
    }

    async fn two_nodes_migrate_at_once(db: TestDb) {
        sql("update schema_migration set applied_at = 1").execute(&*db).await.unwrap();
        let (one, two) = (db.reopen().await, db.reopen().await);
        let clock = Clock::manual(START);
        let (first, second) = tokio::join!(one.migrate(&clock), two.migrate(&clock));
        first.unwrap();
        second.unwrap();
        let applied: (i64,) = sql("select max(applied_at) from schema_migration").one(&*db).await.unwrap();
        assert_eq!(applied, (1,));
    }

    async fn connections_are_counted(db: TestDb) {
        db.ping().await.unwrap();
        let tx = db.begin().await.unwrap();
        let numbers = db.pool();
        assert!(numbers.size >= 1 && numbers.idle < numbers.size, "{numbers:?}");
        tx.rollback().await.unwrap();
        db.checkpoint().await.unwrap();
    }

    async fn a_table_that_has_outgrown_its_statistics_gets_new_ones(db: TestDb) {
        let fill = async |from: i64, to: i64| {
            let text = "insert into sequence (name, next) select 'n' || n, 1 from \
                        (with recursive g(n) as (select cast($1 as bigint) union all select n + 1 from g where n < $2) \
                        select n from g) numbers";
            sql(text).bind(from).bind(to).execute(&*db).await.unwrap();
        };
        if db.dialect() == Dialect::Sqlite {
            return statistics::catch_up(&db).await.unwrap();
        }
        let known = async || -> i64 {
            let text = "select cast(reltuples as bigint) from pg_class where relname = 'sequence'";
            sql(text).one::<(i64,)>(&*db).await.unwrap().0
        };
        let rows = async || -> i64 { sql("select count(*) from sequence").one::<(i64,)>(&*db).await.unwrap().0 };
        for (from, to) in [(1, 300), (301, 1_500)] {
            fill(from, to).await;
            let deadline = Instant::now() + Duration::from_secs(30);
            // What was inserted is counted with a delay.
            while known().await != rows().await {
                assert!(Instant::now() < deadline, "{} rows are known of {}", known().await, rows().await);
                statistics::catch_up(&db).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn a_closed_database_is_unavailable(db: TestDb) {
        let other = db.reopen().await;
        other.close().await;
        assert!(other.ping().await.unwrap_err().is_unavailable());
    }
}

/// More than is copied beside the writer, less than makes SQLite do it inside a commit.
const BUSY_MIB: u64 = 80;

#[test]
fn a_long_log_is_moved_into_the_database_and_used_again() {
    run_on_sqlite(|db: TestDb| async move {
        let file = PathBuf::from(db.options().url.strip_prefix("sqlite://").unwrap());
        let log = file.with_extension("db-wal");
        let size = |path: &Path| std::fs::metadata(path).unwrap().len() >> 20;
        for round in 1..=3 {
            for _ in 0..BUSY_MIB {
                let blob = "insert into meta (name, value) values (hex(randomblob(16)), zeroblob(1048576))";
                sql(blob).execute(&*db).await.unwrap();
            }
            let copied = async {
                while size(&file) < round * BUSY_MIB {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_mins(1), copied).await.expect("the log is copied");
        }
        assert!(size(&log) < 2 * BUSY_MIB, "{} MiB of log: it begins anew once it is copied", size(&log));
    });
}

#[test]
fn a_backup_holds_what_was_committed() {
    run_on_sqlite(|db: TestDb| async move {
        sql("insert into meta (name, value) values ('a', 'b')").execute(&*db).await.unwrap();
        let held = db.begin().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.db");
        db.backup_to(&path).await.unwrap();
        held.rollback().await.unwrap();
        assert!(db.backup_to(&path).await.is_err(), "an existing file is not overwritten");
        let copy = Db::open(&DatabaseOptions::new(format!("sqlite://{}", path.display()))).await.unwrap();
        copy.migrate(&Clock::manual(START)).await.unwrap();
        let value: (String,) = sql("select value from meta where name = 'a'").one(&copy).await.unwrap();
        assert_eq!(value.0, "b");
    });
}

#[test]
fn addresses_are_checked_and_not_shown() {
    run_on_sqlite(|_: TestDb| async move {
        for url in
            ["", "mysql://root:s3cret@host/x", "sqlite://", "sqlite://:memory:", "postgres://u:s3cret@h:x/y"]
        {
            let options = DatabaseOptions::new(url);
            let error = Db::open(&options).await.err().unwrap();
            assert!(!error.is_unavailable(), "{error}");
            assert!(!format!("{error} {options:?}").contains("s3cret"), "{error} {options:?}");
        }
    });
}
