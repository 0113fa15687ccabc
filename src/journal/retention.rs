//! Retention: forgets old events of streams whose kind has an age limit. The head never moves, `first_offset` does, so
//! that a subscriber who comes back too late is told so.

use std::time::Duration;

use crate::{
    base::clock::Timestamp,
    domain::{
        event::StreamKind,
        ids::{Offset, StreamId},
    },
    store::{Db, StoreError, sql, statements},
};

statements! {
    /// Streams of a kind that hold events, page by page.
    STREAMS_OF_KIND = "select id, head, first_offset from stream \
        where kind = $1 and id > $2 order by id limit $3";
    /// Up to which offset events are old enough and already relayed.
    OLD_EVENTS = "select max(e.stream_offset) from (select stream_offset, time, seq from event \
        where stream_id = $1 and stream_offset >= $2 order by stream_offset limit $3) e \
        where e.time < $4 and e.seq <= $5";
    /// Forgets them.
    FORGET = "delete from event where stream_id = $1 and stream_offset <= $2";
    /// Says so.
    RAISE_FIRST = "update stream set first_offset = $2 where id = $1 and first_offset < $2";
    /// Up to where the log has left the house; no row where nothing relays.
    RELAYED = "select min(seq) from relay_position";
}

/// How long events of one kind of stream are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// The kind.
    pub kind: StreamKind,
    /// The age.
    pub keep: Duration,
}

const STREAM_PAGE: i64 = 500;
const EVENT_PAGE: i64 = 1_000;

/// Forgets what is older than `retention.keep` at `now`; gives the number of events.
pub async fn enforce_retention(db: &Db, retention: Retention, now: Timestamp) -> Result<u64, StoreError> {
    let before = now.minus(retention.keep);
    let (relayed,): (Option<i64>,) = sql(RELAYED).one(db).await?;
    let relayed = relayed.unwrap_or(i64::MAX);
    let mut forgotten = 0;
    let mut last = StreamId(0);
    loop {
        let streams: Vec<(StreamId, Offset, Offset)> =
            sql(STREAMS_OF_KIND).bind(retention.kind.name()).bind(last).bind(STREAM_PAGE).all(db).await?;
        let Some((id, ..)) = streams.last() else { return Ok(forgotten) };
        last = *id;
        for (stream, head, first) in streams {
            let mut first = first;
            while first <= head {
                let (old,): (Option<i64>,) = sql(OLD_EVENTS)
                    .bind(stream)
                    .bind(first)
                    .bind(EVENT_PAGE)
                    .bind(before)
                    .bind(relayed)
                    .one(db)
                    .await?;
                let Some(old) = old else { break };
                let mut tx = db.begin().await?;
                forgotten += sql(FORGET).bind(stream).bind(old).execute(&mut tx).await?;
                first = Offset(old + 1);
                sql(RAISE_FIRST).bind(stream).bind(first).execute(&mut tx).await?;
                tx.commit().await?;
            }
        }
    }
}
