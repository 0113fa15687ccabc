//! How to open a database. The configuration is converted into this.

use std::{fmt, time::Duration};

use crate::config;

/// What SQLite waits for at a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Until the commit is on the disk: nothing acknowledged is lost, even when the power fails.
    #[default]
    Full,
    /// Until the operating system has it: a power failure may lose the last commits, a crash of the process none.
    Normal,
}

/// Settings of a database.
#[derive(Clone)]
pub struct DatabaseOptions {
    /// `sqlite://PATH` or `postgres://user:password@host/name`.
    pub url: String,
    /// Connections to PostgreSQL.
    pub max_connections: u32,
    /// Reading connections to SQLite; one more reads what is gathered, and one writes.
    pub readers: u32,
    /// SQLite's durability; PostgreSQL has its own `synchronous_commit`.
    pub synchronous: Synchronous,
    /// How long SQLite waits for another process that holds the database.
    pub busy_timeout: Duration,
    /// How long a caller waits for a free connection (or for the writer) before it fails as unavailable.
    pub acquire_timeout: Duration,
}

impl DatabaseOptions {
    /// The defaults for `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 16,
            readers: 4,
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(10),
        }
    }
}

impl From<&config::Database> for DatabaseOptions {
    fn from(database: &config::Database) -> Self {
        Self {
            url: database.url.expose().to_owned(),
            max_connections: database.max_connections,
            readers: database.readers,
            synchronous: match database.synchronous {
                config::Synchronous::Full => Synchronous::Full,
                config::Synchronous::Normal => Synchronous::Normal,
            },
            busy_timeout: database.wait_seconds,
            acquire_timeout: database.wait_seconds,
        }
    }
}

/// The address may hold a password: only its scheme is shown.
impl fmt::Debug for DatabaseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseOptions")
            .field("scheme", &self.url.split(':').next().unwrap_or_default())
            .field("max_connections", &self.max_connections)
            .field("readers", &self.readers)
            .field("synchronous", &self.synchronous)
            .field("busy_timeout", &self.busy_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}
