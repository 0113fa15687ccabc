//! Call records: reading calls with all that belongs to them, and what people say about them afterwards. Every read is
//! a fixed number of statements however many calls there are.

use super::{
    Db, Result, Stmt,
    calls::{CallRow, RingRow, StretchRow},
    filter, sql, statements,
};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{CallCommentId, CallId, OrgId, PersonId, SessionId},
        query::{Field, Kind, List},
    },
};

macro_rules! call_columns {
    () => {
        "call.id, call.session_id, call.organization_id, call.conversation_id, call.dialer_id, call.receiver_id, \
         call.owner_id, call.started_at, call.ended_at, call.end_reason, call.recording_status, call.recording_id, \
         call.alt1_id, call.alt2_id, call.alt3_id, call.extra_info, call.updated_at"
    };
}

macro_rules! ring_columns {
    () => {
        "ring.id, ring.session_id, ring.organization_id, ring.call_id, ring.from_id, ring.to_id, ring.to_login_id, \
         ring.state, ring.reason, ring.message, ring.video, ring.leased, ring.created_at, ring.expires_at, \
         ring.ended_at"
    };
}

statements! {
    OF_SESSION = concat!("select ", call_columns!(), " from call where session_id = $1 and organization_id = $2 \
        and started_at is not null order by started_at desc, id limit $3");
    IS_INVOLVED = "select 1 from call_participant where call_id = $1 and person_id = $2 \
        union all select 1 from ring where call_id = $1 and (to_id = $2 or from_id = $2) limit 1";
    RECENT_RINGS_FROM = concat!("select ", ring_columns!(), " from ring where from_id = $1 and state <> 'ringing' \
        order by created_at desc, id limit $2");
    RECENT_RINGS_TO = concat!("select ", ring_columns!(), " from ring where to_id = $1 and state <> 'ringing' \
        order by created_at desc, id limit $2");
    RECENT_CALLS = concat!("select ", call_columns!(), " from (select call_id, max(joined_at) as joined_at \
        from call_participant where person_id = $1 group by call_id order by 2 desc limit $2) mine \
        join call on call.id = mine.call_id where call.started_at is not null");
    FAVORITES = "select contact_id from favorite where person_id = $1";
    SET_REFERENCES = "update call set alt1_id = coalesce($2, alt1_id), alt2_id = coalesce($3, alt2_id), \
        alt3_id = coalesce($4, alt3_id), extra_info = coalesce($5, extra_info), updated_at = $6 where id = $1";
    ADD_TAG = "insert into call_tag (call_id, tag, created_at) values ($1, $2, $3) on conflict do nothing";
    CLEAR_TAGS = "delete from call_tag where call_id = $1";
    COMMENTS = "select id, call_id, organization_id, author_id, comment, created_at, updated_at from call_comment \
        where call_id = $1 order by id";
    ADD_COMMENT = "insert into call_comment (id, call_id, organization_id, author_id, comment, created_at, updated_at) \
        values ($1, $2, $3, $4, $5, $6, $6)";
    RATE = "insert into call_rating (call_id, person_id, rating, created_at) values ($1, $2, $3, $4) \
        on conflict (call_id, person_id) do update set rating = excluded.rating, created_at = excluded.created_at";
}

/// What lists of calls can be filtered and ordered by.
pub const FIELDS: &[Field] = &[
    Field::new("call_id", "call.id", Kind::Text),
    Field::new("session.call_id", "call.id", Kind::Text),
    Field::new("session_id", "call.session_id", Kind::Uuid),
    Field::new("session.id", "call.session_id", Kind::Uuid),
    Field::new("workbox_id", "call.conversation_id", Kind::Int),
    Field::new("dialer_id", "call.dialer_id", Kind::Int),
    Field::new("receiver_id", "call.receiver_id", Kind::Int),
    Field::new("owner_id", "call.owner_id", Kind::Int),
    Field::new("start_time", "call.started_at", Kind::Time),
    Field::new("end_time", "call.ended_at", Kind::Time),
    Field::new("updated_at", "call.updated_at", Kind::Time),
    Field::new("alt1_id", "call.alt1_id", Kind::Text),
    Field::new("alt2_id", "call.alt2_id", Kind::Text),
    Field::new("alt3_id", "call.alt3_id", Kind::Text),
    Field::filter_only(
        "tag.id",
        "exists (select 1 from call_tag t where t.call_id = call.id and t.tag {})",
        Kind::Text,
    ),
    Field::filter_only(
        "tag.name",
        "exists (select 1 from call_tag t where t.call_id = call.id and t.tag {})",
        Kind::Text,
    ),
    Field::filter_only(
        "participant.id",
        "exists (select 1 from call_participant p where p.call_id = call.id and p.person_id {})",
        Kind::Int,
    ),
];

/// Whose calls a list shows.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// All of an organisation.
    Organization(OrgId),
    /// Those that a person has been in.
    Person(PersonId),
}

fn narrowed(stmt: Stmt, whose: Whose) -> Stmt {
    match whose {
        Whose::Organization(id) => stmt.push(" where call.organization_id = ").push_bind(id),
        Whose::Person(id) => stmt
            .push(" where call.id in (select call_id from call_participant where person_id = ")
            .push_bind(id)
            .push(")"),
    }
    .push(" and call.started_at is not null")
}

/// A page of calls, the latest first unless asked otherwise.
pub async fn list(db: &Db, whose: Whose, list: &List) -> Result<Vec<CallRow>> {
    let stmt = narrowed(sql(concat!("select ", call_columns!(), " from call")), whose);
    let stmt = filter::conditions(stmt, &list.filter);
    filter::order(stmt, &list.order, "call.started_at desc, call.id desc", "call.id")
        .push(" limit ")
        .push_bind(list.page.limit())
        .push(" offset ")
        .push_bind(list.page.offset())
        .all(db)
        .await
}

/// How many calls the list has.
pub async fn count(db: &Db, whose: Whose, list: &List) -> Result<i64> {
    let stmt = narrowed(sql("select count(*) from call"), whose);
    let (count,): (i64,) = filter::conditions(stmt, &list.filter).one(db).await?;
    Ok(count)
}

/// The calls of a session, the latest first.
pub async fn of_session(
    db: &Db,
    session: SessionId,
    organization: OrgId,
    limit: i64,
) -> Result<Vec<CallRow>> {
    sql(OF_SESSION).bind(session).bind(organization).bind(limit).all(db).await
}

/// Calls by id.
pub async fn by_ids(db: &Db, calls: &[CallId]) -> Result<Vec<CallRow>> {
    sql(concat!("select ", call_columns!(), " from call where started_at is not null and id in "))
        .push_list(calls)
        .all(db)
        .await
}

/// True when the person has been in the call, or has rung or been rung for it.
pub async fn is_involved(db: &Db, call: &CallId, person: PersonId) -> Result<bool> {
    let row: Option<(i32,)> = sql(IS_INVOLVED).bind(call).bind(person).optional(db).await?;
    Ok(row.is_some())
}

/// Who has been in these calls, and when.
pub async fn stretches(db: &Db, calls: &[CallId]) -> Result<Vec<StretchRow>> {
    sql("select call_id, person_id, login_id, joined_at, left_at, leave_reason from call_participant where call_id in ")
        .push_list(calls)
        .push(" order by joined_at, person_id")
        .all(db)
        .await
}

/// The rings that led to these calls or invited into them.
pub async fn rings(db: &Db, calls: &[CallId]) -> Result<Vec<RingRow>> {
    sql(concat!("select ", ring_columns!(), " from ring where call_id is not null and call_id in "))
        .push_list(calls)
        .push(" order by created_at, id")
        .all(db)
        .await
}

/// The tags of these calls.
pub async fn tags(db: &Db, calls: &[CallId]) -> Result<Vec<(CallId, String)>> {
    sql("select call_id, tag from call_tag where call_id in ")
        .push_list(calls)
        .push(" order by created_at, tag")
        .all(db)
        .await
}

/// The ratings of these calls: who gave how many.
pub async fn ratings(db: &Db, calls: &[CallId]) -> Result<Vec<(CallId, PersonId, i64)>> {
    sql("select call_id, person_id, rating from call_rating where call_id in ")
        .push_list(calls)
        .push(" order by person_id")
        .all(db)
        .await
}

/// Which of these calls have attachments that were not deleted.
pub async fn with_attachments(db: &Db, calls: &[CallId]) -> Result<Vec<CallId>> {
    let rows: Vec<(CallId,)> = sql(
        "select distinct call_id from attachment where call_id is not null and status <> 'deleted' and call_id in ",
    )
    .push_list(calls)
    .all(db)
    .await?;
    Ok(rows.into_iter().map(|(call,)| call).collect())
}

/// The latest rings of a person that are over: `outgoing` ones, or those that rang for the person.
pub async fn recent_rings(db: &Db, person: PersonId, outgoing: bool, limit: i64) -> Result<Vec<RingRow>> {
    let text = if outgoing { RECENT_RINGS_FROM } else { RECENT_RINGS_TO };
    sql(text).bind(person).bind(limit).all(db).await
}

/// The latest calls that a person has been in, in no order.
pub async fn recent_calls(db: &Db, person: PersonId, limit: i64) -> Result<Vec<CallRow>> {
    sql(RECENT_CALLS).bind(person).bind(limit).all(db).await
}

/// A person's favourites.
pub async fn favorites(db: &Db, person: PersonId) -> Result<Vec<PersonId>> {
    let rows: Vec<(PersonId,)> = sql(FAVORITES).bind(person).all(db).await?;
    Ok(rows.into_iter().map(|(contact,)| contact).collect())
}

/// What an integrator may write into a call; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// First reference.
    pub alt1_id: Option<String>,
    /// Second reference.
    pub alt2_id: Option<String>,
    /// Third reference.
    pub alt3_id: Option<String>,
    /// Free text.
    pub extra_info: Option<String>,
}

/// Writes an integrator's references.
pub fn set_references(call: &CallId, references: &References, now: Timestamp) -> Stmt {
    sql(SET_REFERENCES)
        .bind(call)
        .bind(references.alt1_id.clone())
        .bind(references.alt2_id.clone())
        .bind(references.alt3_id.clone())
        .bind(references.extra_info.clone())
        .bind(now)
}

/// Adds a tag, once.
pub fn add_tag(call: &CallId, tag: &str, now: Timestamp) -> Stmt {
    sql(ADD_TAG).bind(call).bind(tag).bind(now)
}

/// Removes all tags.
pub fn clear_tags(call: &CallId) -> Stmt {
    sql(CLEAR_TAGS).bind(call)
}

/// A comment on a call.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct CommentRow {
    /// Its number.
    pub id: CallCommentId,
    /// The call.
    pub call_id: CallId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// Who wrote it.
    pub author_id: PersonId,
    /// The text.
    pub comment: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The comments on a call, the oldest first.
pub async fn comments(db: &Db, call: &CallId) -> Result<Vec<CommentRow>> {
    sql(COMMENTS).bind(call).all(db).await
}

/// Writes a comment.
pub fn add_comment(comment: &CommentRow) -> Stmt {
    sql(ADD_COMMENT)
        .bind(comment.id)
        .bind(&comment.call_id)
        .bind(comment.organization_id)
        .bind(comment.author_id)
        .bind(comment.comment.as_str())
        .bind(comment.created_at)
}

/// Writes a person's rating, in place of an earlier one.
pub fn rate(call: &CallId, person: PersonId, rating: i64, now: Timestamp) -> Stmt {
    sql(RATE).bind(call).bind(person).bind(rating).bind(now)
}
