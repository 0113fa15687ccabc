//! Messages and receipts of conversations: sending, editing, deleting, reading, marking.

mod draft;
mod files;
mod receipts;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::Value;
use uuid::Uuid;

pub(super) use self::draft::check;
pub use self::{
    draft::{Draft, METADATA_LIMIT},
    receipts::{Marks, ReceiptStatus, ThreadReceipts},
    view::MessageView,
};
use self::{
    draft::{check_metadata, kind_of},
    files::Reference,
};
use super::{
    attachments::Attachments,
    tools::{Events, Tools, actor_of, check_scope},
    unread::Unread,
};
use crate::{
    base::{cache::Cache, clock::Timestamp},
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, MessageId, OrgId, PersonId},
        machine::conversation::Conversation,
        once::Once,
    },
    journal::{MessageRow, Refusal, RowOp},
    live::{Env, conversation::Decision},
    store::{
        conversations,
        messages::{self, Side, StoredMessage},
        people::{self, BriefPerson},
        tallies,
    },
};

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
    files: Option<Attachments>,
}

impl Messages {
    /// Wires it; `unread` hears of what people have read.
    pub fn new(tools: Tools, unread: Unread) -> Self {
        let authors = Arc::new(Cache::new(REMEMBERED, REMEMBERED_FOR, tools.clock.clone()));
        Self { tools, authors, unread, files: None }
    }

    /// With files that messages show.
    #[must_use]
    pub fn with_files(self, files: Attachments) -> Self {
        Self { files: Some(files), ..self }
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
        let Reference { metadata, attachment } =
            self.refer(caller, id, (&draft.kind, draft.internal), draft.metadata).await?;
        let checked = check(caller, Draft { metadata, ..draft })?;
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
                append.rows.extend(attachment.map(|attachment| files::show(attachment, id, message)));
                Tools::remember(keep, &mut append, &once, &message, now);
                // Set once: the closure runs once.
                let _ = taken.set((message, (state.last_message, state.last_internal)));
                let sent = state.sent(author, message, checked.internal);
                if sent.first {
                    append = append.with(conversations::set_participated(id, author));
                }
                if sent.fills_block {
                    append.rows.push(RowOp::Late(tallies::take(id, message, state.tallying.block())));
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
            .await
            .map(|view| self.addressed(organization, view));
        if let (Err(_), Some((message, before))) = (&outcome, refused.get().copied()) {
            // The state ran ahead of a message that is not there. An actor that has stopped meanwhile knows the truth.
            let correct = Box::new(move |state: &mut Conversation, _: &Env| state.unsent(message, before));
            drop(self.tools.conversations.tell(id, correct).await);
        }
        match (outcome, client_uuid) {
            (Err(error), Some(uuid)) if error.code() == Code::Constraint => {
                self.first_of(organization, id, author, uuid, hash).await?.ok_or(error)
            }
            (outcome, _) => outcome,
        }
    }

    /// The message that `author` sent under this uuid before; an error when it was another one.
    async fn first_of(
        &self,
        organization: OrgId,
        id: ConversationId,
        author: PersonId,
        uuid: Uuid,
        hash: [u8; 32],
    ) -> Result<Option<MessageView>> {
        let Some(first) = messages::by_uuid(&self.tools.db, id, author, uuid).await? else { return Ok(None) };
        if first.body_hash != hash {
            return Err(Error::constraint("this uuid was used for another message"));
        }
        Ok(Some(self.view(organization, first, None).await?))
    }

    /// One message that the caller may see.
    pub async fn get(&self, caller: &Caller, id: ConversationId, message: MessageId) -> Result<MessageView> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        self.view(caller.organization, stored, Some(reader)).await
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
        self.views(caller.organization, rows, Some(reader)).await
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
        self.views(caller.organization, rows, Some(reader)).await
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
        self.views(caller.organization, rows, Some(reader)).await
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
        let Reference { metadata, attachment } =
            self.refer(caller, id, (&stored.kind, stored.internal), metadata).await?;
        let metadata: Arc<str> = check_metadata(kind_of(&stored.kind)?, &metadata)?.into();
        let organization = caller.organization;
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
                append.rows.extend(attachment.map(|attachment| files::show(attachment, id, message)));
                let view = MessageView { read: Some(true), ..view }.with_avatar();
                Ok(Decision { append, harmless: true, reply: Box::new(move |_| view) })
            })
            .await
            .map(|view| self.addressed(organization, view))
    }

    /// Deletes one of the caller's own messages, with the files that it shows: a tombstone without content stays.
    pub async fn delete(&self, caller: &Caller, id: ConversationId, message: MessageId) -> Result<()> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        let author = own(&stored, reader.person, "delete")?;
        let actor = Arc::new(actor_of(caller));
        let now = self.tools.clock.now();
        let (told, rows, shown) = match &self.files {
            Some(files) => {
                let shown = files.shown_by(id, message, now).await?;
                (shown.told, shown.rows, shown.files)
            }
            None => <_>::default(),
        };
        self.tools
            .conversations
            .decide(id, move |state, env| {
                state.member(author)?;
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
                for attachment in &told {
                    events.add(stream, "attachment.deleted", attachment);
                }
                let [created, edited, revisions, row] = messages::bury(id, stream, message, now);
                let mut append = events.into_append().with(revisions);
                append.rows.push(RowOp::exec_one(row, GONE));
                // The event of an edit may come into the log in the same commit: it is cleared there, too.
                append.rows.extend([created, edited].map(|stmt| RowOp::Rewrite { stream, stmt }));
                append.rows.extend(rows);
                Ok(Decision { append, harmless: true, reply: Box::new(|_| ()) })
            })
            .await?;
        if let Some(files) = &self.files {
            files.remove_shown(shown).await;
        }
        Ok(())
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
        organization: OrgId,
        stored: Vec<StoredMessage>,
        person: Option<PersonId>,
        read: &HashMap<ConversationId, MessageId>,
    ) -> Result<Vec<MessageView>> {
        let own = |view: &MessageView| view.user.as_ref().map(|user| user.id) == person && person.is_some();
        let mut views = self.views(organization, stored, None).await?;
        for view in &mut views {
            let mark = read.get(&view.workbox_id).copied().unwrap_or_default();
            view.read = person.map(|_| own(view) || view.id <= mark);
        }
        Ok(views)
    }

    async fn view(
        &self,
        organization: OrgId,
        stored: StoredMessage,
        reader: Option<Reader>,
    ) -> Result<MessageView> {
        let mut views = self.views(organization, vec![stored], reader).await?;
        views.pop().ok_or_else(|| Error::not_found("message"))
    }

    async fn views(
        &self,
        organization: OrgId,
        stored: Vec<StoredMessage>,
        reader: Option<Reader>,
    ) -> Result<Vec<MessageView>> {
        let mut authors: Vec<PersonId> = stored.iter().map(|message| message.author_id).collect();
        authors.sort_unstable();
        authors.dedup();
        let people = people::brief_many(&self.tools.db, &authors).await?;
        Ok(stored
            .into_iter()
            .map(|message| {
                let person = people.iter().find(|person| person.id == message.author_id);
                let read = reader.is_none_or(|r| message.author_id == r.person || message.id <= r.read);
                let view = MessageView { read: Some(read), ..MessageView::of_stored(message, person) };
                self.addressed(organization, view.with_avatar())
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

/// A conversation of another organisation is none.
pub(super) fn in_organization(state: &Conversation, organization: OrgId) -> Result<()> {
    if state.organization == organization { Ok(()) } else { Err(Error::not_found("workbox")) }
}

const GONE: Refusal = Refusal::new(Code::NotFound, "message not found");

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
