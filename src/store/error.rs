//! Why a statement failed. Its text is for the log and never holds a bound value.

use std::{fmt, sync::Arc};

use sqlx::{
    SqlStr,
    error::{DatabaseError, ErrorKind},
};

use crate::domain;

/// A failed statement, transaction or start of the database.
pub struct StoreError {
    cause: Cause,
    statement: Option<SqlStr>,
}

enum Cause {
    Sql(sqlx::Error),
    /// No connection was to be had in time.
    Busy,
    /// An earlier statement of the transaction failed.
    Aborted,
    /// Rows are not as they were remembered.
    Overtaken,
    /// A statement that answered many.
    Shared(Arc<StoreError>),
    /// The address or the schema is not what this program can use.
    Setup(String),
}

impl StoreError {
    /// A start that cannot succeed: wrong address, foreign schema.
    pub(super) fn setup(text: impl Into<String>) -> Self {
        Self { cause: Cause::Setup(text.into()), statement: None }
    }

    /// There was no connection in time.
    pub(super) fn busy() -> Self {
        Self { cause: Cause::Busy, statement: None }
    }

    /// A transaction that can only be rolled back.
    pub(super) fn aborted() -> Self {
        Self { cause: Cause::Aborted, statement: None }
    }

    /// Somebody else changed rows that were remembered.
    pub fn overtaken() -> Self {
        Self { cause: Cause::Overtaken, statement: None }
    }

    /// True where rows are not as they were remembered: read anew, they may do.
    pub fn is_overtaken(&self) -> bool {
        matches!(self.cause, Cause::Overtaken)
    }

    /// The failure of a statement that was to answer many.
    pub(super) fn shared(error: Arc<Self>) -> Self {
        Self { cause: Cause::Shared(error), statement: None }
    }

    /// A connection that is said to be lost.
    #[cfg(feature = "failpoints")]
    pub fn planted() -> Self {
        sqlx::Error::Io(std::io::Error::other("a planted fault")).into()
    }

    /// Adds which statement failed.
    #[must_use]
    pub(super) fn at(mut self, statement: SqlStr) -> Self {
        self.statement = Some(statement);
        self
    }

    /// True where the connection itself is beyond use.
    pub(super) fn is_lost_connection(&self) -> bool {
        match &self.cause {
            Cause::Sql(sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => true,
            // Connection exceptions, or thrown out by an administrator, a crash, a start.
            Cause::Sql(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| code.len() == 5 && (code.starts_with("08") || code.starts_with("57P"))),
            _ => false,
        }
    }

    fn database(&self) -> Option<&dyn DatabaseError> {
        match &self.cause {
            Cause::Sql(error) => error.as_database_error(),
            Cause::Shared(error) => error.database(),
            _ => None,
        }
    }

    /// True where a row with the same unique key exists.
    pub fn is_unique_violation(&self) -> bool {
        self.database().is_some_and(|error| error.kind() == ErrorKind::UniqueViolation)
    }

    /// True where the unique index `index` over `column` (`table.column`, its first or only one) refused the row.
    /// Both names are needed: PostgreSQL tells the index, SQLite the columns.
    pub fn violates(&self, index: &str, column: &str) -> bool {
        self.database().is_some_and(|error| {
            error.kind() == ErrorKind::UniqueViolation
                && match error.constraint() {
                    Some(constraint) => constraint == index,
                    None => error.message().split([' ', ',']).any(|word| word == column),
                }
        })
    }

    /// True where the database is away, busy, full or going down: the same statement can succeed later.
    pub fn is_unavailable(&self) -> bool {
        match &self.cause {
            Cause::Busy => true,
            Cause::Setup(_) | Cause::Aborted | Cause::Overtaken => false,
            Cause::Shared(error) => error.is_unavailable(),
            Cause::Sql(error) => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                sqlx::Error::Database(error) => {
                    is_temporary_code(error.code().as_deref().unwrap_or_default())
                }
                _ => false,
            },
        }
    }
}

/// SQLSTATE (five characters) or SQLite's extended result code (a number).
fn is_temporary_code(code: &str) -> bool {
    if code.len() == 5 {
        // Connection lost, rolled back by a conflict, out of resources, taken down, a standby that cannot write.
        return ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
            || matches!(code, "55P03" | "25006");
    }
    // BUSY, LOCKED, IOERR, FULL, CANTOPEN: the low byte is the primary code.
    code.parse::<i32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self { cause: Cause::Sql(error), statement: None }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Busy => f.write_str("no database connection was to be had in time"),
            Cause::Aborted => f.write_str("an earlier statement of the transaction failed or was cancelled"),
            Cause::Overtaken => f.write_str("rows were changed by somebody else"),
            Cause::Setup(text) => f.write_str(text),
            Cause::Shared(error) => error.fmt(f),
            Cause::Sql(sqlx::Error::Database(error)) => write_database_error(f, error.as_ref()),
            // The source of a decoding error may quote the value: the column is enough.
            Cause::Sql(sqlx::Error::ColumnDecode { index, .. }) => {
                write!(f, "column {index} has another type")
            }
            Cause::Sql(sqlx::Error::Decode(_)) => f.write_str("a column has another type"),
            Cause::Sql(error) => error.fmt(f),
        }?;
        match &self.statement {
            Some(statement) => write!(f, " [{}]", statement.as_str()),
            None => Ok(()),
        }
    }
}

fn write_database_error(f: &mut fmt::Formatter<'_>, error: &dyn DatabaseError) -> fmt::Result {
    let code = error.code().unwrap_or_default();
    write!(f, "database error {code}")?;
    if let Some(constraint) = error.constraint() {
        write!(f, " at {constraint}")?;
    }
    // PostgreSQL's data exceptions (class 22) quote the value that did not fit.
    if code.len() == 5 && code.starts_with("22") {
        return Ok(());
    }
    write!(f, ": {}", error.message())
}

/// As `Display`: the derived form would show the values that PostgreSQL quotes in its details.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for domain::error::Error {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error)
    }
}
