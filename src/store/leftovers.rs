//! What nobody needs any more: visitors who showed a name and went, sign-ins whose time is long over.

use super::{Db, Result, Value, sql, sql_for, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{PersonId, StreamId},
};

statements! {
    /// Who was let in anywhere stays, since records name them; so does an inbox that still holds events.
    VISITORS = "select p.id, p.stream_id from person p where p.kind = 'anonymous' and p.id > $1 and p.created_at < $2 \
        and not exists (select 1 from session_member m where m.person_id = p.id) \
        and not exists (select 1 from ring r where r.to_id = p.id) \
        and not exists (select 1 from ring r where r.from_id = p.id) \
        and not exists (select 1 from event e where e.stream_id = p.stream_id) order by p.id limit $3";
    FAMILIES_OF = listed("delete from token_family where person_id" ["$1"]);
    STREAMS = listed("delete from stream where id" ["$1"]);
    PEOPLE = listed("delete from person where id" ["$1"]);
    REFRESH_TOKENS = "delete from refresh_token where expires_at < $1";
    FAMILIES = "delete from token_family where expires_at < $1";
}

/// Rows of one transaction.
const PAGE: i64 = 500;

/// Forgets visitors without an account who came before `before` and were let in nowhere; gives their number.
pub async fn forget_visitors(db: &Db, before: Timestamp) -> Result<u64> {
    let (mut last, mut forgotten) = (PersonId(0), 0);
    loop {
        let rows: Vec<(PersonId, StreamId)> =
            sql(VISITORS).bind(last).bind(before).bind(PAGE).all(db).await?;
        let Some((id, _)) = rows.last() else { return Ok(forgotten) };
        last = *id;
        let people = || Value::ids(rows.iter().map(|(id, _)| *id));
        let mut tx = db.begin().await?;
        sql_for(FAMILIES_OF).bind(people()).execute(&mut tx).await?;
        sql_for(STREAMS).bind(Value::ids(rows.iter().map(|(_, stream)| *stream))).execute(&mut tx).await?;
        forgotten += sql_for(PEOPLE).bind(people()).execute(&mut tx).await?;
        tx.commit().await?;
    }
}

/// Forgets sign-ins and refresh tokens that ended before `before`.
pub async fn forget_sign_ins(db: &Db, before: Timestamp) -> Result<()> {
    sql(REFRESH_TOKENS).bind(before).execute(db).await?;
    sql(FAMILIES).bind(before).execute(db).await.map(drop)
}
