//! Reading a stream by offset, in pages, in both directions.

use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::ids::{Offset, StreamId},
    store::{Db, StoreError, sql, statements},
};

statements! {
    /// Position of one stream.
    POSITION = "select epoch, head, first_offset from stream where id = $1";
    /// A page forward.
    PAGE_AFTER = "select stream_offset, id, type, time, data from event \
        where stream_id = $1 and stream_offset > $2 order by stream_offset limit $3";
    /// A page backward.
    PAGE_BEFORE = "select stream_offset, id, type, time, data from event \
        where stream_id = $1 and stream_offset < $2 order by stream_offset desc limit $3";
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx_macros::FromRow)]
pub struct Position {
    /// Changes when offsets start anew (restore from a backup).
    pub epoch: String,
    /// Offset of the newest event; 0 when there is none.
    pub head: Offset,
    /// Offset of the oldest event that is still kept.
    pub first_offset: Offset,
}

/// An event as stored.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct StoredEvent {
    /// Its place in the stream.
    #[sqlx(rename = "stream_offset")]
    pub offset: Offset,
    /// Its id everywhere.
    pub id: Uuid,
    /// `message.created` and so on.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub time: Timestamp,
    /// The publication's `data` as JSON text.
    #[sqlx(rename = "data")]
    pub body: String,
}

/// Where a stream stands now; `None` when there is no such stream.
pub async fn position(db: &Db, stream: StreamId) -> Result<Option<Position>, StoreError> {
    sql(POSITION).bind(stream).optional(db).await
}

/// Up to `limit` events with offsets above `after`, oldest first.
pub async fn read_after(
    db: &Db,
    stream: StreamId,
    after: Offset,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    sql(PAGE_AFTER).bind(stream).bind(after).bind(i64::from(limit)).all(db).await
}

/// Up to `limit` events with offsets below `before`, newest first.
pub async fn read_before(
    db: &Db,
    stream: StreamId,
    before: Offset,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    sql(PAGE_BEFORE).bind(stream).bind(before).bind(i64::from(limit)).all(db).await
}
