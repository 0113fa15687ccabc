//! Sessions and their members, and people as sessions and calls show them.

use uuid::Uuid;

use super::{Db, Result, Stmt, Value, sql, sql_for, statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, MessageId, Offset, OrgId, PersonId, SessionId, StreamId},
};

macro_rules! session_columns {
    () => {
        "session.id, session.organization_id, session.stream_id, session.conversation_id, session.kind, session.pin, \
         session.created_by, (select recording_policy from organization \
         where organization.id = session.organization_id) as recording_policy, session.created_at, session.updated_at"
    };
}

macro_rules! person_columns {
    () => {
        "person.id, person.login_id, person.organization_id, person.uuid, person.kind, person.name, person.email, \
         person.username, person.title, person.location, person.avatar_file, person.status, person.active, \
         person.unavailable_expires_at, person.stream_id, person.updated_at, \
         person.removed_at is not null as removed"
    };
}

statements! {
    FIND = concat!("select ", session_columns!(), " from session where id = $1");
    FIND_BY_PEOPLE = concat!("select ", session_columns!(), " from session where organization_id = $1 and people_key = $2");
    FIND_OF_CONVERSATION = concat!("select ", session_columns!(), " from session where conversation_id = $1 \
        order by created_at desc, id limit 1");
    THREAD_STREAM = "select stream_id from conversation where id = $1";
    MEMBERS = concat!("select member.session_id, member.organizer, ", person_columns!(), " from session_member member \
        join person on person.id = member.person_id where member.session_id = $1 and member.removed_at is null \
        order by member.added_at, person.id");
    MEMBERSHIP = "select organizer from session_member where session_id = $1 and person_id = $2 and removed_at is null";
    LIST = concat!("select ", session_columns!(), " from session_member member \
        join session on session.id = member.session_id where member.person_id = $1 and member.removed_at is null \
        order by session.updated_at desc, session.id limit $2 offset $3");
    COUNT = "select count(*) from session_member where person_id = $1 and removed_at is null";
    PEOPLE = {
        sqlite: concat!("select ", person_columns!(),
            " from person where person.id in (select value from json_each($1))"),
        postgres: concat!("select ", person_columns!(), " from person where person.id = any($1)"),
    };
    INSERT = "insert into session (id, organization_id, stream_id, conversation_id, kind, people_key, pin, created_by, \
        created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    RECORDING_POLICY = "select o.recording_policy from session s join organization o on o.id = s.organization_id \
        where s.id = $1";
    INSERT_MESSAGE = "insert into session_message (session_id, author_id, uuid, id, body_hash, stream_offset, created_at) \
        values ($1, $2, $3, $4, $5, 0, $6) on conflict (session_id, author_id, uuid) do nothing";
    /// The event is among the newest of its stream: its offset is known once it is in place.
    PLACE_MESSAGE = "update session_message set stream_offset = (select e.stream_offset from event e \
        where e.stream_id = $4 and e.id = $5 order by e.stream_offset desc limit 1) \
        where session_id = $1 and author_id = $2 and uuid = $3";
    FIND_MESSAGE = "select m.id, m.body_hash, m.stream_offset, e.data from session_message m \
        join session s on s.id = m.session_id \
        join event e on e.stream_id = s.stream_id and e.stream_offset = m.stream_offset \
        where m.session_id = $1 and m.author_id = $2 and m.uuid = $3";
    INSERT_MEMBER = "insert into session_member (session_id, person_id, organizer, added_at, removed_at) \
        values ($1, $2, $3, $4, null) on conflict (session_id, person_id) do update \
        set organizer = excluded.organizer, removed_at = null, \
        added_at = case when session_member.removed_at is null then session_member.added_at else excluded.added_at end";
    REMOVE_MEMBER = "update session_member set removed_at = $3 \
        where session_id = $1 and person_id = $2 and removed_at is null";
    TOUCH = "update session set updated_at = $2 where id = $1";
    PEOPLE_CHANGED = "update session set people_key = null, updated_at = $2 where id = $1";
}

/// A session.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// Its stream.
    pub stream_id: StreamId,
    /// The help thread it belongs to.
    pub conversation_id: Option<ConversationId>,
    /// `direct` or `workbox`.
    pub kind: String,
    /// Lets guests in.
    pub pin: String,
    /// Who made it.
    pub created_by: PersonId,
    /// `always_on`, `opt_in`, `opt_out`: what its organisation says now.
    pub recording_policy: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something last happened in it.
    pub updated_at: Timestamp,
}

/// A person as sessions and calls show them.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct PersonRow {
    /// The face.
    pub id: PersonId,
    /// The human being.
    pub login_id: PersonId,
    /// The organisation it belongs to.
    pub organization_id: OrgId,
    /// Names guests on the wire.
    pub uuid: Uuid,
    /// `member`, `guest`, `anonymous`.
    pub kind: String,
    name: String,
    email: Option<String>,
    /// Another name to sign in with.
    pub username: Option<String>,
    /// What the person does.
    pub title: Option<String>,
    /// Where the person is.
    pub location: Option<String>,
    /// The picture's file.
    pub avatar_file: Option<String>,
    /// 100 to 105 of the contract.
    pub status: i64,
    /// Inactive people cannot call.
    pub active: bool,
    /// Until when the person does not want to be disturbed.
    pub unavailable_expires_at: Option<Timestamp>,
    /// The inbox.
    pub stream_id: StreamId,
    /// When the record changed.
    pub updated_at: Timestamp,
    /// The account is gone.
    pub removed: bool,
}

impl PersonRow {
    /// The name that others see.
    pub fn name(&self) -> &str {
        if self.removed { "Deleted User" } else { &self.name }
    }

    /// The address that records show; empty when there is none (any more).
    pub fn email(&self) -> &str {
        if self.removed { "" } else { self.email.as_deref().unwrap_or_default() }
    }

    /// True for visitors without an account.
    pub fn is_anonymous(&self) -> bool {
        self.kind != "member"
    }
}

/// A member of a session.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct MemberRow {
    /// The session.
    pub session_id: SessionId,
    /// One of its owners.
    pub organizer: bool,
    /// Who.
    #[sqlx(flatten)]
    pub person: PersonRow,
}

/// The session, whoever it belongs to: the caller compares.
pub async fn find(db: &Db, id: SessionId) -> Result<Option<SessionRow>> {
    sql(FIND).bind(id).optional(db).await
}

/// The session of exactly these people.
pub async fn find_by_people(db: &Db, organization: OrgId, key: &str) -> Result<Option<SessionRow>> {
    sql(FIND_BY_PEOPLE).bind(organization).bind(key).optional(db).await
}

/// The newest session of a help thread.
pub async fn find_of_conversation(db: &Db, conversation: ConversationId) -> Result<Option<SessionRow>> {
    sql(FIND_OF_CONVERSATION).bind(conversation).optional(db).await
}

/// The stream of a help thread that guests may see.
pub async fn thread_stream(db: &Db, thread: ConversationId) -> Result<Option<StreamId>> {
    let row: Option<(StreamId,)> = sql(THREAD_STREAM).bind(thread).optional(db).await?;
    Ok(row.map(|(stream,)| stream))
}

/// The members of a session, in the order in which they came.
pub async fn members(db: &Db, session: SessionId) -> Result<Vec<MemberRow>> {
    sql(MEMBERS).bind(session).all(db).await
}

/// The members of some sessions.
pub async fn members_of_many(db: &Db, sessions: &[SessionId]) -> Result<Vec<MemberRow>> {
    let select = concat!(
        "select member.session_id, member.organizer, ",
        person_columns!(),
        " from session_member member join person on person.id = member.person_id \
         where member.removed_at is null and member.session_id in "
    );
    sql(select).push_list(sessions.iter().copied()).push(" order by member.added_at, person.id").all(db).await
}

/// Whether a person is in a session, and whether as one of its owners.
pub async fn membership(db: &Db, session: SessionId, person: PersonId) -> Result<Option<bool>> {
    let row: Option<(bool,)> = sql(MEMBERSHIP).bind(session).bind(person).optional(db).await?;
    Ok(row.map(|(organizer,)| organizer))
}

/// A page of a person's sessions, the latest active first.
pub async fn list_of_person(db: &Db, person: PersonId, limit: i64, offset: i64) -> Result<Vec<SessionRow>> {
    sql(LIST).bind(person).bind(limit).bind(offset).all(db).await
}

/// How many sessions a person is in.
pub async fn count_of_person(db: &Db, person: PersonId) -> Result<i64> {
    let (count,): (i64,) = sql(COUNT).bind(person).one(db).await?;
    Ok(count)
}

/// People by number, removed ones too; of any organisation, so the caller compares.
pub async fn people(db: &Db, ids: impl IntoIterator<Item = PersonId>) -> Result<Vec<PersonRow>> {
    sql_for(PEOPLE).bind(Value::ids(ids)).all(db).await
}

/// The help threads that some sessions belong to.
pub async fn threads(
    db: &Db,
    ids: impl IntoIterator<Item = SessionId>,
) -> Result<Vec<(SessionId, Option<ConversationId>)>> {
    sql("select id, conversation_id from session where id in ").push_list(ids).all(db).await
}

/// Epoch and newest offset of some sessions' streams.
pub async fn positions(db: &Db, streams: &[StreamId]) -> Result<Vec<(StreamId, String, Offset)>> {
    sql("select id, epoch, head from stream where id in ").push_list(streams.iter().copied()).all(db).await
}

/// Which of these log-ins have a push device.
pub async fn with_devices(db: &Db, logins: impl IntoIterator<Item = PersonId>) -> Result<Vec<PersonId>> {
    let stmt = sql("select distinct login_id from device where login_id in ").push_list(logins);
    let rows: Vec<(PersonId,)> = stmt.all(db).await?;
    Ok(rows.into_iter().map(|(login,)| login).collect())
}

/// A session that begins.
pub struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub organization: OrgId,
    /// Its stream.
    pub stream: StreamId,
    /// The help thread it belongs to.
    pub conversation: Option<ConversationId>,
    /// Same people, same session; `None` for one that is not found by its people.
    pub people_key: Option<&'a str>,
    /// Lets guests in.
    pub pin: &'a str,
    /// Who made it.
    pub creator: PersonId,
    /// When.
    pub now: Timestamp,
}

/// The row of a session.
pub fn insert(new: &NewSession<'_>) -> Stmt {
    sql(INSERT)
        .bind(new.id)
        .bind(new.organization)
        .bind(new.stream)
        .bind(new.conversation)
        .bind(if new.conversation.is_some() { "workbox" } else { "direct" })
        .bind(new.people_key)
        .bind(new.pin)
        .bind(new.creator)
        .bind(new.now)
}

/// Whether calls of a session are recorded.
pub async fn recording_policy(db: &Db, session: SessionId) -> Result<Option<String>> {
    let row: Option<(String,)> = sql(RECORDING_POLICY).bind(session).optional(db).await?;
    Ok(row.map(|(policy,)| policy))
}

/// What makes a message of a session sent once.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage {
    /// The session.
    pub session: SessionId,
    /// Who wrote it.
    pub author: PersonId,
    /// The client's (or our) UUID.
    pub uuid: Uuid,
    /// Its number.
    pub id: MessageId,
    /// SHA-256 of what the client sent.
    pub hash: [u8; 32],
    /// Our time.
    pub now: Timestamp,
}

/// The row of a message; touches none when the author has used the UUID before.
pub fn insert_message(new: &NewMessage) -> Stmt {
    sql(INSERT_MESSAGE)
        .bind(new.session)
        .bind(new.author)
        .bind(new.uuid)
        .bind(new.id)
        .bind(new.hash.to_vec())
        .bind(new.now)
}

/// Remembers where its event stands, once that is in place.
pub fn place_message(new: &NewMessage, stream: StreamId, event: Uuid) -> Stmt {
    sql(PLACE_MESSAGE).bind(new.session).bind(new.author).bind(new.uuid).bind(stream).bind(event)
}

/// A message that was sent before.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct SentMessage {
    /// Its number.
    pub id: MessageId,
    /// SHA-256 of what the client sent.
    pub body_hash: Vec<u8>,
    /// Where its event stands.
    pub stream_offset: Offset,
    /// That event's publication as JSON text.
    pub data: String,
}

/// The message that `author` sent under `uuid`.
pub async fn find_message(
    db: &Db,
    session: SessionId,
    author: PersonId,
    uuid: Uuid,
) -> Result<Option<SentMessage>> {
    sql(FIND_MESSAGE).bind(session).bind(author).bind(uuid).optional(db).await
}

/// Puts somebody in (back, or up to owner).
pub fn insert_member(session: SessionId, person: PersonId, organizer: bool, now: Timestamp) -> Stmt {
    sql(INSERT_MEMBER).bind(session).bind(person).bind(organizer).bind(now)
}

/// Takes somebody out.
pub fn remove_member(session: SessionId, person: PersonId, now: Timestamp) -> Stmt {
    sql(REMOVE_MEMBER).bind(session).bind(person).bind(now)
}

/// Something happened in the session.
pub fn touch(session: SessionId, now: Timestamp) -> Stmt {
    sql(TOUCH).bind(session).bind(now)
}

/// The session's people are others now: it is no longer found by them.
pub fn people_changed(session: SessionId, now: Timestamp) -> Stmt {
    sql(PEOPLE_CHANGED).bind(session).bind(now)
}
