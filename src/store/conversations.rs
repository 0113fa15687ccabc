//! Conversations and who is in them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Db, Stmt, StoreError, sql, statements};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{ConversationId, MessageId, OrgId, ParticipantId, PersonId, StreamId},
        machine::conversation::{Conversation, Member, Receipt, Status},
    },
};

statements! {
    /// The columns that an actor keeps.
    STATE = "select organization_id, stream_id, internal_stream_id, status, assigned_to, last_message_id, \
        internal_message_id, version from conversation where id = $1";
    /// Who is in it.
    MEMBERS = "select id, person_id, guest, creator, has_participated, received_id, read_id, announced_received_id, \
        announced_read_id from participant where conversation_id = $1 and removed_at is null";
    /// Conversations with receipts that nobody was told of.
    UNANNOUNCED = "select distinct conversation_id from participant where received_id > announced_received_id \
        or read_id > announced_read_id order by conversation_id";
    /// A new one.
    INSERT = "insert into conversation (id, uuid, organization_id, kind, stream_id, internal_stream_id, title, \
        description, status, created_by, assigned_to, auto_created, call_id, reported_at, assigned_at, closed_at, \
        last_message_id, last_active_at, internal_message_id, internal_active_at, version, created_at, updated_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, 'REPORTED', $9, null, $10, $11, $12, null, null, \
        0, $12, 0, $12, 1, $12, $12)";
    /// A new participant, or one who comes back.
    ADD_PARTICIPANT = "insert into participant (id, conversation_id, person_id, guest, creator, important, \
        has_participated, accepted_at, joined_at, removed_at, received_id, read_id, announced_received_id, \
        announced_read_id) values ($1, $2, $3, $4, $5, false, false, $6, $6, null, 0, 0, 0, 0) \
        on conflict (conversation_id, person_id) do update set removed_at = null, joined_at = excluded.joined_at, \
        accepted_at = excluded.accepted_at";
    /// A participant goes.
    REMOVE_PARTICIPANT = "update participant set removed_at = $3 \
        where conversation_id = $1 and person_id = $2 and removed_at is null";
    /// A participant has written something.
    PARTICIPATED = "update participant set has_participated = true where conversation_id = $1 and person_id = $2";
    /// Title of the thread.
    SET_TITLE = "update conversation set title = $2, version = $3, updated_at = $4 where id = $1";
    /// Status of the thread. Times that do not change come as they are.
    SET_STATUS = "update conversation set status = $2, assigned_to = $3, version = $4, updated_at = $5, \
        assigned_at = case when $2 = 'ASSIGNED' then coalesce(assigned_at, $5) else assigned_at end, \
        closed_at = case when $2 = 'CLOSED' then $5 else null end where id = $1";
    /// Something else about the thread changed.
    TOUCH = "update conversation set version = $2, updated_at = $3 where id = $1";
}

#[derive(sqlx::FromRow)]
struct StateRow {
    organization_id: OrgId,
    stream_id: StreamId,
    internal_stream_id: StreamId,
    status: String,
    assigned_to: Option<PersonId>,
    last_message_id: MessageId,
    internal_message_id: MessageId,
    version: i64,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    id: ParticipantId,
    person_id: PersonId,
    guest: bool,
    creator: bool,
    has_participated: bool,
    received_id: MessageId,
    read_id: MessageId,
    announced_received_id: MessageId,
    announced_read_id: MessageId,
}

/// The state that an actor begins with; `None` when there is no such conversation.
pub async fn load(db: &Db, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
    let Some(row) = sql(STATE).bind(id).optional::<StateRow>(db).await? else { return Ok(None) };
    let members: BTreeMap<PersonId, Member> = sql(MEMBERS)
        .bind(id)
        .all::<MemberRow>(db)
        .await?
        .into_iter()
        .map(|row| {
            let member = Member {
                participant: row.id,
                guest: row.guest,
                creator: row.creator,
                participated: row.has_participated,
                received: row.received_id,
                read: row.read_id,
                announced: (row.announced_received_id, row.announced_read_id),
            };
            (row.person_id, member)
        })
        .collect();
    Ok(Some(Conversation::new(
        id,
        row.organization_id,
        (row.stream_id, row.internal_stream_id),
        Status::by_name(&row.status).unwrap_or(Status::Reported),
        row.assigned_to,
        (row.last_message_id, row.internal_message_id),
        row.version,
        members,
    )))
}

/// Conversations whose receipts were stored, but not announced before the last stop.
pub async fn unannounced(db: &Db) -> Result<Vec<ConversationId>, StoreError> {
    let rows: Vec<(ConversationId,)> = sql(UNANNOUNCED).all(db).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Participants of one [`set_announced`].
pub const ANNOUNCED_CHUNK: usize = 100;

/// Remembers what the others were told of these watermarks.
pub fn set_announced(conversation: ConversationId, receipts: &[Receipt]) -> Stmt {
    let mut stmt =
        sql("update participant set announced_received_id = v.column2, announced_read_id = v.column3 \
         from (values ");
    for (position, (person, received, read)) in receipts.iter().enumerate() {
        stmt = stmt
            .push(if position == 0 { "" } else { ", " })
            .values(|v| v.bind(*person).bind(*received).bind(*read));
    }
    stmt.push(") as v where participant.conversation_id = ")
        .push_bind(conversation)
        .push(" and participant.person_id = v.column1")
}

/// A conversation that begins.
pub struct NewConversation<'a> {
    /// Its number.
    pub id: ConversationId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whose it is.
    pub organization: OrgId,
    /// Its streams: for all, and for what guests must not see.
    pub streams: (StreamId, StreamId),
    /// Free text.
    pub title: &'a str,
    /// Free text.
    pub description: &'a str,
    /// Who opened it.
    pub creator: PersonId,
    /// The call that the server made it for.
    pub call: Option<&'a str>,
    /// When.
    pub now: Timestamp,
}

/// The row of a workbox that begins.
pub fn insert(new: &NewConversation<'_>) -> Stmt {
    sql(INSERT)
        .bind(new.id)
        .bind(new.uuid)
        .bind(new.organization)
        .bind("workbox")
        .bind(new.streams.0)
        .bind(new.streams.1)
        .bind(new.title)
        .bind(new.description)
        .bind(new.creator)
        .bind(new.call.is_some())
        .bind(new.call.map(str::to_owned))
        .bind(new.now)
}

/// Puts a person in (back, where they were in before).
pub fn add_participant(
    participant: ParticipantId,
    conversation: ConversationId,
    person: PersonId,
    guest: bool,
    creator: bool,
    now: Timestamp,
) -> Stmt {
    sql(ADD_PARTICIPANT).bind(participant).bind(conversation).bind(person).bind(guest).bind(creator).bind(now)
}

/// Takes a person out.
pub fn remove_participant(conversation: ConversationId, person: PersonId, now: Timestamp) -> Stmt {
    sql(REMOVE_PARTICIPANT).bind(conversation).bind(person).bind(now)
}

/// Remembers that a participant has written something.
pub fn set_participated(conversation: ConversationId, person: PersonId) -> Stmt {
    sql(PARTICIPATED).bind(conversation).bind(person)
}

/// Sets the title.
pub fn set_title(id: ConversationId, title: &str, version: i64, now: Timestamp) -> Stmt {
    sql(SET_TITLE).bind(id).bind(title).bind(version).bind(now)
}

/// Sets status and assignee.
pub fn set_status(state: &Conversation, now: Timestamp) -> Stmt {
    sql(SET_STATUS)
        .bind(state.id)
        .bind(state.status.name())
        .bind(state.assigned_to)
        .bind(state.version)
        .bind(now)
}

/// Remembers that something about the thread changed.
pub fn touch(state: &Conversation, now: Timestamp) -> Stmt {
    sql(TOUCH).bind(state.id).bind(state.version).bind(now)
}
