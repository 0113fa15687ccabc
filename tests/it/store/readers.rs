//! Connections for single statements: reads that are dropped, connections that die.

use std::time::Duration;

use futures_util::{FutureExt as _, future::join_all};
use sqlx::Executor as _;
use switchboard::store::{Dialect, sql};
use tokio::time::timeout;

use crate::harness::db::{Raw, on_both};

/// Reads that are dropped half-way: more than there are connections.
const DROPPED: i64 = 24;

on_both! {
    async fn reads_that_were_dropped_disturb_no_other(db: TestDb) {
        let long = match db.dialect() {
            Dialect::Sqlite => {
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) select max(i) from n"
            }
            // Fails in the end, when nobody asks for it any more.
            Dialect::Postgres => "select cast(1 / (count(*) - 1) as bigint) from (select pg_sleep(1)) asleep",
        };
        let echo = |n: i64| sql("select cast($1 as bigint)").bind(n).one::<(i64,)>(&*db);
        for n in 0..DROPPED {
            assert_eq!(echo(n).await.unwrap(), (n,));
            let read = sql(long).one::<(i64,)>(&*db);
            let dropped = match db.dialect() {
                // Handed to the connection's thread, and dropped.
                Dialect::Sqlite => read.now_or_never(),
                // Later: at first a statement is only prepared.
                Dialect::Postgres => timeout(Duration::from_millis(20), read).await.ok(),
            };
            assert!(dropped.is_none(), "{dropped:?}");
        }
        for (n, answer) in (0..).zip(join_all((0..40).map(echo)).await) {
            assert_eq!(answer.unwrap(), (n,), "an answer to another question");
        }
        let numbers = db.pool();
        assert_eq!(numbers.idle, numbers.size, "{numbers:?}");
    }

    async fn after_all_connections_died_at_most_one_read_fails(db: TestDb) {
        // As many as there may be.
        let nap = match db.dialect() {
            Dialect::Sqlite => "select cast(7 as bigint)",
            Dialect::Postgres => "select cast(7 as bigint) from (select pg_sleep(0.1)) asleep",
        };
        for read in join_all((0..40).map(|_| sql(nap).one::<(i64,)>(&*db))).await {
            assert_eq!(read.unwrap(), (7,));
        }
        if let Raw::Postgres(mut connection) = db.raw().await {
            assert!(db.pool().size > 2, "{:?}", db.pool());
            let all_others = "select pg_terminate_backend(pid) from pg_stat_activity \
                              where datname = current_database() and pid <> pg_backend_pid()";
            connection.execute(all_others).await.unwrap();
        }
        let mut failed = 0;
        for _ in 0..40 {
            match sql("select cast(7 as bigint)").one::<(i64,)>(&*db).await {
                Ok(seven) => assert_eq!(seven, (7,)),
                Err(error) => {
                    assert!(error.is_unavailable(), "{error}");
                    failed += 1;
                }
            }
        }
        assert!(failed <= 1, "{failed} reads failed");
    }
}
