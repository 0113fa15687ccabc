//! Attachments of calls and help threads: the rows. The files are in the file store.

use uuid::Uuid;

use super::{Db, Result, Stmt, sql, sql_for, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{
        AttachmentId, CallId, ConversationId, MessageId, Offset, OrgId, PersonId, SessionId, StreamId,
    },
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select a.id, a.uuid, a.organization_id, a.call_id, a.session_id, a.conversation_id, a.internal, \
             a.creator_id, p.name as creator_name, a.type, a.name, a.mime_type, a.size, a.sha256, a.path, \
             a.thumbnail_path, a.status, a.occurred_at, a.created_at, a.deleted_at \
             from attachment a join person p on p.id = a.creator_id ",
            $rest
        )
    };
}

statements! {
    BY_ID = select!("where a.id = $1 and a.organization_id = $2");
    BY_UUID = select!("where a.uuid = $1 and a.organization_id = $2");
    OF_CALL = select!("where a.call_id = $1 and a.organization_id = $2 order by a.id");
    OF_THREAD = select!("where a.conversation_id = $1 and a.organization_id = $2 and a.id > $3 \
        and (not a.internal or $4) and a.deleted_at is null order by a.id limit $5");
    INSERT = "insert into attachment (id, uuid, organization_id, call_id, session_id, conversation_id, internal, \
        creator_id, type, name, mime_type, size, sha256, path, thumbnail_path, status, occurred_at, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'ready', $16, $17)";
    MARK_DELETED = "update attachment set status = 'deleted', deleted_at = $3 \
        where id = $1 and organization_id = $2 and deleted_at is null";
    /// What a message that is deleted showed; nothing of what it was called stays.
    DELETE_OF_MESSAGE = "update attachment set status = 'deleted', deleted_at = coalesce(deleted_at, $3), name = '' \
        where conversation_id = $1 and message_id = $2";
    OF_MESSAGE = select!("where a.conversation_id = $1 and a.message_id = $2 order by a.id");
    SHOW = "update attachment set message_id = $3 where id = $1 and conversation_id = $2 and message_id is null";
    /// The event is among the newest of its stream: its offset is known once it is in place.
    PLACE_EVENT = "insert into attachment_event (attachment_id, stream_id, stream_offset) \
        select $1, e.stream_id, e.stream_offset from event e where e.stream_id = $2 and e.id = $3 \
        order by e.stream_offset desc limit 1";
    EVENTS = "select stream_id, stream_offset from attachment_event where attachment_id = $1";
    CLEAR_EVENT = {
        sqlite: "update event set data = json_set(data, '$.data.name', '') where stream_id = $1 and stream_offset = $2",
        postgres: "update event set data = jsonb_set(cast(data as jsonb), '{data,name}', '\"\"')::text \
            where stream_id = $1 and stream_offset = $2",
    };
    UPLOAD_BEGIN = "insert into upload (path, started_at) values ($1, $2)";
    UPLOAD_END = "delete from upload where path = $1";
    UPLOADS_LEFT = "select path from upload where started_at < $1 order by started_at limit $2";
    FILES_REMOVED = "update attachment set path = '', thumbnail_path = null where id = $1 and deleted_at is not null";
    /// Deleted ones whose files are still there (a crash came between).
    UNREMOVED = select!("where a.deleted_at is not null and a.path <> '' order by a.id limit $1");
    /// What an attachment of a call needs to know of it.
    CALL = "select c.session_id, s.stream_id, v.id as conversation_id, v.stream_id as conversation_stream_id \
        from call c join session s on s.id = c.session_id left join conversation v on v.id = c.conversation_id \
        where c.id = $1 and c.organization_id = $2";
    IS_MEMBER = "select 1 from session_member where session_id = $1 and person_id = $2 and removed_at is null";
    WAS_IN_CALL = "select 1 from call_participant where call_id = $1 and person_id = $2 limit 1";
    /// A person's place in a thread, with its streams.
    THREAD_PLACE = "select v.stream_id, v.internal_stream_id, p.guest from conversation v \
        join participant p on p.conversation_id = v.id \
        where v.id = $1 and v.organization_id = $2 and p.person_id = $3 and p.removed_at is null";
    /// A thread's streams, for administrators.
    THREAD = "select stream_id, internal_stream_id, false as guest from conversation \
        where id = $1 and organization_id = $2";
}

/// An attachment.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct AttachmentRow {
    /// Its number.
    pub id: AttachmentId,
    /// Its UUID; also names its file.
    pub uuid: Uuid,
    /// Whose data it is.
    pub organization_id: OrgId,
    /// The call it belongs to.
    pub call_id: Option<CallId>,
    /// That call's session.
    pub session_id: Option<SessionId>,
    /// The help thread it belongs to; null for those of calls.
    pub conversation_id: Option<ConversationId>,
    /// Hidden from guests.
    pub internal: bool,
    /// Who uploaded it.
    pub creator_id: PersonId,
    /// Their name.
    pub creator_name: String,
    /// incall, postcall, recording, thread.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// File name.
    pub name: String,
    /// Media type.
    pub mime_type: String,
    /// Bytes.
    pub size: i64,
    /// Checksum.
    pub sha256: Vec<u8>,
    /// Key in the file store.
    pub path: String,
    /// Key of the small picture.
    pub thumbnail_path: Option<String>,
    /// ready, deleted.
    pub status: String,
    /// When it happened in the call.
    pub occurred_at: Timestamp,
    /// Upload.
    pub created_at: Timestamp,
    /// Deletion.
    pub deleted_at: Option<Timestamp>,
}

/// What an attachment of a call needs to know of it.
#[derive(Clone, Copy, Debug, sqlx_macros::FromRow)]
pub struct CallPlace {
    /// The call's session.
    pub session_id: SessionId,
    /// The session's stream.
    pub stream_id: StreamId,
    /// The help thread that the call belongs to.
    pub conversation_id: Option<ConversationId>,
    /// That thread's stream.
    pub conversation_stream_id: Option<StreamId>,
}

impl CallPlace {
    /// The streams that tell of the call's attachments.
    pub fn streams(&self) -> Vec<StreamId> {
        std::iter::once(self.stream_id).chain(self.conversation_stream_id).collect()
    }
}

/// Somebody's place in a help thread.
#[derive(Clone, Copy, Debug, sqlx_macros::FromRow)]
pub struct ThreadPlace {
    /// What guests see too.
    pub stream_id: StreamId,
    /// What they do not.
    pub internal_stream_id: StreamId,
    /// Is a guest.
    pub guest: bool,
}

/// One attachment of the organisation, deleted or not.
pub async fn by_id(db: &Db, organization: OrgId, id: AttachmentId) -> Result<Option<AttachmentRow>> {
    sql(BY_ID).bind(id).bind(organization).optional(db).await
}

/// One attachment of the organisation, deleted or not.
pub async fn by_uuid(db: &Db, organization: OrgId, uuid: Uuid) -> Result<Option<AttachmentRow>> {
    sql(BY_UUID).bind(uuid).bind(organization).optional(db).await
}

/// All of a call, deleted ones too, in the order of upload.
pub async fn of_call(db: &Db, organization: OrgId, call: &CallId) -> Result<Vec<AttachmentRow>> {
    sql(OF_CALL).bind(call).bind(organization).all(db).await
}

/// Those of a thread behind `after` that are not deleted, in the order of upload.
pub async fn of_thread(
    db: &Db,
    organization: OrgId,
    thread: ConversationId,
    after: AttachmentId,
    internal: bool,
    limit: i64,
) -> Result<Vec<AttachmentRow>> {
    sql(OF_THREAD).bind(thread).bind(organization).bind(after).bind(internal).bind(limit).all(db).await
}

/// Deleted attachments whose files may still be there.
pub async fn unremoved(db: &Db, limit: i64) -> Result<Vec<AttachmentRow>> {
    sql(UNREMOVED).bind(limit).all(db).await
}

/// The call of the organisation.
pub async fn call_place(db: &Db, organization: OrgId, call: &CallId) -> Result<Option<CallPlace>> {
    sql(CALL).bind(call).bind(organization).optional(db).await
}

/// True for members of the session.
pub async fn is_session_member(db: &Db, session: SessionId, person: PersonId) -> Result<bool> {
    let row: Option<(i32,)> = sql(IS_MEMBER).bind(session).bind(person).optional(db).await?;
    Ok(row.is_some())
}

/// True for whoever has been in the call.
pub async fn was_in_call(db: &Db, call: &CallId, person: PersonId) -> Result<bool> {
    let row: Option<(i32,)> = sql(WAS_IN_CALL).bind(call).bind(person).optional(db).await?;
    Ok(row.is_some())
}

/// The person's place in the thread; `None` for who is not in it.
pub async fn thread_place(
    db: &Db,
    organization: OrgId,
    thread: ConversationId,
    person: PersonId,
) -> Result<Option<ThreadPlace>> {
    sql(THREAD_PLACE).bind(thread).bind(organization).bind(person).optional(db).await
}

/// The thread as an administrator of its organisation sees it.
pub async fn thread(db: &Db, organization: OrgId, thread: ConversationId) -> Result<Option<ThreadPlace>> {
    sql(THREAD).bind(thread).bind(organization).optional(db).await
}

/// The row of a new attachment.
pub fn insert(row: &AttachmentRow) -> Stmt {
    sql(INSERT)
        .bind(row.id)
        .bind(row.uuid)
        .bind(row.organization_id)
        .bind(row.call_id.clone())
        .bind(row.session_id)
        .bind(row.conversation_id)
        .bind(row.internal)
        .bind(row.creator_id)
        .bind(&row.kind)
        .bind(&row.name)
        .bind(&row.mime_type)
        .bind(row.size)
        .bind(row.sha256.clone())
        .bind(&row.path)
        .bind(row.thumbnail_path.clone())
        .bind(row.occurred_at)
        .bind(row.created_at)
}

/// Marks it as deleted; touches no row when it is already.
pub fn mark_deleted(organization: OrgId, id: AttachmentId, now: Timestamp) -> Stmt {
    sql(MARK_DELETED).bind(id).bind(organization).bind(now)
}

/// Deletes what a message shows.
pub fn delete_of_message(thread: ConversationId, message: MessageId, now: Timestamp) -> Stmt {
    sql(DELETE_OF_MESSAGE).bind(thread).bind(message).bind(now)
}

/// What a message shows or showed: deleted attachments too.
pub async fn of_message(db: &Db, thread: ConversationId, message: MessageId) -> Result<Vec<AttachmentRow>> {
    sql(OF_MESSAGE).bind(thread).bind(message).all(db).await
}

/// A message shows the attachment; the first one that does owns it.
pub fn show(id: AttachmentId, thread: ConversationId, message: MessageId) -> Stmt {
    sql(SHOW).bind(id).bind(thread).bind(message)
}

/// Remembers where an event stands that tells of the attachment, once that is in place.
pub fn place_event(id: AttachmentId, stream: StreamId, event: Uuid) -> Stmt {
    sql(PLACE_EVENT).bind(id).bind(stream).bind(event)
}

/// Where the events stand that tell of the attachment.
pub async fn events(db: &Db, id: AttachmentId) -> Result<Vec<(StreamId, Offset)>> {
    sql(EVENTS).bind(id).all(db).await
}

/// Takes the attachment's name out of an event.
pub fn clear_event(stream: StreamId, offset: Offset) -> Stmt {
    sql_for(CLEAR_EVENT).bind(stream).bind(offset)
}

/// A file is about to be written.
pub async fn begin_upload(db: &Db, path: &str, now: Timestamp) -> Result<()> {
    sql(UPLOAD_BEGIN).bind(path).bind(now).execute(db).await.map(drop)
}

/// Something refers to the file now, or it is gone.
pub fn end_upload(path: &str) -> Stmt {
    sql(UPLOAD_END).bind(path)
}

/// Files that began to be written before `before` and that nothing refers to.
pub async fn uploads_left(db: &Db, before: Timestamp, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sql(UPLOADS_LEFT).bind(before).bind(limit).all(db).await?;
    Ok(rows.into_iter().map(|(path,)| path).collect())
}

/// Remembers that the files of a deleted attachment are gone.
pub async fn files_removed(db: &Db, id: AttachmentId) -> Result<()> {
    sql(FILES_REMOVED).bind(id).execute(db).await.map(drop)
}
