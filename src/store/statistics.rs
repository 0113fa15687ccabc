//! What PostgreSQL knows of the sizes of tables, kept near the truth while they grow.
//!
//! A table that was never analysed counts as one of some hundred rows of which a condition leaves one or two, so that to
//! look through all of it seems as good as to look one row up; and a plan is kept until the table is analysed. PostgreSQL
//! does that by itself, once a minute at most, which is a long time for a fresh server that everybody comes to at once.
//! SQLite plans by the text alone, and needs none of this.

use super::{Db, Dialect, Result, sql};

/// Tables of ten rows and more that were never analysed, or have doubled since they were: analysing them costs in all what
/// a few passes over the data do. Those of others, and those that somebody works on at the moment, are left out, since
/// PostgreSQL would only complain.
macro_rules! outgrown {
    () => {
        "from pg_class c join pg_stat_user_tables s on s.relid = c.oid \
         where c.relkind = 'r' and s.schemaname = current_schema and pg_has_role(c.relowner, 'usage') \
         and s.n_live_tup >= 10 and (s.n_live_tup >= 2 * c.reltuples \
         or coalesce(s.last_analyze, s.last_autoanalyze) is null) \
         and not exists (select 1 from pg_locks l where l.relation = c.oid and l.mode = 'ShareUpdateExclusiveLock' \
         and l.database = (select d.oid from pg_database d where d.datname = current_database()))"
    };
}
// In no list of statements: SQLite has nothing of the kind.
const COUNT: &str = concat!("select count(*) ", outgrown!());
/// One of them, in a transaction of its own: what was learnt stays, whatever becomes of the next, and no lock is held for
/// longer than needed. One node at a time (the lock after that of migrations).
const ANALYZE: &str = concat!(
    "do $do$ declare outgrown text; begin if pg_try_advisory_xact_lock(1937203813) then \
     select cast(c.oid as regclass) into outgrown ",
    outgrown!(),
    " order by random() limit 1; \
     if outgrown is not null then execute 'analyze (skip_locked) ' || outgrown; end if; end if; end $do$"
);

/// Looks for tables that have outgrown what is known of them, and takes their statistics anew. Nothing on SQLite.
pub async fn catch_up(db: &Db) -> Result<()> {
    if db.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let (outgrown,): (i64,) = sql(COUNT).one(db).await?;
    for _ in 0..outgrown {
        sql(ANALYZE).execute(db).await?;
    }
    Ok(())
}
