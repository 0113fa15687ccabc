//! What lists and single views of workboxes are made of: a fixed number of statements per page.

use uuid::Uuid;

use super::{Db, Stmt, StoreError, sql};
use crate::{
    base::clock::Timestamp,
    domain::ids::{
        ConversationId, CustomFieldId, GuestLinkId, MessageId, OrgId, ParticipantId, PersonId,
        ProcedureLinkId,
    },
};

/// A workbox as one reader sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct WorkboxRow {
    /// Its number.
    pub id: ConversationId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whose it is.
    pub organization_id: OrgId,
    /// Free text.
    pub title: String,
    /// Free text.
    pub description: String,
    /// REPORTED, ASSIGNED, CLOSED.
    pub status: String,
    /// Who opened it.
    pub created_by: PersonId,
    /// Who works on it.
    pub assigned_to: Option<PersonId>,
    /// Made by the server for a call.
    pub auto_created: bool,
    /// That call.
    pub call_id: Option<String>,
    /// When it was opened.
    pub reported_at: Timestamp,
    /// When somebody first took it.
    pub assigned_at: Option<Timestamp>,
    /// When it was closed, while it is.
    pub closed_at: Option<Timestamp>,
    /// Newest message that the reader sees; 0 = none.
    pub last_message_id: MessageId,
    /// Last activity that the reader sees.
    pub last_active_at: Timestamp,
    /// Grows with each change.
    pub version: i64,
    /// Row times.
    pub created_at: Timestamp,
    /// Row times.
    pub updated_at: Timestamp,
    /// The reader's read watermark; 0 = none (or not a participant).
    pub read_id: MessageId,
    /// Messages beyond it that others wrote.
    pub unread: i64,
}

const COLUMNS: &str = "select c.id, c.uuid, c.organization_id, c.title, c.description, c.status, c.created_by, \
    c.assigned_to, c.auto_created, c.call_id, c.reported_at, c.assigned_at, c.closed_at, c.version, c.created_at, \
    c.updated_at";
const MEMBER_SIDE: &str =
    ", c.internal_message_id as last_message_id, c.internal_active_at as last_active_at";
const GUEST_SIDE: &str = ", c.last_message_id, c.last_active_at";
const UNREAD: &str = ", p.read_id, (select count(*) from message m where m.conversation_id = c.id and m.id > p.read_id \
    and m.author_id <> p.person_id and m.deleted_at is null and (not p.guest or not m.internal)) as unread";
const NO_READER: &str = ", cast(0 as bigint) as read_id, cast(0 as bigint) as unread";

/// Who looks: decides which rows and which side of them.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// A participant, guest or not.
    Person {
        /// Who.
        id: PersonId,
        /// Sees nothing internal.
        guest: bool,
    },
    /// The whole organisation (an administrator's or a service's token).
    Organization,
}

/// The beginning of a query for what `reader` may see in `organization`; more conditions can be pushed.
pub fn select(reader: Reader, organization: OrgId) -> Stmt {
    match reader {
        Reader::Person { id, guest } => sql(COLUMNS)
            .push(if guest { GUEST_SIDE } else { MEMBER_SIDE })
            .push(UNREAD)
            .push(" from participant p join conversation c on c.id = p.conversation_id where p.removed_at is null and p.person_id = ")
            .push_bind(id)
            .push(" and c.organization_id = ")
            .push_bind(organization),
        Reader::Organization => sql(COLUMNS)
            .push(MEMBER_SIDE)
            .push(NO_READER)
            .push(" from conversation c where c.organization_id = ")
            .push_bind(organization),
    }
}

/// Adds order (most recently active first), position and size of a page.
pub fn page(stmt: Stmt, reader: Reader, after: Option<(Timestamp, ConversationId)>, limit: i64) -> Stmt {
    let column = active_column(reader);
    let mut stmt = stmt;
    if let Some((at, id)) = after {
        stmt = stmt
            .push(" and (")
            .push(column)
            .push(" < ")
            .push_bind(at)
            .push(" or (")
            .push(column)
            .push(" = ")
            .push_bind(at)
            .push(" and c.id < ")
            .push_bind(id)
            .push("))");
    }
    stmt.push(" order by ").push(column).push(" desc, c.id desc limit ").push_bind(limit)
}

fn active_column(reader: Reader) -> &'static str {
    match reader {
        Reader::Person { guest: true, .. } => "c.last_active_at",
        _ => "c.internal_active_at",
    }
}

/// One workbox, if `reader` may see it.
pub async fn find(
    db: &Db,
    reader: Reader,
    organization: OrgId,
    id: ConversationId,
) -> Result<Option<WorkboxRow>, StoreError> {
    select(reader, organization).push(" and c.id = ").push_bind(id).optional(db).await
}

/// A participant with what others see of the person.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ParticipantRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// The place.
    pub id: ParticipantId,
    /// Who.
    pub person_id: PersonId,
    /// Their UUID.
    pub uuid: Uuid,
    /// A guest by link.
    pub guest: bool,
    /// Opened the thread.
    pub creator: bool,
    /// Marked by the user.
    pub important: bool,
    /// Has written something.
    pub has_participated: bool,
    /// When they came in.
    pub accepted_at: Option<Timestamp>,
    /// When they were taken out.
    pub removed_at: Option<Timestamp>,
    /// Their read watermark.
    pub read_id: MessageId,
    /// Display name.
    pub name: String,
    /// Log-in name.
    pub username: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Where they are.
    pub location: Option<String>,
    /// Key of the avatar in the file store.
    pub avatar_file: Option<String>,
    /// Unread messages (asked for guests only; 0 otherwise).
    pub unread: i64,
}

/// A guest's invitation.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct GuestRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// The invitation.
    pub id: GuestLinkId,
    /// What the API calls it.
    pub uuid: Uuid,
    /// The guest.
    pub person_id: PersonId,
    /// Display name.
    pub name: String,
    /// When the link was first opened.
    pub joined_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// A custom field's value.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct FieldValueRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// The definition.
    pub field_id: CustomFieldId,
    /// JSON text.
    pub value: String,
}

/// A procedure attached to a thread.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProcedureRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// Its link id.
    pub id: ProcedureLinkId,
    /// The procedure.
    pub procedure_id: i64,
    /// Its version.
    pub procedure_version: i64,
    /// Who runs it.
    pub owner_id: PersonId,
    /// Where it stands.
    pub state: String,
    /// The app's reference.
    pub task_uuid: Option<String>,
    /// Where the app keeps its values.
    pub values_url: Option<String>,
    /// Run without a connection.
    pub offline: bool,
    /// When it last moved.
    pub action_time: Option<Timestamp>,
}

fn within(text: &'static str, ids: &[ConversationId], rest: &'static str) -> Stmt {
    let mut stmt = sql(text).push(" in (");
    for (position, id) in ids.iter().enumerate() {
        stmt = stmt.push(if position == 0 { "" } else { ", " }).push_bind(*id);
    }
    stmt.push(")").push(rest)
}

/// Everybody in these threads, those taken out included.
pub async fn participants(db: &Db, ids: &[ConversationId]) -> Result<Vec<ParticipantRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    within(
        "select p.conversation_id, p.id, p.person_id, u.uuid, p.guest, p.creator, p.important, p.has_participated, \
         p.accepted_at, p.removed_at, p.read_id, u.name, u.username, u.title, u.location, u.avatar_file, \
         case when p.guest then (select count(*) from message m where m.conversation_id = p.conversation_id \
         and m.id > p.read_id and m.author_id <> p.person_id and m.deleted_at is null and not m.internal) \
         else 0 end as unread \
         from participant p join person u on u.id = p.person_id where p.conversation_id",
        ids,
        " order by p.conversation_id, p.id",
    )
    .all(db)
    .await
}

/// Invitations of guests of these threads.
pub async fn guests(db: &Db, ids: &[ConversationId]) -> Result<Vec<GuestRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    within(
        "select g.conversation_id, g.id, g.uuid, g.person_id, u.name, g.joined_at, g.revoked_at \
         from guest_link g join person u on u.id = g.person_id where g.conversation_id",
        ids,
        " order by g.conversation_id, g.id",
    )
    .all(db)
    .await
}

/// Values of custom fields of these threads.
pub async fn field_values(db: &Db, ids: &[ConversationId]) -> Result<Vec<FieldValueRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    within(
        "select conversation_id, field_id, value from custom_field_value where conversation_id",
        ids,
        " order by conversation_id, field_id",
    )
    .all(db)
    .await
}

/// Procedures of these threads.
pub async fn procedures(db: &Db, ids: &[ConversationId]) -> Result<Vec<ProcedureRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    within(
        "select conversation_id, id, procedure_id, procedure_version, owner_id, state, task_uuid, values_url, offline, \
         action_time from procedure_link where removed_at is null and conversation_id",
        ids,
        " order by conversation_id, id",
    )
    .all(db)
    .await
}
