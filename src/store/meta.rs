//! Named values of the installation.

use super::{Db, Result, sql, statements::statements};
use crate::base::clock::Timestamp;

statements! {
    SET = "insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value";
}

/// One write, of some bytes and `room` more: does the database take it?
pub async fn probe(db: &Db, now: Timestamp, room: usize) -> Result<()> {
    let value = format!("{now}{}", " ".repeat(room));
    sql(SET).bind("probe").bind(value).execute(db).await.map(drop)
}
