//! Conversations and who is in them.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{Db, Stmt, StoreError, Value, sql, sql_for, statements};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{ConversationId, CustomFieldId, MessageId, OrgId, ParticipantId, PersonId, StreamId},
        machine::{
            conversation::{Conversation, Marks, Member, RECENT, Receipt, Status, Thread, Written},
            tally::Tallying,
        },
    },
};

/// Participants with their watermarks, also as guests may know them: a watermark on an internal message shows as the
/// newest message below it that is not.
macro_rules! MEMBERS {
    () => {
        "select p.id, p.person_id, p.guest, p.creator, p.has_participated, p.received_id, p.read_id, \
         p.announced_received_id, p.announced_read_id, \
         case when r.id is null then p.received_id else coalesce((select m.id from message m \
         where m.conversation_id = p.conversation_id and m.id < p.received_id and not m.internal \
         order by m.id desc limit 1), 0) \
         end as shown_received_id, \
         case when d.id is null then p.read_id else coalesce((select m.id from message m \
         where m.conversation_id = p.conversation_id and m.id < p.read_id and not m.internal \
         order by m.id desc limit 1), 0) \
         end as shown_read_id \
         from participant p \
         left join message r on r.conversation_id = p.conversation_id and r.id = p.received_id and r.internal \
         left join message d on d.conversation_id = p.conversation_id and d.id = p.read_id and d.internal"
    };
}

statements! {
    CALL_IS_FREE = "select cast(1 as bigint) where not exists (select 1 from conversation where call_id = $1)";
    RECENT_MESSAGES = "select id, author_id, internal from message where conversation_id = $1 order by id desc limit $2";
    /// Rows: person, received, read.
    SET_ANNOUNCED = {
        sqlite: "update participant set announced_received_id = v.value ->> 1, announced_read_id = v.value ->> 2 \
            from json_each($2) as v where conversation_id = $1 and person_id = v.value ->> 0",
        postgres: "update participant set announced_received_id = cast(v.value ->> 1 as bigint), \
            announced_read_id = cast(v.value ->> 2 as bigint) from jsonb_array_elements(cast($2 as jsonb)) as v(value) \
            where conversation_id = $1 and person_id = cast(v.value ->> 0 as bigint)",
    };
    /// The columns that an actor keeps.
    STATE = "select c.organization_id, c.stream_id, c.internal_stream_id, c.title, c.description, c.status, c.created_by, \
        c.assigned_to, a.name as assigned_name, c.reported_at, c.assigned_at, c.closed_at, c.last_message_id, \
        c.internal_message_id, c.version, (select count(*) from (select 1 from message m where m.conversation_id = $1 \
        and m.id > coalesce((select t.message_id from message_tally t where t.conversation_id = $1 \
        and t.author_id = 0 order by t.message_id desc limit 1), 0) limit $2) later) as untallied \
        from conversation c left join person a on a.id = c.assigned_to where c.id = $1";
    /// Who is in it.
    MEMBERS = concat!(MEMBERS!(), " where p.conversation_id = $1 and p.removed_at is null");
    /// Who was in it.
    FORMER = concat!(MEMBERS!(), " where p.conversation_id = $1 and p.removed_at is not null");
    /// Where its participants are told of what concerns them.
    INBOXES = "select p.person_id, u.stream_id from participant p join person u on u.id = p.person_id \
        where p.conversation_id = $1 and p.removed_at is null";
    /// Values of its custom fields.
    FIELDS = "select field_id, value from custom_field_value where conversation_id = $1";
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
    /// The thread's own fields, and that something happened in it.
    SAVE = "update conversation set title = $2, status = $3, assigned_to = $4, assigned_at = $5, closed_at = $6, \
        version = $7, updated_at = $8, last_active_at = $8, internal_active_at = $8 where id = $1";
    SET_FIELD = "insert into custom_field_value (conversation_id, field_id, value) values ($1, $2, $3) \
        on conflict (conversation_id, field_id) do update set value = excluded.value";
    CLEAR_FIELD = "delete from custom_field_value where conversation_id = $1 and field_id = $2";
}

#[derive(sqlx_macros::FromRow)]
struct StateRow {
    organization_id: OrgId,
    stream_id: StreamId,
    internal_stream_id: StreamId,
    title: String,
    description: String,
    status: String,
    created_by: PersonId,
    assigned_to: Option<PersonId>,
    assigned_name: Option<String>,
    reported_at: Timestamp,
    assigned_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    last_message_id: MessageId,
    internal_message_id: MessageId,
    version: i64,
    untallied: i64,
}

#[derive(sqlx_macros::FromRow)]
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
    shown_received_id: MessageId,
    shown_read_id: MessageId,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        let marks = Marks { received: row.received_id, read: row.read_id };
        let shown = Marks { received: row.shown_received_id, read: row.shown_read_id };
        let announced = Marks { received: row.announced_received_id, read: row.announced_read_id };
        Self {
            participant: row.id,
            guest: row.guest,
            creator: row.creator,
            participated: row.has_participated,
            marks,
            shown,
            announced,
            announced_shown: if announced == marks { shown } else { Marks::default() },
        }
    }
}

/// The state that an actor begins with, with blocks of so many messages; `None` when there is no such conversation.
pub async fn load(db: &Db, id: ConversationId, block: i64) -> Result<Option<Conversation>, StoreError> {
    let Some(row) = sql(STATE).bind(id).bind(block).optional::<StateRow>(db).await? else { return Ok(None) };
    let members = sql(MEMBERS).bind(id).all::<MemberRow>(db).await?;
    let fields = sql(FIELDS).bind(id).all::<(CustomFieldId, String)>(db).await?;
    let most = i64::try_from(RECENT).unwrap_or(i64::MAX);
    let recent: Vec<(MessageId, PersonId, bool)> = sql(RECENT_MESSAGES).bind(id).bind(most).all(db).await?;
    Ok(Some(Conversation {
        id,
        organization: row.organization_id,
        stream: row.stream_id,
        internal_stream: row.internal_stream_id,
        status: Status::by_name(&row.status).unwrap_or(Status::Reported),
        assigned_to: row.assigned_to,
        thread: Thread {
            title: row.title,
            description: row.description,
            created_by: row.created_by,
            assigned_name: row.assigned_name.unwrap_or_default(),
            reported_at: row.reported_at,
            assigned_at: row.assigned_at,
            closed_at: row.closed_at,
            fields: fields.into_iter().map(|(id, value)| (id, Arc::from(value))).collect(),
        },
        last_message: row.last_message_id,
        last_internal: row.internal_message_id,
        version: row.version,
        members: members.into_iter().map(|row| (row.person_id, row.into())).collect(),
        // Receipts that were not announced before the last stop are due at once.
        announced_at: Timestamp(0),
        recent: recent
            .into_iter()
            .rev()
            .map(|(id, author, internal)| Written { id, author, internal })
            .collect(),
        tallying: Tallying::new(block, row.untallied),
    }))
}

/// Those who were taken out: they come back to the places that they had.
pub async fn former_members(db: &Db, id: ConversationId) -> Result<BTreeMap<PersonId, Member>, StoreError> {
    let rows = sql(FORMER).bind(id).all::<MemberRow>(db).await?;
    Ok(rows.into_iter().map(|row| (row.person_id, row.into())).collect())
}

/// The streams of its participants' inboxes.
pub async fn inboxes(db: &Db, id: ConversationId) -> Result<Vec<(PersonId, StreamId)>, StoreError> {
    sql(INBOXES).bind(id).all(db).await
}

/// Gives a row while no thread was made for the call.
pub fn call_is_free(call: &str) -> Stmt {
    sql(CALL_IS_FREE).bind(call)
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
    let rows: Vec<_> = receipts.iter().map(|r| (r.person.0, r.marks.received.0, r.marks.read.0)).collect();
    sql_for(SET_ANNOUNCED).bind(conversation).bind(Value::json(&rows))
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

/// Writes what the thread says of itself, its custom fields apart.
pub fn save(state: &Conversation, now: Timestamp) -> Stmt {
    sql(SAVE)
        .bind(state.id)
        .bind(state.thread.title.as_str())
        .bind(state.status.name())
        .bind(state.assigned_to)
        .bind(state.thread.assigned_at)
        .bind(state.thread.closed_at)
        .bind(state.version)
        .bind(now)
}

/// Sets (or, with `None`, clears) a custom field's value, a JSON text.
pub fn set_field(id: ConversationId, field: CustomFieldId, value: Option<&str>) -> Stmt {
    match value {
        Some(value) => sql(SET_FIELD).bind(id).bind(field).bind(value),
        None => sql(CLEAR_FIELD).bind(id).bind(field),
    }
}
