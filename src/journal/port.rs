//! What happens right after a commit, wired in `app.rs`: live fan-out and the relay's wake-up.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
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
    /// The publication's `data` as JSON text.
    pub body: Bytes,
}

/// Called once per commit, in commit order, before the waiters are answered. Must not block.
pub trait AfterCommit: Send + Sync + 'static {
    /// All events of the commit; those of one stream are in the order of their offsets.
    fn committed(&self, events: &[CommittedEvent]);
}
