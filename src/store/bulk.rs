//! Statements over many rows at once, for what a group commit writes.
//!
//! On SQLite the rows are a `values` list with anonymous placeholders: a numbered one is found by a search through all
//! of them, for each of them. Lists are filled up with NULLs to a power of two, so that few texts arise and each is
//! prepared once. On PostgreSQL each column travels as one array, so that one text does for any number.

use std::{borrow::Cow, sync::OnceLock};

use uuid::Uuid;

use super::{Dialect, Result, Row, Stmt, Tx, Value, readers::Reader, sql, stmt::Tuple};

/// Rows of one statement on SQLite at most: two to this power.
const LARGEST: usize = 10;
/// Rows of one statement on PostgreSQL at most.
pub(super) const ROWS_AT_ONCE: usize = 1_024;

/// The type of a column of [`Bulk`] rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// BIGINT; times too.
    Int,
    /// TEXT.
    Text,
    /// BOOLEAN.
    Bool,
    /// UUID.
    Uuid,
    /// BYTEA, BLOB.
    Bytes,
}

/// A statement around a table `v` of rows whose columns are `column1`, `column2` ..: a `static`.
///
/// The filling rows are all NULL, so an insert must say `where column1 is not null`; a join finds nothing for them.
pub struct Bulk {
    before: &'static str,
    columns: &'static [Column],
    after: &'static str,
    after_postgres: &'static str,
    sqlite: [OnceLock<String>; LARGEST + 1],
    postgres: OnceLock<String>,
}

/// A statement that breaks a constraint leaves its first rows behind instead of taking them back: whoever runs it in bulk gives
/// up the whole transaction anyway, and SQLite need not keep a copy of every page that the statement changes.
fn or_fail(text: &str) -> Cow<'_, str> {
    match text.split_once(' ') {
        Some((verb @ ("insert" | "update"), rest)) => format!("{verb} or fail {rest}").into(),
        _ => text.into(),
    }
}

impl Bulk {
    /// `before` and `after` stand around `(rows) as v`.
    pub const fn new(before: &'static str, columns: &'static [Column], after: &'static str) -> Self {
        Self {
            before,
            columns,
            after,
            after_postgres: "",
            sqlite: [const { OnceLock::new() }; LARGEST + 1],
            postgres: OnceLock::new(),
        }
    }

    /// As [`Bulk::new`], with more at the end on PostgreSQL: locks.
    #[must_use]
    pub const fn locking(mut self, more: &'static str) -> Self {
        self.after_postgres = more;
        self
    }

    /// The values of these rows, to be run by [`super::Together`].
    pub fn rows<T>(&self, rows: &[T], fill: impl Fn(Tuple, &T) -> Tuple) -> Rows {
        let width = self.columns.len();
        let values = rows.iter().fold(Tuple::with_capacity(width * rows.len()), fill).into_values();
        debug_assert_eq!(values.len(), width * rows.len(), "a value per column: {}", self.before);
        Rows { values, count: rows.len() }
    }

    /// Runs it for all rows; the number of rows changed.
    pub(super) async fn execute(&'static self, tx: &mut Tx, rows: Rows) -> Result<u64> {
        let mut changed = 0;
        for stmt in self.statements(tx.dialect(), rows) {
            changed += stmt.execute(&mut *tx).await?;
        }
        Ok(changed)
    }

    /// Runs it for all rows; what it returns.
    pub async fn all<T, R: Row>(
        &'static self,
        tx: &mut Tx,
        rows: &[T],
        fill: impl Fn(Tuple, &T) -> Tuple,
    ) -> Result<Vec<R>> {
        let mut found = Vec::new();
        for stmt in self.statements(tx.dialect(), self.rows(rows, fill)) {
            found.extend(stmt.all::<R>(&mut *tx).await?);
        }
        Ok(found)
    }

    /// As [`Bulk::all`], outside a transaction: for `select`.
    pub async fn read<T, R: Row>(
        &'static self,
        reader: &mut Reader,
        rows: &[T],
        fill: impl Fn(Tuple, &T) -> Tuple,
    ) -> Result<Vec<R>> {
        let mut found = Vec::new();
        for stmt in self.statements(reader.dialect(), self.rows(rows, fill)) {
            found.extend(stmt.all::<R>(&mut *reader).await?);
        }
        Ok(found)
    }

    /// The texts that are run on an engine: for tests that prepare each.
    pub fn texts(&'static self, dialect: Dialect) -> Vec<&'static str> {
        match dialect {
            Dialect::Sqlite => (0..=LARGEST).map(|power| self.sqlite_text(power)).collect(),
            Dialect::Postgres => vec![self.postgres_text()],
        }
    }

    fn statements(&'static self, dialect: Dialect, rows: Rows) -> Vec<Stmt> {
        let at_once = match dialect {
            Dialect::Sqlite => 1 << LARGEST,
            Dialect::Postgres => ROWS_AT_ONCE,
        };
        let of_chunk = |chunk: Rows| match dialect {
            Dialect::Sqlite => self.sqlite_statement(chunk.values, chunk.count),
            Dialect::Postgres => self.bind_arrays(sql(self.postgres_text()), chunk),
        };
        rows.chunks(self.columns.len(), at_once).map(of_chunk).collect()
    }

    /// Binds an array per column.
    pub(super) fn bind_arrays(&self, stmt: Stmt, rows: Rows) -> Stmt {
        transpose(self.columns, rows.values).into_iter().fold(stmt, Stmt::bind)
    }

    /// Columns of a row.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    fn sqlite_statement(&'static self, mut values: Vec<Value>, rows: usize) -> Stmt {
        let power = rows.next_power_of_two().trailing_zeros() as usize;
        values.resize(self.columns.len() << power, Value::Int(None));
        sql(self.sqlite_text(power)).bind_all(values)
    }

    fn sqlite_text(&'static self, power: usize) -> &'static str {
        self.sqlite[power].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns.len()].join(","));
            let rows = vec![row.as_str(); 1 << power].join(",");
            format!("{} (values {rows}) as v {}", or_fail(self.before), self.after)
        })
    }

    fn postgres_text(&'static self) -> &'static str {
        self.postgres.get_or_init(|| self.postgres_text_from(1))
    }

    /// The text on PostgreSQL, with placeholders from that number on.
    pub(super) fn postgres_text_from(&self, first: usize) -> String {
        let array = |(index, column): (usize, &Column)| {
            let kind = match column {
                Column::Int => "bigint",
                Column::Text => "text",
                Column::Bool => "boolean",
                Column::Uuid => "uuid",
                Column::Bytes => "bytea",
            };
            format!("${}::{kind}[]", first + index)
        };
        let arrays: Vec<_> = self.columns.iter().enumerate().map(array).collect();
        let names: Vec<_> = (1..=self.columns.len()).map(|number| format!("column{number}")).collect();
        format!(
            "{} unnest({}) as v({}) {}{}",
            self.before,
            arrays.join(", "),
            names.join(", "),
            self.after,
            self.after_postgres
        )
    }
}

/// Values of rows, for one [`Bulk`].
pub struct Rows {
    values: Vec<Value>,
    pub(super) count: usize,
}

impl Rows {
    fn chunks(self, width: usize, at_once: usize) -> impl Iterator<Item = Self> {
        let (mut values, mut left) = (self.values, self.count);
        std::iter::from_fn(move || {
            let count = left.min(at_once);
            left -= count;
            let later = values.split_off(width * count);
            (count > 0).then(|| Self { values: std::mem::replace(&mut values, later), count })
        })
    }
}

/// Rows of values into one array per column.
fn transpose(columns: &[Column], values: Vec<Value>) -> Vec<Value> {
    let rows = values.len() / columns.len().max(1);
    let mut arrays: Vec<Array> = columns.iter().map(|column| Array::new(*column, rows)).collect();
    for (index, value) in values.into_iter().enumerate() {
        arrays[index % columns.len()].push(value);
    }
    arrays.into_iter().map(Array::into_value).collect()
}

enum Array {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bools(Vec<Option<bool>>),
    Uuids(Vec<Option<Uuid>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Array {
    fn new(column: Column, rows: usize) -> Self {
        match column {
            Column::Int => Self::Ints(Vec::with_capacity(rows)),
            Column::Text => Self::Texts(Vec::with_capacity(rows)),
            Column::Bool => Self::Bools(Vec::with_capacity(rows)),
            Column::Uuid => Self::Uuids(Vec::with_capacity(rows)),
            Column::Bytes => Self::Bytes(Vec::with_capacity(rows)),
        }
    }

    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Ints(list), Value::Int(value)) => list.push(value),
            (Self::Ints(list), Value::Time(value)) => list.push(value.map(|time| time.0)),
            (Self::Texts(list), Value::Text(value)) => list.push(value),
            (Self::Bools(list), Value::Bool(value)) => list.push(value),
            (Self::Uuids(list), Value::Uuid(value)) => list.push(value),
            (Self::Bytes(list), Value::Bytes(value)) => list.push(value),
            (_, value) => unreachable!("a {value:?} in a column of another type"),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Ints(list) => Value::IntColumn(list),
            Self::Texts(list) => Value::TextColumn(list),
            Self::Bools(list) => Value::BoolColumn(list),
            Self::Uuids(list) => Value::UuidColumn(list),
            Self::Bytes(list) => Value::BytesColumn(list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Bulk = Bulk::new(
        "insert into t (a, b) select * from",
        &[Column::Int, Column::Text],
        "where column1 is not null",
    );

    #[test]
    fn one_text_per_engine_and_size() {
        assert_eq!(
            PAIRS.texts(Dialect::Sqlite)[1],
            "insert or fail into t (a, b) select * from (values (?,?),(?,?)) as v where column1 is not null"
        );
        assert_eq!(
            PAIRS.texts(Dialect::Postgres),
            ["insert into t (a, b) select * from unnest($1::bigint[], $2::text[]) as v(column1, column2) \
              where column1 is not null"]
        );
    }

    #[test]
    fn many_rows_take_few_statements() {
        let rows: Vec<i64> = (0..2_500).collect();
        let count = |dialect| {
            let rows = PAIRS.rows(&rows, |v, row| v.bind(*row).bind("x"));
            PAIRS.statements(dialect, rows).len()
        };
        assert_eq!((count(Dialect::Sqlite), count(Dialect::Postgres)), (3, 3));
    }
}
