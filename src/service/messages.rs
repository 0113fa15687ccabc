//! Messages and receipts of conversations: sending, editing, deleting, reading, marking.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    tools::{Events, Tools, actor_of, check_scope},
    unread::Unread,
    views::{Avatar, BriefContact},
};
use crate::{
    base::{cache::Cache, clock::Timestamp},
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, MessageId, Offset, OrgId, PersonId},
        machine::conversation::{Conversation, UpTo},
        once::Once,
    },
    journal::{Append, MarkerRow, MessageRow, Refusal, RowOp},
    live::{Env, conversation::Decision},
    store::{
        conversations,
        messages::{self, Probe, Side, StoredMessage},
        people::{self, BriefPerson},
    },
};

/// Longest metadata of a message, as JSON text, in bytes.
pub const METADATA_LIMIT: usize = 32 * 1024;
/// Longest name a message can be sent under, in characters.
const NAME_LIMIT: usize = 255;
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
    /// Messages of others beyond that.
    pub unread: i64,
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

/// People whose names are remembered for sending.
const REMEMBERED: usize = 20_000;
/// How long a changed name may still appear in new messages.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// Use cases of messages. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    tools: Tools,
    authors: Arc<Cache<PersonId, BriefPerson>>,
    unread: Unread,
}

impl Messages {
    /// Wires it; `unread` hears of what people have read.
    pub fn new(tools: Tools, unread: Unread) -> Self {
        let authors = Arc::new(Cache::new(REMEMBERED, REMEMBERED_FOR, tools.clock.clone()));
        Self { tools, authors, unread }
    }

    /// Sends a message. A `uuid` that the author used here before gives the first message again, or an error when the
    /// content differs.
    pub async fn send(
        &self,
        caller: &Caller,
        id: ConversationId,
        draft: Draft,
        once: &Once,
    ) -> Result<MessageView> {
        if let Some(first) = once.replayed::<MessageId>()? {
            return self.get(caller, id, first).await;
        }
        let author = caller.person()?;
        check_scope(caller, id)?;
        let checked = check(caller, draft)?;
        let (client_uuid, hash) = (checked.uuid, checked.hash);
        let person = self.author(author).await?;
        let actor = actor_of(caller);
        let organization = caller.organization;
        let (ids, keep, once) = (self.tools.ids.clone(), self.tools.keep_outcomes, once.clone());
        let taken = Arc::new(OnceLock::new());
        let refused = Arc::clone(&taken);
        let outcome = self
            .tools
            .conversations
            .decide(id, move |state, env| {
                in_organization(state, organization)?;
                state.may_send(author, checked.internal)?;
                // Numbers are taken here, so that they grow in the order of the stream: watermarks rely on it.
                let message = ids.next::<MessageId>()?;
                let now = env.now();
                let row = MessageRow {
                    conversation: id,
                    id: message,
                    uuid: checked.uuid.unwrap_or_else(|| env.random.uuid_v7(now)),
                    client_uuid: checked.uuid.is_some(),
                    author,
                    author_name: checked.username,
                    kind: checked.kind,
                    version: checked.version,
                    metadata: checked.metadata,
                    body_hash: checked.hash,
                    internal: checked.internal,
                    // A clock that runs ahead must not pin a message above all later ones.
                    sent_at: checked.sent_at.map_or(now, |at| at.min(now)),
                    created_at: now,
                };
                let view = MessageView::of_row(&row, &person);
                let stream = state.stream_for(checked.internal);
                let mut events = Events::new(&env.random, now, Some(Arc::new(actor)));
                events.add(stream, "message.created", &view);
                let mut append = events.into_append();
                append.rows.push(RowOp::Message(Box::new(row)));
                Tools::remember(keep, &mut append, &once, &message, now);
                // Set once: the closure runs once.
                let _ = taken.set((message, (state.last_message, state.last_internal)));
                if state.sent(author, message, checked.internal) {
                    append = append.with(conversations::set_participated(id, author));
                }
                Ok(Decision {
                    append,
                    harmless: true,
                    reply: Box::new(move |committed| {
                        let offset = committed.offset_in(stream);
                        MessageView { offset, read: Some(true), ..view }.with_avatar()
                    }),
                })
            })
            .await;
        if let (Err(_), Some((message, before))) = (&outcome, refused.get().copied()) {
            // The state ran ahead of a message that is not there. An actor that has stopped meanwhile knows the truth.
            let correct = Box::new(move |state: &mut Conversation, _: &Env| state.unsent(message, before));
            drop(self.tools.conversations.tell(id, correct).await);
        }
        match (outcome, client_uuid) {
            (Err(error), Some(uuid)) if error.code() == Code::Constraint => {
                self.first_of(id, author, uuid, hash).await?.ok_or(error)
            }
            (outcome, _) => outcome,
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
        let Some(first) = messages::by_uuid(&self.tools.db, id, author, uuid).await? else { return Ok(None) };
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
        let rows = messages::page(&self.tools.db, id, side, !reader.guest, limit).await?;
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
        let rows = messages::page(&self.tools.db, id, side, !reader.guest, limit).await?;
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
        let rows = messages::changed_since(&self.tools.db, id, since, !reader.guest, limit).await?;
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
        let actor = Arc::new(actor_of(caller));
        self.tools
            .conversations
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
                let mut events = Events::new(&env.random, now, Some(actor));
                events.add(stream, "message.edited", &MessageView { offset: None, ..view.clone() });
                let mut append = events.into_append().with(keep);
                append.rows.push(RowOp::exec_one(change, GONE));
                let view = MessageView { read: Some(true), ..view }.with_avatar();
                Ok(Decision { append, harmless: true, reply: Box::new(move |_| view) })
            })
            .await
    }

    /// Deletes one of the caller's own messages: a tombstone without content stays.
    pub async fn delete(&self, caller: &Caller, id: ConversationId, message: MessageId) -> Result<()> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        let author = own(&stored, reader.person, "delete")?;
        let actor = Arc::new(actor_of(caller));
        self.tools
            .conversations
            .decide(id, move |state, env| {
                state.member(author)?;
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
                let mut events = Events::new(&env.random, now, Some(actor));
                events.add(stream, "message.deleted", &view);
                let [created, edited, revisions, row] = messages::bury(id, stream, message, now);
                let mut append = events.into_append().with(revisions);
                append.rows.push(RowOp::exec_one(row, GONE));
                // The event of an edit may come into the log in the same commit: it is cleared there, too.
                append.rows.extend([RowOp::Late(created), RowOp::Late(edited)]);
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
        once: &Once,
    ) -> Result<Marks> {
        let person = caller.person()?;
        check_scope(caller, id)?;
        if once.replayed::<()>()?.is_some() {
            return self.marks(caller, id).await;
        }
        let up_to = if message.0 <= 0 {
            UpTo::Newest
        } else {
            let reader = self.reader(caller, id).await?;
            let stored = self.visible(reader, id, message).await?;
            let shown = if stored.internal {
                let open = Probe { up_to: message, internal: Some(false), ..Probe::default() };
                messages::newest(&self.tools.db, id, &[open]).await?.first().copied().flatten()
            } else {
                Some(message)
            };
            UpTo::Message { id: message, shown: shown.unwrap_or_default() }
        };
        let (organization, keep, once) = (caller.organization, self.tools.keep_outcomes, once.clone());
        self.tools
            .conversations
            .decide(id, move |state, env| {
                in_organization(state, organization)?;
                let grown = state.mark(person, up_to, read)?;
                let mut append = Append::default();
                if let Some(marks) = grown {
                    let (received, read) = (marks.received, marks.read);
                    append.rows.push(RowOp::Marker(MarkerRow { conversation: id, person, received, read }));
                }
                Tools::remember(keep, &mut append, &once, &(), env.now());
                // Nothing to store waits all the same: what it repeats may still be on its way to the disk.
                Ok(Decision::new(append, ()))
            })
            .await?;
        if read {
            self.unread.read(id, person);
        }
        self.marks(caller, id).await
    }

    /// The caller's watermarks and how much is unread behind them.
    async fn marks(&self, caller: &Caller, id: ConversationId) -> Result<Marks> {
        let reader = self.reader(caller, id).await?;
        let unread = messages::unread(&self.tools.db, id, reader.person, reader.read, !reader.guest).await?;
        Ok(Marks { received_id: reader.received, read_id: reader.read, unread })
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
        let marks = messages::watermarks(&self.tools.db, id).await?;
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

    /// How far the participants are. A message counts as received (or read) by all when everybody who can see it, its
    /// author apart, is at or beyond it; by some, when anybody but its author is.
    pub async fn thread_receipts(&self, caller: &Caller, id: ConversationId) -> Result<ThreadReceipts> {
        let reader = self.reader(caller, id).await?;
        let places = messages::watermarks(&self.tools.db, id).await?;
        // Guests take no part in internal messages, so the two sides are looked at apart.
        let sides: &[bool] = if reader.guest { &[false] } else { &[false, true] };
        let mut probes = Vec::new();
        for internal in sides {
            let places = places.iter().filter(|place| !(*internal && place.guest));
            let received = places.clone().map(|place| (place.received_id, place.person_id)).collect();
            let read = places.map(|place| (place.read_id, place.person_id)).collect();
            for marks in [received, read] {
                probes.extend(furthest_and_common(marks, *internal));
            }
        }
        let found = messages::newest(&self.tools.db, id, &probes).await?;
        // Four probes per kind of mark: two for "some", two for "all".
        let newest = |kind: usize, part: usize| {
            (0..sides.len())
                .flat_map(|side| {
                    let at = side * 8 + kind * 4 + part * 2;
                    found.get(at..at + 2).unwrap_or_default().iter().copied().flatten()
                })
                .max()
        };
        Ok(ThreadReceipts {
            most_recent_partial_received: newest(0, 0),
            most_recent_all_received: newest(0, 1),
            most_recent_partial_read: newest(1, 0),
            most_recent_all_read: newest(1, 1),
        })
    }

    /// How the caller reads this conversation.
    async fn reader(&self, caller: &Caller, id: ConversationId) -> Result<Reader> {
        let person = caller.person()?;
        check_scope(caller, id)?;
        let place = messages::place_of(&self.tools.db, caller.organization, id, person)
            .await?
            .ok_or_else(|| Error::not_found("workbox"))?;
        Ok(Reader {
            person,
            guest: place.guest || caller.is_outsider(),
            received: place.received_id,
            read: place.read_id,
        })
    }

    async fn visible(&self, reader: Reader, id: ConversationId, message: MessageId) -> Result<StoredMessage> {
        messages::by_id(&self.tools.db, id, message)
            .await?
            .filter(|stored| !(stored.internal && reader.guest))
            .ok_or_else(|| Error::not_found("message"))
    }

    async fn author(&self, id: PersonId) -> Result<BriefPerson> {
        let load = async { people::brief(&self.tools.db, id).await?.ok_or_else(|| Error::not_found("user")) };
        self.authors.get_or_load(id, load).await
    }

    /// Messages of several threads as one person sees them; `read` holds their watermark in each.
    pub(super) async fn last_views(
        &self,
        stored: Vec<StoredMessage>,
        person: Option<PersonId>,
        read: &HashMap<ConversationId, MessageId>,
    ) -> Result<Vec<MessageView>> {
        let own = |view: &MessageView| view.user.as_ref().map(|user| user.id) == person && person.is_some();
        let mut views = self.views(stored, None).await?;
        for view in &mut views {
            let mark = read.get(&view.workbox_id).copied().unwrap_or_default();
            view.read = person.map(|_| own(view) || view.id <= mark);
        }
        Ok(views)
    }

    async fn view(&self, stored: StoredMessage, reader: Option<Reader>) -> Result<MessageView> {
        let mut views = self.views(vec![stored], reader).await?;
        views.pop().ok_or_else(|| Error::not_found("message"))
    }

    async fn views(&self, stored: Vec<StoredMessage>, reader: Option<Reader>) -> Result<Vec<MessageView>> {
        let mut authors: Vec<PersonId> = stored.iter().map(|message| message.author_id).collect();
        authors.sort_unstable();
        authors.dedup();
        let people = people::brief_many(&self.tools.db, &authors).await?;
        Ok(stored
            .into_iter()
            .map(|message| {
                let person = people.iter().find(|person| person.id == message.author_id);
                let read = reader.is_none_or(|r| message.author_id == r.person || message.id <= r.read);
                MessageView { read: Some(read), ..MessageView::of_stored(message, person) }.with_avatar()
            })
            .collect())
    }
}

/// How somebody reads a conversation.
#[derive(Clone, Copy, Debug)]
struct Reader {
    person: PersonId,
    guest: bool,
    received: MessageId,
    read: MessageId,
}

/// For one kind of mark: probes for the newest message that some have passed, and that all have.
///
/// Beyond the second highest mark only one person has passed a message: it counts where somebody else wrote it. Beyond
/// the lowest mark only one person has not: it counts where that person wrote it, up to the second lowest.
fn furthest_and_common(mut marks: Vec<(MessageId, PersonId)>, internal: bool) -> [Probe; 4] {
    marks.sort_unstable();
    let place = |at: usize| marks.get(at).copied();
    let internal = Some(internal);
    let (highest, leader) = marks.last().copied().unwrap_or_default();
    let second_highest = marks.len().checked_sub(2).and_then(place).unwrap_or_default().0;
    let (lowest, lagging) = place(0).unwrap_or_default();
    let second_lowest = place(1).map_or(MessageId(i64::MAX), |(mark, _)| mark);
    [
        Probe { up_to: second_highest, internal, ..Probe::default() },
        Probe { up_to: highest, above: second_highest, internal, not_by: Some(leader), ..Probe::default() },
        Probe { up_to: lowest, internal, ..Probe::default() },
        Probe { up_to: second_lowest, above: lowest, internal, by: Some(lagging), ..Probe::default() },
    ]
}

/// A conversation of another organisation is none.
pub(super) fn in_organization(state: &Conversation, organization: OrgId) -> Result<()> {
    if state.organization == organization { Ok(()) } else { Err(Error::not_found("workbox")) }
}

const GONE: Refusal = Refusal::new(Code::NotFound, "message not found");

impl MessageView {
    /// With the author's picture, as replies (not events) show it.
    fn with_avatar(mut self) -> Self {
        if let Some(user) = &mut self.user {
            user.avatar = Some(Avatar::default());
        }
        self
    }

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

/// A draft that may be sent.
pub(super) struct Checked {
    pub uuid: Option<Uuid>,
    pub kind: &'static str,
    pub metadata: Arc<str>,
    pub version: i64,
    pub internal: bool,
    pub sent_at: Option<Timestamp>,
    pub username: String,
    pub hash: [u8; 32],
}

/// Checks all that does not depend on where it goes.
pub(super) fn check(caller: &Caller, draft: Draft) -> Result<Checked> {
    let kind = kind_of(&draft.kind)?;
    let metadata = check_metadata(kind, &draft.metadata)?;
    if !matches!(draft.version, 1 | 2) {
        return Err(Error::new(Code::InvalidMessage, "version must be 1 or 2"));
    }
    let username =
        draft.username.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| caller.name.clone());
    if username.chars().count() > NAME_LIMIT || username.contains(char::is_control) {
        let rule = format!("username: at most {NAME_LIMIT} characters, without control characters");
        return Err(Error::new(Code::InvalidName, rule));
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
    if object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)) {
        return Err(Error::new(Code::InvalidMessage, "metadata must not hold U+0000"));
    }
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

/// True when a text in `value` holds U+0000, which PostgreSQL cannot keep.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
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
