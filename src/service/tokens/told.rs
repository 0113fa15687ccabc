//! How people learn that tokens of theirs died: `token.revoked` in their inbox.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    base::{clock::Timestamp, random::Random},
    domain::{
        event::{Actor, NewEvent},
        ids::StreamId,
    },
};

/// Why tokens died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A sign-in was ended by its owner.
    SignedOut,
    /// A refresh token came again after its time: it was stolen.
    RefreshReused,
    /// A personal access token was removed.
    Removed,
    /// The password is new: other sign-ins are over.
    PasswordChanged,
    /// The account was switched off.
    Deactivated,
}

/// `data` of the event: which sign-ins are over. Names of sign-ins are no secrets, nobody gets in with one.
#[derive(Serialize)]
struct TokenRevoked<'a> {
    reason: Reason,
    /// All of the person's.
    all: bool,
    /// Those that ended, where not all did.
    sign_ins: &'a [Uuid],
}

/// The event for the inbox `stream`; `sign_ins` that are none mean all of them.
pub fn token_revoked(
    stream: StreamId,
    sign_ins: Option<&[Uuid]>,
    reason: Reason,
    actor: Option<&Actor>,
    random: &Random,
    now: Timestamp,
) -> NewEvent {
    let data = TokenRevoked { reason, all: sign_ins.is_none(), sign_ins: sign_ins.unwrap_or_default() };
    NewEvent::new(stream, "token.revoked", random.uuid_v7(now), now, actor, &data)
}
