//! The state machine of one session: its members, what rings, and its call (contract: REALTIME section 5).
//!
//! It promises: every ring ends in exactly one outcome; a call has at most one stretch per person at a time; a call that
//! has started ends; nobody stays in a call beyond the lease; whatever is due at [`next_deadline`] has happened after an
//! [`Input::Tick`] at that time. That a person is in one call at a time *across* sessions is for the commit to check.
//!
//! A call exists from the first join (it then waits for a second person) and starts with the second participant or the
//! first accepted ring. One that ends before it started leaves no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::ring::{Callee, DeclineReason, Outcome, Reach, Ring, Who};
use crate::{
    base::clock::Timestamp,
    domain::ids::{CallId, PersonId, RingId},
};

mod step;
#[cfg(test)]
mod tests;

pub use step::{next_deadline, step};

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A ring that nobody answers.
    pub ring: Duration,
    /// Silence after which a participant, or a caller who rings over a connection, counts as lost.
    pub lease: Duration,
    /// A call with fewer than two participants.
    pub empty: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ring: Duration::from_secs(40), lease: Duration::from_secs(8), empty: Duration::from_secs(10) }
    }
}

/// When a call is recorded, and who decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordingPolicy {
    /// From start to end; nobody can change it.
    AlwaysOn,
    /// Off until the owner turns it on.
    #[default]
    OptIn,
    /// On until the owner turns it off.
    OptOut,
}

impl RecordingPolicy {
    /// The word in tokens and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AlwaysOn => "always_on",
            Self::OptIn => "opt_in",
            Self::OptOut => "opt_out",
        }
    }

    /// The policy of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::AlwaysOn, Self::OptIn, Self::OptOut].into_iter().find(|policy| policy.name() == name)
    }
}

/// A member of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The human being behind it.
    pub login: PersonId,
    /// Owns the session: made it, or was named as its owner.
    pub organizer: bool,
}

/// Somebody who is in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// The human being behind it.
    pub login: PersonId,
    /// Begin of the present stretch.
    pub joined_at: Timestamp,
    /// When silence makes it a loss.
    pub lease_until: Timestamp,
}

/// The open call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// Who rang or came first.
    pub dialer: PersonId,
    /// Who decides about recording, removal and the end.
    pub owner: PersonId,
    /// `None` while one person waits for a second.
    pub started_at: Option<Timestamp>,
    /// Who is in it now.
    pub participants: BTreeMap<PersonId, Participant>,
    /// Who was in it before, with the time of all earlier stretches.
    pub earlier: BTreeMap<PersonId, Duration>,
    /// Who was thrown out and may come back by invitation only.
    pub barred: BTreeSet<PersonId>,
    /// Since when fewer than two have been there (of a started call).
    pub empty_since: Option<Timestamp>,
    /// The running recording.
    pub recording: Option<Uuid>,
}

/// Everything about one session that decisions depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How long things last.
    pub timing: Timing,
    /// Whether calls are recorded.
    pub policy: RecordingPolicy,
    /// The people who can talk.
    pub members: BTreeMap<PersonId, Member>,
    /// What rings now.
    pub rings: BTreeMap<RingId, Ring>,
    /// The call that runs or waits for a second person.
    pub call: Option<Call>,
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// Ring people. With `invite` they become members first.
    Ring {
        /// The caller.
        by: Who,
        /// The caller holds a connection: the rings end when it is lost for a lease.
        leased: bool,
        /// Whom to ring.
        callees: Vec<Callee>,
        /// With video.
        video: bool,
        /// Callees need not be members yet.
        invite: bool,
    },
    /// Answer a ring.
    Accept {
        /// The rung person, by any of its faces.
        by: Who,
        /// Which ring.
        ring: RingId,
        /// The id of the call, should it begin with this.
        fresh: CallId,
    },
    /// Turn a ring down.
    Decline {
        /// The rung person, by any of its faces.
        by: Who,
        /// Which ring.
        ring: RingId,
        /// Why.
        reason: DeclineReason,
        /// A text for the caller.
        message: Option<String>,
    },
    /// Take rings back.
    Cancel {
        /// The caller.
        by: PersonId,
        /// One of them, or all.
        ring: Option<RingId>,
    },
    /// Enter the call, begin to wait for one, or take the place up again after a reconnect.
    Join {
        /// Who.
        by: Who,
        /// The id of the call, should it begin with this.
        fresh: CallId,
    },
    /// Leave the call.
    Leave {
        /// Who.
        by: PersonId,
        /// Which call is meant.
        call: CallId,
    },
    /// A frame of that person's connection arrived.
    Renew(PersonId),
    /// End the call for all.
    End {
        /// Who asks.
        by: PersonId,
        /// Which call is meant.
        call: CallId,
    },
    /// Put somebody out of the call.
    Remove {
        /// Who asks.
        by: PersonId,
        /// Which call is meant.
        call: CallId,
        /// Whom.
        person: PersonId,
    },
    /// Make somebody else the owner of the call.
    TransferOwner {
        /// Who asks.
        by: PersonId,
        /// Which call is meant.
        call: CallId,
        /// To whom.
        to: PersonId,
    },
    /// Begin a recording.
    StartRecording {
        /// Who asks.
        by: PersonId,
        /// Which call is meant.
        call: CallId,
        /// The recording's id.
        recording: Uuid,
    },
    /// End the recording.
    StopRecording {
        /// Who asks.
        by: PersonId,
        /// Which call is meant.
        call: CallId,
    },
    /// Somebody becomes a member.
    AddMember {
        /// Who.
        who: Who,
        /// As one of the owners.
        organizer: bool,
    },
    /// Somebody is no longer a member.
    RemoveMember(PersonId),
    /// The state was loaded after a restart or takeover: leases start anew, deadlines stay.
    Restarted,
    /// Time has passed.
    Tick,
}

/// Why somebody is no longer in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// Left.
    Left,
    /// Was silent for a lease.
    Lost,
    /// Was put out.
    Removed,
    /// The call ended.
    Ended,
}

impl LeaveReason {
    /// `data.reason` of `participant.left`; also `call_participant.leave_reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::Removed => "removed",
            Self::Ended => "ended",
        }
    }
}

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Somebody ended it for all.
    Ended,
    /// Fewer than two were left.
    Empty,
}

impl EndReason {
    /// `call.end_reason` in the database and `data.reason` of `call.ended`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Empty => "empty",
        }
    }
}

/// What has been decided: in the order in which it is stored and told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A new member.
    MemberAdded {
        /// Who.
        who: Who,
        /// As one of the owners.
        organizer: bool,
    },
    /// A member became one of the owners.
    OrganizerAdded(Who),
    /// A member less.
    MemberRemoved(PersonId),
    /// A ring began: the rung person's inbox and the session learn of it.
    RingStarted(Ring),
    /// A person was not rung: remembered for the records, told to the caller by the reply.
    RingRefused {
        /// The ring that did not begin.
        ring: Ring,
        /// Busy or unreachable.
        reach: Reach,
    },
    /// A ring is over.
    RingEnded {
        /// As it was.
        ring: Ring,
        /// How it ended.
        outcome: Outcome,
    },
    /// One person waits for a second: nobody is told, the place is taken.
    CallOpened {
        /// The call to be.
        call: CallId,
        /// Who opened it.
        dialer: PersonId,
    },
    /// The call starts.
    CallStarted {
        /// Its id.
        call: CallId,
        /// Who rang or came first.
        dialer: PersonId,
        /// Whose ring was accepted, if it began so.
        receiver: Option<PersonId>,
        /// Who decides.
        owner: PersonId,
    },
    /// Somebody is in the call. Comes before `CallStarted` for who waits, and is told to others only once it started.
    Joined {
        /// The call.
        call: CallId,
        /// Who.
        who: Who,
        /// The call has started: others are told.
        announced: bool,
    },
    /// Somebody who waited is told to others, now that the call started.
    Announced {
        /// The call.
        call: CallId,
        /// Who.
        who: Who,
    },
    /// Somebody is no longer in the call.
    Left {
        /// The call.
        call: CallId,
        /// Who.
        who: Who,
        /// Why.
        reason: LeaveReason,
        /// Time in the call, all stretches together.
        present: Duration,
    },
    /// The call is over.
    CallEnded {
        /// Its id.
        call: CallId,
        /// Why.
        reason: EndReason,
        /// From start to end.
        lasted: Duration,
    },
    /// The person who waited has gone: the call never was.
    CallDropped(CallId),
    /// The call has another owner.
    OwnerChanged {
        /// The call.
        call: CallId,
        /// Until now.
        from: PersonId,
        /// From now on.
        to: PersonId,
    },
    /// A recording began.
    RecordingStarted {
        /// The call.
        call: CallId,
        /// The recording.
        recording: Uuid,
        /// Who turned it on; `None` = the policy.
        by: Option<PersonId>,
    },
    /// A recording ended.
    RecordingStopped {
        /// The call.
        call: CallId,
        /// The recording.
        recording: Uuid,
        /// Who turned it off; `None` = the call ended.
        by: Option<PersonId>,
    },
}

/// Why an input changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The person is not in the session.
    NotMember,
    /// Answered, taken back or run out before; or another person's ring.
    RingNotActive,
    /// Not the call that runs, or the person is not in it.
    CallNotActive,
    /// Only the owner may.
    NotOwner,
    /// The same human being is in the call by another face.
    Busy,
    /// Was put out of this call.
    Barred,
    /// The policy fixes the recording.
    RecordingFixed,
}

impl State {
    /// The open ring from one person to another.
    pub fn open_ring(&self, from: PersonId, to: PersonId) -> Option<&Ring> {
        self.rings.values().find(|ring| ring.from == from && ring.to.person == to)
    }

    /// The call, if it has started.
    pub fn running(&self) -> Option<&Call> {
        self.call.as_ref().filter(|call| call.started_at.is_some())
    }

    /// True when the person's frames matter: in the call, or ringing over a connection.
    pub fn is_attending(&self, person: PersonId) -> bool {
        self.call.as_ref().is_some_and(|call| call.participants.contains_key(&person))
            || self.rings.values().any(|ring| ring.from == person && ring.lease_until.is_some())
    }

    /// True when nothing rings and no call is open: the session can sleep.
    pub fn is_quiet(&self) -> bool {
        self.rings.is_empty() && self.call.is_none()
    }
}

impl Call {
    /// Whether the person decides: the owner, or anybody who is there while the owner is not.
    pub fn decides(&self, person: PersonId) -> bool {
        self.participants.contains_key(&person)
            && (self.owner == person || !self.participants.contains_key(&self.owner))
    }
}
