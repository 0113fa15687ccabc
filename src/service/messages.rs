//! Messages and receipts of conversations: sending, editing, deleting, reading, marking.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::views::{Avatar, BriefContact};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
    },
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{Actor, NewEvent},
        ids::{ConversationId, MessageId, Offset, PersonId},
    },
    journal::{Append, MarkerRow, MessageRow, Refusal, RowOp},
    live::conversation::{Conversations, Decision},
    store::{
        Db,
        brief_people::{self, BriefPerson},
        conversations,
        ids::Ids,
        messages::{self, Side, StoredMessage},
    },
};

/// Longest metadata of a message, as JSON text, in bytes.
pub const METADATA_LIMIT: usize = 32 * 1024;
/// Longest name a message can be sent under, in characters.
const NAME_LIMIT: usize = 255;
/// Page size of message lists where the client leaves it to us.
pub const DEFAULT_PAGE: i64 = 50;
/// Largest page of messages.
pub const LARGEST_PAGE: i64 = 200;

/// Types of messages that clients may send, with the texts that their metadata must hold.
const TYPES: &[(&str, &[&str])] = &[
    ("Text", &["message"]),
    ("QRMessage", &["title", "message"]),
    ("Image", &["url", "filename"]),
    ("Video", &["url", "filename"]),
    ("Audio", &["url", "filename"]),
    ("Document", &["url", "filename"]),
    ("ProcedureState", &[]),
];

/// A message that somebody wants to send.
#[derive(Debug)]
pub struct Draft {
    /// Made by the client, so that sending twice is sending once.
    pub uuid: Option<Uuid>,
    /// `Text`, `Image` ...
    pub kind: String,
    /// The content.
    pub metadata: Value,
    /// Version of its format: 1 or 2.
    pub version: i64,
    /// Hidden from guests.
    pub internal: bool,
    /// The client's time of sending; ours where missing.
    pub sent_at: Option<Timestamp>,
    /// The name to show; the caller's where missing.
    pub username: Option<String>,
}

/// A message as shown (contract: `workbox_message`).
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// Its number.
    pub id: MessageId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its conversation.
    pub workbox_id: ConversationId,
    /// `Text` ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of the metadata format.
    pub version: i64,
    /// JSON as a string.
    pub metadata: String,
    /// Hidden from guests.
    pub internal: bool,
    /// The client's time of sending.
    pub sent_at: Timestamp,
    /// Who wrote it.
    pub user: Option<BriefContact>,
    /// The name it was written under.
    pub user_name: String,
    /// Was edited.
    pub edited: bool,
    /// Last edit.
    pub edited_at: Option<Timestamp>,
    /// Was deleted.
    pub deleted: bool,
    /// Deletion.
    pub deleted_at: Option<Timestamp>,
    /// Read by the caller; not in events, which look alike to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<bool>,
    /// Offset of its `message.created` event; not in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
}

/// The caller's watermarks after a mark.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Marks {
    /// Newest message received.
    pub received_id: MessageId,
    /// Newest message read.
    pub read_id: MessageId,
}

/// Received and read flags of one participant for one message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReceiptStatus {
    /// Who.
    pub user_id: PersonId,
    /// Has received it.
    pub received: bool,
    /// Has read it.
    pub read: bool,
}

/// How far some, and all, of the participants are (contract: `workbox_receipt_status`).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ThreadReceipts {
    /// Newest message that somebody besides its author has received.
    pub most_recent_partial_received: Option<MessageId>,
    /// Newest message that everybody has received.
    pub most_recent_all_received: Option<MessageId>,
    /// Newest message that somebody besides its author has read.
    pub most_recent_partial_read: Option<MessageId>,
    /// Newest message that everybody has read.
    pub most_recent_all_read: Option<MessageId>,
}

/// Where a list of messages continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Newer messages, oldest first.
    Ascending,
    /// Older messages, newest first.
    Descending,
}

/// Use cases of messages. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    conversations: Conversations,
}

impl Messages {
    /// Wires it.
    pub fn new(db: Db, ids: Ids, clock: Clock, random: Random, conversations: Conversations) -> Self {
        Self { db, ids, clock, random, conversations }
    }

    /// Sends a message. A `uuid` that the author used here before gives the first message again, or an error when the
    /// content differs.
    pub async fn send(&self, caller: &Caller, id: ConversationId, draft: Draft) -> Result<MessageView> {
        let author = caller.person()?;
        let checked = check(caller, draft)?;
        let person = self.author(author).await?;
        let message = self.ids.next::<MessageId>()?;
        let uuid = checked.uuid.unwrap_or_else(|| self.random.uuid_v7(self.clock.now()));
        let hash = checked.hash;
        let actor = actor_of(caller);
        let outcome = self
            .conversations
            .decide(id, move |state, env| {
                state.may_send(author, checked.internal)?;
                let now = env.now();
                let row = MessageRow {
                    conversation: id,
                    id: message,
                    uuid,
                    client_uuid: checked.uuid.is_some(),
                    author,
                    author_name: checked.username,
                    kind: checked.kind,
                    version: checked.version,
                    metadata: checked.metadata,
                    body_hash: checked.hash,
                    internal: checked.internal,
                    sent_at: checked.sent_at.unwrap_or(now),
                    created_at: now,
                };
                let view = MessageView::of_row(&row, &person);
                let stream = state.stream_for(checked.internal);
                let event = NewEvent::new(
                    stream,
                    "message.created",
                    env.random.uuid_v7(now),
                    now,
                    Some(&actor),
                    &view,
                );
                let mut append = Append::of_events(vec![event]);
                append.rows.push(RowOp::Message(Box::new(row)));
                if state.sent(author, message, checked.internal) {
                    append = append.with(conversations::set_participated(id, author));
                }
                Ok(Decision {
                    append,
                    harmless: true,
                    reply: Box::new(move |committed| MessageView {
                        offset: committed.offset_in(stream),
                        read: Some(true),
                        ..view
                    }),
                })
            })
            .await;
        match outcome {
            Err(error) if error.code() == Code::Constraint && checked.uuid.is_some() => {
                self.first_of(id, author, uuid, hash).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// The message that `author` sent under this uuid before; an error when it was another one.
    async fn first_of(
        &self,
        id: ConversationId,
        author: PersonId,
        uuid: Uuid,
        hash: [u8; 32],
    ) -> Result<Option<MessageView>> {
        let Some(first) = messages::by_uuid(&self.db, id, author, uuid).await? else { return Ok(None) };
        if first.body_hash != hash {
            return Err(Error::constraint("this uuid was used for another message"));
        }
        Ok(Some(self.view(first, None).await?))
    }

    /// One message that the caller may see.
    pub async fn get(&self, caller: &Caller, id: ConversationId, message: MessageId) -> Result<MessageView> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        self.view(stored, Some(reader)).await
    }

    /// The newest messages, newest first.
    pub async fn recent(&self, caller: &Caller, id: ConversationId, limit: i64) -> Result<Vec<MessageView>> {
        self.list(caller, id, Side::Newest, limit).await
    }

    /// Messages on one side of `message` (0 or less: from the end, or the beginning).
    pub async fn around(
        &self,
        caller: &Caller,
        id: ConversationId,
        message: MessageId,
        direction: Direction,
        limit: i64,
    ) -> Result<Vec<MessageView>> {
        let reader = self.reader(caller, id).await?;
        let side = if message.0 <= 0 {
            match direction {
                Direction::Ascending => Side::After(Timestamp(i64::MIN), MessageId(0)),
                Direction::Descending => Side::Newest,
            }
        } else {
            let from = self.visible(reader, id, message).await?;
            match direction {
                Direction::Ascending => Side::After(from.sent_at, from.id),
                Direction::Descending => Side::Before(from.sent_at, from.id),
            }
        };
        let rows = messages::page(&self.db, id, side, !reader.guest, limit).await?;
        self.views(rows, Some(reader)).await
    }

    /// A page from the newest on, or older than what the cursor names.
    pub async fn list(
        &self,
        caller: &Caller,
        id: ConversationId,
        side: Side,
        limit: i64,
    ) -> Result<Vec<MessageView>> {
        let reader = self.reader(caller, id).await?;
        let rows = messages::page(&self.db, id, side, !reader.guest, limit).await?;
        self.views(rows, Some(reader)).await
    }

    /// What came, was edited or deleted after `since`.
    pub async fn updates_since(
        &self,
        caller: &Caller,
        id: ConversationId,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<MessageView>> {
        let reader = self.reader(caller, id).await?;
        let rows = messages::changed_since(&self.db, id, since, !reader.guest, limit).await?;
        self.views(rows, Some(reader)).await
    }

    /// Replaces the content of one of the caller's own messages; what it said before is kept.
    pub async fn edit(
        &self,
        caller: &Caller,
        id: ConversationId,
        message: MessageId,
        metadata: Value,
    ) -> Result<MessageView> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        let author = own(&stored, reader.person, "edit")?;
        let metadata: Arc<str> = check_metadata(kind_of(&stored.kind)?, &metadata)?.into();
        let person = self.author(author).await?;
        let actor = actor_of(caller);
        self.conversations
            .decide(id, move |state, env| {
                state.member(author)?;
                let now = env.now();
                let view = MessageView {
                    metadata: metadata.to_string(),
                    edited: true,
                    edited_at: Some(now),
                    ..MessageView::of_stored(stored, Some(&person))
                };
                let [keep, change] = messages::edit(id, message, &metadata, author, now);
                let stream = state.stream_for(view.internal);
                let data = MessageView { offset: None, read: None, ..view.clone() };
                let event = NewEvent::new(
                    stream,
                    "message.edited",
                    env.random.uuid_v7(now),
                    now,
                    Some(&actor),
                    &data,
                );
                let gone = Refusal::new(Code::NotFound, "message not found");
                let mut append = Append::of_events(vec![event]).with(keep);
                append.rows.push(RowOp::exec_one(change, gone));
                Ok(Decision { append, harmless: true, reply: Box::new(move |_| view) })
            })
            .await
    }

    /// Deletes one of the caller's own messages (or any, with the right to manage): a tombstone without content stays.
    pub async fn delete(&self, caller: &Caller, id: ConversationId, message: MessageId) -> Result<()> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        own(&stored, reader.person, "delete")?;
        let actor = actor_of(caller);
        self.conversations
            .decide(id, move |state, env| {
                let now = env.now();
                let stream = state.stream_for(stored.internal);
                let view = MessageView {
                    metadata: "{}".to_owned(),
                    user_name: String::new(),
                    deleted: true,
                    deleted_at: Some(now),
                    offset: None,
                    ..MessageView::of_stored(stored, None)
                };
                let event = NewEvent::new(
                    stream,
                    "message.deleted",
                    env.random.uuid_v7(now),
                    now,
                    Some(&actor),
                    &view,
                );
                let [created, edited, revisions, row] = messages::bury(id, stream, message, now);
                let gone = Refusal::new(Code::NotFound, "message not found");
                let mut append = Append::of_events(vec![event]).with(created).with(edited).with(revisions);
                append.rows.push(RowOp::exec_one(row, gone));
                Ok(Decision { append, harmless: true, reply: Box::new(|_| ()) })
            })
            .await
    }

    /// Raises the caller's watermarks up to `message` (0 or -1: the newest that the caller sees).
    pub async fn mark(
        &self,
        caller: &Caller,
        id: ConversationId,
        message: MessageId,
        read: bool,
    ) -> Result<Marks> {
        let person = caller.person()?;
        if message.0 > 0 {
            let reader = self.reader(caller, id).await?;
            self.visible(reader, id, message).await?;
        }
        self.conversations
            .decide(id, move |state, _| {
                let grown = state.mark(person, message, read)?;
                let member = state.member(person)?;
                let marks = Marks { received_id: member.received, read_id: member.read };
                let mut append = Append::default();
                if let Some((received, read)) = grown {
                    append.rows.push(RowOp::Marker(MarkerRow { conversation: id, person, received, read }));
                }
                // Nothing to store waits all the same: what it repeats may still be on its way to the disk.
                Ok(Decision::new(append, marks))
            })
            .await
    }

    /// Who has received and read a message.
    pub async fn receipts_of(
        &self,
        caller: &Caller,
        id: ConversationId,
        message: MessageId,
    ) -> Result<Vec<ReceiptStatus>> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        let marks = messages::watermarks(&self.db, id).await?;
        Ok(marks
            .into_iter()
            .filter(|mark| !(stored.internal && mark.guest))
            .map(|mark| {
                let author = mark.person_id == stored.author_id;
                ReceiptStatus {
                    user_id: mark.person_id,
                    received: author || mark.received_id >= stored.id,
                    read: author || mark.read_id >= stored.id,
                }
            })
            .collect())
    }

    /// How far the participants are.
    pub async fn thread_receipts(&self, caller: &Caller, id: ConversationId) -> Result<ThreadReceipts> {
        let reader = self.reader(caller, id).await?;
        let marks = messages::watermarks(&self.db, id).await?;
        let received: Vec<_> = marks.iter().map(|m| (m.received_id, m.person_id)).collect();
        let read: Vec<_> = marks.iter().map(|m| (m.read_id, m.person_id)).collect();
        Ok(ThreadReceipts {
            most_recent_partial_received: self.furthest(id, &received, reader.guest).await?,
            most_recent_all_received: self.common(id, &received, reader.guest).await?,
            most_recent_partial_read: self.furthest(id, &read, reader.guest).await?,
            most_recent_all_read: self.common(id, &read, reader.guest).await?,
        })
    }

    /// The newest message at or below the highest watermark.
    async fn furthest(
        &self,
        id: ConversationId,
        marks: &[(MessageId, PersonId)],
        guest: bool,
    ) -> Result<Option<MessageId>> {
        let Some(highest) = marks.iter().map(|(mark, _)| *mark).max() else { return Ok(None) };
        Ok(messages::newest_up_to(&self.db, id, highest, None, !guest).await?)
    }

    /// The newest message that everybody but its author has passed. Beyond the lowest watermark that can only be one
    /// of the person who lags, and only up to the second lowest.
    async fn common(
        &self,
        id: ConversationId,
        marks: &[(MessageId, PersonId)],
        guest: bool,
    ) -> Result<Option<MessageId>> {
        let mut marks = marks.to_vec();
        marks.sort_unstable();
        let Some((lowest, lagging)) = marks.first().copied() else { return Ok(None) };
        let second = marks.get(1).map_or(MessageId(i64::MAX), |(mark, _)| *mark);
        let own = messages::newest_up_to(&self.db, id, second, Some((lagging, lowest)), !guest).await?;
        match own {
            Some(own) => Ok(Some(own)),
            None => Ok(messages::newest_up_to(&self.db, id, lowest, None, !guest).await?),
        }
    }

    /// How the caller reads this conversation: as a participant, or as an administrator of its organisation.
    async fn reader(&self, caller: &Caller, id: ConversationId) -> Result<Reader> {
        let person = caller.person()?;
        let place = messages::place_of(&self.db, caller.organization, id, person)
            .await?
            .ok_or_else(|| Error::not_found("workbox"))?;
        Ok(Reader { person, guest: place.guest || caller.is_outsider(), read: place.read_id })
    }

    async fn visible(&self, reader: Reader, id: ConversationId, message: MessageId) -> Result<StoredMessage> {
        messages::by_id(&self.db, id, message)
            .await?
            .filter(|stored| !(stored.internal && reader.guest))
            .ok_or_else(|| Error::not_found("message"))
    }

    async fn author(&self, id: PersonId) -> Result<BriefPerson> {
        brief_people::brief(&self.db, id).await?.ok_or_else(|| Error::not_found("user"))
    }

    async fn view(&self, stored: StoredMessage, reader: Option<Reader>) -> Result<MessageView> {
        let mut views = self.views(vec![stored], reader).await?;
        views.pop().ok_or_else(|| Error::not_found("message"))
    }

    async fn views(&self, stored: Vec<StoredMessage>, reader: Option<Reader>) -> Result<Vec<MessageView>> {
        let mut authors: Vec<PersonId> = stored.iter().map(|message| message.author_id).collect();
        authors.sort_unstable();
        authors.dedup();
        let people = brief_people::brief_many(&self.db, &authors).await?;
        Ok(stored
            .into_iter()
            .map(|message| {
                let person = people.iter().find(|person| person.id == message.author_id);
                let read = reader.is_none_or(|r| message.author_id == r.person || message.id <= r.read);
                let mut view = MessageView::of_stored(message, person);
                view.read = Some(read);
                if let Some(user) = &mut view.user {
                    user.avatar = Some(Avatar::default());
                }
                view
            })
            .collect())
    }
}

/// How somebody reads a conversation.
#[derive(Clone, Copy, Debug)]
struct Reader {
    person: PersonId,
    guest: bool,
    read: MessageId,
}

impl MessageView {
    fn of_row(row: &MessageRow, author: &BriefPerson) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            workbox_id: row.conversation,
            kind: row.kind.to_owned(),
            version: row.version,
            metadata: row.metadata.to_string(),
            internal: row.internal,
            sent_at: row.sent_at,
            user: Some(author.contact()),
            user_name: row.author_name.clone(),
            edited: false,
            edited_at: None,
            deleted: false,
            deleted_at: None,
            read: None,
            offset: None,
        }
    }

    fn of_stored(row: StoredMessage, author: Option<&BriefPerson>) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            workbox_id: row.conversation_id,
            kind: row.kind,
            version: row.version,
            metadata: row.metadata,
            internal: row.internal,
            sent_at: row.sent_at,
            user: author.map(BriefPerson::contact),
            user_name: row.author_name,
            edited: row.edited_at.is_some(),
            edited_at: row.edited_at,
            deleted: row.deleted_at.is_some(),
            deleted_at: row.deleted_at,
            read: None,
            offset: Some(row.stream_offset),
        }
    }
}

impl BriefPerson {
    /// As shown in messages and events.
    pub fn contact(&self) -> BriefContact {
        BriefContact {
            id: self.id,
            name: self.name.clone(),
            username: self.username.clone(),
            title: self.title.clone(),
            location: self.location.clone(),
            avatar: None,
        }
    }
}

/// Who did it, for events.
pub fn actor_of(caller: &Caller) -> Actor {
    let kind = match (caller.person, caller.is_outsider()) {
        (Some(_), false) => "user",
        (Some(_), true) => "guest",
        (None, _) => "enterprise",
    };
    let id = caller.person.map_or(caller.organization.0, |person| person.0);
    Actor { kind, id, name: caller.name.clone() }
}

struct Checked {
    uuid: Option<Uuid>,
    kind: &'static str,
    metadata: Arc<str>,
    version: i64,
    internal: bool,
    sent_at: Option<Timestamp>,
    username: String,
    hash: [u8; 32],
}

fn check(caller: &Caller, draft: Draft) -> Result<Checked> {
    let kind = kind_of(&draft.kind)?;
    let metadata = check_metadata(kind, &draft.metadata)?;
    if !matches!(draft.version, 1 | 2) {
        return Err(Error::new(Code::InvalidMessage, "version must be 1 or 2"));
    }
    let username =
        draft.username.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| caller.name.clone());
    if username.chars().count() > NAME_LIMIT {
        return Err(Error::new(
            Code::InvalidName,
            format!("username is longer than {NAME_LIMIT} characters"),
        ));
    }
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update([0, u8::from(draft.internal)]);
    hash.update(metadata.as_bytes());
    Ok(Checked {
        uuid: draft.uuid,
        kind,
        metadata: metadata.into(),
        version: draft.version,
        internal: draft.internal,
        sent_at: draft.sent_at,
        username,
        hash: hash.finalize().into(),
    })
}

fn kind_of(name: &str) -> Result<&'static str> {
    TYPES.iter().map(|(kind, _)| *kind).find(|kind| *kind == name).ok_or_else(|| {
        let known: Vec<_> = TYPES.iter().map(|(kind, _)| *kind).collect();
        Error::new(Code::InvalidMessage, format!("unknown message type; known are {}", known.join(", ")))
    })
}

/// The metadata as JSON text, when it is an object with the texts that its type needs. Keys come out in order, so that
/// the same content gives the same text.
fn check_metadata(kind: &'static str, metadata: &Value) -> Result<String> {
    let parsed;
    let object: &Map<String, Value> = match metadata {
        Value::Object(object) => object,
        // Clients send the JSON string that they read back.
        Value::String(text) => {
            parsed = serde_json::from_str::<Map<String, Value>>(text)
                .map_err(|_| Error::new(Code::InvalidMessage, "metadata must be a JSON object"))?;
            &parsed
        }
        _ => return Err(Error::new(Code::InvalidMessage, "metadata must be a JSON object")),
    };
    let needed = TYPES.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, needed)| needed);
    for key in needed {
        match object.get(*key) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(Value::String(_)) => {
                return Err(Error::new(Code::InvalidMessage, format!("metadata.{key} must not be empty")));
            }
            Some(_) => {
                return Err(Error::new(Code::InvalidMessage, format!("metadata.{key} must be a string")));
            }
            None => return Err(Error::new(Code::InvalidMessage, format!("metadata.{key} is missing"))),
        }
    }
    let text = serde_json::to_string(object)
        .map_err(|error| Error::new(Code::InvalidMessage, "metadata cannot be stored").because(error))?;
    if text.len() > METADATA_LIMIT {
        return Err(Error::new(Code::TooLarge, format!("metadata is longer than {METADATA_LIMIT} bytes")));
    }
    Ok(text)
}

/// The author, when the caller is; otherwise what may not be done.
fn own(stored: &StoredMessage, caller: PersonId, verb: &str) -> Result<PersonId> {
    if stored.deleted_at.is_some() {
        return Err(Error::not_found("message"));
    }
    if stored.author_id != caller {
        return Err(Error::forbidden(format!("only its author may {verb} a message")));
    }
    Ok(caller)
}
