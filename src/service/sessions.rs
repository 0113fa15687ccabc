//! Sessions: people who can talk. The same people get the same session, unless a new one is wanted; each member reads it
//! with a session token of their own.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{tokens::Tokens, tools::actor_of};
use crate::{
    base::{clock::Clock, random::Random},
    domain::{
        caller::{Caller, TokenKind},
        codes::Code,
        error::{Error, Result},
        event::{NewEvent, StreamKind, session_channel},
        ids::{ConversationId, Offset, PersonId, SessionId, StreamId},
        machine::{call::Input, ring::Who, tally},
        once::Once,
        permission::Permissions,
    },
    journal::{self, Append, Journal, NewStream, Refusal, RowOp},
    live::call_session::{Request, Sessions as LiveSessions},
    store::{
        Db, calls, conversations, idempotency,
        ids::Ids,
        people,
        sessions::{self, MemberRow, NewSession, PersonRow, SessionRow},
        tokens,
    },
};

/// Digits of a session's PIN.
const PIN_DIGITS: usize = 6;

/// A session as one member sees it.
#[derive(Debug)]
pub struct SessionView {
    /// The session.
    pub session: SessionRow,
    /// Its members, each with a public token where one can be had.
    pub members: Vec<(MemberRow, Option<String>)>,
    /// The reader's own session token.
    pub token: String,
    /// A call is running.
    pub video_active: bool,
    /// Where the session's stream stood before all this was read.
    pub stream: StreamPosition,
}

/// Where to subscribe from without a gap.
#[derive(Clone, Debug, Serialize)]
pub struct StreamPosition {
    /// The channel.
    pub channel: String,
    /// Newest event that the snapshot holds.
    pub offset: Offset,
    /// Epoch of the offset.
    pub epoch: String,
}

/// What [`Sessions::create`] did: enough to render its reply again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Created {
    /// The session, new or found.
    pub session: SessionId,
}

/// Finding and making sessions.
#[derive(Clone)]
pub struct Sessions {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    journal: Journal,
    live: LiveSessions,
    tokens: Tokens,
    max_members: usize,
    keep: Duration,
}

/// What [`Sessions`] is built from.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// Numbers of new streams.
    pub ids: Ids,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The way to streams.
    pub journal: Journal,
    /// The actors.
    pub live: LiveSessions,
    /// Session tokens and public tokens.
    pub tokens: Tokens,
    /// People in one session, at most.
    pub max_members: usize,
    /// How long an idempotency key counts.
    pub keep: Duration,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// The service.
    pub fn new(parts: Parts) -> Self {
        let Parts { db, ids, clock, random, journal, live, tokens, max_members, keep } = parts;
        Self { db, ids, clock, random, journal, live, tokens, max_members, keep }
    }

    /// Whom tokens of contacts name.
    pub async fn contacts(&self, caller: &Caller, contact_tokens: &[String]) -> Result<Vec<PersonId>> {
        if contact_tokens.len() > self.max_members {
            return Err(self.too_many());
        }
        let mut people = Vec::with_capacity(contact_tokens.len());
        for token in contact_tokens {
            people.push(self.tokens.contact(token, caller).await?.person()?);
        }
        Ok(people)
    }

    /// The session of the caller and `people`: found, unless `force_new`, or made.
    pub async fn create(
        &self,
        caller: &Caller,
        people: &[PersonId],
        force_new: bool,
        once: &Once,
    ) -> Result<SessionId> {
        if let Some(Created { session }) = once.replayed()? {
            return Ok(session);
        }
        caller.require(Permissions::CALL)?;
        let creator = caller.person()?;
        let members: BTreeSet<PersonId> = people.iter().copied().chain([creator]).collect();
        if members.len() < 2 {
            return Err(Error::invalid("a session needs somebody besides the caller"));
        }
        let records = self.callable(caller, &members).await?;
        let key = (!force_new).then(|| people_key(&members));
        if let Some(key) = &key
            && let Some(found) = sessions::find_by_people(&self.db, caller.organization, key).await?
        {
            self.record(once, found.id).await?;
            return Ok(found.id);
        }
        let wish = Wish { thread: None, key: key.as_deref(), organizers: &BTreeSet::from([creator]) };
        match self.insert(caller, &records, &wish, once).await {
            // Two asked at once for the same people: the other one was quicker.
            Err(error) if error.code() == Code::Constraint && key.is_some() => {
                let key = key.unwrap_or_default();
                let found = sessions::find_by_people(&self.db, caller.organization, &key).await?;
                let found = found.ok_or(error)?.id;
                self.record(once, found).await?;
                Ok(found)
            }
            outcome => outcome,
        }
    }

    /// The session of a help thread, with `owners` and the caller in it. The caller was found to be in the thread; so
    /// must `owners` be.
    pub async fn open_in_thread(
        &self,
        caller: &Caller,
        thread: ConversationId,
        owners: &[PersonId],
        once: &Once,
    ) -> Result<SessionId> {
        if let Some(Created { session }) = once.replayed()? {
            return Ok(session);
        }
        caller.require(Permissions::CALL)?;
        let creator = caller.person()?;
        let members: BTreeSet<PersonId> = owners.iter().copied().chain([creator]).collect();
        let organizers: BTreeSet<PersonId> =
            if owners.is_empty() { [creator].into() } else { owners.iter().copied().collect() };
        let inside = conversations::load(&self.db, thread, tally::BLOCK)
            .await?
            .ok_or_else(|| Error::not_found("workbox"))?;
        if members.iter().any(|person| !inside.members.contains_key(person)) {
            return Err(Error::not_found("participant"));
        }
        let records = self.callable(caller, &members).await?;
        if let Some(found) = sessions::find_of_conversation(&self.db, thread).await? {
            let present = sessions::members(&self.db, found.id).await?;
            for record in records {
                let organizer = organizers.contains(&record.id);
                let known = present.iter().find(|row| row.person.id == record.id);
                if known.is_none_or(|row| organizer && !row.organizer) {
                    self.admit(caller, found.id, record, organizer).await?;
                }
            }
            self.record(once, found.id).await?;
            return Ok(found.id);
        }
        let wish = Wish { thread: Some(thread), key: None, organizers: &organizers };
        self.insert(caller, &records, &wish, once).await
    }

    /// The session of a help thread in which a call runs; the caller, found to be in the thread, becomes a member.
    pub async fn active_in_thread(&self, caller: &Caller, thread: ConversationId) -> Result<SessionId> {
        let none = || Error::new(Code::CallNotActive, "no call is running in this workbox");
        let session = sessions::find_of_conversation(&self.db, thread).await?.ok_or_else(none)?;
        if calls::sessions_with_call(&self.db, &[session.id]).await?.is_empty() {
            return Err(none());
        }
        let person = caller.person()?;
        if sessions::membership(&self.db, session.id, person).await?.is_none() {
            let records = self.callable(caller, &BTreeSet::from([person])).await?;
            for record in records {
                self.admit(caller, session.id, record, false).await?;
            }
        }
        Ok(session.id)
    }

    /// A session, to one of its members.
    pub async fn get(&self, caller: &Caller, id: SessionId) -> Result<SessionView> {
        let session = self.visible(caller, id).await?;
        let mut views = self.views(caller, vec![session]).await?;
        views.pop().ok_or_else(|| Error::not_found("session"))
    }

    /// The caller's sessions, the latest active first, at most `limit` from `offset`; and how many there are.
    pub async fn list(&self, caller: &Caller, limit: i64, offset: i64) -> Result<(Vec<SessionView>, i64)> {
        let person = caller.person()?;
        let rows = sessions::list_of_person(&self.db, person, limit, offset).await?;
        let count = sessions::count_of_person(&self.db, person).await?;
        Ok((self.views(caller, rows).await?, count))
    }

    /// The session, if the caller is one of its members; absent and foreign ones look alike.
    pub async fn visible(&self, caller: &Caller, id: SessionId) -> Result<SessionRow> {
        self.membership(caller, id).await.map(|(session, _)| session)
    }

    /// As [`Sessions::visible`], and whether the caller is one of its owners.
    async fn membership(&self, caller: &Caller, id: SessionId) -> Result<(SessionRow, bool)> {
        within_token(caller, id)?;
        let absent = || Error::not_found("session");
        let session = sessions::find(&self.db, id).await?.ok_or_else(absent)?;
        let person = caller.person()?;
        let organizer = sessions::membership(&self.db, id, person).await?.ok_or_else(absent)?;
        // Who is out of the thread is out of its session, even if a crash came between the two.
        if let Some(thread) = session.conversation_id
            && !tokens::is_in_conversation(&self.db, thread, person).await?
        {
            return Err(absent());
        }
        Ok((session, organizer))
    }

    /// The caller's own token of a session.
    pub async fn token(&self, caller: &Caller, id: SessionId) -> Result<String> {
        let (session, organizer) = self.membership(caller, id).await?;
        self.mint(caller, &session, organizer).await
    }

    async fn mint(&self, caller: &Caller, session: &SessionRow, organizer: bool) -> Result<String> {
        let attributes: &[&str] = if organizer { &["organizer"] } else { &[] };
        self.tokens.mint_session(caller, session.id, attributes, &session.recording_policy).await
    }

    /// Where the stream of a session stands.
    pub async fn position(&self, session: &SessionRow) -> Result<StreamPosition> {
        let position = journal::position(&self.db, session.stream_id).await?;
        let position = position.ok_or_else(|| Error::unavailable("the session has no stream"))?;
        let channel = session_channel(session.id);
        Ok(StreamPosition { channel, offset: position.head, epoch: position.epoch })
    }

    async fn views(&self, caller: &Caller, rows: Vec<SessionRow>) -> Result<Vec<SessionView>> {
        let me = caller.person()?;
        let ids: Vec<SessionId> = rows.iter().map(|row| row.id).collect();
        // Positions first: what is read after them may be newer, never older.
        let streams: Vec<StreamId> = rows.iter().map(|row| row.stream_id).collect();
        let positions = sessions::positions(&self.db, &streams).await?;
        let members = sessions::members_of_many(&self.db, &ids).await?;
        let active: BTreeSet<SessionId> =
            calls::sessions_with_call(&self.db, &ids).await?.into_iter().collect();
        let people: BTreeSet<PersonId> = members.iter().map(|row| row.person.id).collect();
        let mut public = HashMap::new();
        for person in people::many(&self.db, caller.organization, people).await? {
            public.insert(person.id, self.tokens.mint_public(caller, &person).await?);
        }
        let mut of: HashMap<SessionId, Vec<MemberRow>> = HashMap::new();
        for member in members {
            of.entry(member.session_id).or_default().push(member);
        }
        let mut views = Vec::with_capacity(rows.len());
        for session in rows {
            let members = of.remove(&session.id).unwrap_or_default();
            let organizer = members.iter().any(|row| row.person.id == me && row.organizer);
            let token = self.mint(caller, &session, organizer).await?;
            let (epoch, offset) = positions
                .iter()
                .find(|(stream, ..)| *stream == session.stream_id)
                .map(|(_, epoch, offset)| (epoch.clone(), *offset))
                .unwrap_or_default();
            views.push(SessionView {
                stream: StreamPosition { channel: session_channel(session.id), offset, epoch },
                video_active: active.contains(&session.id),
                members: members
                    .into_iter()
                    .map(|member| {
                        let token = public.get(&member.person.id).cloned();
                        (member, token)
                    })
                    .collect(),
                token,
                session,
            });
        }
        Ok(views)
    }

    /// The records of people who can be in a session of the caller's organisation; unknown, foreign and removed ones are
    /// not found, inactive ones cannot call.
    pub async fn callable(&self, caller: &Caller, people: &BTreeSet<PersonId>) -> Result<Vec<PersonRow>> {
        if people.len() > self.max_members {
            return Err(self.too_many());
        }
        let records = sessions::people(&self.db, people.iter().copied()).await?;
        let fitting = |person: &&PersonRow| person.organization_id == caller.organization && !person.removed;
        if records.iter().filter(fitting).count() < people.len() {
            return Err(Error::not_found("user"));
        }
        if records.iter().any(|person| !person.active) {
            return Err(Error::new(Code::AccountDeactivated, "an inactive user cannot be called"));
        }
        Ok(records)
    }

    fn too_many(&self) -> Error {
        Error::invalid(format!("a session holds at most {} people", self.max_members))
    }

    async fn admit(
        &self,
        caller: &Caller,
        session: SessionId,
        person: PersonRow,
        organizer: bool,
    ) -> Result<()> {
        let who = Who { person: person.id, login: person.login_id };
        let request = Request::new(Input::AddMember { who, organizer }, Some(actor_of(caller)))
            .with_people(vec![person]);
        self.live.decide(session, request, |_, _| ()).await
    }

    async fn insert(
        &self,
        caller: &Caller,
        people: &[PersonRow],
        wish: &Wish<'_>,
        once: &Once,
    ) -> Result<SessionId> {
        let now = self.clock.now();
        let id = SessionId(self.random.uuid_v7(now));
        let stream: StreamId = self.ids.next()?;
        let actor = actor_of(caller);
        let mut append = Append::default();
        append.streams.push(NewStream {
            id: stream,
            organization: caller.organization,
            kind: StreamKind::Session,
            channel: session_channel(id),
        });
        let row = NewSession {
            id,
            organization: caller.organization,
            stream,
            conversation: wish.thread,
            people_key: wish.key,
            pin: &self.pin(),
            creator: caller.person()?,
            now,
        };
        let taken = Refusal::new(Code::Constraint, "these people have a session");
        append.rows.push(RowOp::exec_one(sessions::insert(&row), taken));
        let users = people.iter().map(|person| UserView { id: person.id, name: person.name().to_owned() });
        let created = SessionCreated { session_id: id, workbox_id: wish.thread, users: users.collect() };
        let event =
            |stream, kind| NewEvent::new(stream, kind, self.random.uuid_v7(now), now, Some(&actor), &created);
        append.events.push(event(stream, "session.created"));
        for person in people {
            let organizer = wish.organizers.contains(&person.id);
            append.rows.push(RowOp::exec(sessions::insert_member(id, person.id, organizer, now)));
            append.events.push(event(person.stream_id, "session.added"));
        }
        let outcome = Created { session: id };
        for stmt in idempotency::rows(once, &outcome, now, now.minus(self.keep)) {
            append.rows.push(RowOp::exec(stmt));
        }
        self.journal.append(append).await?;
        Ok(id)
    }

    /// Remembers an outcome that needed no change.
    async fn record(&self, once: &Once, session: SessionId) -> Result<()> {
        let now = self.clock.now();
        let rows = idempotency::rows(once, &Created { session }, now, now.minus(self.keep));
        if rows.is_empty() {
            return Ok(());
        }
        let append = Append { rows: rows.into_iter().map(RowOp::exec).collect(), ..Append::default() };
        self.journal.append(append).await.map(|_| ())
    }

    fn pin(&self) -> String {
        (0..PIN_DIGITS).map(|_| char::from(b'0' + u8::try_from(self.random.below(10)).unwrap_or(0))).collect()
    }
}

/// Takes somebody who was put out of a help thread out of its session, with rings and call. To be called after the commit
/// that put them out.
pub async fn follow_removal(
    db: &Db,
    live: &LiveSessions,
    caller: &Caller,
    thread: ConversationId,
    person: PersonId,
) -> Result<()> {
    let Some(session) = sessions::find_of_conversation(db, thread).await? else { return Ok(()) };
    if sessions::membership(db, session.id, person).await?.is_none() {
        return Ok(());
    }
    let request = Request::new(Input::RemoveMember(person), Some(actor_of(caller)));
    live.decide(session.id, request, |_, _| ()).await
}

/// A session token is good for its own session only.
pub(super) fn within_token(caller: &Caller, session: SessionId) -> Result<()> {
    if caller.kind == TokenKind::Session && caller.session != Some(session) {
        return Err(Error::new(Code::SessionInvalid, "the token belongs to another session"));
    }
    Ok(())
}

struct Wish<'a> {
    thread: Option<ConversationId>,
    key: Option<&'a str>,
    organizers: &'a BTreeSet<PersonId>,
}

/// Same people, same key.
fn people_key(people: &BTreeSet<PersonId>) -> String {
    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[derive(Serialize)]
struct UserView {
    id: PersonId,
    name: String,
}

/// `session.created`, `session.added`.
#[derive(Serialize)]
struct SessionCreated {
    session_id: SessionId,
    workbox_id: Option<ConversationId>,
    users: Vec<UserView>,
}
