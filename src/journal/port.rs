//! What happens right after a commit, wired in `app.rs`: live fan-out and the relay's wake-up.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    base::{clock::Timestamp, trace::Trace},
    domain::ids::{Offset, OrgId, StreamId},
};

/// An event that is durable now.
#[derive(Clone, Debug)]
pub struct CommittedEvent {
    /// Its stream.
    pub stream: StreamId,
    /// The stream's channel, `workbox:42`.
    pub channel: Arc<str>,
    /// The stream's epoch.
    pub epoch: Arc<str>,
    /// Its place in the stream.
    pub offset: Offset,
    /// Whose data it is.
    pub organization: OrgId,
    /// `message.created` and so on.
    pub kind: &'static str,
    /// Its id everywhere.
    pub id: Uuid,
    /// When it happened.
    pub time: Timestamp,
    /// The request it came of.
    pub trace: Option<Trace>,
    /// The publication's `data` as JSON text.
    pub body: Bytes,
}

/// What a commit did to the log.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// New events; those of one stream are in the order of their offsets.
    pub events: Vec<CommittedEvent>,
    /// Streams of which stored events were changed, new ones or old ones. May name a stream more than once.
    pub rewritten: Vec<StreamId>,
}

/// Called once per commit that touched the log, in commit order, before the waiters are answered. Must not block.
pub trait AfterCommit: Send + Sync + 'static {
    /// `commit` is durable.
    fn committed(&self, commit: &Commit);
}
