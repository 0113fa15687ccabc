//! The two engines, and pairs of texts for what cannot be said in one.

/// Which engine runs a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// One file, one writer: the database of a single node.
    Sqlite,
    /// The database of one or many nodes.
    Postgres,
}

impl Dialect {
    /// Its name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }
}

/// Two texts of one statement, with the same placeholders and result columns.
#[derive(Clone, Copy, Debug)]
pub struct Dialects {
    /// What SQLite runs.
    pub sqlite: &'static str,
    /// What PostgreSQL runs.
    pub postgres: &'static str,
}

impl Dialects {
    /// The text for `dialect`.
    pub const fn of(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}
