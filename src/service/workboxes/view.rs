//! How threads look in replies and events: one object with all keys that any client reads (SEMANTICS section 9).

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::{
        custom_field::{Choice, Definition, Kind, Mandatory},
        event,
        ids::{
            ConversationId, CustomFieldId, MessageId, Offset, OrgId, ParticipantId, PersonId, ProcedureLinkId,
        },
        machine::conversation::{Conversation, Member},
    },
    service::{
        messages::MessageView,
        views::{Avatar, BriefContact},
    },
    store::{
        custom_fields::CustomFieldRow,
        people::PersonRow,
        procedures::ProcedureRow,
        workbox_views::{FieldValueRow, GuestRow, ParticipantRow, WorkboxRow},
    },
};

/// Who works on a thread.
#[derive(Clone, Debug, Serialize)]
pub struct Assignee {
    /// The person; -1 = nobody.
    pub id: PersonId,
    /// Their name.
    pub name: String,
}

impl Assignee {
    fn new(person: Option<PersonId>, name: &str) -> Self {
        match person {
            Some(id) => Self { id, name: name.to_owned() },
            None => Self { id: PersonId(-1), name: String::new() },
        }
    }
}

/// A person's place in a thread (contract: `workbox_participant`).
#[derive(Clone, Debug, Serialize)]
pub struct ParticipantView {
    /// The place.
    pub id: ParticipantId,
    /// The person.
    pub user_id: PersonId,
    /// Display name.
    pub name: String,
    /// Log-in name.
    pub username: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Where they are.
    pub location: Option<String>,
    /// Opened the thread.
    pub owner: bool,
    /// Opened the thread.
    pub creator: bool,
    /// Works on it.
    pub assigned: bool,
    /// Marked by the person.
    pub important: bool,
    /// Has written something.
    pub has_participated: bool,
    /// When they came in.
    pub accepted_at: Option<Timestamp>,
    /// Was taken out.
    pub removed: bool,
}

impl ParticipantView {
    fn of_row(row: &ParticipantRow, assigned_to: Option<PersonId>) -> Self {
        Self {
            id: row.id,
            user_id: row.person_id,
            name: row.name.clone(),
            username: row.username.clone(),
            title: row.title.clone(),
            location: row.location.clone(),
            owner: row.creator,
            creator: row.creator,
            assigned: assigned_to == Some(row.person_id),
            important: row.important,
            has_participated: row.has_participated,
            accepted_at: row.accepted_at,
            removed: row.removed_at.is_some(),
        }
    }

    /// Of somebody who comes in (back) now.
    pub fn of_new(person: &PersonRow, member: &Member, now: Timestamp) -> Self {
        Self {
            id: member.participant,
            user_id: person.id,
            name: person.name.clone(),
            username: person.username.clone(),
            title: person.title.clone(),
            location: person.location.clone(),
            owner: member.creator,
            creator: member.creator,
            assigned: false,
            important: false,
            has_participated: member.participated,
            accepted_at: Some(now),
            removed: false,
        }
    }
}

/// A guest (contract: `workbox_guest`).
#[derive(Clone, Debug, Serialize)]
pub struct GuestView {
    /// The person.
    pub id: PersonId,
    /// What resends and revocations name.
    pub uuid: Uuid,
    /// Display name.
    pub name: String,
    /// Has opened the link.
    pub has_joined: bool,
    /// Their read watermark; left out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_read_message_id: Option<MessageId>,
    /// Messages beyond it; left out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_count: Option<i64>,
}

/// A custom field's value in a thread.
#[derive(Clone, Debug, Serialize)]
pub struct FieldValueView {
    /// The definition.
    pub id: CustomFieldId,
    /// Its label.
    pub name: String,
    /// Text, boolean, option id or list of option ids.
    pub value: Value,
    /// The value as people read it.
    #[serde(rename = "valueAsString")]
    pub text: String,
    /// TEXT, BOOLEAN, LIST.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// A list that takes several options.
    #[serde(rename = "multiSelect")]
    pub multi_select: bool,
}

/// The values that are set, in display order.
pub fn field_values(
    definitions: &[Definition],
    values: &BTreeMap<CustomFieldId, Arc<str>>,
) -> Vec<FieldValueView> {
    definitions
        .iter()
        .filter_map(|definition| {
            let value = definition.shown(values.get(&definition.id)?);
            (!value.is_null()).then(|| FieldValueView {
                id: definition.id,
                name: definition.name.clone(),
                text: definition.text(&value),
                value,
                kind: definition.kind,
                multi_select: definition.multi_select,
            })
        })
        .collect()
}

/// A custom field's definition.
#[derive(Clone, Debug, Serialize)]
pub struct FieldView {
    /// Its number.
    pub id: CustomFieldId,
    /// Its label.
    pub name: String,
    /// Its explanation.
    pub description: String,
    /// Not to be shown.
    pub hidden: bool,
    /// TEXT, BOOLEAN, LIST.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The thread's value as people read it; not where definitions stand alone.
    #[serde(rename = "valueAsString", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it must be filled.
    pub mandatory: Mandatory,
    /// What a new thread begins with.
    #[serde(rename = "defaultValue")]
    pub default: Value,
    /// A list that takes several options.
    #[serde(rename = "multiSelect")]
    pub multi_select: bool,
    /// The options of a list.
    pub options: Vec<Choice>,
    /// Place among the others.
    pub position: i64,
}

impl From<Definition> for FieldView {
    fn from(definition: Definition) -> Self {
        let Definition {
            id,
            name,
            description,
            kind,
            mandatory,
            hidden,
            multi_select,
            default,
            options,
            position,
        } = definition;
        Self {
            id,
            name,
            description,
            hidden,
            kind,
            text: None,
            mandatory,
            default,
            multi_select,
            options,
            position,
        }
    }
}

impl From<CustomFieldRow> for Definition {
    fn from(row: CustomFieldRow) -> Self {
        // Rows hold what was checked; what is unreadable all the same counts as the least.
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            kind: Kind::by_name(&row.kind).unwrap_or(Kind::Text),
            mandatory: Mandatory::by_name(&row.mandatory).unwrap_or_default(),
            hidden: row.hidden,
            multi_select: row.multi_select,
            default: serde_json::from_str(&row.default_value).unwrap_or_default(),
            options: serde_json::from_str(&row.options).unwrap_or_default(),
            position: row.position,
        }
    }
}

/// A procedure in a thread.
#[derive(Clone, Debug, Serialize)]
pub struct ProcedureView {
    /// Its place in the thread.
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
    /// Where the app keeps its values; left out of events, since it may be a signed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values_url: Option<Option<String>>,
    /// Run without a connection.
    pub offline: bool,
    /// When it last moved.
    pub action_time: Option<Timestamp>,
    /// When it was attached.
    pub inserted_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl ProcedureView {
    /// As replies show it.
    pub fn of_row(row: ProcedureRow) -> Self {
        Self {
            id: row.id,
            procedure_id: row.procedure_id,
            procedure_version: row.procedure_version,
            owner_id: row.owner_id,
            state: row.state,
            task_uuid: row.task_uuid,
            values_url: Some(row.values_url),
            offline: row.offline,
            action_time: row.action_time,
            inserted_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// As events show it.
    pub fn for_event(row: ProcedureRow) -> Self {
        Self { values_url: None, ..Self::of_row(row) }
    }
}

/// Where to follow an object from without a gap: read no later than the object.
#[derive(Clone, Debug, Serialize)]
pub struct StreamPosition {
    /// The channel on the socket.
    pub channel: String,
    /// The newest event that the object takes in.
    pub offset: Offset,
    /// The stream's epoch.
    pub epoch: String,
}

/// A thread as one reader sees it (contract: `workbox`, and what clients read beyond it).
#[derive(Clone, Debug, Serialize)]
pub struct WorkboxView {
    /// Its number.
    pub id: ConversationId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whose it is.
    pub enterprise_id: OrgId,
    /// Grows with each change of its own fields.
    pub version: String,
    /// Free text.
    pub title: String,
    /// Free text.
    pub description: String,
    /// REPORTED, ASSIGNED, CLOSED.
    pub status: String,
    /// Who opened it.
    pub created_by: Option<BriefContact>,
    /// Who works on it.
    pub assigned_to: Assignee,
    /// Made by the server for a call.
    pub auto_created: bool,
    /// When it was opened.
    pub reported_at: Timestamp,
    /// When somebody first took it.
    pub assigned_at: Option<Timestamp>,
    /// When it was closed, while it is.
    pub closed_at: Option<Timestamp>,
    /// When its row was made.
    pub inserted_at: Timestamp,
    /// When its row last changed.
    pub updated_at: Timestamp,
    /// Last activity that the reader sees.
    pub last_active_at: Timestamp,
    /// Members, those taken out included.
    pub participants: Vec<ParticipantView>,
    /// Guests by link.
    pub guests: Vec<GuestView>,
    /// Values of custom fields.
    pub fields: Vec<FieldValueView>,
    /// Definitions of custom fields, last first.
    #[serde(rename = "ticketFieldsFull")]
    pub field_definitions: Vec<FieldView>,
    /// Procedures.
    pub procedures: Vec<ProcedureView>,
    /// How many.
    #[serde(rename = "procedureCount")]
    pub procedure_count: usize,
    /// Newest message that the reader sees.
    pub last_message: Option<MessageView>,
    /// Messages of others that the reader has not read.
    pub unread_messages_count: i64,
    /// The reader's read watermark.
    pub last_read_message_id: Option<MessageId>,
    /// The reader's token for this thread; none for a reader who is not in it.
    pub token: Option<String>,
    /// Where to follow it from.
    pub stream: StreamPosition,
    /// The same of what guests must not see; not for guests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_stream: Option<StreamPosition>,
}

/// The parts of a page of threads, beside the rows themselves.
pub struct Parts {
    /// See the functions of `store::workbox_views`.
    pub participants: Vec<ParticipantRow>,
    /// See there.
    pub guests: Vec<GuestRow>,
    /// See there.
    pub values: Vec<FieldValueRow>,
    /// See there.
    pub procedures: Vec<ProcedureRow>,
    /// The newest message of each.
    pub last_messages: Vec<MessageView>,
    /// The organisation's definitions, in display order.
    pub definitions: Vec<Definition>,
    /// The reader sees nothing internal.
    pub guest: bool,
}

impl Parts {
    /// The view of `row`, without a token.
    pub fn view(&self, row: WorkboxRow) -> WorkboxView {
        let id = row.id;
        let people: Vec<_> = self.participants.iter().filter(|p| p.conversation_id == id).collect();
        let name_of = |person: PersonId| people.iter().find(|p| p.person_id == person);
        let values: BTreeMap<CustomFieldId, Arc<str>> = self
            .values
            .iter()
            .filter(|value| value.conversation_id == id)
            .map(|value| (value.field_id, Arc::from(value.value.as_str())))
            .collect();
        let fields = field_values(&self.definitions, &values);
        let field_definitions = self
            .definitions
            .iter()
            .rev()
            .map(|definition| {
                let value = fields.iter().find(|value| value.id == definition.id);
                let text = value.map_or_else(String::new, |value| value.text.clone());
                FieldView { text: Some(text), ..definition.clone().into() }
            })
            .collect();
        let procedures: Vec<_> = self
            .procedures
            .iter()
            .filter(|p| p.conversation_id == id)
            .cloned()
            .map(ProcedureView::of_row)
            .collect();
        WorkboxView {
            id,
            uuid: row.uuid,
            enterprise_id: row.organization_id,
            version: row.version.to_string(),
            title: row.title,
            description: row.description,
            status: row.status,
            created_by: name_of(row.created_by).map(|p| contact_of(p)),
            assigned_to: Assignee::new(
                row.assigned_to,
                row.assigned_to.and_then(name_of).map_or("", |p| p.name.as_str()),
            ),
            auto_created: row.auto_created,
            reported_at: row.reported_at,
            assigned_at: row.assigned_at,
            closed_at: row.closed_at,
            inserted_at: row.created_at,
            updated_at: row.updated_at,
            last_active_at: row.last_active_at,
            participants: people
                .iter()
                .filter(|p| !p.guest)
                .map(|p| ParticipantView::of_row(p, row.assigned_to))
                .collect(),
            guests: self
                .guests
                .iter()
                .filter(|guest| guest.conversation_id == id)
                .map(|guest| {
                    let place = people.iter().find(|p| p.person_id == guest.person_id);
                    guest_view(guest, place.copied())
                })
                .collect(),
            fields,
            field_definitions,
            procedure_count: procedures.len(),
            procedures,
            last_message: self.last_messages.iter().find(|message| message.workbox_id == id).cloned(),
            unread_messages_count: row.unread,
            last_read_message_id: Some(row.read_id).filter(|id| id.0 > 0),
            token: None,
            stream: StreamPosition {
                channel: event::workbox_channel(id),
                offset: row.head,
                epoch: row.epoch,
            },
            internal_stream: (!self.guest).then(|| StreamPosition {
                channel: event::internal_channel(id),
                offset: row.internal_head,
                epoch: row.internal_epoch,
            }),
        }
    }
}

fn contact_of(row: &ParticipantRow) -> BriefContact {
    BriefContact {
        id: row.person_id,
        name: row.name.clone(),
        username: row.username.clone(),
        title: row.title.clone(),
        location: row.location.clone(),
        avatar: Some(Avatar::default()),
    }
}

fn guest_view(guest: &GuestRow, place: Option<&ParticipantRow>) -> GuestView {
    GuestView {
        id: guest.person_id,
        uuid: guest.uuid,
        name: guest.name.clone(),
        has_joined: guest.joined_at.is_some(),
        last_read_message_id: place.map(|place| place.read_id).filter(|id| id.0 > 0),
        unread_count: Some(place.map_or(0, |place| place.unread)),
    }
}

/// A thread in its own events: nothing per reader, no token, no link.
#[derive(Debug, Serialize)]
pub struct ThreadEvent<'a> {
    id: ConversationId,
    workbox_id: ConversationId,
    version: String,
    title: &'a str,
    description: &'a str,
    status: &'static str,
    created_by: PersonId,
    assigned_to: Assignee,
    reported_at: Timestamp,
    assigned_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    changed: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    participants: Option<Cow<'a, [ParticipantView]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Cow<'a, [FieldValueView]>>,
}

impl<'a> ThreadEvent<'a> {
    /// The thread as it stands after a change of `changed` at `now`.
    pub fn new(state: &'a Conversation, changed: &'a [&'static str], now: Timestamp) -> Self {
        let thread = &state.thread;
        Self {
            id: state.id,
            workbox_id: state.id,
            version: state.version.to_string(),
            title: &thread.title,
            description: &thread.description,
            status: state.status.name(),
            created_by: thread.created_by,
            assigned_to: Assignee::new(state.assigned_to, &thread.assigned_name),
            reported_at: thread.reported_at,
            assigned_at: thread.assigned_at,
            closed_at: thread.closed_at,
            updated_at: now,
            changed,
            participants: None,
            fields: None,
        }
    }

    /// With everybody in it.
    #[must_use]
    pub fn with_participants(mut self, participants: &'a [ParticipantView]) -> Self {
        self.participants = Some(participants.into());
        self
    }

    /// With the values of its custom fields.
    #[must_use]
    pub fn with_fields(mut self, fields: &'a [FieldValueView]) -> Self {
        self.fields = Some(fields.into());
        self
    }
}
