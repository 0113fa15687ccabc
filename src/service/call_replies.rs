//! What rings and calls answer, made from the state right after a decision.

use serde::{Deserialize, Serialize};

use super::{ice::IceServer, sessions::StreamPosition};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{CallId, ConversationId, PersonId, RingId, SessionId},
        machine::{
            call::{Fact, State},
            ring::{Reach, Who},
        },
    },
    live::call_session::CallSession,
};

/// One request of a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// The request's id.
    pub request_id: RingId,
    /// Who is rung.
    pub user_id: PersonId,
    /// `ringing`, `busy` or `unreachable`.
    pub state: Reached,
}

/// Whether somebody could be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// The person's devices ring.
    Ringing,
    /// The person is in another call.
    Busy,
    /// The person has neither a live connection nor a push device.
    Unreachable,
}

/// Somebody in a call.
#[derive(Clone, Debug, Serialize)]
pub struct Present {
    /// Who.
    pub user_id: PersonId,
    /// The name that others see.
    pub name: String,
    /// Since when.
    pub joined_at: Timestamp,
}

/// A call that the caller is in now. What an idempotency key remembers of it are numbers only.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entered {
    /// The call.
    pub call_id: CallId,
    /// Its session.
    pub session_id: SessionId,
    /// The face that is in it.
    pub user_id: PersonId,
    /// Everything else as of that moment.
    #[serde(skip)]
    pub(super) scene: Scene,
}

/// The call as it was when somebody entered.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub started: bool,
    pub owner: PersonId,
    pub participants: Vec<Present>,
    /// Whoever came in by this very request.
    pub arrived: Vec<Who>,
}

/// Reply of `call.join`.
#[derive(Debug, Serialize)]
pub struct JoinReply {
    /// The call.
    pub call_id: CallId,
    /// Its session.
    pub session_id: SessionId,
    /// False while the caller waits for a second person.
    pub started: bool,
    /// Who decides.
    pub owner_id: PersonId,
    /// Who is in it.
    pub participants: Vec<Present>,
    /// The caller's session token.
    pub token: String,
    /// For `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
    /// How media travels.
    pub media: Media,
    /// Where to subscribe to the session's stream from.
    pub stream: StreamPosition,
}

/// How media travels.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Media {
    /// `p2p`: peers connect to each other, signalled by `call.signal`.
    pub kind: &'static str,
}

/// A ring that rings for somebody now: `data.rings[]` of the connect reply.
#[derive(Debug, Serialize)]
pub struct Incoming {
    /// The request's id.
    pub request_id: RingId,
    /// The session it rings for.
    pub session_id: SessionId,
    /// The help thread of the session.
    pub workbox_id: Option<ConversationId>,
    /// Who rings.
    pub from: PersonView,
    /// Which face is rung.
    pub to: PersonView,
    /// With video.
    pub video: bool,
    /// When it runs out.
    pub expires_at: Timestamp,
}

/// A person by number and name.
#[derive(Debug, Serialize)]
pub struct PersonView {
    /// The number.
    pub id: PersonId,
    /// The name that others see.
    pub name: String,
}

/// The call that somebody is in: `data.active_call` of the connect reply.
#[derive(Debug, Serialize)]
pub struct ActiveCall {
    /// The call.
    pub call_id: CallId,
    /// Its session.
    pub session_id: SessionId,
}

/// What became of the rings to `callees`: begun, refused, or open from before.
pub(super) fn rung(state: &State, by: PersonId, callees: &[PersonId], facts: &[Fact]) -> Vec<Rung> {
    let of = |callee: PersonId| {
        let fresh = facts.iter().find_map(|fact| match fact {
            Fact::RingStarted(ring) if ring.to.person == callee => Some((ring.id, Reached::Ringing)),
            Fact::RingRefused { ring, reach } if ring.to.person == callee => {
                let busy = *reach == Reach::Busy;
                Some((ring.id, if busy { Reached::Busy } else { Reached::Unreachable }))
            }
            _ => None,
        });
        let open = || state.open_ring(by, callee).map(|ring| (ring.id, Reached::Ringing));
        fresh.or_else(open).map(|(request_id, state)| Rung { request_id, user_id: callee, state })
    };
    callees.iter().filter_map(|callee| of(*callee)).collect()
}

pub(super) fn entered(session: &CallSession, login: PersonId, facts: &[Fact]) -> Option<Entered> {
    let call = session.state.call.as_ref()?;
    let (face, _) = call.participants.iter().find(|(_, participant)| participant.login == login)?;
    let participants = call.participants.iter().map(|(person, participant)| Present {
        user_id: *person,
        name: session.people.get(person).map(|person| person.name().to_owned()).unwrap_or_default(),
        joined_at: participant.joined_at,
    });
    let arrived = facts.iter().filter_map(|fact| match fact {
        Fact::Joined { who, .. } => Some(*who),
        _ => None,
    });
    Some(Entered {
        call_id: call.id.clone(),
        session_id: session.id,
        user_id: *face,
        scene: Scene {
            started: call.started_at.is_some(),
            owner: call.owner,
            participants: participants.collect(),
            arrived: arrived.collect(),
        },
    })
}
