//! The database's generation: a part of every epoch that a restore from backup changes, so that no client takes events
//! written after it for those that it saw before.

use super::{Db, Result, sql, sql_for, statements::statements};

/// In a copy: the first server that opens it begins a new generation.
const PENDING: &str = "restored";

statements! {
    MARK = "insert into meta (name, value) values ('restored', '') on conflict (name) do nothing";
    IS_PENDING = "select value from meta where name = $1";
    SETTLE = "delete from meta where name = $1";
    /// Keeps each stream's own random part, which has no dot.
    RAISE = {
        sqlite: "update stream set epoch = \
                 case when instr(epoch, '.') > 0 then substr(epoch, 1, instr(epoch, '.') - 1) else epoch end || '.' || $1",
        postgres: "update stream set epoch = split_part(epoch, '.', 1) || '.' || $1",
    };
    /// What was made after the backup is lost, but its numbers are out there: in tokens, in what clients hold.
    LEAP = "update sequence set next = next + $1";
}

/// What a copy is marked with, to be run on a connection to it.
pub(super) const MARK_COPY: &str = MARK;

/// Numbers that are skipped of each kind.
const GAP: i64 = 100_000;

/// Begins a new generation in a database that was restored from a copy of ours (or where `restored` says that it came
/// from elsewhere); `name` is random. True when it did.
pub async fn begin_if_restored(db: &Db, restored: bool, name: &str) -> Result<bool> {
    let mut tx = db.begin().await?;
    let pending: Option<(String,)> = sql(IS_PENDING).bind(PENDING).optional(&mut tx).await?;
    if pending.is_none() && !restored {
        return Ok(false);
    }
    sql_for(RAISE).bind(name).execute(&mut tx).await?;
    sql(LEAP).bind(GAP).execute(&mut tx).await?;
    sql(SETTLE).bind(PENDING).execute(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}
