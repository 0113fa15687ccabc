//! The only SQL of the product: one text per query for both SQLite and PostgreSQL.
//!
//! - [`sql`] and [`sql_for`] start a [`Stmt`]: bind values, then run it on `&Db`, `&mut Tx`, or a connection for reads.
//! - [`Db`] is one database, [`Tx`] one transaction that must be committed; dropping it undoes it.
//! - [`ids::Ids`] hands out integer ids from memory.
//! - One file per aggregate holds its row structs, its plain async functions and its `statements!` list.
//!
//! Promises: what is absent is `Ok(None)`; no error and no log line holds a bound value; every query is scoped by an
//! organisation or by a key that implies one. Services, the journal and (for reads) handlers may call this.
//!
//! Traps of writing one text for two engines: `sum` and `count` need `cast(.. as bigint)` where they may be NULL or
//! NUMERIC; `any($1)`, `ilike`, `::type`, `now()` do not exist in SQLite; `like` ignores case only there, so search a
//! lower-cased column; PostgreSQL refuses U+0000 in texts; a `$1` of a bare `select $1` needs a cast.

pub mod attachments;
pub mod bulk;
pub mod call_records;
pub mod calls;
mod checkpoints;
pub mod conversations;
pub mod custom_fields;
mod db;
mod dialect;
mod error;
pub mod filter;
pub mod gather;
pub mod generation;
pub mod groups;
pub mod guest_links;
pub mod idempotency;
pub mod ids;
pub mod inboxes;
pub mod invitations;
pub mod keys;
pub mod leftovers;
pub mod messages;
pub mod meta;
mod migrate;
pub mod notices;
mod options;
pub mod organizations;
pub mod people;
pub mod procedures;
mod readers;
pub mod relay;
pub mod sessions;
pub(crate) mod statements;
pub mod statistics;
mod stmt;
pub mod streams;
pub mod tallies;
mod together;
pub mod tokens;
mod tx;
mod value;
pub mod workbox_views;
mod writer;

pub use bulk::{Bulk, Column, Rows};
pub use db::{Db, PoolNumbers};
pub use dialect::{Dialect, Dialects};
pub use error::StoreError;
pub use options::{DatabaseOptions, Synchronous};
pub(crate) use statements::statements;
pub use statements::{Statement, all_statements};
pub use stmt::{Executor, Row, Stmt, Tuple, sql, sql_for};
pub use together::Together;
pub use tx::Tx;
pub use value::Value;

/// The statements of the store that take many rows at once, for the tests that prepare each.
pub fn bulk_statements() -> impl Iterator<Item = &'static Bulk> {
    let gathered =
        [calls::GATHERED, messages::GATHERED, people::GATHERED, streams::GATHERED, tokens::GATHERED];
    gathered.into_iter().chain([inboxes::IN_BULK]).flatten().copied()
}

/// Result of a store function.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
