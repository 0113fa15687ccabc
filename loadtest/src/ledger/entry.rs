//! One thing that was asked for, and whether it was acknowledged.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One thing that was asked for. `at` are microseconds since the epoch. Where `acknowledged` is false the answer never
/// came: it may have happened or not, but not twice.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A message was stored.
    Message {
        /// Its help thread.
        workbox: i64,
        /// Its number.
        id: i64,
        /// The client's name for it.
        uuid: Uuid,
        /// Its place in the stream.
        offset: u64,
        /// Who wrote it.
        person: i64,
        /// A hash of its text.
        text: u64,
        /// When the answer came.
        at: u64,
    },
    /// A message was sent, but the answer never came.
    Tried {
        /// Its help thread.
        workbox: i64,
        /// The client's name for it.
        uuid: Uuid,
        /// When it was given up.
        at: u64,
    },
    /// A message's text was changed.
    Edit {
        /// Its help thread.
        workbox: i64,
        /// Its number.
        id: i64,
        /// A hash of the new text.
        text: u64,
        /// The answer came.
        acknowledged: bool,
        /// When.
        at: u64,
    },
    /// A message was removed.
    Delete {
        /// Its help thread.
        workbox: i64,
        /// Its number.
        id: i64,
        /// The answer came.
        acknowledged: bool,
        /// When.
        at: u64,
    },
    /// Marks of one person.
    Receipt {
        /// The help thread.
        workbox: i64,
        /// Whose.
        person: i64,
        /// Received up to here.
        received: i64,
        /// Read up to here.
        read: i64,
        /// When the answer came.
        at: u64,
    },
    /// A ring came to its end.
    Ring {
        /// Its session.
        session: String,
        /// The request.
        request: Uuid,
        /// accepted, declined or cancelled; "ringing" where only its begin was acknowledged.
        outcome: String,
        /// Who may read the session's stream.
        person: i64,
        /// When.
        at: u64,
    },
    /// People talked in a session.
    Call {
        /// The session.
        session: String,
        /// Who may read its stream.
        person: i64,
        /// When.
        at: u64,
    },
    /// A file was stored.
    Attachment {
        /// The help thread.
        workbox: i64,
        /// Its number.
        id: serde_json::Value,
        /// Its checksum.
        sha256: String,
        /// Its size.
        bytes: u64,
        /// When.
        at: u64,
    },
}
