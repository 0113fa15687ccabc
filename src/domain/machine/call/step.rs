//! The transitions.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use super::{
    Call, EndReason, Fact, Input, LeaveReason, Member, Participant, RecordingPolicy, Refusal, State,
};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{CallId, PersonId, RingId},
        machine::ring::{Callee, CancelCause, DeclineReason, Outcome, Reach, Ring, Who},
    },
};

type Facts = Vec<Fact>;

/// Applies `input` at `now`. A refusal leaves the state as it was. What is due by `now` happens at a
/// [`Input::Tick`] only, so a ring can still be accepted between its deadline and the tick.
pub fn step(state: &mut State, input: Input, now: Timestamp) -> Result<Facts, Refusal> {
    let mut facts = Facts::new();
    match input {
        Input::Ring { by, leased, callees, video, invite } => {
            state.ring(by, leased, &callees, video, invite, now, &mut facts)?;
        }
        Input::Accept { by, ring, fresh } => state.accept(by, ring, fresh, now, &mut facts)?,
        Input::Decline { by, ring, reason, message } => {
            state.ring_to(by, ring)?;
            let outcome = match reason {
                DeclineReason::NotAnswered => Outcome::TimedOut,
                reason => Outcome::Declined { reason, message },
            };
            state.end_ring(ring, outcome, &mut facts);
        }
        Input::Cancel { by, ring } => {
            if let Some(ring) = ring {
                let open = state.rings.get(&ring).ok_or(Refusal::RingNotActive)?;
                if open.from != by {
                    return Err(Refusal::RingNotActive);
                }
            }
            let cause = Outcome::Cancelled(CancelCause::Caller);
            state.end_rings(&cause, &mut facts, |open| {
                open.from == by && ring.is_none_or(|ring| ring == open.id)
            });
        }
        Input::Join { by, fresh } => state.join(by, fresh, now, &mut facts)?,
        Input::Leave { by, call } => {
            state.participating(by, &call)?;
            state.take_out(by, LeaveReason::Left, now, &mut facts);
        }
        Input::Renew(person) => state.renew(|candidate| candidate == person, now),
        Input::End { by, call } => {
            let open = state.participating(by, &call)?;
            // Of two people either hangs up; of more only who decides can end it for the others.
            if open.participants.len() > 2 && !open.decides(by) {
                return Err(Refusal::NotOwner);
            }
            state.end_call(EndReason::Ended, now, &mut facts);
        }
        Input::Remove { by, call, person } => {
            let open = state.deciding(by, &call)?;
            if !open.participants.contains_key(&person) {
                return Err(Refusal::CallNotActive);
            }
            open.barred.insert(person);
            state.take_out(person, LeaveReason::Removed, now, &mut facts);
        }
        Input::TransferOwner { by, call, to } => {
            let open = state.deciding(by, &call)?;
            if !open.participants.contains_key(&to) {
                return Err(Refusal::CallNotActive);
            }
            if open.owner != to {
                let from = std::mem::replace(&mut open.owner, to);
                facts.push(Fact::OwnerChanged { call, from, to });
            }
        }
        Input::StartRecording { by, call, recording } => {
            let open = state.recordable(by, &call)?;
            if open.recording.is_none() {
                open.recording = Some(recording);
                facts.push(Fact::RecordingStarted { call, recording, by: Some(by) });
            }
        }
        Input::StopRecording { by, call } => {
            if let Some(recording) = state.recordable(by, &call)?.recording.take() {
                facts.push(Fact::RecordingStopped { call, recording, by: Some(by) });
            }
        }
        Input::AddMember { who, organizer } => state.add_member(who, organizer, &mut facts),
        Input::RemoveMember(person) => state.remove_member(person, now, &mut facts),
        Input::Restarted => {
            state.renew(|_| true, now);
            if let Some(call) = &mut state.call {
                call.note_emptiness(now);
            }
        }
        Input::Tick => state.tick(now, &mut facts),
    }
    Ok(facts)
}

/// When the next [`Input::Tick`] has something to do.
pub fn next_deadline(state: &State) -> Option<Timestamp> {
    let rings = state.rings.values().map(Ring::deadline);
    let call = state.call.iter().flat_map(|call| {
        let leases = call.participants.values().map(|participant| participant.lease_until);
        leases.chain(call.empty_since.map(|since| since.plus(state.timing.empty)))
    });
    rings.chain(call).min()
}

impl State {
    #[expect(clippy::too_many_arguments, reason = "the fields of one input")]
    fn ring(
        &mut self,
        by: Who,
        leased: bool,
        callees: &[Callee],
        video: bool,
        invite: bool,
        now: Timestamp,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        if !self.members.contains_key(&by.person) {
            return Err(Refusal::NotMember);
        }
        if !invite && callees.iter().any(|callee| !self.members.contains_key(&callee.who.person)) {
            return Err(Refusal::NotMember);
        }
        let attending = self.call.as_ref().is_some_and(|call| call.participants.contains_key(&by.person));
        let lease_until = (leased && !attending).then(|| now.plus(self.timing.lease));
        let call = self.running().map(|call| call.id.clone());
        for callee in callees {
            self.add_member(callee.who, false, facts);
            if let Some(open) = self.call.as_mut().filter(|open| open.decides(by.person)) {
                open.barred.remove(&callee.who.person);
            }
            // Who was put out comes back only when somebody who decides wants it.
            let barred = self.call.as_ref().is_some_and(|open| open.barred.contains(&callee.who.person));
            if barred
                || callee.who.login == by.login
                || self.is_in_call(callee.who.login)
                || self.open_ring(by.person, callee.who.person).is_some()
            {
                continue;
            }
            let ring = Ring {
                id: callee.ring,
                from: by.person,
                to: callee.who,
                call: call.clone(),
                video,
                created_at: now,
                expires_at: now.plus(self.timing.ring),
                lease_until,
            };
            facts.push(match callee.reach {
                Reach::Free => {
                    self.rings.insert(ring.id, ring.clone());
                    Fact::RingStarted(ring)
                }
                reach => Fact::RingRefused { ring, reach },
            });
        }
        Ok(())
    }

    fn accept(
        &mut self,
        by: Who,
        ring: RingId,
        fresh: CallId,
        now: Timestamp,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let open = self.ring_to(by, ring)?.clone();
        let caller = self.who(open.from).ok_or(Refusal::RingNotActive)?;
        if self.is_in_call(open.to.login) {
            return Err(Refusal::Busy);
        }
        let call = self.call.as_ref().map_or(fresh, |call| call.id.clone());
        let outcome = Outcome::Accepted { call: call.clone(), answered: true };
        self.end_ring(ring, outcome, facts);
        self.open_call(call, caller, facts);
        if self.running().is_none() {
            if !self.is_in_call(caller.login) {
                self.put_in(caller, now, facts);
            }
            self.put_in(open.to, now, facts);
            self.start_call(Some(open.to.person), now, facts);
        } else {
            self.put_in(open.to, now, facts);
        }
        Ok(())
    }

    fn join(&mut self, by: Who, fresh: CallId, now: Timestamp, facts: &mut Facts) -> Result<(), Refusal> {
        if !self.members.contains_key(&by.person) {
            return Err(Refusal::NotMember);
        }
        if let Some(call) = &self.call {
            if call.participants.contains_key(&by.person) {
                self.renew(|person| person == by.person, now);
                return Ok(());
            }
            if call.barred.contains(&by.person) {
                return Err(Refusal::Barred);
            }
        }
        if self.is_in_call(by.login) {
            return Err(Refusal::Busy);
        }
        self.open_call(fresh, by, facts);
        self.put_in(by, now, facts);
        let waiting = self.call.as_ref().is_some_and(|call| call.started_at.is_none());
        if waiting && self.call.as_ref().is_some_and(|call| call.participants.len() > 1) {
            self.start_call(None, now, facts);
        }
        Ok(())
    }

    /// Makes the call exist, with nobody in it yet.
    fn open_call(&mut self, id: CallId, dialer: Who, facts: &mut Facts) {
        if self.call.is_some() {
            return;
        }
        facts.push(Fact::CallOpened { call: id.clone(), dialer: dialer.person });
        self.call = Some(Call {
            id,
            dialer: dialer.person,
            owner: dialer.person,
            started_at: None,
            participants: BTreeMap::new(),
            earlier: BTreeMap::new(),
            barred: BTreeSet::new(),
            empty_since: None,
            recording: None,
        });
    }

    /// Adds a participant to the open call and settles what rings for, or from, that person.
    fn put_in(&mut self, who: Who, now: Timestamp, facts: &mut Facts) {
        let Some(call) = &mut self.call else { return };
        let participant =
            Participant { login: who.login, joined_at: now, lease_until: now.plus(self.timing.lease) };
        call.participants.insert(who.person, participant);
        call.note_emptiness(now);
        let (id, announced) = (call.id.clone(), call.started_at.is_some());
        facts.push(Fact::Joined { call: id.clone(), who, announced });
        // From now on the lease in the call says whether a caller is there.
        for ring in self.rings.values_mut().filter(|ring| ring.from == who.person) {
            ring.lease_until = None;
        }
        if announced {
            self.settle_rings_to_participants(&id, facts);
        }
    }

    fn start_call(&mut self, receiver: Option<PersonId>, now: Timestamp, facts: &mut Facts) {
        let Some(call) = &mut self.call else { return };
        call.started_at = Some(now);
        // Who came first and waited is the owner, unless only the other one is an organiser of the session.
        if receiver.is_none() && !self.members.get(&call.owner).is_some_and(|member| member.organizer) {
            let organizer = call
                .participants
                .keys()
                .find(|person| self.members.get(*person).is_some_and(|member| member.organizer));
            call.owner = organizer.copied().unwrap_or(call.owner);
        }
        let (id, dialer, owner) = (call.id.clone(), call.dialer, call.owner);
        facts.push(Fact::CallStarted { call: id.clone(), dialer, receiver, owner });
        for (person, participant) in &call.participants {
            let who = Who { person: *person, login: participant.login };
            facts.push(Fact::Announced { call: id.clone(), who });
        }
        call.note_emptiness(now);
        if self.policy != RecordingPolicy::OptIn {
            // The first recording of a call is known by the call's own UUID.
            let recording = call.id.0.trim_start_matches("call_").parse().unwrap_or_default();
            call.recording = Some(recording);
            facts.push(Fact::RecordingStarted { call: id.clone(), recording, by: None });
        }
        self.settle_rings_to_participants(&id, facts);
    }

    /// Whoever is in the call needs no more ringing.
    fn settle_rings_to_participants(&mut self, call: &CallId, facts: &mut Facts) {
        let inside: Vec<PersonId> = self.logins_in_call().collect();
        let outcome = Outcome::Accepted { call: call.clone(), answered: false };
        self.end_rings(&outcome, facts, |ring| inside.contains(&ring.to.login));
    }

    fn take_out(&mut self, person: PersonId, reason: LeaveReason, now: Timestamp, facts: &mut Facts) {
        let Some(call) = &mut self.call else { return };
        let Some(participant) = call.participants.remove(&person) else { return };
        let who = Who { person, login: participant.login };
        let earlier = call.earlier.get(&person).copied().unwrap_or(Duration::ZERO);
        let present = earlier + now.since(participant.joined_at);
        call.earlier.insert(person, present);
        call.note_emptiness(now);
        let (id, deserted) = (call.id.clone(), call.started_at.is_none() && call.participants.is_empty());
        self.end_rings(&Outcome::Cancelled(CancelCause::Caller), facts, |ring| ring.from == person);
        if deserted {
            self.call = None;
            facts.push(Fact::CallDropped(id));
        } else {
            facts.push(Fact::Left { call: id, who, reason, present });
        }
    }

    fn end_call(&mut self, reason: EndReason, now: Timestamp, facts: &mut Facts) {
        let Some(call) = self.call.take() else { return };
        self.end_rings(&Outcome::Cancelled(CancelCause::CallEnded), facts, |_| true);
        let Some(started_at) = call.started_at else {
            facts.push(Fact::CallDropped(call.id));
            return;
        };
        if let Some(recording) = call.recording {
            facts.push(Fact::RecordingStopped { call: call.id.clone(), recording, by: None });
        }
        for (person, participant) in &call.participants {
            let earlier = call.earlier.get(person).copied().unwrap_or(Duration::ZERO);
            facts.push(Fact::Left {
                call: call.id.clone(),
                who: Who { person: *person, login: participant.login },
                reason: LeaveReason::Ended,
                present: earlier + now.since(participant.joined_at),
            });
        }
        facts.push(Fact::CallEnded { call: call.id, reason, lasted: now.since(started_at) });
    }

    fn add_member(&mut self, who: Who, organizer: bool, facts: &mut Facts) {
        match self.members.get(&who.person) {
            None => facts.push(Fact::MemberAdded { who, organizer }),
            Some(member) if organizer && !member.organizer => facts.push(Fact::OrganizerAdded(who)),
            Some(_) => return,
        }
        self.members.insert(who.person, Member { login: who.login, organizer });
    }

    fn remove_member(&mut self, person: PersonId, now: Timestamp, facts: &mut Facts) {
        if self.members.remove(&person).is_none() {
            return;
        }
        self.end_rings(&Outcome::Cancelled(CancelCause::Removed), facts, |ring| {
            ring.from == person || ring.to.person == person
        });
        self.take_out(person, LeaveReason::Removed, now, facts);
        facts.push(Fact::MemberRemoved(person));
    }

    fn tick(&mut self, now: Timestamp, facts: &mut Facts) {
        let due: Vec<(RingId, Outcome)> = self
            .rings
            .values()
            .filter(|ring| ring.deadline() <= now)
            .map(|ring| {
                let gone = ring.lease_until.is_some_and(|lease| lease < ring.expires_at);
                (ring.id, if gone { Outcome::Cancelled(CancelCause::Caller) } else { Outcome::TimedOut })
            })
            .collect();
        for (ring, outcome) in due {
            self.end_ring(ring, outcome, facts);
        }
        let lost: Vec<PersonId> = self
            .call
            .iter()
            .flat_map(|call| &call.participants)
            .filter(|(_, participant)| participant.lease_until <= now)
            .map(|(person, _)| *person)
            .collect();
        for person in lost {
            self.take_out(person, LeaveReason::Lost, now, facts);
        }
        let over = self.call.as_ref().and_then(|call| call.empty_since);
        if over.is_some_and(|since| since.plus(self.timing.empty) <= now) {
            self.end_call(EndReason::Empty, now, facts);
        }
    }

    fn renew(&mut self, whose: impl Fn(PersonId) -> bool, now: Timestamp) {
        let until = now.plus(self.timing.lease);
        for (person, participant) in self.call.iter_mut().flat_map(|call| &mut call.participants) {
            if whose(*person) {
                participant.lease_until = until;
            }
        }
        for ring in self.rings.values_mut().filter(|ring| whose(ring.from)) {
            ring.lease_until = ring.lease_until.map(|_| until);
        }
    }

    fn end_ring(&mut self, ring: RingId, outcome: Outcome, facts: &mut Facts) {
        if let Some(ring) = self.rings.remove(&ring) {
            facts.push(Fact::RingEnded { ring, outcome });
        }
    }

    fn end_rings(&mut self, outcome: &Outcome, facts: &mut Facts, which: impl Fn(&Ring) -> bool) {
        let ids: Vec<RingId> = self.rings.values().filter(|ring| which(ring)).map(|ring| ring.id).collect();
        for id in ids {
            self.end_ring(id, outcome.clone(), facts);
        }
    }

    /// The open ring, if it is for this human being.
    fn ring_to(&self, by: Who, ring: RingId) -> Result<&Ring, Refusal> {
        self.rings.get(&ring).filter(|ring| ring.to.login == by.login).ok_or(Refusal::RingNotActive)
    }

    fn who(&self, person: PersonId) -> Option<Who> {
        self.members.get(&person).map(|member| Who { person, login: member.login })
    }

    fn logins_in_call(&self) -> impl Iterator<Item = PersonId> + '_ {
        self.call.iter().flat_map(|call| call.participants.values().map(|participant| participant.login))
    }

    fn is_in_call(&self, login: PersonId) -> bool {
        self.logins_in_call().any(|present| present == login)
    }

    fn participating(&mut self, person: PersonId, call: &CallId) -> Result<&mut Call, Refusal> {
        self.call
            .as_mut()
            .filter(|open| open.id == *call && open.participants.contains_key(&person))
            .ok_or(Refusal::CallNotActive)
    }

    fn deciding(&mut self, person: PersonId, call: &CallId) -> Result<&mut Call, Refusal> {
        let open = self.participating(person, call)?;
        if open.decides(person) { Ok(open) } else { Err(Refusal::NotOwner) }
    }

    fn recordable(&mut self, person: PersonId, call: &CallId) -> Result<&mut Call, Refusal> {
        if self.policy == RecordingPolicy::AlwaysOn {
            return Err(Refusal::RecordingFixed);
        }
        let open = self.deciding(person, call)?;
        if open.started_at.is_some() { Ok(open) } else { Err(Refusal::CallNotActive) }
    }
}

impl Call {
    /// Keeps `empty_since` true to the number of participants.
    fn note_emptiness(&mut self, now: Timestamp) {
        let empty = self.started_at.is_some() && self.participants.len() < 2;
        self.empty_since = match (empty, self.empty_since) {
            (true, since) => Some(since.unwrap_or(now)),
            (false, _) => None,
        };
    }
}
