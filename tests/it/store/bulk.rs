//! Statements over many rows are understood by both engines, in each of their sizes.

use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};
use switchboard::{journal, store};

use crate::harness::db::{Raw, on_both};

on_both! {
    async fn every_bulk_statement_is_understood(db: TestDb) {
        let mut raw = db.raw().await;
        let mut texts = 0;
        let bulks = journal::bulk_statements().chain(store::bulk_statements());
        let of_one = bulks.flat_map(|bulk| bulk.texts(db.dialect()));
        for text in of_one.chain(journal::joint_texts(db.dialect())) {
            let text = AssertSqlSafe(text).into_sql_str();
            match &mut raw {
                Raw::Sqlite(connection) => connection.prepare(text).await.map(drop),
                Raw::Postgres(connection) => connection.prepare(text).await.map(drop),
            }
            .unwrap();
            texts += 1;
        }
        assert!(texts >= 13, "{texts}");
    }
}
