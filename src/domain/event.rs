//! Events of streams (contract: REALTIME sections 2 and 3): their names, their actor, their encoded form.

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::ids::{ConversationId, OrgId, PersonId, SessionId, StreamId};
use crate::base::clock::Timestamp;

/// What a stream is about; also the word before the colon of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// `user:<id>`: a person's inbox.
    User,
    /// `org:<id>`: what administrators follow.
    Org,
    /// `workbox:<id>`: all of a help thread that guests may see.
    Workbox,
    /// `internal:<id>`: what guests of a help thread must not see.
    Internal,
    /// `session:<uuid>`: rings, calls and signalling.
    Session,
}

impl StreamKind {
    /// All kinds that are served.
    pub const ALL: &[Self] = &[Self::User, Self::Org, Self::Workbox, Self::Internal, Self::Session];

    /// The word before the colon; also `stream.kind` in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Org => "org",
            Self::Workbox => "workbox",
            Self::Internal => "internal",
            Self::Session => "session",
        }
    }

    /// True where one actor owns the stream, so that a later node's writes fence an earlier node out.
    pub const fn is_owned(self) -> bool {
        matches!(self, Self::Workbox | Self::Internal | Self::Session)
    }

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// An event type of a kind of stream, and whether it is ephemeral (not stored).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The kinds of stream that carry it.
    pub streams: &'static [StreamKind],
    /// `message.created` and so on.
    pub name: &'static str,
    /// Not stored, dropped first when a queue fills.
    pub ephemeral: bool,
}

const THREAD: &[StreamKind] = &[StreamKind::Workbox, StreamKind::Internal];
const TALK: &[StreamKind] = &[StreamKind::Session];
const INBOX: &[StreamKind] = &[StreamKind::User];
const OFFICE: &[StreamKind] = &[StreamKind::Org];
const THREAD_AND_TALK: &[StreamKind] = &[StreamKind::Workbox, StreamKind::Internal, StreamKind::Session];

macro_rules! event_types {
    ($($streams:ident: $($name:literal)+ $(=> ephemeral $($fleeting:literal)+)?;)+) => {
        /// Every event type that this server emits (contract: REALTIME section 3).
        pub const EVENT_TYPES: &[EventType] = &[$(
            $(EventType { streams: $streams, name: $name, ephemeral: false },)+
            $($(EventType { streams: $streams, name: $fleeting, ephemeral: true },)+)?
        )+];
    };
}

event_types! {
    THREAD: "workbox.created" "workbox.updated" "workbox.assigned" "workbox.unassigned" "workbox.closed"
        "workbox.reopened" "participant.added" "participant.removed" "guest.invited" "guest.joined" "guest.revoked"
        "message.edited" "message.deleted" "receipt.updated" "procedure.updated";
    THREAD_AND_TALK: "message.created" "attachment.created" "attachment.deleted" "call.started" "call.ended"
        => ephemeral "typing";
    TALK: "session.created" "session.updated" "member.added" "member.removed" "ring.started" "ring.accepted"
        "ring.declined" "ring.cancelled" "ring.timed_out" "participant.joined" "participant.left" "owner.changed"
        "recording.started" "recording.stopped" "recording.ready" "call.updated"
        => ephemeral "signal" "pointer" "annotation" "freeze";
    INBOX: "ring.incoming" "ring.stopped" "workbox.added" "workbox.removed" "workbox.assigned" "session.added"
        "invitation.received" "token.revoked" => ephemeral "unread" "presence";
    OFFICE: "user.created" "user.updated" "user.deleted";
}

/// `user:7`.
pub fn user_channel(id: PersonId) -> String {
    format!("user:{id}")
}
/// `org:1`.
pub fn org_channel(id: OrgId) -> String {
    format!("org:{id}")
}
/// `workbox:42`.
pub fn workbox_channel(id: ConversationId) -> String {
    format!("workbox:{id}")
}
/// `internal:42`.
pub fn internal_channel(id: ConversationId) -> String {
    format!("internal:{id}")
}
/// `session:<uuid>`.
pub fn session_channel(id: SessionId) -> String {
    format!("session:{id}")
}

/// Who did it, as shown in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// `user`, `guest` or `enterprise`.
    pub kind: &'static str,
    /// The person's (or organisation's) number.
    pub id: i64,
    /// Display name.
    pub name: String,
}

/// An event that is to be appended to a stream: encoded once, here.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The stream it goes to.
    pub stream: StreamId,
    /// `message.created` and so on.
    pub kind: &'static str,
    /// The same on socket, NATS and webhook; receivers deduplicate by it.
    pub id: Uuid,
    /// When it happened.
    pub time: Timestamp,
    /// The whole `data` object of the publication:
    /// `{"id","type","time","actor","data"}` as JSON text.
    pub body: Bytes,
}

#[derive(Serialize)]
struct Body<'a, T: ?Sized> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Timestamp,
    actor: Option<&'a Actor>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ephemeral: bool,
    data: &'a T,
}

/// The publication object of REALTIME section 3 as JSON text.
pub fn encode_body<T: Serialize + ?Sized>(
    id: Uuid,
    kind: &'static str,
    time: Timestamp,
    actor: Option<&Actor>,
    ephemeral: bool,
    data: &T,
) -> Bytes {
    debug_assert!(
        EVENT_TYPES.iter().any(|known| known.name == kind && known.ephemeral == ephemeral),
        "{kind} is not in the table of event types"
    );
    // Event data are plain structs with string keys: serialisation cannot fail.
    serde_json::to_vec(&Body { id, kind, time, actor, ephemeral, data }).unwrap_or_default().into()
}

impl NewEvent {
    /// Encodes an event. `data` holds no token, link, signed address or anything per reader.
    pub fn new<T: Serialize + ?Sized>(
        stream: StreamId,
        kind: &'static str,
        id: Uuid,
        time: Timestamp,
        actor: Option<&Actor>,
        data: &T,
    ) -> Self {
        Self { stream, kind, id, time, body: encode_body(id, kind, time, actor, false, data) }
    }
}
