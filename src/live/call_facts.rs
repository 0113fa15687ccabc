//! What the facts of a call session are in rows and events (contract: REALTIME section 3).

use serde::Serialize;
use uuid::Uuid;

use super::call_session::CallSession;
use crate::{
    base::{clock::Timestamp, random::Random},
    domain::{
        codes::Code,
        event::{Actor, NewEvent},
        ids::{CallId, ConversationId, PersonId, RingId, SessionId, StreamId},
        machine::{
            call::Fact,
            ring::{Outcome, Reach, Ring, Who},
        },
    },
    journal::{Append, Refusal, RowOp},
    store::{Stmt, calls, sessions},
};

/// A person in an event.
#[derive(Serialize)]
struct PersonView {
    id: PersonId,
    name: String,
}

/// `ring.*` of the session and `ring.incoming` of the inbox.
#[derive(Serialize)]
struct RingView {
    request_id: RingId,
    session_id: SessionId,
    workbox_id: Option<ConversationId>,
    call_id: Option<CallId>,
    from: PersonView,
    to: PersonView,
    video: bool,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// `ring.stopped` of the inbox.
#[derive(Serialize)]
struct RingStopped {
    request_id: RingId,
    session_id: SessionId,
    cause: &'static str,
}

/// `call.started`, `call.ended`.
#[derive(Serialize)]
struct CallView {
    call_id: CallId,
    session_id: SessionId,
    workbox_id: Option<ConversationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialer: Option<PersonView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<PersonView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_id: Option<PersonId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

/// `participant.*`, `owner.changed`, `recording.*`.
#[derive(Serialize)]
struct CallChange {
    call_id: CallId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<PersonView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_id: Option<PersonId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_owner_id: Option<PersonId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_id: Option<Uuid>,
}

/// `member.*`, `session.added`.
#[derive(Serialize)]
struct MemberView {
    session_id: SessionId,
    workbox_id: Option<ConversationId>,
    user: PersonView,
}

/// `session.updated`.
#[derive(Serialize)]
struct SessionUpdated {
    session_id: SessionId,
    workbox_id: Option<ConversationId>,
    changed: [&'static str; 1],
    organizers: Vec<PersonView>,
}

const BUSY: Refusal = Refusal::new(Code::Busy, "in another call already");
const RING_OVER: Refusal =
    Refusal::new(Code::RingNotActive, "the ring was answered, cancelled or ran out before");
const CALL_OVER: Refusal = Refusal::new(Code::CallNotActive, "the call is over");

/// The append that stores and tells `facts`, decided at `now` on behalf of `actor`.
pub(super) fn append(
    session: &CallSession,
    facts: &[Fact],
    actor: Option<&Actor>,
    random: &Random,
    now: Timestamp,
) -> Append {
    let mut writer = Writer { session, actor, random, now, append: Append::default() };
    for fact in facts {
        writer.write(fact);
    }
    writer.append
}

struct Writer<'a> {
    session: &'a CallSession,
    actor: Option<&'a Actor>,
    random: &'a Random,
    now: Timestamp,
    append: Append,
}

impl Writer<'_> {
    fn write(&mut self, fact: &Fact) {
        let (id, organization) = (self.session.id, self.session.organization);
        match fact {
            Fact::MemberAdded { who, organizer } => {
                self.row(sessions::insert_member(id, who.person, *organizer, self.now));
                self.row(sessions::people_changed(id, self.now));
                self.tell("member.added", &self.member(who.person));
                self.tell_person(who.person, "session.added", &self.member(who.person));
            }
            Fact::OrganizerAdded(who) => {
                self.row(sessions::insert_member(id, who.person, true, self.now));
                self.row(sessions::touch(id, self.now));
                let data = SessionUpdated {
                    session_id: id,
                    workbox_id: self.session.thread.map(|(thread, _)| thread),
                    changed: ["organizers"],
                    organizers: self.organizers(),
                };
                self.tell("session.updated", &data);
            }
            Fact::MemberRemoved(person) => {
                self.row(sessions::remove_member(id, *person, self.now));
                self.row(sessions::people_changed(id, self.now));
                self.tell("member.removed", &self.member(*person));
            }
            Fact::RingStarted(ring) => {
                self.row(calls::insert_ring(id, organization, ring, "ringing"));
                self.row(sessions::touch(id, self.now));
                let view = self.ring(ring, None);
                self.tell("ring.started", &view);
                self.tell_person(ring.to.person, "ring.incoming", &view);
            }
            Fact::RingRefused { ring, reach } => {
                let state = if *reach == Reach::Busy { "busy" } else { "unreachable" };
                self.row(calls::insert_ring(id, organization, ring, state));
            }
            Fact::RingEnded { ring, outcome } => {
                self.row_once(calls::end_ring(ring.id, outcome, self.now), RING_OVER);
                self.tell(outcome.event(), &self.ring(ring, Some(outcome)));
                let stopped =
                    RingStopped { request_id: ring.id, session_id: id, cause: outcome.stop_cause() };
                self.tell_person(ring.to.person, "ring.stopped", &stopped);
            }
            Fact::CallOpened { call, dialer } => {
                let thread = self.session.thread.map(|(thread, _)| thread);
                self.row(calls::insert_call(call, id, organization, thread, *dialer, self.now));
            }
            Fact::CallStarted { call, dialer, receiver, owner } => {
                self.row(calls::start_call(call, *receiver, *owner, self.now));
                self.row(sessions::touch(id, self.now));
                let view = CallView {
                    dialer: Some(self.person(*dialer)),
                    receiver: receiver.map(|receiver| self.person(receiver)),
                    owner_id: Some(*owner),
                    ..self.call(call)
                };
                self.tell("call.started", &view);
                self.tell_thread("call.started", &view);
            }
            Fact::Joined { call, who, announced } => {
                self.row_once(calls::enter(call, *who, self.now), BUSY);
                if *announced {
                    self.announce(call, *who);
                }
            }
            Fact::Announced { call, who } => self.announce(call, *who),
            Fact::Left { call, who, reason, present } => {
                self.row_once(calls::leave(call, who.person, *reason, self.now), CALL_OVER);
                let change = CallChange {
                    user: Some(self.person(who.person)),
                    reason: Some(reason.name()),
                    duration: Some(present.as_secs()),
                    ..change(call)
                };
                self.tell("participant.left", &change);
            }
            Fact::CallEnded { call, reason, lasted } => {
                self.row_once(calls::end_call(call, *reason, self.now), CALL_OVER);
                self.row(sessions::touch(id, self.now));
                let view = CallView {
                    reason: Some(reason.name()),
                    duration: Some(lasted.as_secs()),
                    ..self.call(call)
                };
                self.tell("call.ended", &view);
                self.tell_thread("call.ended", &view);
            }
            Fact::CallDropped(call) => calls::drop_call(call).into_iter().for_each(|stmt| self.row(stmt)),
            Fact::OwnerChanged { call, from, to } => {
                self.row(calls::set_owner(call, *to, self.now));
                let change =
                    CallChange { owner_id: Some(*to), previous_owner_id: Some(*from), ..change(call) };
                self.tell("owner.changed", &change);
            }
            Fact::RecordingStarted { call, recording, by } => {
                self.row(calls::set_recording(call, Some(*recording), self.now));
                self.tell("recording.started", &self.recording(call, *recording, *by));
            }
            Fact::RecordingStopped { call, recording, by } => {
                self.row(calls::set_recording(call, None, self.now));
                self.tell("recording.stopped", &self.recording(call, *recording, *by));
            }
        }
    }

    fn announce(&mut self, call: &CallId, who: Who) {
        let change = CallChange { user: Some(self.person(who.person)), ..change(call) };
        self.tell("participant.joined", &change);
    }

    fn row(&mut self, stmt: Stmt) {
        self.append.rows.push(RowOp::exec(stmt));
    }

    /// A row that must be touched, or the whole append is refused: somebody else has been quicker.
    fn row_once(&mut self, stmt: Stmt, otherwise: Refusal) {
        self.append.rows.push(RowOp::exec_one(stmt, otherwise));
    }

    fn event<T: Serialize>(&mut self, stream: StreamId, kind: &'static str, data: &T) {
        let id = self.random.uuid_v7(self.now);
        self.append.events.push(NewEvent::new(stream, kind, id, self.now, self.actor, data));
    }

    fn tell<T: Serialize>(&mut self, kind: &'static str, data: &T) {
        self.event(self.session.stream, kind, data);
    }

    fn tell_person<T: Serialize>(&mut self, person: PersonId, kind: &'static str, data: &T) {
        if let Some(person) = self.session.people.get(&person) {
            self.event(person.stream_id, kind, data);
        }
    }

    fn tell_thread<T: Serialize>(&mut self, kind: &'static str, data: &T) {
        if let Some((_, stream)) = self.session.thread {
            self.event(stream, kind, data);
        }
    }

    fn person(&self, id: PersonId) -> PersonView {
        let name = self.session.people.get(&id).map(|person| person.name().to_owned()).unwrap_or_default();
        PersonView { id, name }
    }

    fn organizers(&self) -> Vec<PersonView> {
        let members = self.session.state.members.iter().filter(|(_, member)| member.organizer);
        members.map(|(person, _)| self.person(*person)).collect()
    }

    fn member(&self, person: PersonId) -> MemberView {
        MemberView {
            session_id: self.session.id,
            workbox_id: self.session.thread.map(|(thread, _)| thread),
            user: self.person(person),
        }
    }

    fn ring(&self, ring: &Ring, outcome: Option<&Outcome>) -> RingView {
        let (reason, message) = match outcome {
            Some(Outcome::Declined { reason, message }) => (Some(reason.number()), message.clone()),
            _ => (None, None),
        };
        let call_id = match outcome {
            Some(Outcome::Accepted { call, .. }) => Some(call.clone()),
            _ => ring.call.clone(),
        };
        RingView {
            request_id: ring.id,
            session_id: self.session.id,
            workbox_id: self.session.thread.map(|(thread, _)| thread),
            call_id,
            from: self.person(ring.from),
            to: self.person(ring.to.person),
            video: ring.video,
            expires_at: ring.expires_at,
            reason,
            message,
        }
    }

    fn call(&self, call: &CallId) -> CallView {
        CallView {
            call_id: call.clone(),
            session_id: self.session.id,
            workbox_id: self.session.thread.map(|(thread, _)| thread),
            dialer: None,
            receiver: None,
            owner_id: None,
            reason: None,
            duration: None,
        }
    }

    fn recording(&self, call: &CallId, recording: Uuid, by: Option<PersonId>) -> CallChange {
        CallChange { recording_id: Some(recording), user: by.map(|by| self.person(by)), ..change(call) }
    }
}

fn change(call: &CallId) -> CallChange {
    CallChange {
        call_id: call.clone(),
        user: None,
        reason: None,
        duration: None,
        owner_id: None,
        previous_owner_id: None,
        recording_id: None,
    }
}
