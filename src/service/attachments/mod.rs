//! Attachments of calls and help threads: upload, list, download, delete.
//!
//! Promises: an upload that fails leaves neither row nor file; an attachment that is answered is stored and checked
//! (size, checksum, type). What is internal reaches no guest on any path. A signed address is checked again at use:
//! once an attachment is deleted, addresses that were handed out before are dead.
//!
//! REST handlers call it; so does whoever stores a recording.

mod removal;
mod view;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use uuid::Uuid;

pub use self::view::{AttachmentView, Creator};
use super::{
    tools::{Tools, actor_of},
    views::Avatar,
};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
    },
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::NewEvent,
        ids::{AttachmentId, CallId, ConversationId, OrgId, StreamId},
        once::Once,
        permission::Permissions,
    },
    files::{
        Files, Stored, Undecided, content,
        signed_url::{Refused, Variant},
        thumbnail,
    },
    journal::{Append, Journal, Refusal, RowOp},
    store::{
        Db,
        attachments::{self as rows, AttachmentRow, CallPlace, ThreadPlace},
        ids::Ids,
    },
};

/// Page size of a thread's attachments where the client leaves it to us.
pub const DEFAULT_PAGE: i64 = 20;
/// Largest page of a thread's attachments.
pub const LARGEST_PAGE: i64 = 100;
/// Types of a call's attachments.
const CALL_KINDS: &[&str] = &["incall", "postcall", "recording"];

/// An upload, as its sender describes it.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    /// File name.
    pub name: String,
    /// Declared media type.
    pub mime_type: String,
}

/// Which attachment of a call it is.
#[derive(Clone, Debug)]
pub struct CallMoment {
    /// incall, postcall or recording.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
}

/// A file that a signed address gives access to.
#[derive(Clone, Debug)]
pub struct Download {
    /// Name offered for saving.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Entity tag in quotes.
    pub etag: String,
    /// Key in the file store.
    pub path: String,
}

/// What the service stands on.
#[derive(Clone)]
pub struct Ground {
    /// The database.
    pub db: Db,
    /// Where changes go.
    pub journal: Journal,
    /// Numbers.
    pub ids: Ids,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// How long the outcome under an `Idempotency-Key` counts (`retention.idempotency_hours`).
    pub keep_outcomes: Duration,
}

impl From<&Tools> for Ground {
    fn from(tools: &Tools) -> Self {
        Self {
            db: tools.db.clone(),
            journal: tools.journal.clone(),
            ids: tools.ids.clone(),
            clock: tools.clock.clone(),
            random: tools.random.clone(),
            keep_outcomes: tools.keep_outcomes,
        }
    }
}

/// The use cases of attachments.
#[derive(Clone)]
pub struct Attachments {
    ground: Ground,
    files: Files,
}

impl std::fmt::Debug for Attachments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachments").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Where an upload is to go.
#[derive(Clone, Debug)]
pub enum Place {
    /// To a call.
    Call(CallId),
    /// To a help thread.
    Thread(ConversationId),
}

/// The content of an upload, stored but not attached yet: it goes again when this is dropped.
#[derive(Debug)]
pub struct Received {
    files: Undecided,
    uuid: Uuid,
    path: String,
    stored: Stored,
}

/// What becomes of an attachment, and who is told.
struct Target {
    row: AttachmentRow,
    streams: Vec<StreamId>,
}

impl Attachments {
    /// Over a database, a journal and a file store.
    pub fn new(ground: Ground, files: Files) -> Self {
        Self { ground, files }
    }

    /// Takes the content of an upload in, before its description need be known (forms send their fields in any order).
    /// Whoever may not attach there is refused before a byte is stored.
    pub async fn receive<S>(&self, caller: &Caller, place: &Place, content: S) -> Result<Received>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        caller.person()?;
        match place {
            Place::Call(call) => drop(self.call_place(caller, call, false).await?),
            Place::Thread(thread) => drop(self.thread_place(caller, *thread, false).await?),
        }
        let (now, uuid) = (self.ground.clock.now(), self.ground.random.uuid());
        let path = format!("{}/{}/{uuid}", caller.organization, now.date_time().format("%Y-%m"));
        rows::begin_upload(&self.ground.db, &path, now).await?;
        let mut files = Undecided::new(&self.files.store);
        files.add(&path);
        let stored = self.files.store.put(&path, content, self.files.config.max_bytes).await?;
        if stored.size == 0 {
            return Err(Error::invalid("attachment: the file is empty"));
        }
        Ok(Received { files, uuid, path, stored })
    }

    /// Attaches what was received to a call: its session's members may, and guests who were in it.
    pub async fn create_for_call(
        &self,
        caller: &Caller,
        once: &Once,
        call: &CallId,
        (new, moment): (NewAttachment, CallMoment),
        received: Received,
    ) -> Result<AttachmentView> {
        if !CALL_KINDS.contains(&moment.kind.as_str()) {
            return Err(Error::invalid(format!("type: must be one of {}", CALL_KINDS.join(", "))));
        }
        let place = self.call_place(caller, call, false).await?;
        if let Some(first) = self.replayed(caller, once).await? {
            return Ok(first);
        }
        let mut row = self.row(caller, &new, &received)?;
        row.call_id = Some(call.clone());
        row.session_id = Some(place.session_id);
        row.kind = moment.kind;
        row.occurred_at = moment.at;
        self.store(caller, once, Target { row, streams: place.streams() }, received).await
    }

    /// Attaches what was received to a help thread: its participants may; guests only what everybody sees.
    pub async fn create_for_thread(
        &self,
        caller: &Caller,
        once: &Once,
        thread: ConversationId,
        (new, internal): (NewAttachment, bool),
        received: Received,
    ) -> Result<AttachmentView> {
        let place = self.thread_place(caller, thread, false).await?;
        if internal && place.guest {
            return Err(Error::forbidden("guests cannot send what is internal"));
        }
        if let Some(first) = self.replayed(caller, once).await? {
            return Ok(first);
        }
        let mut row = self.row(caller, &new, &received)?;
        row.conversation_id = Some(thread);
        row.internal = internal;
        "thread".clone_into(&mut row.kind);
        let stream = if internal { place.internal_stream_id } else { place.stream_id };
        self.store(caller, once, Target { row, streams: vec![stream] }, received).await
    }

    /// All attachments of a call, deleted ones marked: for those who may attach, and whoever sees all calls.
    pub async fn list_of_call(&self, caller: &Caller, call: &CallId) -> Result<Vec<AttachmentView>> {
        self.call_place(caller, call, true).await?;
        let list = rows::of_call(&self.ground.db, caller.organization, call).await?;
        Ok(list.iter().map(|row| self.view(row)).collect())
    }

    /// One attachment of a call.
    pub async fn get_of_call(
        &self,
        caller: &Caller,
        call: &CallId,
        id: AttachmentId,
    ) -> Result<AttachmentView> {
        self.call_place(caller, call, true).await?;
        let row = self.row_of_call(caller.organization, call, id).await?;
        Ok(self.view(&row))
    }

    /// Deletes an attachment of a call: by whoever made it, or who manages calls. Deleting twice is fine.
    pub async fn delete_of_call(&self, caller: &Caller, call: &CallId, id: AttachmentId) -> Result<()> {
        let place = self.call_place(caller, call, true).await?;
        let row = self.row_of_call(caller.organization, call, id).await?;
        require_owner(caller, &row, Permissions::MANAGE_CALLS)?;
        self.delete(caller, Target { row, streams: place.streams() }).await
    }

    /// A page of a thread's attachments behind `after`, and where the next one starts, if this one was full; a limit of
    /// 0 or -1 leaves the size to us. Guests see none that are internal.
    pub async fn list_of_thread(
        &self,
        caller: &Caller,
        thread: ConversationId,
        after: AttachmentId,
        limit: i64,
    ) -> Result<(Vec<AttachmentView>, Option<AttachmentId>)> {
        let place = self.thread_place(caller, thread, true).await?;
        let limit = if limit <= 0 { DEFAULT_PAGE } else { limit.min(LARGEST_PAGE) };
        let db = &self.ground.db;
        let list = rows::of_thread(db, caller.organization, thread, after, !place.guest, limit).await?;
        let full = i64::try_from(list.len()).is_ok_and(|count| count == limit);
        let next = list.last().filter(|_| full).map(|last| last.id);
        Ok((list.iter().map(|row| self.view(row)).collect(), next))
    }

    /// One attachment of a thread.
    pub async fn get_of_thread(
        &self,
        caller: &Caller,
        thread: ConversationId,
        id: AttachmentId,
    ) -> Result<AttachmentView> {
        let place = self.thread_place(caller, thread, true).await?;
        let row = self.row_of_thread(caller.organization, thread, place, id).await?;
        Ok(self.view(&row))
    }

    /// Deletes an attachment of a thread: by whoever made it, or an administrator. Deleting twice is fine.
    pub async fn delete_of_thread(
        &self,
        caller: &Caller,
        thread: ConversationId,
        id: AttachmentId,
    ) -> Result<()> {
        let place = self.thread_place(caller, thread, true).await?;
        let row = self.row_of_thread(caller.organization, thread, place, id).await?;
        require_owner(caller, &row, Permissions::VIEW_ALL_WORKBOXES | Permissions::MANAGE_ORGANIZATION)?;
        let stream = if row.internal { place.internal_stream_id } else { place.stream_id };
        self.delete(caller, Target { row, streams: vec![stream] }).await
    }

    /// The attachment of a thread that a message shows, named by an address of ours (whether or not its time is over) or
    /// by its number; `None` for an address of somebody else. What guests must not see, no open message shows.
    pub(in crate::service) async fn to_show(
        &self,
        caller: &Caller,
        thread: ConversationId,
        (address, number): (Option<&str>, Option<AttachmentId>),
        internal: bool,
    ) -> Result<Option<AttachmentRow>> {
        let (db, organization) = (&self.ground.db, caller.organization);
        let found = match (address.and_then(|address| self.files.urls.names(address)), number) {
            (Some(claim), _) if claim.organization == organization => {
                rows::by_uuid(db, organization, claim.file).await?
            }
            (Some(_), _) => None,
            (None, Some(number)) => rows::by_id(db, organization, number).await?,
            (None, None) => return Ok(None),
        };
        let absent = || Error::not_found("attachment");
        let place = self.thread_place(caller, thread, false).await?;
        let row = found
            .filter(|row| row.conversation_id == Some(thread) && row.deleted_at.is_none())
            .filter(|row| !(row.internal && place.guest))
            .ok_or_else(absent)?;
        if row.internal && !internal {
            return Err(Error::invalid("metadata: the attachment is internal, the message is not"));
        }
        Ok(Some(row))
    }

    /// A fresh address of a file, for one reader.
    pub(in crate::service) fn address(&self, organization: OrgId, file: Uuid) -> String {
        self.files.urls.url(organization, file, Variant::Original, self.ground.clock.now())
    }

    /// Where whoever may see an attachment gets a fresh address: it gives no access by itself and is good for ever.
    pub(in crate::service) fn lasting_address(&self, id: AttachmentId) -> String {
        format!("{}/api/v1r1/workbox/attachments/{id}", self.files.urls.base())
    }

    /// What a signed address leads to, if its attachment still exists.
    pub async fn resolve(&self, token: &str) -> Result<Download> {
        let gone = || Error::not_found("file");
        let claim =
            self.files.urls.check(token, self.ground.clock.now()).map_err(|refused| match refused {
                Refused::Invalid => gone(),
                Refused::Expired => {
                    Error::new(Code::LinkExpired, "the file's address has expired, ask for a new one")
                }
            })?;
        let row = rows::by_uuid(&self.ground.db, claim.organization, claim.file).await?.ok_or_else(gone)?;
        if row.deleted_at.is_some() {
            return Err(gone());
        }
        let checksum = hex::encode(&row.sha256[..row.sha256.len().min(16)]);
        Ok(match claim.variant {
            Variant::Original => Download {
                name: row.name,
                media_type: row.mime_type,
                size: u64::try_from(row.size).unwrap_or(0),
                etag: format!("\"{checksum}\""),
                path: row.path,
            },
            Variant::Thumbnail => {
                let path = row.thumbnail_path.ok_or_else(gone)?;
                Download {
                    name: format!("thumbnail of {}", row.name),
                    media_type: thumbnail::mime_of(&path).to_owned(),
                    size: self.files.store.size(&path).await?,
                    etag: format!("\"{checksum}-t\""),
                    path,
                }
            }
        })
    }

    /// The file store, to read what [`Attachments::resolve`] found.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The row of a new attachment, without where it belongs.
    fn row(&self, caller: &Caller, new: &NewAttachment, received: &Received) -> Result<AttachmentRow> {
        let name = content::clean_name(&new.name).ok_or_else(|| Error::invalid("name: not a file name"))?;
        let mime_type = content::media_type(&new.mime_type)
            .map_err(|error| Error::invalid(format!("mime_type: {error}")))?;
        if !self.files.config.allows(&mime_type) {
            return Err(Error::invalid(format!("mime_type: {mime_type} may not be uploaded here")));
        }
        content::check(&mime_type, &received.stored.head)
            .map_err(|error| Error::invalid(format!("attachment: {error}")))?;
        let now = self.ground.clock.now();
        Ok(AttachmentRow {
            id: self.ground.ids.next()?,
            uuid: received.uuid,
            organization_id: caller.organization,
            call_id: None,
            session_id: None,
            conversation_id: None,
            internal: false,
            creator_id: caller.person()?,
            creator_name: caller.name.clone(),
            kind: String::new(),
            name,
            mime_type,
            size: i64::try_from(received.stored.size).unwrap_or(i64::MAX),
            sha256: received.stored.sha256.to_vec(),
            path: received.path.clone(),
            thumbnail_path: None,
            status: "ready".to_owned(),
            occurred_at: now,
            created_at: now,
            deleted_at: None,
        })
    }

    /// Row, events and the outcome of the request, in one commit.
    async fn store(
        &self,
        caller: &Caller,
        once: &Once,
        Target { mut row, streams }: Target,
        Received { mut files, .. }: Received,
    ) -> Result<AttachmentView> {
        if let Some(path) = self.make_thumbnail(&row).await {
            files.add(&path);
            row.thumbnail_path = Some(path);
        }
        let now = self.ground.clock.now();
        let mut events = self.events(caller, &row, streams.clone(), "attachment.created", now);
        if row.kind == "recording" {
            // The session's stream comes first: threads hear of the attachment only.
            events.extend(self.events(
                caller,
                &row,
                streams.into_iter().take(1).collect(),
                "recording.ready",
                now,
            ));
        }
        let refusal = Refusal::new(Code::Constraint, "this attachment exists");
        let places = removal::placed(row.id, &events);
        let mut append = Append::of_events(events).with(rows::end_upload(&row.path));
        append.rows.push(RowOp::exec_one(rows::insert(&row), refusal));
        append.rows.extend(places);
        Tools::remember(self.ground.keep_outcomes, &mut append, once, &row.id, now);
        // From here on the commit decides, even when nobody waits for it any more.
        let paths = files.keep();
        match self.ground.journal.append(append).await {
            Ok(_) => Ok(self.view(&row)),
            Err(error) => {
                // An answer that never came may still have been a commit: a file too many is better than a lost one.
                if error.code() != Code::Unavailable {
                    self.files.store.discard(paths);
                }
                Err(error)
            }
        }
    }

    /// A small picture, where the file is an image that can be read; its absence is no reason to refuse the file.
    async fn make_thumbnail(&self, row: &AttachmentRow) -> Option<String> {
        let limit = self.files.thumbnails.bounds().file_bytes;
        if !thumbnail::is_supported(&row.mime_type) || u64::try_from(row.size).is_ok_and(|size| size > limit)
        {
            return None;
        }
        let read = async { self.files.store.read(&row.path, limit).await.ok() };
        let made = match self.files.thumbnails.make(&row.mime_type, read).await {
            Ok(made) => made?,
            Err(error) => {
                tracing::debug!(%error, attachment.id = row.id.0, "no thumbnail");
                return None;
            }
        };
        let path = thumbnail::path_of(&row.path, made.extension);
        let size = made.bytes.len() as u64;
        match self.files.store.put(&path, stream::iter([Ok(made.bytes)]), size).await {
            Ok(_) => Some(path),
            Err(error) => {
                tracing::warn!(%error, attachment.id = row.id.0, "a thumbnail could not be stored");
                None
            }
        }
    }

    fn events(
        &self,
        caller: &Caller,
        row: &AttachmentRow,
        streams: Vec<StreamId>,
        kind: &'static str,
        now: Timestamp,
    ) -> Vec<NewEvent> {
        let (actor, data) = (actor_of(caller), AttachmentView::in_events(row));
        let event =
            |stream| NewEvent::new(stream, kind, self.ground.random.uuid_v7(now), now, Some(&actor), &data);
        streams.into_iter().map(event).collect()
    }

    async fn replayed(&self, caller: &Caller, once: &Once) -> Result<Option<AttachmentView>> {
        let Some(id) = once.replayed::<AttachmentId>()? else { return Ok(None) };
        let row = rows::by_id(&self.ground.db, caller.organization, id).await?;
        row.map(|row| self.view(&row)).ok_or_else(|| Error::not_found("attachment")).map(Some)
    }

    /// The call, for those who may attach to it; `reads`: also for whoever sees all calls of the organisation.
    async fn call_place(&self, caller: &Caller, call: &CallId, reads: bool) -> Result<CallPlace> {
        let absent = || Error::not_found("call");
        let db = &self.ground.db;
        let place = rows::call_place(db, caller.organization, call).await?.ok_or_else(absent)?;
        if reads && caller.permissions.contains(Permissions::VIEW_ALL_CALLS) {
            return Ok(place);
        }
        let person = caller.person()?;
        let elsewhere = caller.session.is_some_and(|session| session != place.session_id);
        let inside = !elsewhere
            && if caller.is_outsider() {
                // A visitor sees the calls of the visit, not those before.
                rows::was_in_call(db, call, person).await?
            } else {
                rows::is_session_member(db, place.session_id, person).await?
                    || rows::was_in_call(db, call, person).await?
            };
        if inside { Ok(place) } else { Err(absent()) }
    }

    /// The thread, for its participants; `reads`: also for whoever sees all threads of the organisation.
    async fn thread_place(
        &self,
        caller: &Caller,
        thread: ConversationId,
        reads: bool,
    ) -> Result<ThreadPlace> {
        let absent = || Error::not_found("workbox");
        if caller.workbox.is_some_and(|own| own != thread) {
            return Err(absent());
        }
        let db = &self.ground.db;
        if let Some(person) = caller.person
            && let Some(place) = rows::thread_place(db, caller.organization, thread, person).await?
        {
            return Ok(ThreadPlace { guest: place.guest || caller.is_outsider(), ..place });
        }
        if reads && !caller.is_outsider() && caller.permissions.contains(Permissions::VIEW_ALL_WORKBOXES) {
            return rows::thread(db, caller.organization, thread).await?.ok_or_else(absent);
        }
        Err(absent())
    }

    async fn row_of_call(
        &self,
        organization: OrgId,
        call: &CallId,
        id: AttachmentId,
    ) -> Result<AttachmentRow> {
        rows::by_id(&self.ground.db, organization, id)
            .await?
            .filter(|row| row.call_id.as_ref() == Some(call))
            .ok_or_else(|| Error::not_found("attachment"))
    }

    async fn row_of_thread(
        &self,
        organization: OrgId,
        thread: ConversationId,
        place: ThreadPlace,
        id: AttachmentId,
    ) -> Result<AttachmentRow> {
        rows::by_id(&self.ground.db, organization, id)
            .await?
            .filter(|row| row.conversation_id == Some(thread) && !(row.internal && place.guest))
            .ok_or_else(|| Error::not_found("attachment"))
    }

    /// With fresh addresses; empty ones for what is deleted.
    fn view(&self, row: &AttachmentRow) -> AttachmentView {
        let mut view = AttachmentView::in_events(row);
        let now = self.ground.clock.now();
        let address = |variant| self.files.urls.url(row.organization_id, row.uuid, variant, now);
        view.creator.avatar = Some(Avatar::default());
        let there = row.deleted_at.is_none();
        view.path = Some(if there { row.name.clone() } else { String::new() });
        view.signed_url = Some(if there { address(Variant::Original) } else { String::new() });
        let small = there && row.thumbnail_path.is_some();
        view.thumbnail = Some(if small { address(Variant::Thumbnail) } else { String::new() });
        view
    }
}

fn require_owner(caller: &Caller, row: &AttachmentRow, or: Permissions) -> Result<()> {
    if caller.person == Some(row.creator_id) || caller.permissions.contains(or) {
        Ok(())
    } else {
        Err(Error::forbidden("only its creator or an administrator may delete an attachment"))
    }
}
