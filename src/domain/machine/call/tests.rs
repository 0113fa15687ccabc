//! Stories told step by step, then arbitrary ones under a virtual clock with everything that must hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::machine::ring::CancelCause;

const ANN: PersonId = PersonId(1);
const BEN: PersonId = PersonId(2);
const CARL: PersonId = PersonId(3);
/// Another face of Ben.
const BENEDICT: PersonId = PersonId(4);
const PEOPLE: [PersonId; 4] = [ANN, BEN, CARL, BENEDICT];

fn who(person: PersonId) -> Who {
    Who { person, login: if person == BENEDICT { BEN } else { person } }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_000 + seconds)
}

fn ring_id(number: u128) -> RingId {
    RingId(Uuid::from_u128(number))
}

fn call_id(number: u128) -> CallId {
    CallId::from_uuid(Uuid::from_u128(number))
}

/// A session of Ann (organiser), Ben and Carl.
fn session() -> State {
    let mut state = State::default();
    for person in [ANN, BEN, CARL] {
        state.members.insert(person, Member { login: person, organizer: person == ANN });
    }
    state
}

fn callee(person: PersonId, number: u128) -> Callee {
    Callee { who: who(person), ring: ring_id(number), reach: Reach::Free }
}

fn ring(by: PersonId, callees: Vec<Callee>) -> Input {
    Input::Ring { by: who(by), leased: true, callees, video: true, invite: false }
}

fn accept(by: PersonId, number: u128) -> Input {
    Input::Accept { by: who(by), ring: ring_id(number), fresh: call_id(number) }
}

fn join(by: PersonId, number: u128) -> Input {
    Input::Join { by: who(by), fresh: call_id(number) }
}

fn outcomes(facts: &[Fact]) -> Vec<(RingId, &'static str, &'static str)> {
    let ended = facts.iter().filter_map(|fact| match fact {
        Fact::RingEnded { ring, outcome } => Some((ring.id, outcome.state(), outcome.stop_cause())),
        _ => None,
    });
    ended.collect()
}

fn has(facts: &[Fact], which: impl Fn(&Fact) -> bool) -> bool {
    facts.iter().any(which)
}

#[test]
fn first_accept_starts_the_call_and_second_is_refused() {
    let mut state = session();
    step(&mut state, ring(ANN, vec![callee(BEN, 1), callee(CARL, 2)]), at(0)).unwrap();
    let facts = step(&mut state, accept(BEN, 1), at(3)).unwrap();
    assert_eq!(outcomes(&facts), [(ring_id(1), "accepted", "accepted_elsewhere")]);
    assert!(has(&facts, |f| matches!(
        f,
        Fact::CallStarted { dialer: ANN, receiver: Some(BEN), owner: ANN, .. }
    )));
    assert_eq!(step(&mut state, accept(BEN, 1), at(3)), Err(Refusal::RingNotActive));
    // Carl's ring goes on, into the running call.
    let facts = step(&mut state, accept(CARL, 2), at(5)).unwrap();
    assert!(!has(&facts, |f| matches!(f, Fact::CallStarted { .. })));
    assert_eq!(state.running().unwrap().participants.len(), 3);
}

#[test]
fn any_face_of_the_person_answers_for_the_rung_one() {
    let mut state = session();
    step(&mut state, ring(ANN, vec![callee(BEN, 1)]), at(0)).unwrap();
    step(&mut state, accept(BENEDICT, 1), at(1)).unwrap();
    assert!(state.running().unwrap().participants.contains_key(&BEN));
}

#[test]
fn a_ring_runs_out_after_forty_seconds() {
    let mut state = session();
    let by_rest = Input::Ring {
        by: who(ANN),
        leased: false,
        callees: vec![callee(BEN, 1)],
        video: true,
        invite: false,
    };
    step(&mut state, by_rest, at(0)).unwrap();
    assert_eq!(next_deadline(&state), Some(at(40)));
    assert_eq!(step(&mut state, Input::Tick, at(39)).unwrap(), []);
    let facts = step(&mut state, Input::Tick, at(40)).unwrap();
    assert_eq!(outcomes(&facts), [(ring_id(1), "timed_out", "timed_out")]);
    assert!(state.is_quiet());
}

#[test]
fn a_lost_caller_takes_its_rings_along() {
    let mut state = session();
    step(&mut state, ring(ANN, vec![callee(BEN, 1)]), at(0)).unwrap();
    step(&mut state, Input::Renew(ANN), at(5)).unwrap();
    assert_eq!(next_deadline(&state), Some(at(13)));
    let facts = step(&mut state, Input::Tick, at(13)).unwrap();
    assert_eq!(outcomes(&facts), [(ring_id(1), "cancelled", "cancelled")]);
}

#[test]
fn only_who_can_be_rung_is_rung() {
    let mut state = session();
    let mut busy = callee(BEN, 1);
    busy.reach = Reach::Busy;
    let mut away = callee(CARL, 2);
    away.reach = Reach::Unreachable;
    let facts = step(&mut state, ring(ANN, vec![busy, away]), at(0)).unwrap();
    let refused: Vec<Reach> = facts
        .iter()
        .filter_map(|f| if let Fact::RingRefused { reach, .. } = f { Some(*reach) } else { None })
        .collect();
    assert_eq!(refused, [Reach::Busy, Reach::Unreachable]);
    assert!(state.is_quiet());
}

#[test]
fn ringing_again_keeps_the_open_request() {
    let mut state = session();
    step(&mut state, ring(ANN, vec![callee(BEN, 1)]), at(0)).unwrap();
    assert_eq!(step(&mut state, ring(ANN, vec![callee(BEN, 2)]), at(1)).unwrap(), []);
    assert_eq!(state.open_ring(ANN, BEN).unwrap().id, ring_id(1));
}

#[test]
fn two_who_ring_each_other_meet() {
    let mut state = session();
    step(&mut state, ring(ANN, vec![callee(BEN, 1)]), at(0)).unwrap();
    step(&mut state, ring(BEN, vec![callee(ANN, 2)]), at(1)).unwrap();
    let facts = step(&mut state, accept(BEN, 1), at(2)).unwrap();
    assert_eq!(
        outcomes(&facts),
        [(ring_id(1), "accepted", "accepted_elsewhere"), (ring_id(2), "accepted", "accepted")]
    );
}

#[test]
fn the_second_join_starts_the_call_and_a_lone_one_leaves_no_trace() {
    let mut state = session();
    let facts = step(&mut state, join(BEN, 1), at(0)).unwrap();
    assert!(!has(&facts, |f| matches!(f, Fact::CallStarted { .. })));
    let facts = step(&mut state, Input::Tick, at(8)).unwrap();
    assert_eq!(facts, [Fact::CallDropped(call_id(1))]);
    step(&mut state, join(BEN, 2), at(9)).unwrap();
    let facts = step(&mut state, join(ANN, 3), at(10)).unwrap();
    // Ben came first, but the session is Ann's.
    assert!(has(&facts, |f| matches!(f, Fact::CallStarted { dialer: BEN, owner: ANN, .. })));
    assert_eq!(state.running().unwrap().id, call_id(2));
}

#[test]
fn a_reconnect_within_the_lease_is_no_leave_and_silence_is() {
    let mut state = session();
    step(&mut state, join(ANN, 1), at(0)).unwrap();
    step(&mut state, join(BEN, 2), at(0)).unwrap();
    assert_eq!(step(&mut state, join(BEN, 3), at(7)).unwrap(), []);
    step(&mut state, Input::Renew(ANN), at(7)).unwrap();
    step(&mut state, Input::Renew(ANN), at(14)).unwrap();
    let facts = step(&mut state, Input::Tick, at(15)).unwrap();
    assert!(has(&facts, |f| matches!(f, Fact::Left { reason: LeaveReason::Lost, .. })));
    // Ten seconds alone, then the call is over.
    step(&mut state, Input::Renew(ANN), at(20)).unwrap();
    assert_eq!(next_deadline(&state), Some(at(25)));
    let facts = step(&mut state, Input::Tick, at(25)).unwrap();
    assert!(has(&facts, |f| matches!(f, Fact::CallEnded { reason: EndReason::Empty, .. })));
    assert!(has(&facts, |f| matches!(
        f,
        Fact::Left { who: Who { person: ANN, .. }, reason: LeaveReason::Ended, .. }
    )));
}

#[test]
fn coming_back_continues_the_sum_of_stretches() {
    let mut state = session();
    step(&mut state, join(ANN, 1), at(0)).unwrap();
    step(&mut state, join(BEN, 2), at(0)).unwrap();
    step(&mut state, Input::Leave { by: BEN, call: call_id(1) }, at(4)).unwrap();
    let facts = step(&mut state, join(BEN, 3), at(6)).unwrap();
    assert!(has(&facts, |f| matches!(f, Fact::Joined { announced: true, .. })));
    let facts = step(&mut state, Input::End { by: BEN, call: call_id(1) }, at(10)).unwrap();
    let present = Duration::from_secs(8);
    assert!(has(
        &facts,
        |f| matches!(f, Fact::Left { who: Who { person: BEN, .. }, present: p, .. } if *p == present)
    ));
}

#[test]
fn only_the_owner_decides_while_there() {
    let mut state = session();
    for (person, number) in [(ANN, 1), (BEN, 2), (CARL, 3)] {
        step(&mut state, join(person, number), at(0)).unwrap();
    }
    let call = call_id(1);
    let remove = |by, person| Input::Remove { by, call: call_id(1), person };
    assert_eq!(step(&mut state, remove(BEN, CARL), at(1)), Err(Refusal::NotOwner));
    assert_eq!(step(&mut state, Input::End { by: BEN, call: call.clone() }, at(1)), Err(Refusal::NotOwner));
    step(&mut state, remove(ANN, CARL), at(1)).unwrap();
    assert_eq!(step(&mut state, join(CARL, 4), at(2)), Err(Refusal::Barred));
    // Ben's ring does not lift what Ann decided; Ann's does.
    assert_eq!(step(&mut state, ring(BEN, vec![callee(CARL, 5)]), at(2)).unwrap(), []);
    step(&mut state, ring(ANN, vec![callee(CARL, 6)]), at(2)).unwrap();
    step(&mut state, accept(CARL, 6), at(3)).unwrap();
    step(&mut state, Input::TransferOwner { by: ANN, call: call.clone(), to: BEN }, at(3)).unwrap();
    assert_eq!(step(&mut state, Input::End { by: ANN, call: call.clone() }, at(3)), Err(Refusal::NotOwner));
    step(&mut state, Input::Leave { by: BEN, call: call.clone() }, at(4)).unwrap();
    // The owner has left: who remains decides.
    step(&mut state, Input::End { by: CARL, call }, at(4)).unwrap();
    assert!(state.is_quiet());
}

#[test]
fn the_policy_turns_recording_on_and_may_fix_it() {
    let mut state = session();
    state.policy = RecordingPolicy::AlwaysOn;
    step(&mut state, join(ANN, 1), at(0)).unwrap();
    let facts = step(&mut state, join(BEN, 2), at(0)).unwrap();
    assert!(has(&facts, |f| matches!(f, Fact::RecordingStarted { by: None, .. })));
    let stop = Input::StopRecording { by: ANN, call: call_id(1) };
    assert_eq!(step(&mut state, stop, at(1)), Err(Refusal::RecordingFixed));
    let facts = step(&mut state, Input::End { by: ANN, call: call_id(1) }, at(2)).unwrap();
    assert!(has(&facts, |f| matches!(f, Fact::RecordingStopped { by: None, .. })));
}

#[test]
fn a_restart_gives_fresh_leases_and_keeps_deadlines() {
    let mut state = session();
    step(&mut state, ring(ANN, vec![callee(CARL, 9)]), at(0)).unwrap();
    step(&mut state, join(ANN, 1), at(0)).unwrap();
    step(&mut state, join(BEN, 2), at(1)).unwrap();
    step(&mut state, Input::Restarted, at(30)).unwrap();
    assert_eq!(step(&mut state, Input::Tick, at(37)).unwrap(), []);
    assert_eq!(next_deadline(&state), Some(at(38)));
    step(&mut state, Input::Renew(ANN), at(37)).unwrap();
    step(&mut state, Input::Renew(BEN), at(37)).unwrap();
    let facts = step(&mut state, Input::Tick, at(40)).unwrap();
    assert_eq!(outcomes(&facts), [(ring_id(9), "timed_out", "timed_out")]);
}

#[test]
fn a_removed_member_leaves_everything() {
    let mut state = session();
    step(&mut state, join(ANN, 1), at(0)).unwrap();
    step(&mut state, join(BEN, 2), at(0)).unwrap();
    step(&mut state, ring(BEN, vec![callee(CARL, 5)]), at(1)).unwrap();
    let facts = step(&mut state, Input::RemoveMember(BEN), at(2)).unwrap();
    assert!(has(&facts, |f| matches!(f, Fact::Left { reason: LeaveReason::Removed, .. })));
    assert!(has(&facts, |f| matches!(
        f,
        Fact::RingEnded { outcome: Outcome::Cancelled(CancelCause::Removed), .. }
    )));
    assert_eq!(step(&mut state, join(BEN, 3), at(3)), Err(Refusal::NotMember));
}

/// What the outside does; people and rings by number, so that the cases shrink well.
#[derive(Clone, Debug)]
enum Move {
    Ring(usize, Vec<(usize, u8)>, bool, bool),
    Accept(usize, usize),
    Decline(usize, usize, i64),
    Cancel(usize, Option<usize>),
    Join(usize),
    Leave(usize),
    Renew(usize),
    End(usize),
    Remove(usize, usize),
    Transfer(usize, usize),
    Record(usize, bool),
    AddMember(usize),
    RemoveMember(usize),
    Restarted,
}

fn moves() -> impl Strategy<Value = Vec<(u64, Move)>> {
    let person = 0..PEOPLE.len();
    let one = prop_oneof![
        4 => (person.clone(), prop::collection::vec((person.clone(), 0_u8..6), 0..4), any::<bool>(), any::<bool>())
            .prop_map(|(by, callees, leased, invite)| Move::Ring(by, callees, leased, invite)),
        4 => (person.clone(), 0..8_usize).prop_map(|(by, ring)| Move::Accept(by, ring)),
        1 => (person.clone(), 0..8_usize, 0..4_i64).prop_map(|(by, ring, why)| Move::Decline(by, ring, why)),
        1 => (person.clone(), prop::option::of(0..8_usize)).prop_map(|(by, ring)| Move::Cancel(by, ring)),
        3 => person.clone().prop_map(Move::Join),
        1 => person.clone().prop_map(Move::Leave),
        8 => person.clone().prop_map(Move::Renew),
        1 => person.clone().prop_map(Move::End),
        1 => (person.clone(), person.clone()).prop_map(|(by, whom)| Move::Remove(by, whom)),
        1 => (person.clone(), person.clone()).prop_map(|(by, to)| Move::Transfer(by, to)),
        1 => (person.clone(), any::<bool>()).prop_map(|(by, on)| Move::Record(by, on)),
        1 => person.clone().prop_map(Move::AddMember),
        1 => person.prop_map(Move::RemoveMember),
        1 => Just(Move::Restarted),
    ];
    prop::collection::vec((0_u64..6_000, one), 1..60)
}

/// What the facts have told so far: the check on the state.
#[derive(Default)]
struct Told {
    rings: BTreeMap<RingId, bool>,
    inside: BTreeSet<PersonId>,
    announced: BTreeSet<PersonId>,
    open: Option<CallId>,
    started: bool,
    seen: BTreeMap<PersonId, Timestamp>,
}

impl Told {
    fn take(&mut self, facts: &[Fact], now: Timestamp) {
        for fact in facts {
            match fact {
                Fact::RingStarted(ring) => assert!(self.rings.insert(ring.id, true).is_none()),
                Fact::RingEnded { ring, .. } => {
                    assert_eq!(self.rings.insert(ring.id, false), Some(true), "one outcome per ring");
                }
                Fact::CallOpened { call, .. } => {
                    assert!(self.open.replace(call.clone()).is_none());
                }
                Fact::CallStarted { call, .. } => {
                    assert_eq!(self.open.as_ref(), Some(call));
                    assert!(!std::mem::replace(&mut self.started, true), "a call starts once");
                }
                Fact::Joined { call, who, announced, .. } => {
                    assert_eq!(self.open.as_ref(), Some(call));
                    assert_eq!(*announced, self.started);
                    assert!(self.inside.insert(who.person), "one stretch at a time");
                    assert!(!announced || self.announced.insert(who.person));
                    self.seen.insert(who.person, now);
                }
                Fact::Announced { who, .. } => assert!(self.announced.insert(who.person)),
                Fact::Left { who, .. } => {
                    assert!(self.inside.remove(&who.person));
                    assert!(self.announced.remove(&who.person), "who left was told of");
                }
                Fact::CallEnded { .. } => {
                    assert!(self.started && self.inside.is_empty());
                    *self = Self { rings: std::mem::take(&mut self.rings), ..Self::default() };
                }
                Fact::CallDropped(_) => {
                    assert!(!self.started && self.announced.is_empty());
                    *self = Self { rings: std::mem::take(&mut self.rings), ..Self::default() };
                }
                _ => {}
            }
        }
    }

    fn agrees_with(&self, state: &State, now: Timestamp) {
        let open: BTreeSet<_> = self.rings.iter().filter(|(_, open)| **open).map(|(id, _)| *id).collect();
        assert_eq!(open, state.rings.keys().copied().collect());
        let inside: BTreeSet<_> =
            state.call.iter().flat_map(|call| call.participants.keys().copied()).collect();
        assert_eq!(self.inside, inside);
        assert_eq!(self.started, state.running().is_some());
        let logins: BTreeSet<_> = inside.iter().map(|person| who(*person).login).collect();
        assert_eq!(logins.len(), inside.len(), "a human being is in the call once");
        for person in &inside {
            assert!(state.members.contains_key(person));
            assert!(now.since(self.seen[person]) < state.timing.lease, "the silent are out");
        }
        for ring in state.rings.values() {
            assert!(now.since(ring.created_at) < state.timing.ring);
            assert!(
                self.announced.is_empty() || !logins.contains(&ring.to.login),
                "who is in needs no ringing"
            );
        }
        if let Some(call) = state.running() {
            assert_eq!(call.empty_since.is_some(), call.participants.len() < 2);
        }
        assert!(next_deadline(state).is_none_or(|due| due > now), "what was due has happened");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_ends_once(moves in moves(), policy in 0..3_usize) {
        let mut state = session();
        state.policy = [RecordingPolicy::OptIn, RecordingPolicy::OptOut, RecordingPolicy::AlwaysOn][policy];
        let mut told = Told::default();
        let mut now = at(0);
        let mut fresh = 100_u128;
        for (millis, one) in moves {
            let target = now.plus(Duration::from_millis(millis));
            while let Some(due) = next_deadline(&state).filter(|due| *due <= target) {
                now = due;
                let facts = step(&mut state, Input::Tick, now).unwrap();
                told.take(&facts, now);
                told.agrees_with(&state, now);
            }
            now = target;
            let before = state.clone();
            let call = state.call.as_ref().map_or_else(|| call_id(7), |call| call.id.clone());
            let nth = |index: usize| state.rings.keys().nth(index).copied().unwrap_or(ring_id(7));
            let mut number = || { fresh += 1; fresh };
            let input = match one {
                Move::Ring(by, callees, leased, invite) => Input::Ring {
                    by: who(PEOPLE[by]),
                    leased,
                    callees: callees.into_iter().map(|(person, reach)| Callee {
                        reach: match reach { 0 => Reach::Busy, 1 => Reach::Unreachable, _ => Reach::Free },
                        ..callee(PEOPLE[person], number())
                    }).collect(),
                    video: true,
                    invite,
                },
                Move::Accept(by, ring) =>
                    Input::Accept { by: who(PEOPLE[by]), ring: nth(ring), fresh: call_id(number()) },
                Move::Decline(by, ring, why) => Input::Decline {
                    by: who(PEOPLE[by]),
                    ring: nth(ring),
                    reason: DeclineReason::by_number(why).unwrap(),
                    message: None,
                },
                Move::Cancel(by, ring) => Input::Cancel { by: PEOPLE[by], ring: ring.map(nth) },
                Move::Join(by) => Input::Join { by: who(PEOPLE[by]), fresh: call_id(number()) },
                Move::Leave(by) => Input::Leave { by: PEOPLE[by], call },
                Move::Renew(by) => Input::Renew(PEOPLE[by]),
                Move::End(by) => Input::End { by: PEOPLE[by], call },
                Move::Remove(by, whom) => Input::Remove { by: PEOPLE[by], call, person: PEOPLE[whom] },
                Move::Transfer(by, to) => Input::TransferOwner { by: PEOPLE[by], call, to: PEOPLE[to] },
                Move::Record(by, true) =>
                    Input::StartRecording { by: PEOPLE[by], call, recording: Uuid::from_u128(number()) },
                Move::Record(by, false) => Input::StopRecording { by: PEOPLE[by], call },
                Move::AddMember(person) => Input::AddMember { who: who(PEOPLE[person]), organizer: false },
                Move::RemoveMember(person) => Input::RemoveMember(PEOPLE[person]),
                Move::Restarted => Input::Restarted,
            };
            // A sign of life is a frame, a join of who is inside, or a restart.
            let alive: Vec<PersonId> = match &input {
                Input::Renew(person) => vec![*person],
                Input::Join { by, .. } => vec![by.person],
                Input::Restarted => PEOPLE.to_vec(),
                _ => Vec::new(),
            };
            for person in alive {
                told.seen.insert(person, now);
            }
            match step(&mut state, input, now) {
                Ok(facts) => told.take(&facts, now),
                Err(_) => prop_assert_eq!(&before, &state, "a refusal changes nothing"),
            }
            told.agrees_with(&state, now);
        }
        // Silence: everything ends by itself, and soon.
        let silence = now;
        while let Some(due) = next_deadline(&state) {
            now = due;
            let facts = step(&mut state, Input::Tick, now).unwrap();
            told.take(&facts, now);
            told.agrees_with(&state, now);
        }
        prop_assert!(state.is_quiet() && told.rings.values().all(|open| !open));
        prop_assert!(now.since(silence) <= state.timing.ring);
    }
}
