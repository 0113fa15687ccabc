//! What PostgreSQL knows of the sizes of tables, kept near the truth while they grow.
//!
//! A table that was never analysed counts as one of some hundred rows of which a condition leaves one or two, so that to
//! look through all of it seems as good as to look one row up; and a plan is kept until the table is analysed. PostgreSQL
//! does that by itself, once a minute at most, which is a long time for a fresh server that everybody comes to at once.
//! SQLite plans by the text alone, and needs none of this.

use super::{Db, Dialect, Result, sql};

/// Analyses tables of ten rows and more that have doubled since that was done the last time, so that it costs in all what
/// a few passes over the data do. One that somebody else analyses, or changes, is left out.
const CATCH_UP: &str = "do 'declare outgrown text; begin \
    for outgrown in select cast(c.oid as regclass) from pg_class c join pg_stat_user_tables s on s.relid = c.oid \
    where c.relkind = ''r'' and s.schemaname = current_schema and s.n_live_tup >= 10 \
    and s.n_live_tup >= 2 * c.reltuples \
    loop execute ''analyze (skip_locked) '' || outgrown; end loop; end'";

/// Looks for tables that have outgrown what is known of them, and takes their statistics anew. Some milliseconds where
/// there are none.
pub async fn catch_up(db: &Db) -> Result<()> {
    match db.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => sql(CATCH_UP).execute(db).await.map(drop),
    }
}
