//! The schema, embedded in the program and brought up to date at start: each file in one transaction, under a lock,
//! with a checksum so that an edited file is noticed.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use sqlx::SqlSafeStr as _;

use super::{Db, Dialect, Result, StoreError, Tx, sql};
use crate::base::clock::Clock;

/// A file of `migrations/`, in the order of application. Files are never edited after a release.
struct Migration {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($name:literal)+) => {
        &[$(Migration {
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        },)+]
    };
}

const MIGRATIONS: &[Migration] = migrations! {
    "0001_core"
    "0002_identity"
    "0003_conversations"
    "0004_sessions"
    "0005_rows_in_order"
    "0006_traces"
    "0007_absences"
    "0008_tallies"
    "0009_hot_rows"
};

/// The advisory lock that keeps two nodes from migrating at once ("swbd").
const POSTGRES_LOCK: &str = "set local statement_timeout = 0; select pg_advisory_xact_lock(1937203812)";

pub(super) async fn run(db: &Db, clock: &Clock) -> Result<()> {
    let mut tx = locked(db).await?;
    tx.script(
        "create table if not exists schema_migration \
         (name text not null primary key, checksum text not null, applied_at bigint not null)",
    )
    .await?;
    let applied = applied(&mut tx).await?;
    tx.commit().await?;
    if let Some(unknown) = applied.keys().find(|name| !MIGRATIONS.iter().any(|known| known.name == **name)) {
        return Err(StoreError::setup(format!(
            "the database has migration {unknown}, which this program does not know: it was made by a newer one"
        )));
    }
    for migration in MIGRATIONS {
        let text = match db.dialect() {
            Dialect::Sqlite => migration.sqlite,
            Dialect::Postgres => migration.postgres,
        };
        let checksum = hex::encode(Sha256::digest(text));
        match applied.get(migration.name) {
            Some(known) if *known == checksum => {}
            Some(_) => {
                return Err(StoreError::setup(format!(
                    "migration {} was changed after it had been applied to this database",
                    migration.name
                )));
            }
            None => apply(db, migration.name, text, &checksum, clock).await?,
        }
    }
    Ok(())
}

/// A transaction that no other node migrates beside.
async fn locked(db: &Db) -> Result<Tx> {
    let mut tx = db.begin().await?;
    if tx.dialect() == Dialect::Postgres {
        tx.script(POSTGRES_LOCK).await?;
    }
    Ok(tx)
}

async fn applied(tx: &mut Tx) -> Result<HashMap<String, String>> {
    let rows: Vec<(String, String)> = sql("select name, checksum from schema_migration").all(tx).await?;
    Ok(rows.into_iter().collect())
}

async fn apply(db: &Db, name: &'static str, text: &'static str, checksum: &str, clock: &Clock) -> Result<()> {
    let mut tx = locked(db).await?;
    if applied(&mut tx).await?.contains_key(name) {
        // Another node was faster.
        return tx.commit().await;
    }
    tx.script(text).await.map_err(|error| error.at(name.into_sql_str()))?;
    sql("insert into schema_migration (name, checksum, applied_at) values ($1, $2, $3)")
        .bind(name)
        .bind(checksum)
        .bind(clock.now())
        .execute(&mut tx)
        .await?;
    tx.commit().await
}
