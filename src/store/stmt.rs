//! A statement with its bound values, run on either native driver.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    panic::Location,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, FromRow, PgConnection, SqlSafeStr as _, SqlStr, SqliteConnection,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    Db, Dialect, Dialects, Result, StoreError, Tx, Value,
    db::Engine,
    readers::{self, Reader},
    tx,
};

/// Statements that take longer are logged with their text.
pub(super) const SLOW: Duration = Duration::from_millis(500);

/// A statement from one text that both engines take (`$1` placeholders, reused and out of order as you like).
#[track_caller]
pub fn sql(text: &'static str) -> Stmt {
    Stmt { text: Cow::Borrowed(text), postgres: None, values: Vec::new(), place: Location::caller() }
}

/// A statement from a text per engine, with the same placeholders and result columns.
#[track_caller]
pub fn sql_for(texts: Dialects) -> Stmt {
    Stmt {
        text: Cow::Borrowed(texts.sqlite),
        postgres: Some(Cow::Borrowed(texts.postgres)),
        values: Vec::new(),
        place: Location::caller(),
    }
}

/// A statement and its values. Values are never part of the text.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// For both engines, or for SQLite only where `postgres` is there.
    text: Cow<'static, str>,
    postgres: Option<Cow<'static, str>>,
    values: Vec<Value>,
    /// Where in the source it was begun, for the log.
    place: &'static Location<'static>,
}

/// Rows of values that are being filled, for [`super::Bulk`].
pub struct Tuple(Vec<Value>);

impl Tuple {
    pub(super) fn with_capacity(values: usize) -> Self {
        Self(Vec::with_capacity(values))
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        self.0
    }

    /// The next value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.0.push(value.into());
        self
    }
}

/// A result row of both engines: `#[derive(sqlx_macros::FromRow)]` structs and tuples.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}
impl<R> Row for R where R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

/// What a statement runs on: `&Db` (each statement for itself; on SQLite what starts with `select` or `with` goes to
/// the readers, the rest to the writer), `&mut Reader` (reads, one after the other) or `&mut Tx`.
pub trait Executor: Send {
    #[doc(hidden)]
    fn target<'e>(self) -> Target<'e>
    where
        Self: 'e;
}

#[doc(hidden)]
pub enum Target<'e> {
    Db(&'e Db),
    Reader(&'e mut Reader),
    Tx(&'e mut Tx),
}

impl Executor for &Db {
    fn target<'e>(self) -> Target<'e>
    where
        Self: 'e,
    {
        Target::Db(self)
    }
}

impl Executor for &mut Reader {
    fn target<'e>(self) -> Target<'e>
    where
        Self: 'e,
    {
        Target::Reader(self)
    }
}

impl Executor for &mut Tx {
    fn target<'e>(self) -> Target<'e>
    where
        Self: 'e,
    {
        Target::Tx(self)
    }
}

impl Stmt {
    /// Binds the next placeholder.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Binds the next placeholders.
    #[must_use]
    pub(super) fn bind_all(mut self, values: Vec<Value>) -> Self {
        self.values.extend(values);
        self
    }

    /// Appends to the text: for filtered lists.
    #[must_use]
    pub fn push(mut self, text: &'static str) -> Self {
        self.append(text);
        self
    }

    /// Binds a value and appends its placeholder.
    #[must_use]
    pub fn push_bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let number = self.values.len();
        for text in self.texts() {
            // Writing to a String cannot fail.
            let _ = write!(text, "${number}");
        }
        self
    }

    /// Appends `(v1, v2, ..)`, to stand after `in`: for lists of a few dozen values at most. An empty list is
    /// `(null)`, which nothing is in. Lengths are rounded up by repeating the last value, so that few texts arise.
    #[must_use]
    pub fn push_list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        let mut values: Vec<Value> = values.into_iter().map(Into::into).collect();
        let Some(last) = values.last().cloned() else {
            return self.push("(null)");
        };
        values.resize(values.len().next_power_of_two(), last);
        let mut before = "(";
        for value in values {
            self.append(before);
            self = self.push_bind(value);
            before = ",";
        }
        self.push(")")
    }

    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.text).chain(self.postgres.as_mut()).map(Cow::to_mut)
    }

    fn append(&mut self, more: &str) {
        self.texts().for_each(|text| text.push_str(more));
    }

    /// All rows.
    pub async fn all<R: Row>(self, on: impl Executor) -> Result<Vec<R>> {
        let (rows, text) = self.run(on.target(), Want::All).await?;
        rows.decode(text)
    }

    /// The first row; `None` when there is none.
    pub async fn optional<R: Row>(self, on: impl Executor) -> Result<Option<R>> {
        let (rows, text) = self.run(on.target(), Want::First).await?;
        Ok(rows.decode(text)?.pop())
    }

    /// The first row, which has to be there: aggregates and `returning` of an insert.
    pub async fn one<R: Row>(self, on: impl Executor) -> Result<R> {
        let (rows, text) = self.run(on.target(), Want::First).await?;
        let first = rows.decode(text.clone())?.pop();
        first.ok_or_else(|| StoreError::from(sqlx::Error::RowNotFound).at(text))
    }

    /// Runs it; the number of rows changed.
    pub async fn execute(self, on: impl Executor) -> Result<u64> {
        let (rows, _) = self.run(on.target(), Want::Count).await?;
        Ok(rows.affected())
    }

    /// Runs the statement; its text comes back for later errors.
    async fn run(self, target: Target<'_>, want: Want) -> Result<(Rows, SqlStr)> {
        let dialect = match &target {
            Target::Db(db) => db.dialect(),
            Target::Reader(reader) => reader.dialect(),
            Target::Tx(tx) => tx.dialect(),
        };
        let text = match (dialect, self.postgres) {
            (Dialect::Postgres, Some(text)) => text,
            _ => self.text,
        };
        // Free of data: only `&'static str` and placeholders get into a text.
        let text = AssertSqlSafe(text).into_sql_str();
        let reads = starts_with_word(text.as_str(), "select") || starts_with_word(text.as_str(), "with");
        tracing::trace!(
            db.system = dialect.name(),
            db.statement = text.as_str(),
            db.types = %Types(&self.values),
            code.location = %self.place,
            "statement"
        );
        let started = Instant::now();
        let result = match target {
            Target::Db(db) => match db.engine() {
                Engine::Sqlite { writer, .. } if !reads => match writer.lock().await {
                    Ok(mut connection) => run_sqlite(&mut connection, text.clone(), self.values, want).await,
                    Err(error) => Err(error),
                },
                Engine::Sqlite { .. } | Engine::Postgres { .. } => match db.reader().await {
                    Ok(mut reader) => run_on(&mut reader, text.clone(), self.values, want).await,
                    Err(error) => Err(error),
                },
            },
            Target::Reader(reader) => run_on(reader, text.clone(), self.values, want).await,
            Target::Tx(tx) => run_in(tx, text.clone(), self.values, want).await,
        };
        let took = started.elapsed();
        if took >= SLOW {
            tracing::warn!(
                db.statement = text.as_str(),
                code.location = %self.place,
                took_ms = took.as_millis(),
                "slow statement"
            );
        }
        match result {
            Ok(rows) => Ok((rows, text)),
            Err(error) => Err(error.at(text)),
        }
    }
}

/// The types of a statement's values, for the log: never the values.
struct Types<'a>(&'a [Value]);

impl fmt::Display for Types<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, value) in self.0.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { ", " })?;
            f.write_str(value.type_name())?;
        }
        Ok(())
    }
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let text = text.trim_start().as_bytes();
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
        && text.get(word.len()).is_none_or(|next| !next.is_ascii_alphanumeric())
}

/// How much of the result is wanted.
#[derive(Clone, Copy)]
enum Want {
    All,
    First,
    Count,
}

/// What came back, still in the driver's form: everything up to here is compiled once, not per row type.
enum Rows {
    Sqlite(Vec<SqliteRow>),
    Postgres(Vec<PgRow>),
    Affected(u64),
}

impl Rows {
    fn decode<R: Row>(self, text: SqlStr) -> Result<Vec<R>> {
        let rows: Result<Vec<R>, sqlx::Error> = match self {
            Self::Sqlite(rows) => rows.iter().map(R::from_row).collect(),
            Self::Postgres(rows) => rows.iter().map(R::from_row).collect(),
            Self::Affected(_) => Ok(Vec::new()),
        };
        rows.map_err(|error| StoreError::from(error).at(text))
    }

    fn affected(&self) -> u64 {
        match self {
            Self::Affected(count) => *count,
            Self::Sqlite(_) | Self::Postgres(_) => 0,
        }
    }
}

async fn run_on(reader: &mut Reader, text: SqlStr, values: Vec<Value>, want: Want) -> Result<Rows> {
    match reader {
        Reader::Sqlite(kept) => {
            let rows = run_sqlite(readers::begin(kept), text, values, want).await;
            readers::end(kept, &rows);
            rows
        }
        Reader::Postgres(kept) => {
            let rows = run_postgres(readers::begin(kept), text, values, want).await;
            readers::end(kept, &rows);
            rows
        }
    }
}

async fn run_in(tx: &mut Tx, text: SqlStr, values: Vec<Value>, want: Want) -> Result<Rows> {
    tx.enter()?;
    let rows = match tx.connection() {
        tx::Connection::Sqlite(connection) => run_sqlite(connection, text, values, want).await?,
        tx::Connection::Postgres(connection) => run_postgres(connection, text, values, want).await?,
    };
    tx.leave();
    Ok(rows)
}

async fn run_sqlite(
    connection: &mut SqliteConnection,
    text: SqlStr,
    values: Vec<Value>,
    want: Want,
) -> Result<Rows> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        value.bind_sqlite(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    let query = sqlx::query_with(text, arguments);
    Ok(match want {
        Want::All => Rows::Sqlite(query.fetch_all(connection).await?),
        Want::First => Rows::Sqlite(query.fetch_optional(connection).await?.into_iter().collect()),
        Want::Count => Rows::Affected(query.execute(connection).await?.rows_affected()),
    })
}

async fn run_postgres(
    connection: &mut PgConnection,
    text: SqlStr,
    values: Vec<Value>,
    want: Want,
) -> Result<Rows> {
    let mut arguments = PgArguments::default();
    for value in values {
        value.bind_postgres(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    let query = sqlx::query_with(text, arguments);
    Ok(match want {
        Want::All => Rows::Postgres(query.fetch_all(connection).await?),
        Want::First => Rows::Postgres(query.fetch_optional(connection).await?.into_iter().collect()),
        Want::Count => Rows::Affected(query.execute(connection).await?.rows_affected()),
    })
}
