//! A ring: one request to one person (contract: REALTIME section 5). Every ring has exactly one outcome.

use crate::{
    base::clock::Timestamp,
    domain::ids::{CallId, PersonId, RingId},
};

/// A person together with the log-in behind the face: being busy is a matter of the log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// The face that acts.
    pub person: PersonId,
    /// The human being.
    pub login: PersonId,
}

/// Whether a person can be rung, as known when the ring is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Has a live connection or a push device, and is in no call.
    Free,
    /// Is in a call of another session.
    Busy,
    /// Has neither a live connection nor a push device.
    Unreachable,
}

/// Somebody who is to be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callee {
    /// Whom.
    pub who: Who,
    /// The request's id, should one be made.
    pub ring: RingId,
    /// Whether ringing makes sense.
    pub reach: Reach,
}

/// An open ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The request's id.
    pub id: RingId,
    /// Who rings.
    pub from: PersonId,
    /// Who is rung.
    pub to: Who,
    /// The running call that it invites into; `None` when there was none yet.
    pub call: Option<CallId>,
    /// With video, or voice only.
    pub video: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it runs out.
    pub expires_at: Timestamp,
    /// End of the caller's lease, where the caller rings over a connection and is in no call yet.
    pub lease_until: Option<Timestamp>,
}

impl Ring {
    /// The moment at which something happens to it by itself.
    pub fn deadline(&self) -> Timestamp {
        self.lease_until.map_or(self.expires_at, |lease| lease.min(self.expires_at))
    }
}

/// Why somebody turned a ring down: the `reason` of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclineReason {
    /// 0: does not want to.
    Declined,
    /// 1: says to be busy.
    Busy,
    /// 2: the app gave up waiting for its person; counts as timed out.
    NotAnswered,
    /// 3: no expert is there.
    NoExpert,
}

impl DeclineReason {
    /// The number on the wire.
    pub const fn number(self) -> i64 {
        match self {
            Self::Declined => 0,
            Self::Busy => 1,
            Self::NotAnswered => 2,
            Self::NoExpert => 3,
        }
    }

    /// The reason of that number.
    pub const fn by_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Declined),
            1 => Some(Self::Busy),
            2 => Some(Self::NotAnswered),
            3 => Some(Self::NoExpert),
            _ => None,
        }
    }
}

/// How a ring ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rung person is in the call. `answered` is false where the person joined by another way while it rang.
    Accepted {
        /// The call.
        call: CallId,
        /// This very ring was answered.
        answered: bool,
    },
    /// Turned down by the rung person.
    Declined {
        /// Why.
        reason: DeclineReason,
        /// What the person wants to tell the caller.
        message: Option<String>,
    },
    /// Taken back, by the caller or because the caller or the call went away.
    Cancelled(CancelCause),
    /// Nobody answered in time.
    TimedOut,
}

/// Why a ring was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelCause {
    /// The caller said so, left, or was lost.
    Caller,
    /// The call that it invited into is over.
    CallEnded,
    /// The caller or the rung person is no longer in the session.
    Removed,
}

impl Outcome {
    /// `ring.state` in the database and the tail of the session's event.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Declined { .. } => "declined",
            Self::Cancelled(_) => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// The session's event.
    pub const fn event(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "ring.accepted",
            Self::Declined { .. } => "ring.declined",
            Self::Cancelled(_) => "ring.cancelled",
            Self::TimedOut => "ring.timed_out",
        }
    }

    /// `cause` of the inbox's `ring.stopped`. All devices of the person read the same event; the one that answered
    /// knows by its reply, so the text is for the others.
    pub const fn stop_cause(&self) -> &'static str {
        match self {
            Self::Accepted { answered: true, .. } => "accepted_elsewhere",
            Self::Accepted { answered: false, .. } => "accepted",
            Self::Declined { .. } => "declined_elsewhere",
            Self::Cancelled(CancelCause::CallEnded) => "call_ended",
            Self::Cancelled(_) => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}
