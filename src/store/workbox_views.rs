//! What lists and single views of workboxes are made of: a fixed number of statements per page.

use uuid::Uuid;

use super::{
    Db, Stmt, StoreError, filter, messages::StoredMessage, procedures::ProcedureRow, sql, statements,
    tallies::unread,
};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{
            ConversationId, CustomFieldId, GuestLinkId, MessageId, Offset, OrgId, ParticipantId, PersonId,
        },
        query::{Field, Filter, Kind},
    },
};

statements! {
    OF_CALL = "select coalesce((select conversation_id from call where id = $2 and organization_id = $1), \
        (select id from conversation where call_id = $2 and organization_id = $1))";
    PEOPLE_OF_CALL = "select distinct p.id from call c join call_participant x on x.call_id = c.id \
        join person p on p.id = x.person_id where c.id = $2 and c.organization_id = $1 and c.started_at is not null \
        and p.organization_id = $1 and p.kind = 'member' and p.removed_at is null and p.active order by p.id";
    COUNT = concat!(
        "select c.status, count(*) as total, \
        max(case when p.guest then c.last_active_at else c.internal_active_at end) as last_active_at, \
        cast(coalesce(sum(",
        unread!("c.id", "p.person_id", "p.read_id", "p.guest"),
        "), 0) as bigint) as unread from participant p join conversation c on c.id = p.conversation_id \
        where p.person_id = $2 and p.removed_at is null and c.organization_id = $1 and c.kind = 'workbox' \
        group by c.status"
    );
}

/// A workbox as one reader sees it.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
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
    /// Where the stream stood when the row was read.
    pub epoch: String,
    /// Where the stream stood when the row was read.
    pub head: Offset,
    /// The same of the stream that guests do not see.
    pub internal_epoch: String,
    /// The same of the stream that guests do not see.
    pub internal_head: Offset,
}

const COLUMNS: &str = "select c.id, c.uuid, c.organization_id, c.title, c.description, c.status, c.created_by, \
    c.assigned_to, c.auto_created, c.call_id, c.reported_at, c.assigned_at, c.closed_at, c.version, c.created_at, \
    c.updated_at, s.epoch, s.head, i.epoch as internal_epoch, i.head as internal_head, ";
const UNREAD: &str =
    concat!("p.read_id, ", unread!("c.id", "p.person_id", "p.read_id", "p.guest"), " as unread from (");
const NO_READER: &str = "cast(0 as bigint) as read_id, cast(0 as bigint) as unread from (";
const STREAMS: &str = " join stream s on s.id = c.stream_id join stream i on i.id = c.internal_stream_id";

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

impl Reader {
    /// True where nothing internal may show.
    pub fn is_guest(self) -> bool {
        matches!(self, Self::Person { guest: true, .. })
    }

    /// What lists of workboxes can be filtered by.
    pub fn fields(self) -> &'static [Field] {
        if self.is_guest() { GUEST_FIELDS } else { FIELDS }
    }
}

macro_rules! fields {
    ($active:literal) => {
        &[
            Field::filter_only("id", "c.id", Kind::Int),
            Field::filter_only("uuid", "c.uuid", Kind::Uuid),
            Field::filter_only("title", "c.title", Kind::Text),
            Field::filter_only("description", "c.description", Kind::Text),
            Field::filter_only("status", "c.status", Kind::Text),
            Field::filter_only("created_by", "c.created_by", Kind::Int),
            Field::filter_only("created_by.id", "c.created_by", Kind::Int),
            Field::filter_only("assigned_to", "coalesce(c.assigned_to, -1)", Kind::Int),
            Field::filter_only("assigned_to.id", "coalesce(c.assigned_to, -1)", Kind::Int),
            Field::filter_only("auto_created", "c.auto_created", Kind::Bool),
            Field::filter_only("call_id", "c.call_id", Kind::Text),
            Field::filter_only("reported_at", "c.reported_at", Kind::Time),
            Field::filter_only("assigned_at", "c.assigned_at", Kind::Time),
            Field::filter_only("closed_at", "c.closed_at", Kind::Time),
            Field::filter_only("inserted_at", "c.created_at", Kind::Time),
            Field::filter_only("updated_at", "c.updated_at", Kind::Time),
            Field::filter_only("last_active_at", $active, Kind::Time),
            Field::filter_only("version", "c.version", Kind::Int),
            Field::filter_only(
                "participant.id",
                "exists (select 1 from participant q where q.conversation_id = c.id and q.removed_at is null \
                 and q.person_id {})",
                Kind::Int,
            ),
        ]
    };
}
static FIELDS: &[Field] = fields!("c.internal_active_at");
static GUEST_FIELDS: &[Field] = fields!("c.last_active_at");

/// Which workboxes a page shows.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this one.
    pub id: Option<ConversationId>,
    /// Only these status; empty = all.
    pub status: &'static [&'static str],
    /// What the client asked for, over [`Reader::fields`].
    pub filter: Filter,
    /// Only what stands behind this row.
    pub after: Option<(Timestamp, ConversationId)>,
}

/// Up to `limit` workboxes that `reader` may see in `organization`, most recently active first.
pub async fn page(
    db: &Db,
    reader: Reader,
    organization: OrgId,
    selection: &Selection,
    limit: i64,
) -> Result<Vec<WorkboxRow>, StoreError> {
    let guest = reader.is_guest();
    let active = if guest { "c.last_active_at" } else { "c.internal_active_at" };
    let side = if guest { "c.last_message_id, " } else { "c.internal_message_id as last_message_id, " };
    let mut stmt = sql(COLUMNS).push(side).push(active).push(" as last_active_at, ");
    // The page is found first, so that unread messages are counted for its rows only.
    stmt = match reader {
        Reader::Person { id, .. } => stmt
            .push(UNREAD)
            .push("select c.id from participant p join conversation c on c.id = p.conversation_id where p.person_id = ")
            .push_bind(id)
            .push(" and p.removed_at is null and c.organization_id = "),
        Reader::Organization => {
            stmt.push(NO_READER).push("select c.id from conversation c where c.organization_id = ")
        }
    };
    stmt = stmt.push_bind(organization).push(" and c.kind = 'workbox'");
    if let Some(id) = selection.id {
        stmt = stmt.push(" and c.id = ").push_bind(id);
    }
    if !selection.status.is_empty() {
        stmt = stmt.push(" and c.status in ").push_list(selection.status.iter().copied());
    }
    stmt = filter::conditions(stmt, &selection.filter);
    if let Some((at, id)) = selection.after {
        stmt = stmt
            .push(" and (")
            .push(active)
            .push(", c.id) < (")
            .push_bind(at)
            .push(", ")
            .push_bind(id)
            .push(")");
    }
    stmt = stmt.push(" order by ").push(active).push(" desc, c.id desc limit ").push_bind(limit);
    stmt = stmt.push(") page join conversation c on c.id = page.id").push(STREAMS);
    if let Reader::Person { id, .. } = reader {
        stmt = stmt.push(" join participant p on p.conversation_id = c.id and p.person_id = ").push_bind(id);
    }
    stmt.push(" order by ").push(active).push(" desc, c.id desc").all(db).await
}

/// One workbox, if `reader` may see it.
pub async fn find(
    db: &Db,
    reader: Reader,
    organization: OrgId,
    id: ConversationId,
) -> Result<Option<WorkboxRow>, StoreError> {
    let selection = Selection { id: Some(id), ..Selection::default() };
    Ok(page(db, reader, organization, &selection, 1).await?.pop())
}

/// Members of the organisation who were in a call of it that has started.
pub async fn people_of_call(db: &Db, organization: OrgId, call: &str) -> Result<Vec<PersonId>, StoreError> {
    let rows: Vec<(PersonId,)> = sql(PEOPLE_OF_CALL).bind(organization).bind(call).all(db).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The workbox that a call belongs to.
pub async fn of_call(db: &Db, organization: OrgId, call: &str) -> Result<Option<ConversationId>, StoreError> {
    let row: (Option<ConversationId>,) = sql(OF_CALL).bind(organization).bind(call).one(db).await?;
    Ok(row.0)
}

/// Workboxes of one status that a participant sees.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct StatusCount {
    /// The status.
    pub status: String,
    /// How many.
    pub total: i64,
    /// Unread messages in them.
    pub unread: i64,
    /// Last activity that the participant sees.
    pub last_active_at: Option<Timestamp>,
}

/// How many workboxes a person sees, by status.
pub async fn count(db: &Db, organization: OrgId, person: PersonId) -> Result<Vec<StatusCount>, StoreError> {
    sql(COUNT).bind(organization).bind(person).all(db).await
}

/// The newest message of each of these threads that members (or, with `guest`, everybody) see.
pub async fn last_messages(
    db: &Db,
    ids: &[ConversationId],
    guest: bool,
) -> Result<Vec<StoredMessage>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sql("select m.conversation_id, m.id, m.uuid, m.author_id, m.author_name, m.type, m.version, m.metadata, m.body_hash, \
         m.internal, m.sent_at, m.created_at, m.edited_at, m.deleted_at, m.stream_offset from conversation c \
         join message m on m.conversation_id = c.id and m.id = ")
    .push(if guest { "c.last_message_id" } else { "c.internal_message_id" })
    .push(" where c.id in ")
    .push_list(ids.iter().copied())
    .all(db)
    .await
}

/// A participant with what others see of the person.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
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
#[derive(Clone, Debug, sqlx_macros::FromRow)]
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
}

/// A custom field's value.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct FieldValueRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// The definition.
    pub field_id: CustomFieldId,
    /// JSON text.
    pub value: String,
}

fn within(text: &'static str, ids: &[ConversationId], rest: &'static str) -> Stmt {
    sql(text).push(" in ").push_list(ids.iter().copied()).push(rest)
}

/// Everybody in these threads, those taken out included.
pub async fn participants(db: &Db, ids: &[ConversationId]) -> Result<Vec<ParticipantRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    within(
        concat!(
            "select p.conversation_id, p.id, p.person_id, u.uuid, p.guest, p.creator, p.important, \
             p.has_participated, p.accepted_at, p.removed_at, p.read_id, u.name, u.username, u.title, u.location, \
             u.avatar_file, case when p.guest then ",
            unread!("p.conversation_id", "p.person_id", "p.read_id", "p.guest"),
            " else 0 end as unread from participant p join person u on u.id = p.person_id where p.conversation_id"
        ),
        ids,
        " order by p.conversation_id, p.id",
    )
    .all(db)
    .await
}

/// Invitations of guests of these threads that were not taken back.
pub async fn guests(db: &Db, ids: &[ConversationId]) -> Result<Vec<GuestRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    within(
        "select g.conversation_id, g.id, g.uuid, g.person_id, u.name, g.joined_at \
         from guest_link g join person u on u.id = g.person_id where g.revoked_at is null and g.conversation_id",
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
         action_time, created_at, updated_at from procedure_link where removed_at is null and conversation_id",
        ids,
        " order by conversation_id, id",
    )
    .all(db)
    .await
}
