//! Call records: what was, for those who took part and for administrators; and what people say about it afterwards.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{tokens::Tokens, tools::actor_of};
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
        ids::{CallCommentId, CallId, PersonId, SessionId},
        once::Once,
        permission::Permissions,
        query::List,
    },
    journal::{Append, Journal, RowOp},
    store::{
        Db, Stmt,
        call_records::{self as rows, CommentRow, References, Whose},
        calls::{self, CallRow, RingRow, StretchRow},
        idempotency,
        ids::Ids,
        people,
        sessions::{self, PersonRow},
    },
};

/// Longest tag, in characters.
const TAG_LIMIT: usize = 255;
/// Tags of one call, at most.
const TAGS_LIMIT: usize = 100;
/// Longest comment, in characters.
const COMMENT_LIMIT: usize = 10_000;
/// Longest reference of an integrator, in characters (contract).
const REFERENCE_LIMIT: usize = 512;
/// Longest `extra_info`, in characters.
const EXTRA_LIMIT: usize = 16_384;
/// Entries of the recent list, at most.
const RECENT_LIMIT: i64 = 100;
/// Calls of one session that are listed, at most.
const SESSION_LIMIT: i64 = 1_000;

/// People by number.
pub type People = Arc<HashMap<PersonId, PersonRow>>;

/// A call with all that belongs to it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The call.
    pub call: CallRow,
    /// Everybody who is named in it.
    pub people: People,
    /// Who was in it, and when.
    pub stretches: Vec<StretchRow>,
    /// The rings that led to it or invited into it.
    pub rings: Vec<RingRow>,
    /// Tags.
    pub tags: Vec<String>,
    /// Who gave how many of five.
    pub ratings: Vec<(PersonId, i64)>,
    /// Something was attached.
    pub has_attachments: bool,
}

impl CallRecord {
    /// When it started. Records are of started calls.
    pub fn started_at(&self) -> Timestamp {
        self.call.started_at.unwrap_or_default()
    }

    /// Seconds that it lasted; of a running one, until `now`.
    pub fn duration(&self, now: Timestamp) -> u64 {
        self.call.ended_at.unwrap_or(now).since(self.started_at()).as_secs()
    }

    /// Everybody who was in it, each once, in the order of their first coming.
    pub fn participants(&self) -> Vec<&PersonRow> {
        let mut seen = BTreeSet::new();
        let first = self.stretches.iter().filter(|stretch| seen.insert(stretch.person_id));
        first.filter_map(|stretch| self.people.get(&stretch.person_id)).collect()
    }

    /// Who was called: by the ring that began it, or else the first other participant.
    pub fn receiver(&self) -> Option<&PersonRow> {
        let rung = self.call.receiver_id.and_then(|id| self.people.get(&id));
        rung.or_else(|| self.participants().into_iter().find(|person| person.id != self.call.dialer_id))
    }
}

/// An entry of somebody's recent list.
#[derive(Clone, Debug)]
pub struct Recent {
    /// The reader rang.
    pub outgoing: bool,
    /// The other one.
    pub contact: Option<PersonRow>,
    /// When it rang, or when the reader joined.
    pub at: Timestamp,
    /// `accepted`, `declined`, `cancelled`, `timed_out`, `busy`, `unreachable`.
    pub outcome: String,
    /// The call, if it came to one.
    pub call: Option<CallRecord>,
    /// Public token to call the other one back with; none for visitors and for who is gone.
    pub token: Option<String>,
    /// The other one is among the reader's favourites.
    pub favorite: bool,
}

/// A comment with its author.
#[derive(Clone, Debug)]
pub struct Comment {
    /// The comment.
    pub row: CommentRow,
    /// Who wrote it.
    pub author: Option<PersonRow>,
}

/// What [`CallRecords`] is built from.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub db: Db,
    /// Numbers of comments.
    pub ids: Ids,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The way to streams.
    pub journal: Journal,
    /// Public tokens of recent contacts.
    pub tokens: Tokens,
    /// How long an idempotency key counts.
    pub keep: Duration,
}

/// Reading and annotating call records. Cheap to clone.
#[derive(Clone)]
pub struct CallRecords(Arc<Parts>);

/// Told to the session when something is said about a call.
#[derive(Default, Serialize)]
struct CallUpdated {
    call_id: Option<CallId>,
    session_id: Option<SessionId>,
    changed: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment_id: Option<CallCommentId>,
}

/// What is remembered of a comment under an idempotency key.
#[derive(Serialize, Deserialize)]
struct Commented {
    id: CallCommentId,
}

impl std::fmt::Debug for CallRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallRecords")
    }
}

impl CallRecords {
    /// The service.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The present moment, for durations of running calls.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// A page of the caller's own calls, and how many there are.
    pub async fn list_mine(&self, caller: &Caller, list: &List) -> Result<(Vec<CallRecord>, i64)> {
        self.list(Whose::Person(caller.person()?), list).await
    }

    /// A page of the organisation's calls, and how many there are.
    pub async fn list_all(&self, caller: &Caller, list: &List) -> Result<(Vec<CallRecord>, i64)> {
        caller.require(Permissions::VIEW_ALL_CALLS)?;
        self.list(Whose::Organization(caller.organization), list).await
    }

    async fn list(&self, whose: Whose, list: &List) -> Result<(Vec<CallRecord>, i64)> {
        let calls = rows::list(&self.0.db, whose, list).await?;
        let count = rows::count(&self.0.db, whose, list).await?;
        Ok((self.complete(calls).await?, count))
    }

    /// A call that the caller took part in, was rung for, or may see as an administrator.
    pub async fn get(&self, caller: &Caller, call: &CallId) -> Result<CallRecord> {
        let row = self.visible(caller, call).await?;
        self.complete(vec![row]).await?.pop().ok_or_else(absent)
    }

    /// Any call of the organisation.
    pub async fn get_any(&self, caller: &Caller, call: &CallId) -> Result<CallRecord> {
        caller.require(Permissions::VIEW_ALL_CALLS)?;
        self.get(caller, call).await
    }

    /// The calls of a session of the organisation, the latest first; none for an unknown one.
    pub async fn of_session(&self, caller: &Caller, session: SessionId) -> Result<Vec<CallRecord>> {
        caller.require(Permissions::VIEW_ALL_CALLS)?;
        let calls = rows::of_session(&self.0.db, session, caller.organization, SESSION_LIMIT).await?;
        self.complete(calls).await
    }

    /// The caller's latest calls and missed ones: one entry per ring, and one per call joined without a ring.
    pub async fn recent(&self, caller: &Caller) -> Result<Vec<Recent>> {
        let (db, me) = (&self.0.db, caller.person()?);
        let outgoing = rows::recent_rings(db, me, true, RECENT_LIMIT).await?;
        let incoming = rows::recent_rings(db, me, false, RECENT_LIMIT).await?;
        let joined = rows::recent_calls(db, me, RECENT_LIMIT).await?;
        let known: BTreeSet<CallId> = joined.iter().map(|call| call.id.clone()).collect();
        let rings: Vec<RingRow> = outgoing.into_iter().chain(incoming).collect();
        // Rings of old calls lead to calls beyond the newest ones.
        let led: BTreeSet<CallId> = rings.iter().filter_map(|ring| ring.call_id.clone()).collect();
        let more: Vec<CallId> = led.difference(&known).cloned().collect();
        let mut found = joined;
        if !more.is_empty() {
            found.extend(rows::by_ids(db, &more).await?);
        }
        let records = self.complete(found).await?;
        let others = rings.iter().map(|ring| if ring.from_id == me { ring.to_id } else { ring.from_id });
        let others: HashMap<PersonId, PersonRow> = sessions::people(db, others.collect::<BTreeSet<_>>())
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        let mut entries: Vec<Recent> = Vec::with_capacity(rings.len());
        for ring in &rings {
            let outgoing = ring.from_id == me;
            let accepted = ring.state == "accepted";
            let record =
                records.iter().find(|record| accepted && Some(&record.call.id) == ring.call_id.as_ref());
            entries.push(Recent {
                outgoing,
                contact: others.get(if outgoing { &ring.to_id } else { &ring.from_id }).cloned(),
                at: ring.created_at,
                outcome: ring.state.clone(),
                call: record.cloned(),
                token: None,
                favorite: false,
            });
        }
        let answered = |record: &CallRecord| {
            entries.iter().any(|entry| entry.call.as_ref().is_some_and(|call| call.call.id == record.call.id))
        };
        let unrung: Vec<Recent> = records
            .iter()
            .filter(|record| known.contains(&record.call.id) && !answered(record))
            .map(|record| Recent {
                outgoing: record.call.dialer_id == me,
                contact: record.participants().into_iter().find(|person| person.id != me).cloned(),
                at: record.started_at(),
                outcome: "accepted".to_owned(),
                call: Some(record.clone()),
                token: None,
                favorite: false,
            })
            .collect();
        entries.extend(unrung);
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        entries.truncate(usize::try_from(RECENT_LIMIT).unwrap_or(usize::MAX));
        self.offer_call_back(caller, me, &mut entries).await?;
        Ok(entries)
    }

    /// Adds what the reader needs to call back: three statements.
    async fn offer_call_back(&self, caller: &Caller, me: PersonId, entries: &mut [Recent]) -> Result<()> {
        let contacts: BTreeSet<PersonId> = entries
            .iter()
            .filter_map(|entry| entry.contact.as_ref())
            .filter(|contact| !contact.is_anonymous())
            .map(|contact| contact.id)
            .collect();
        let favorites = rows::favorites(&self.0.db, me).await?;
        let mut tokens = HashMap::new();
        for person in people::many(&self.0.db, caller.organization, contacts).await? {
            tokens.insert(person.id, self.0.tokens.mint_public(caller, &person).await?);
        }
        for entry in entries {
            let Some(contact) = &entry.contact else { continue };
            entry.token = tokens.get(&contact.id).cloned();
            entry.favorite = favorites.contains(&contact.id);
        }
        Ok(())
    }

    /// Writes an integrator's references into a call.
    pub async fn set_references(&self, caller: &Caller, call: &CallId, references: References) -> Result<()> {
        let row = self.visible(caller, call).await?;
        let fields = [&references.alt1_id, &references.alt2_id, &references.alt3_id];
        if fields.into_iter().flatten().any(|text| text.chars().count() > REFERENCE_LIMIT) {
            return Err(Error::invalid(format!(
                "alt1_id, alt2_id, alt3_id: at most {REFERENCE_LIMIT} characters"
            )));
        }
        if references.extra_info.as_ref().is_some_and(|text| text.chars().count() > EXTRA_LIMIT) {
            return Err(Error::invalid(format!("extra_info: at most {EXTRA_LIMIT} characters")));
        }
        let write = rows::set_references(call, &references, self.now());
        let event = CallUpdated { changed: "references", ..CallUpdated::default() };
        self.write(caller, &row, vec![write], event, &Once::none(), &()).await
    }

    /// Adds tags to a call, or puts them in place of the present ones.
    pub async fn set_tags(
        &self,
        caller: &Caller,
        call: &CallId,
        tags: Vec<String>,
        replace: bool,
        once: &Once,
    ) -> Result<()> {
        if once.replayed::<()>()?.is_some() {
            return Ok(());
        }
        let row = self.visible(caller, call).await?;
        let tags = tags.into_iter().map(|tag| usable_tag(&tag)).collect::<Result<Vec<_>>>()?;
        let mut all: Vec<String> = Vec::new();
        if !replace {
            let present = rows::tags(&self.0.db, std::slice::from_ref(call)).await?;
            all.extend(present.into_iter().map(|(_, tag)| tag));
        }
        for tag in &tags {
            if !all.contains(tag) {
                all.push(tag.clone());
            }
        }
        if all.len() > TAGS_LIMIT {
            return Err(Error::new(Code::InvalidTag, format!("a call has at most {TAGS_LIMIT} tags")));
        }
        let now = self.now();
        let mut writes: Vec<Stmt> = if replace { vec![rows::clear_tags(call)] } else { Vec::new() };
        writes.extend(tags.iter().map(|tag| rows::add_tag(call, tag, now)));
        let event = CallUpdated { changed: "tags", tags: Some(all), ..CallUpdated::default() };
        self.write(caller, &row, writes, event, once, &()).await
    }

    /// Rates a call with one to five; a second rating replaces the first.
    pub async fn rate(&self, caller: &Caller, call: &CallId, rating: i64, once: &Once) -> Result<()> {
        if once.replayed::<()>()?.is_some() {
            return Ok(());
        }
        let row = self.visible(caller, call).await?;
        if !(1..=5).contains(&rating) {
            return Err(Error::invalid("rating: 1 to 5"));
        }
        let write = rows::rate(call, caller.person()?, rating, self.now());
        let event = CallUpdated { changed: "rating", rating: Some(rating), ..CallUpdated::default() };
        self.write(caller, &row, vec![write], event, once, &()).await
    }

    /// The comments on a call, the oldest first.
    pub async fn comments(&self, caller: &Caller, call: &CallId) -> Result<Vec<Comment>> {
        self.visible(caller, call).await?;
        let comments = rows::comments(&self.0.db, call).await?;
        let authors = comments.iter().map(|row| row.author_id).collect::<BTreeSet<_>>();
        let authors = sessions::people(&self.0.db, authors).await?;
        let author = |id: PersonId| authors.iter().find(|person| person.id == id).cloned();
        Ok(comments.into_iter().map(|row| Comment { author: author(row.author_id), row }).collect())
    }

    /// Comments on a call.
    pub async fn comment(&self, caller: &Caller, call: &CallId, text: &str, once: &Once) -> Result<Comment> {
        if let Some(Commented { id }) = once.replayed()? {
            let mut comments = self.comments(caller, call).await?;
            comments.retain(|comment| comment.row.id == id);
            return comments.pop().ok_or_else(|| Error::not_found("comment"));
        }
        let row = self.visible(caller, call).await?;
        let text = text.trim();
        if text.is_empty() || text.chars().count() > COMMENT_LIMIT {
            return Err(Error::invalid(format!("comment: 1 to {COMMENT_LIMIT} characters")));
        }
        let now = self.now();
        let comment = CommentRow {
            id: self.0.ids.next()?,
            call_id: call.clone(),
            organization_id: row.organization_id,
            author_id: caller.person()?,
            comment: text.to_owned(),
            created_at: now,
            updated_at: now,
        };
        let event =
            CallUpdated { changed: "comments", comment_id: Some(comment.id), ..CallUpdated::default() };
        let outcome = Commented { id: comment.id };
        self.write(caller, &row, vec![rows::add_comment(&comment)], event, once, &outcome).await?;
        let author = sessions::people(&self.0.db, [comment.author_id]).await?.pop();
        Ok(Comment { row: comment, author })
    }

    /// The call, if the caller may see it; absent and foreign ones look alike.
    async fn visible(&self, caller: &Caller, call: &CallId) -> Result<CallRow> {
        let row = calls::find(&self.0.db, call).await?.ok_or_else(absent)?;
        if row.organization_id != caller.organization {
            return Err(absent());
        }
        if !caller.permissions.contains(Permissions::VIEW_ALL_CALLS)
            && !rows::is_involved(&self.0.db, call, caller.person()?).await?
        {
            return Err(absent());
        }
        Ok(row)
    }

    async fn write<T: Serialize>(
        &self,
        caller: &Caller,
        call: &CallRow,
        writes: Vec<Stmt>,
        event: CallUpdated,
        once: &Once,
        outcome: &T,
    ) -> Result<()> {
        let now = self.now();
        let session = sessions::find(&self.0.db, call.session_id).await?.ok_or_else(absent)?;
        let event = CallUpdated { call_id: Some(call.id.clone()), session_id: Some(session.id), ..event };
        let id = self.0.random.uuid_v7(now);
        let event =
            NewEvent::new(session.stream_id, "call.updated", id, now, Some(&actor_of(caller)), &event);
        let kept = idempotency::rows(once, outcome, now, now.minus(self.0.keep));
        let rows = writes.into_iter().chain(kept).map(RowOp::exec).collect();
        self.0.journal.append(Append { rows, events: vec![event], ..Append::default() }).await.map(drop)
    }

    /// Calls with all that belongs to them: six statements, however many there are.
    async fn complete(&self, calls: Vec<CallRow>) -> Result<Vec<CallRecord>> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let db = &self.0.db;
        let ids: Vec<CallId> = calls.iter().map(|call| call.id.clone()).collect();
        let stretches = rows::stretches(db, &ids).await?;
        let rings = rows::rings(db, &ids).await?;
        let tags = rows::tags(db, &ids).await?;
        let ratings = rows::ratings(db, &ids).await?;
        let with_attachments = rows::with_attachments(db, &ids).await?;
        let mut named: BTreeSet<PersonId> = stretches.iter().map(|stretch| stretch.person_id).collect();
        named.extend(rings.iter().flat_map(|ring| [ring.from_id, ring.to_id]));
        named.extend(calls.iter().flat_map(|call| [call.dialer_id, call.owner_id]));
        named.extend(calls.iter().filter_map(|call| call.receiver_id));
        let people = sessions::people(db, named).await?;
        let people: People = Arc::new(people.into_iter().map(|person| (person.id, person)).collect());
        let mut records: HashMap<CallId, CallRecord> = HashMap::new();
        for call in calls {
            let record = CallRecord {
                people: Arc::clone(&people),
                stretches: Vec::new(),
                rings: Vec::new(),
                tags: Vec::new(),
                ratings: Vec::new(),
                has_attachments: with_attachments.contains(&call.id),
                call,
            };
            records.insert(record.call.id.clone(), record);
        }
        for stretch in stretches {
            if let Some(record) = records.get_mut(&stretch.call_id) {
                record.stretches.push(stretch);
            }
        }
        for ring in rings {
            if let Some(record) = ring.call_id.as_ref().and_then(|call| records.get_mut(call)) {
                record.rings.push(ring);
            }
        }
        for (call, tag) in tags {
            if let Some(record) = records.get_mut(&call) {
                record.tags.push(tag);
            }
        }
        for (call, person, rating) in ratings {
            if let Some(record) = records.get_mut(&call) {
                record.ratings.push((person, rating));
            }
        }
        Ok(ids.iter().filter_map(|id| records.remove(id)).collect())
    }
}

fn usable_tag(tag: &str) -> Result<String> {
    let tag = tag.trim();
    if tag.is_empty() || tag.chars().count() > TAG_LIMIT || tag.chars().any(char::is_control) {
        return Err(Error::new(Code::InvalidTag, format!("a tag has 1 to {TAG_LIMIT} visible characters")));
    }
    Ok(tag.to_owned())
}

fn absent() -> Error {
    Error::not_found("call")
}
