//! `[database]` and `[journal]`: where data is kept and how much may wait for its commit.

use std::{path::Path, time::Duration};

use serde::Deserialize;

use super::check::{Check, units};
use crate::base::secret::Secret;

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite://PATH` or `postgres://…`; never empty once loaded. A secret, since it may hold a password.
    pub url: Secret,
    /// SQLite: connections that read.
    pub readers: u32,
    /// PostgreSQL: connections in all.
    pub max_connections: u32,
    /// SQLite: how durable a commit is.
    pub synchronous: Synchronous,
    /// For a free connection or a lock.
    #[serde(deserialize_with = "units::seconds")]
    pub wait_seconds: Duration,
}

/// SQLite's `synchronous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A commit is on the disk before it is acknowledged.
    Full,
    /// A power cut may take the last commits back.
    Normal,
}

impl Database {
    /// True for PostgreSQL, false for SQLite.
    pub fn is_postgres(&self) -> bool {
        let url = self.url.expose();
        url.starts_with("postgres://") || url.starts_with("postgresql://")
    }

    /// The file, for SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        self.url.expose().strip_prefix("sqlite://").map(Path::new)
    }

    pub(super) fn check(&self, check: &mut Check) {
        check.ensure(
            "database.url",
            self.is_postgres() || self.url.expose().starts_with("sqlite://"),
            || "must begin with sqlite:// or postgres://".to_owned(),
        );
        check.range("database.readers", self.readers, 1..=64);
        check.range("database.max_connections", self.max_connections, 2..=500);
        check.seconds("database.wait_seconds", self.wait_seconds, 1..=300);
    }
}

/// The group commit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Appends that may wait.
    pub queue: usize,
    /// Appends in one commit.
    pub batch: usize,
}

impl Journal {
    pub(super) fn check(&self, check: &mut Check) {
        check.range("journal.queue", self.queue, 1..=100_000);
        check.range("journal.batch", self.batch, 1..=10_000);
    }
}
