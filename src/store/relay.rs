//! The event log as the relay walks it.

use uuid::Uuid;

use super::{Db, Dialect, Dialects, Result, sql, sql_for, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{Offset, OrgId, StreamId},
};

statements! {
    /// Where the relay is.
    POSITION = "select seq from relay_position where name = $1";
    /// Moves it forward, never back.
    ADVANCE = "insert into relay_position (name, seq) values ($1, $2) \
        on conflict (name) do update set seq = excluded.seq where relay_position.seq < excluded.seq";
    /// The log behind a position, with what an envelope needs of the stream.
    PAGE = "select e.seq, e.stream_id, e.stream_offset, e.id, e.type, e.time, e.data, e.trace, \
        s.organization_id, s.kind, s.name, s.epoch \
        from event e join stream s on s.id = e.stream_id where e.seq > $1 order by e.seq limit $2";
    /// Where nothing relays any more, nothing has to be kept for it.
    FORGET = "delete from relay_position where name = $1";
    /// All transactions below this one are over.
    FLOOR = {
        sqlite: "select 0",
        postgres: "select cast(cast(pg_snapshot_xmin(pg_current_snapshot()) as text) as bigint)",
    };
    /// A transaction of our own: all that began before have lower numbers. (The `xmax` of a snapshot will not do: it
    /// is one past the highest transaction that is *over*, and open ones may lie above.)
    CEILING = {
        sqlite: "select 0",
        postgres: "select cast(cast(pg_current_xact_id() as text) as bigint)",
    };
    /// The end of the log, if it lies behind a position.
    HEAD = "select seq from event where seq > $1 order by seq desc limit 1";
    /// When the first event behind a position happened.
    OLDEST = "select time from event where seq > $1 order by seq limit 1";
}

/// An event of the log.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct LogRow {
    /// Its place in the log.
    pub seq: i64,
    /// Its stream.
    pub stream_id: StreamId,
    /// Its place in the stream.
    pub stream_offset: Offset,
    /// Its id everywhere.
    pub id: Uuid,
    /// `message.created` and so on.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub time: Timestamp,
    /// The publication's `data` as JSON text.
    pub data: String,
    /// The request it came of: 25 bytes of a `Trace`.
    pub trace: Option<Vec<u8>>,
    /// Whose data it is.
    pub organization_id: OrgId,
    /// The stream's kind.
    #[sqlx(rename = "kind")]
    pub stream_kind: String,
    /// The stream's channel, `workbox:42`.
    #[sqlx(rename = "name")]
    pub channel: String,
    /// The stream's epoch.
    pub epoch: String,
}

/// A page of the log.
#[derive(Debug)]
pub struct LogPage {
    /// Events in the order of their sequence numbers; numbers may be missing.
    pub rows: Vec<LogRow>,
    /// All transactions below this one were over before `rows` were read (PostgreSQL; 0 on SQLite, where commits are in
    /// order).
    pub floor: i64,
}

/// Where the relay `name` is; 0 when it never was anywhere.
pub async fn position(db: &Db, name: &str) -> Result<i64> {
    let row: Option<(i64,)> = sql(POSITION).bind(name).optional(db).await?;
    Ok(row.map_or(0, |(seq,)| seq))
}

/// Remembers that everything up to `seq` is relayed.
pub async fn advance(db: &Db, name: &str, seq: i64) -> Result<()> {
    sql(ADVANCE).bind(name).bind(seq).execute(db).await.map(drop)
}

/// Forgets the relay `name`: it will start from the beginning of the log, and retention keeps nothing for it.
pub async fn forget(db: &Db, name: &str) -> Result<()> {
    sql(FORGET).bind(name).execute(db).await.map(drop)
}

/// Up to `limit` events behind `seq`.
pub async fn page(db: &Db, seq: i64, limit: u32) -> Result<LogPage> {
    let floor = match db.dialect() {
        Dialect::Sqlite => 0,
        Dialect::Postgres => number(db, FLOOR).await?,
    };
    let rows = sql(PAGE).bind(seq).bind(i64::from(limit)).all(db).await?;
    Ok(LogPage { rows, floor })
}

/// A number above those of all transactions that have begun.
pub async fn ceiling(db: &Db) -> Result<i64> {
    number(db, CEILING).await
}

async fn number(db: &Db, texts: Dialects) -> Result<i64> {
    let (number,): (i64,) = sql_for(texts).one(db).await?;
    Ok(number)
}

/// How far the log goes behind `seq`: its last number (at least `seq`), and when the first event behind happened.
pub async fn behind(db: &Db, seq: i64) -> Result<(i64, Option<Timestamp>)> {
    let head: Option<(i64,)> = sql(HEAD).bind(seq).optional(db).await?;
    let oldest: Option<(Timestamp,)> = sql(OLDEST).bind(seq).optional(db).await?;
    Ok((head.map_or(seq, |(head,)| head), oldest.map(|(time,)| time)))
}
