//! Rings, calls and who was in them: what the session's actor writes, and what it begins with.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;

use super::{Bulk, Column::Int, Db, Result, Stmt, gather::Question, sessions, sql, statements};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{CallId, ConversationId, OrgId, PersonId, RingId, SessionId},
        machine::{
            call::{Call, EndReason, LeaveReason, Member, Participant, RecordingPolicy, State, Timing},
            ring::{Outcome, Ring, Who},
        },
    },
};

macro_rules! call_columns {
    () => {
        "call.id, call.session_id, call.organization_id, call.conversation_id, call.dialer_id, call.receiver_id, \
         call.owner_id, call.started_at, call.ended_at, call.end_reason, call.recording_status, call.recording_id, \
         call.alt1_id, call.alt2_id, call.alt3_id, call.extra_info, call.updated_at"
    };
}

macro_rules! ring_columns {
    () => {
        "ring.id, ring.session_id, ring.organization_id, ring.call_id, ring.from_id, ring.to_id, ring.to_login_id, \
         ring.state, ring.reason, ring.message, ring.video, ring.leased, ring.created_at, ring.expires_at, \
         ring.ended_at"
    };
}

statements! {
    FIND = concat!("select ", call_columns!(), " from call where id = $1 and started_at is not null");
    SESSION_OF = "select session_id from call where id = $1";
    OPEN_CALL = concat!("select ", call_columns!(), " from call where session_id = $1 and ended_at is null");
    STRETCHES = "select call_id, person_id, login_id, joined_at, left_at, leave_reason \
        from call_participant where call_id = $1 order by joined_at, person_id";
    FIND_RING = concat!("select ", ring_columns!(), " from ring where id = $1");
    OPEN_RINGS = concat!("select ", ring_columns!(), " from ring where session_id = $1 and state = 'ringing'");
    SESSIONS_RINGING_FROM = "select distinct session_id from ring where from_id = $1 and state = 'ringing'";
    UNFINISHED = "select session_id from ring where state = 'ringing' \
        union select session_id from call where ended_at is null";
    INSERT_RING = "insert into ring (id, session_id, organization_id, call_id, from_id, to_id, to_login_id, state, \
        reason, message, video, leased, created_at, expires_at, ended_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, null, null, $9, $10, $11, $12, $13)";
    END_RING = "update ring set state = $2, reason = $3, message = $4, call_id = coalesce($5, call_id), ended_at = $6 \
        where id = $1 and state = 'ringing'";
    INSERT_CALL = "insert into call (id, session_id, organization_id, conversation_id, dialer_id, receiver_id, owner_id, \
        started_at, ended_at, end_reason, recording_status, recording_id, alt1_id, alt2_id, alt3_id, extra_info, \
        updated_at) values ($1, $2, $3, $4, $5, null, $5, null, null, null, null, null, null, null, null, null, $6)";
    START_CALL = "update call set started_at = $2, receiver_id = $3, owner_id = $4, updated_at = $2 where id = $1";
    END_CALL = "update call set ended_at = $2, end_reason = $3, updated_at = $2 where id = $1 and ended_at is null";
    DROP_PARTICIPANTS = "delete from call_participant where call_id = $1";
    DROP_CALL = "delete from call where id = $1 and started_at is null";
    SET_OWNER = "update call set owner_id = $2, updated_at = $3 where id = $1";
    SET_RECORDING = "update call set recording_id = $2, recording_status = $3, updated_at = $4 where id = $1";
    ENTER = "insert into call_participant (call_id, person_id, login_id, joined_at, left_at, leave_reason) \
        values ($1, $2, $3, $4, null, null) on conflict do nothing";
    LEAVE = "update call_participant set left_at = $3, leave_reason = $4 \
        where call_id = $1 and person_id = $2 and left_at is null";
}

/// A call.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct CallRow {
    /// Its id.
    pub id: CallId,
    /// The session it runs in.
    pub session_id: SessionId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// The help thread it belongs to.
    pub conversation_id: Option<ConversationId>,
    /// Who rang or came first.
    pub dialer_id: PersonId,
    /// Whose ring was accepted, where it began so.
    pub receiver_id: Option<PersonId>,
    /// Who decides.
    pub owner_id: PersonId,
    /// `None` while one person waits; such a call is in no record.
    pub started_at: Option<Timestamp>,
    /// `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// `ended` or `empty`.
    pub end_reason: Option<String>,
    /// `starting`, `processing`, `finished` ...; `None` without a recording.
    pub recording_status: Option<String>,
    /// The recording that runs.
    pub recording_id: Option<Uuid>,
    /// The integrator's own reference.
    pub alt1_id: Option<String>,
    /// The integrator's own reference.
    pub alt2_id: Option<String>,
    /// The integrator's own reference.
    pub alt3_id: Option<String>,
    /// The integrator's own notes.
    pub extra_info: Option<String>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The call that somebody is in.
#[derive(sqlx_macros::FromRow)]
pub(super) struct PresentCall {
    call_id: CallId,
}

static PRESENT: Bulk = Bulk::new(
    "select v.column1 as asked, p.call_id from",
    &[Int, Int],
    "join call_participant p on p.login_id = v.column2 and p.left_at is null",
);
const PRESENCE: Question<PersonId, PresentCall> =
    Question { bulk: &PRESENT, fill: |v, login| v.bind(*login), gather: |gathers| &gathers.presence };
static RINGS_TO: Bulk = Bulk::new(
    concat!("select v.column1 as asked, ", ring_columns!(), " from"),
    &[Int, Int],
    "join ring on ring.to_login_id = v.column2 and ring.state = 'ringing' order by ring.created_at, ring.id",
);
const RINGS: Question<PersonId, RingRow> =
    Question { bulk: &RINGS_TO, fill: |v, login| v.bind(*login), gather: |gathers| &gathers.rings };
/// What is asked through a gather.
pub(super) static GATHERED: &[&Bulk] = &[&PRESENT, &RINGS_TO];

/// A ring, open or over.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct RingRow {
    /// The request's id.
    pub id: RingId,
    /// The session it rings for.
    pub session_id: SessionId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// The call it led to or invites into.
    pub call_id: Option<CallId>,
    /// Who rings.
    pub from_id: PersonId,
    /// Who is rung.
    pub to_id: PersonId,
    /// The human being who is rung.
    pub to_login_id: PersonId,
    /// `ringing`, an outcome, `busy` or `unreachable`.
    pub state: String,
    /// Of a declined one: 0 to 3.
    pub reason: Option<i64>,
    /// Of a declined one.
    pub message: Option<String>,
    /// With video.
    pub video: bool,
    /// Ends when the caller's connection is lost.
    pub leased: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it runs out.
    pub expires_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// One stretch of somebody's time in a call.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct StretchRow {
    /// The call.
    pub call_id: CallId,
    /// Who.
    pub person_id: PersonId,
    /// The human being.
    pub login_id: PersonId,
    /// Its begin.
    pub joined_at: Timestamp,
    /// Its end; `None` while the person is in the call.
    pub left_at: Option<Timestamp>,
    /// `left`, `lost`, `removed`, `ended`.
    pub leave_reason: Option<String>,
}

/// A call that has started; waiting ones do not exist for anybody but their session.
pub async fn find(db: &Db, id: &CallId) -> Result<Option<CallRow>> {
    sql(FIND).bind(id).optional(db).await
}

/// The session of a call, started or not.
pub async fn session_of(db: &Db, id: &CallId) -> Result<Option<SessionId>> {
    let row: Option<(SessionId,)> = sql(SESSION_OF).bind(id).optional(db).await?;
    Ok(row.map(|(session,)| session))
}

/// The call of a session that runs, or that waits for its second person.
pub async fn open_call(db: &Db, session: SessionId) -> Result<Option<CallRow>> {
    sql(OPEN_CALL).bind(session).optional(db).await
}

/// Which of these sessions have a running call.
pub async fn sessions_with_call(db: &Db, sessions: &[SessionId]) -> Result<Vec<SessionId>> {
    let stmt = sql(
        "select session_id from call where ended_at is null and started_at is not null and session_id in ",
    )
    .push_list(sessions.iter().copied());
    let rows: Vec<(SessionId,)> = stmt.all(db).await?;
    Ok(rows.into_iter().map(|(session,)| session).collect())
}

/// The call that a human being is in.
pub async fn present_call(db: &Db, login: PersonId) -> Result<Option<CallId>> {
    Ok(PRESENCE.ask(db, login).await?.pop().map(|present| present.call_id))
}

/// Which of these human beings are in a call, and in which.
pub async fn present(db: &Db, logins: impl IntoIterator<Item = PersonId>) -> Result<Vec<(PersonId, CallId)>> {
    sql("select login_id, call_id from call_participant where left_at is null and login_id in ")
        .push_list(logins)
        .all(db)
        .await
}

/// A ring, open or over.
pub async fn find_ring(db: &Db, id: RingId) -> Result<Option<RingRow>> {
    sql(FIND_RING).bind(id).optional(db).await
}

/// What rings for a human being now.
pub async fn open_rings_to(db: &Db, login: PersonId) -> Result<Vec<RingRow>> {
    RINGS.ask(db, login).await
}

/// Sessions in which a person rings others.
pub async fn sessions_ringing_from(db: &Db, person: PersonId) -> Result<Vec<SessionId>> {
    let rows: Vec<(SessionId,)> = sql(SESSIONS_RINGING_FROM).bind(person).all(db).await?;
    Ok(rows.into_iter().map(|(session,)| session).collect())
}

/// Sessions whose timers have to run: something rings, or a call is open.
pub async fn unfinished(db: &Db) -> Result<Vec<SessionId>> {
    let rows: Vec<(SessionId,)> = sql(UNFINISHED).all(db).await?;
    Ok(rows.into_iter().map(|(session,)| session).collect())
}

/// The state that the session's actor begins with, before [`Input::Restarted`]: leases are over.
///
/// [`Input::Restarted`]: crate::domain::machine::call::Input::Restarted
pub async fn load_state(
    db: &Db,
    session: SessionId,
    policy: RecordingPolicy,
    members: &[sessions::MemberRow],
    timing: Timing,
) -> Result<State> {
    let members = members
        .iter()
        .map(|row| (row.person.id, Member { login: row.person.login_id, organizer: row.organizer }))
        .collect();
    let rings: Vec<RingRow> = sql(OPEN_RINGS).bind(session).all(db).await?;
    let rings = rings.into_iter().map(|row| (row.id, open_ring(row))).collect();
    let call = match open_call(db, session).await? {
        None => None,
        Some(row) => {
            let stretches: Vec<StretchRow> = sql(STRETCHES).bind(&row.id).all(db).await?;
            Some(running(row, &stretches))
        }
    };
    Ok(State { timing, policy, members, rings, call })
}

fn open_ring(row: RingRow) -> Ring {
    Ring {
        id: row.id,
        from: row.from_id,
        to: Who { person: row.to_id, login: row.to_login_id },
        call: row.call_id,
        video: row.video,
        created_at: row.created_at,
        expires_at: row.expires_at,
        lease_until: row.leased.then_some(row.created_at),
    }
}

fn running(row: CallRow, stretches: &[StretchRow]) -> Call {
    let mut participants = BTreeMap::new();
    let mut earlier: BTreeMap<PersonId, Duration> = BTreeMap::new();
    let mut barred = BTreeSet::new();
    for stretch in stretches {
        let StretchRow { person_id, login_id, joined_at, .. } = *stretch;
        if let Some(left_at) = stretch.left_at {
            *earlier.entry(person_id).or_default() += left_at.since(joined_at);
        } else {
            let participant = Participant { login: login_id, joined_at, lease_until: joined_at };
            participants.insert(person_id, participant);
        }
        // The last stretch says how the person left; whoever came back was let in.
        if stretch.leave_reason.as_deref() == Some(LeaveReason::Removed.name()) {
            barred.insert(person_id);
        } else {
            barred.remove(&person_id);
        }
    }
    // With fewer than two, the last departure says since when.
    let last_left = stretches.iter().filter_map(|stretch| stretch.left_at).max();
    Call {
        id: row.id,
        dialer: row.dialer_id,
        owner: row.owner_id,
        started_at: row.started_at,
        empty_since: last_left.filter(|_| row.started_at.is_some() && participants.len() < 2),
        participants,
        earlier,
        barred,
        recording: row.recording_id,
    }
}

/// A ring that begins (`ringing`), or that could not (`busy`, `unreachable`).
pub fn insert_ring(session: SessionId, organization: OrgId, ring: &Ring, state: &'static str) -> Stmt {
    sql(INSERT_RING)
        .bind(ring.id)
        .bind(session)
        .bind(organization)
        .bind(ring.call.as_ref().map(|call| call.0.clone()))
        .bind(ring.from)
        .bind(ring.to.person)
        .bind(ring.to.login)
        .bind(state)
        .bind(ring.video)
        .bind(ring.lease_until.is_some())
        .bind(ring.created_at)
        .bind(ring.expires_at)
        .bind((state != "ringing").then_some(ring.created_at))
}

/// A ring that is over: touches one row, or the ring was over before.
pub fn end_ring(ring: RingId, outcome: &Outcome, now: Timestamp) -> Stmt {
    let (reason, message, call) = match outcome {
        Outcome::Declined { reason, message } => (Some(reason.number()), message.clone(), None),
        Outcome::Accepted { call, .. } => (None, None, Some(call.0.clone())),
        Outcome::Cancelled(_) | Outcome::TimedOut => (None, None, None),
    };
    sql(END_RING).bind(ring).bind(outcome.state()).bind(reason).bind(message).bind(call).bind(now)
}

/// A call that waits for its second person.
pub fn insert_call(
    call: &CallId,
    session: SessionId,
    organization: OrgId,
    conversation: Option<ConversationId>,
    dialer: PersonId,
    now: Timestamp,
) -> Stmt {
    sql(INSERT_CALL).bind(call).bind(session).bind(organization).bind(conversation).bind(dialer).bind(now)
}

/// The call starts.
pub fn start_call(call: &CallId, receiver: Option<PersonId>, owner: PersonId, now: Timestamp) -> Stmt {
    sql(START_CALL).bind(call).bind(now).bind(receiver).bind(owner)
}

/// The call is over: touches one row, or it was over before.
pub fn end_call(call: &CallId, reason: EndReason, now: Timestamp) -> Stmt {
    sql(END_CALL).bind(call).bind(now).bind(reason.name())
}

/// A call that never started leaves no trace.
pub fn drop_call(call: &CallId) -> [Stmt; 2] {
    [sql(DROP_PARTICIPANTS).bind(call), sql(DROP_CALL).bind(call)]
}

/// Another owner.
pub fn set_owner(call: &CallId, owner: PersonId, now: Timestamp) -> Stmt {
    sql(SET_OWNER).bind(call).bind(owner).bind(now)
}

/// A recording began (`Some`) or ended.
pub fn set_recording(call: &CallId, recording: Option<Uuid>, now: Timestamp) -> Stmt {
    let status = if recording.is_some() { "starting" } else { "finished" };
    sql(SET_RECORDING).bind(call).bind(recording).bind(status).bind(now)
}

/// Somebody is in the call: touches one row unless the human being is in a call already.
pub fn enter(call: &CallId, who: Who, now: Timestamp) -> Stmt {
    sql(ENTER).bind(call).bind(who.person).bind(who.login).bind(now)
}

/// Somebody is no longer in the call.
pub fn leave(call: &CallId, person: PersonId, reason: LeaveReason, now: Timestamp) -> Stmt {
    sql(LEAVE).bind(call).bind(person).bind(now).bind(reason.name())
}
