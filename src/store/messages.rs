//! Messages: reading them. They are written by the journal, in bulk.

use uuid::Uuid;

use super::{
    Bulk, Column::Int, Db, Stmt, StoreError, gather::Question, sql, sql_for, statements, tallies::unread,
};
use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, MessageId, Offset, OrgId, PersonId, StreamId},
};

statements! {
    /// By the author's uuid.
    BY_UUID = "select conversation_id, id, uuid, author_id, author_name, type, version, metadata, body_hash, internal, \
        sent_at, created_at, edited_at, deleted_at, stream_offset from message \
        where conversation_id = $1 and author_id = $2 and uuid = $3";
    /// By its number.
    BY_ID = "select conversation_id, id, uuid, author_id, author_name, type, version, metadata, body_hash, internal, \
        sent_at, created_at, edited_at, deleted_at, stream_offset from message \
        where conversation_id = $1 and id = $2";
    /// A new content; what it said before is kept.
    KEEP_REVISION = "insert into message_revision (conversation_id, message_id, revision, metadata, edited_at, edited_by) \
        select conversation_id, id, (select count(*) + 1 from message_revision r \
        where r.conversation_id = $1 and r.message_id = $2), metadata, $3, $4 \
        from message where conversation_id = $1 and id = $2";
    EDIT = "update message set metadata = $3, edited_at = $4, changed_at = $4 \
        where conversation_id = $1 and id = $2 and deleted_at is null";
    /// A tombstone: the row stays, the content goes.
    BURY = "update message set metadata = '{}', author_name = '', deleted_at = $3, changed_at = $3 \
        where conversation_id = $1 and id = $2 and deleted_at is null";
    FORGET_REVISIONS = "delete from message_revision where conversation_id = $1 and message_id = $2";
    /// Takes the content out of the event that announced a message.
    CLEAR_CREATED = {
        sqlite: "update event set data = json_set(data, '$.data.metadata', '{}', '$.data.user_name', '', \
            '$.data.deleted', json('true')) where stream_id = $1 and stream_offset = \
            (select stream_offset from message where conversation_id = $2 and id = $3)",
        postgres: "update event set data = jsonb_set(jsonb_set(jsonb_set(cast(data as jsonb), '{data,metadata}', \
            '\"{}\"'), '{data,user_name}', '\"\"'), '{data,deleted}', 'true')::text \
            where stream_id = $1 and stream_offset = \
            (select stream_offset from message where conversation_id = $2 and id = $3)",
    };
    /// Takes it out of the events of its edits.
    CLEAR_EDITED = {
        sqlite: "update event set data = json_set(data, '$.data.metadata', '{}', '$.data.user_name', '', \
            '$.data.deleted', json('true')) where stream_id = $1 and type = 'message.edited' and stream_offset > \
            (select stream_offset from message where conversation_id = $2 and id = $3 and edited_at is not null) \
            and json_extract(data, '$.data.id') = $3",
        postgres: "update event set data = jsonb_set(jsonb_set(jsonb_set(cast(data as jsonb), '{data,metadata}', \
            '\"{}\"'), '{data,user_name}', '\"\"'), '{data,deleted}', 'true')::text \
            where stream_id = $1 and type = 'message.edited' and stream_offset > \
            (select stream_offset from message where conversation_id = $2 and id = $3 and edited_at is not null) \
            and cast(cast(data as jsonb) #>> '{data,id}' as bigint) = $3",
    };
    /// Of a person's place: conversation, person, watermark, guest.
    UNREAD = concat!("select ", unread!("$1", "$2", "$3", "$4"), " as unread");
    WATERMARKS = "select person_id, guest, received_id, read_id from participant \
        where conversation_id = $1 and removed_at is null order by person_id";
    REVISIONS = "select metadata, edited_at, edited_by from message_revision \
        where conversation_id = $1 and message_id = $2 order by revision";
}

static PLACE: Bulk = Bulk::new(
    "select v.column1 as asked, p.person_id, p.guest, p.received_id, p.read_id from",
    &[Int, Int, Int, Int],
    "join participant p on p.conversation_id = v.column3 and p.person_id = v.column4 and p.removed_at is null \
     join conversation c on c.id = p.conversation_id and c.organization_id = v.column2",
);
const PLACES: Question<(OrgId, ConversationId, PersonId), Watermark> = Question {
    bulk: &PLACE,
    fill: |v, (organization, conversation, person)| v.bind(*organization).bind(*conversation).bind(*person),
    gather: |gathers| &gathers.places,
};
/// What is asked through a gather.
pub(super) static GATHERED: &[&Bulk] = &[&PLACE];

const COLUMNS: &str = "select conversation_id, id, uuid, author_id, author_name, type, version, metadata, body_hash, \
    internal, sent_at, created_at, edited_at, deleted_at, stream_offset from message where conversation_id = ";

/// A message as stored.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct StoredMessage {
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Its number.
    pub id: MessageId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Who wrote it.
    pub author_id: PersonId,
    /// The name it was written under.
    pub author_name: String,
    /// `Text` ...
    #[sqlx(rename = "type")]
    pub kind: String,
    /// Version of the metadata format.
    pub version: i64,
    /// JSON text; `{}` once deleted.
    pub metadata: String,
    /// SHA-256 of what the client sent.
    pub body_hash: Vec<u8>,
    /// Hidden from guests.
    pub internal: bool,
    /// The client's time of sending.
    pub sent_at: Timestamp,
    /// Our time.
    pub created_at: Timestamp,
    /// Last edit.
    pub edited_at: Option<Timestamp>,
    /// Deletion.
    pub deleted_at: Option<Timestamp>,
    /// Offset of its `message.created` event.
    pub stream_offset: Offset,
}

/// The message that `author` sent under `uuid`.
pub async fn by_uuid(
    db: &Db,
    conversation: ConversationId,
    author: PersonId,
    uuid: Uuid,
) -> Result<Option<StoredMessage>, StoreError> {
    sql(BY_UUID).bind(conversation).bind(author).bind(uuid).optional(db).await
}

/// One message of a conversation.
pub async fn by_id(
    db: &Db,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Option<StoredMessage>, StoreError> {
    sql(BY_ID).bind(conversation).bind(id).optional(db).await
}

/// Which side of a message a page begins at.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The newest, newest first.
    Newest,
    /// Older than the message, newest first.
    Before(Timestamp, MessageId),
    /// Newer than the message, oldest first.
    After(Timestamp, MessageId),
}

/// Up to `limit` messages, ordered by `sent_at`; guests get no internal ones.
pub async fn page(
    db: &Db,
    conversation: ConversationId,
    side: Side,
    with_internal: bool,
    limit: i64,
) -> Result<Vec<StoredMessage>, StoreError> {
    let mut stmt = sql(COLUMNS).push_bind(conversation);
    if !with_internal {
        stmt = stmt.push(" and not internal");
    }
    let beyond = |stmt: Stmt, sign: &'static str, at: Timestamp, id: MessageId| {
        stmt.push(" and (sent_at, id) ")
            .push(sign)
            .push(" (")
            .push_bind(at)
            .push(", ")
            .push_bind(id)
            .push(")")
    };
    stmt = match side {
        Side::Newest => stmt.push(" order by sent_at desc, id desc"),
        Side::Before(at, id) => beyond(stmt, "<", at, id).push(" order by sent_at desc, id desc"),
        Side::After(at, id) => beyond(stmt, ">", at, id).push(" order by sent_at, id"),
    };
    stmt.push(" limit ").push_bind(limit).all(db).await
}

/// Messages that came, were edited or deleted after `since`, oldest change first.
pub async fn changed_since(
    db: &Db,
    conversation: ConversationId,
    since: Timestamp,
    with_internal: bool,
    limit: i64,
) -> Result<Vec<StoredMessage>, StoreError> {
    let visible = if with_internal { "" } else { " and not internal" };
    // Two index ranges, merged here: a union of both would sort all of either.
    let mut fresh: Vec<StoredMessage> = sql(COLUMNS)
        .push_bind(conversation)
        .push(visible)
        .push(" and sent_at > ")
        .push_bind(since)
        .push(" order by sent_at, id limit ")
        .push_bind(limit)
        .all(db)
        .await?;
    let changed: Vec<StoredMessage> = sql(COLUMNS)
        .push_bind(conversation)
        .push(visible)
        .push(" and changed_at > ")
        .push_bind(since)
        .push(" and changed_at is not null and sent_at <= ")
        .push_bind(since)
        .push(" order by changed_at, id limit ")
        .push_bind(limit)
        .all(db)
        .await?;
    fresh.extend(changed);
    let moment = |m: &StoredMessage| {
        if m.sent_at > since { m.sent_at } else { m.deleted_at.max(m.edited_at).unwrap_or(m.sent_at) }
    };
    fresh.sort_by_key(|m| (moment(m), m.id));
    fresh.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(fresh)
}

/// Replaces the content of a message and keeps what it said before.
pub fn edit(
    conversation: ConversationId,
    id: MessageId,
    metadata: &str,
    by: PersonId,
    now: Timestamp,
) -> [Stmt; 2] {
    [
        sql(KEEP_REVISION).bind(conversation).bind(id).bind(now).bind(by),
        sql(EDIT).bind(conversation).bind(id).bind(metadata).bind(now),
    ]
}

/// Removes the content of a message, of what it said before and of its events in `stream`. Offsets and ids stay.
pub fn bury(conversation: ConversationId, stream: StreamId, id: MessageId, now: Timestamp) -> [Stmt; 4] {
    [
        sql_for(CLEAR_CREATED).bind(stream).bind(conversation).bind(id),
        sql_for(CLEAR_EDITED).bind(stream).bind(conversation).bind(id),
        sql(FORGET_REVISIONS).bind(conversation).bind(id),
        sql(BURY).bind(conversation).bind(id).bind(now),
    ]
}

/// Earlier contents, oldest first: `(metadata, when it was replaced, by whom)`.
pub async fn revisions(
    db: &Db,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Vec<(String, Timestamp, PersonId)>, StoreError> {
    sql(REVISIONS).bind(conversation).bind(id).all(db).await
}

/// Watermarks of one participant.
#[derive(Clone, Copy, Debug, sqlx_macros::FromRow)]
pub struct Watermark {
    /// Who.
    pub person_id: PersonId,
    /// A guest by link.
    pub guest: bool,
    /// Newest message received.
    pub received_id: MessageId,
    /// Newest message read.
    pub read_id: MessageId,
}

/// Watermarks of everybody who is in the conversation.
pub async fn watermarks(db: &Db, conversation: ConversationId) -> Result<Vec<Watermark>, StoreError> {
    sql(WATERMARKS).bind(conversation).all(db).await
}

/// The place of `person` in a conversation of `organization`.
pub async fn place_of(
    db: &Db,
    organization: OrgId,
    conversation: ConversationId,
    person: PersonId,
) -> Result<Option<Watermark>, StoreError> {
    Ok(PLACES.ask(db, (organization, conversation, person)).await?.pop())
}

/// A question for the newest message of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    /// Its number is at most this,
    pub up_to: MessageId,
    /// and above this,
    pub above: MessageId,
    /// it is internal, or is not,
    pub internal: Option<bool>,
    /// of this author,
    pub by: Option<PersonId>,
    /// of another author.
    pub not_by: Option<PersonId>,
}

/// The newest message for each probe, in one statement.
pub async fn newest(
    db: &Db,
    conversation: ConversationId,
    probes: &[Probe],
) -> Result<Vec<Option<MessageId>>, StoreError> {
    let mut stmt = sql("");
    for (position, probe) in probes.iter().enumerate() {
        stmt = stmt
            .push(if position == 0 { "select (" } else { " union all select (" })
            .push("select id from message where conversation_id = ")
            .push_bind(conversation)
            .push(" and id <= ")
            .push_bind(probe.up_to)
            .push(" and id > ")
            .push_bind(probe.above);
        stmt = match probe.internal {
            Some(true) => stmt.push(" and internal"),
            Some(false) => stmt.push(" and not internal"),
            None => stmt,
        };
        if let Some(author) = probe.by {
            stmt = stmt.push(" and author_id = ").push_bind(author);
        }
        if let Some(author) = probe.not_by {
            stmt = stmt.push(" and author_id <> ").push_bind(author);
        }
        stmt = stmt.push(" order by id desc limit 1) as newest, cast(");
        stmt = stmt.push_bind(i64::try_from(position).unwrap_or(i64::MAX)).push(" as bigint) as probe");
    }
    let mut rows: Vec<(Option<MessageId>, i64)> = stmt.all(db).await?;
    rows.sort_unstable_by_key(|(_, probe)| *probe);
    Ok(rows.into_iter().map(|(id, _)| id).collect())
}

/// Messages of others beyond `read`.
pub async fn unread(
    db: &Db,
    conversation: ConversationId,
    person: PersonId,
    read: MessageId,
    with_internal: bool,
) -> Result<i64, StoreError> {
    let stmt = sql(UNREAD).bind(conversation).bind(person).bind(read).bind(!with_internal);
    let (count,): (i64,) = stmt.one(db).await?;
    Ok(count)
}
