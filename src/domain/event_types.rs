//! Every type of event, and the streams that carry it (contract: REALTIME section 3). The AsyncAPI document is made
//! from this table, and nothing that is missing here can be published.

use super::event::StreamKind;

/// A type of event.
#[derive(Clone, Copy, Debug)]
pub struct EventType {
    /// Its name: `type` of the publication, end of the NATS subject.
    pub name: &'static str,
    /// Kinds of the streams that carry it.
    pub streams: &'static [StreamKind],
    /// False for what is passed on without being stored: dropped first when a queue fills.
    pub stored: bool,
    /// What it tells.
    pub doc: &'static str,
}

/// The type of that name.
pub fn by_name(name: &str) -> Option<&'static EventType> {
    EVENT_TYPES.iter().find(|known| known.name == name)
}

const USER: &[StreamKind] = &[StreamKind::User];
const ORG: &[StreamKind] = &[StreamKind::Org];
const SESSION: &[StreamKind] = &[StreamKind::Session];
const WORKBOX: &[StreamKind] = &[StreamKind::Workbox];
const THREAD: &[StreamKind] = &[StreamKind::Workbox, StreamKind::Internal];
const WORKBOX_USER: &[StreamKind] = &[StreamKind::Workbox, StreamKind::User];
const WORKBOX_SESSION: &[StreamKind] = &[StreamKind::Workbox, StreamKind::Session];
const THREAD_SESSION: &[StreamKind] = &[StreamKind::Workbox, StreamKind::Internal, StreamKind::Session];

macro_rules! event_types {
    ($($stored:ident { $($name:literal in $streams:ident: $doc:literal;)+ })+) => {
        /// All of them.
        pub const EVENT_TYPES: &[EventType] = &[$($(EventType {
            name: $name,
            streams: $streams,
            stored: event_types!(@ $stored),
            doc: $doc,
        },)+)+];
    };
    (@ stored) => { true };
    (@ ephemeral) => { false };
}

event_types! {
    stored {
        "workbox.created" in WORKBOX: "A help thread was opened.";
        "workbox.updated" in WORKBOX: "Fields of the thread changed; `data.changed` names them.";
        "workbox.assigned" in WORKBOX_USER: "Somebody works on the thread now; on a person's stream it is they.";
        "workbox.unassigned" in WORKBOX: "Nobody works on the thread any more.";
        "workbox.closed" in WORKBOX: "The thread was closed.";
        "workbox.reopened" in WORKBOX: "The thread was opened again.";
        "participant.added" in WORKBOX: "Somebody came into the thread.";
        "participant.removed" in WORKBOX: "Somebody left the thread or was taken out.";
        "guest.invited" in WORKBOX: "A guest got a link.";
        "guest.joined" in WORKBOX: "A guest opened the link.";
        "guest.revoked" in WORKBOX: "A guest's link was taken back.";
        "message.created" in THREAD_SESSION: "A message; on a session's stream one sent in a call.";
        "message.edited" in THREAD: "A message says something else now.";
        "message.deleted" in THREAD: "A message lost its content.";
        "receipt.updated" in THREAD: "Watermarks of participants grew.";
        "procedure.updated" in WORKBOX: "A procedure of the thread moved on.";
        "attachment.created" in THREAD_SESSION: "A file was added.";
        "attachment.deleted" in THREAD_SESSION: "A file was removed.";
        "call.started" in WORKBOX_SESSION: "A call began.";
        "call.ended" in WORKBOX_SESSION: "A call is over.";
        "call.updated" in SESSION: "Tags, comments or rating of a call changed.";
        "session.created" in SESSION: "People can talk here.";
        "session.updated" in SESSION: "Fields of the session changed.";
        "member.added" in SESSION: "Somebody became a member.";
        "member.removed" in SESSION: "Somebody is a member no more.";
        "ring.started" in SESSION: "Somebody is rung.";
        "ring.accepted" in SESSION: "The ring was answered.";
        "ring.declined" in SESSION: "The ring was turned down.";
        "ring.cancelled" in SESSION: "The caller gave up.";
        "ring.timed_out" in SESSION: "Nobody answered in time.";
        "participant.joined" in SESSION: "Somebody is in the call.";
        "participant.left" in SESSION: "Somebody is out of the call; `data.reason` says why.";
        "participant.updated" in SESSION: "Something about a participant changed.";
        "owner.changed" in SESSION: "Somebody else owns the call.";
        "recording.started" in SESSION: "The call is recorded.";
        "recording.stopped" in SESSION: "The call is not recorded any more.";
        "recording.ready" in SESSION: "The recording can be downloaded.";
        "ring.incoming" in USER: "Somebody rings.";
        "ring.stopped" in USER: "A device stops ringing; `data.cause` says why.";
        "workbox.added" in USER: "The person came into a thread.";
        "workbox.removed" in USER: "The person is out of a thread.";
        "session.added" in USER: "The person became a member of a session.";
        "token.revoked" in USER: "A sign-in of the person was ended.";
        "user.created" in ORG: "An account was made.";
        "user.updated" in ORG: "An account changed.";
        "user.deleted" in ORG: "An account was removed.";
    }
    ephemeral {
        "typing" in THREAD_SESSION: "Somebody writes.";
        "signal" in SESSION: "WebRTC signalling for one participant.";
        "pointer" in SESSION: "Somebody points.";
        "annotation" in SESSION: "Somebody draws.";
        "freeze" in SESSION: "The picture stands still.";
        "unread" in USER: "Unread messages of a thread; joined when many come at once.";
        "presence" in USER: "Somebody who matters to the person came or went.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_served_kind_of_stream_has_types() {
        let names: BTreeSet<_> = EVENT_TYPES.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), EVENT_TYPES.len());
        for kind in StreamKind::ALL {
            assert!(EVENT_TYPES.iter().any(|known| known.stored && known.streams.contains(kind)), "{kind:?}");
        }
    }
}
