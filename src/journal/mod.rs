//! The journal: the only way to change a stream.
//!
//! What actors and services want to write arrives as an [`Append`]: events, the rows that belong with them, and guards.
//! The journal takes all that is queued, writes it in one transaction (group commit), hands the committed events to
//! [`AfterCommit`], and only then answers each waiter. Batches form by themselves: while one commit is under way the
//! next gathers; an idle journal writes at once.
//!
//! Promises: an answer `Ok` means durable. Offsets of a stream are 1, 2, 3 ... without a gap. A refused guard rejects
//! its append alone. A failed commit fails every waiter of the batch, and nothing of it is visible.

mod append;
mod batch;
mod fence;
mod heads;
mod metrics;
mod port;
mod read;
mod retention;
mod tails;
mod writer;

pub use append::{Append, Chain, Committed, Guard, MarkerRow, MessageRow, NewStream, Refusal, RowOp};
pub use fence::NodeEpoch;
pub use metrics::JournalMetrics;
pub use port::{AfterCommit, Commit, CommittedEvent};
pub use read::{Position, StoredEvent, position, read_after, read_before};
pub use retention::{Retention, enforce_retention};
pub use tails::{Page, TailOptions, Tails};
pub use writer::{Journal, JournalOptions};

/// The statements of a commit that take many rows at once, for the same tests.
pub fn bulk_statements() -> impl Iterator<Item = &'static crate::store::Bulk> {
    batch::BULK_STATEMENTS.into_iter()
}

/// The texts that PostgreSQL is given instead of several of them.
pub fn joint_texts(dialect: crate::store::Dialect) -> Vec<&'static str> {
    batch::ROWS.texts(dialect)
}

/// Every named statement of the journal, for the tests that prepare and explain each on both engines.
pub fn all_statements() -> impl Iterator<Item = &'static crate::store::Statement> {
    [batch::STATEMENTS, read::STATEMENTS, retention::STATEMENTS].into_iter().flatten()
}
