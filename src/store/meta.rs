//! Named values of the installation.

use super::{Db, Result, sql, statements::statements};
use crate::base::clock::Timestamp;

statements! {
    SET = "insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value";
}

/// One small write: does the database take them?
pub async fn probe(db: &Db, now: Timestamp) -> Result<()> {
    sql(SET).bind("probe").bind(now.to_string()).execute(db).await.map(drop)
}
