//! What can be bound to a placeholder, typed even when NULL.

use std::fmt;

use serde::Serialize;
use sqlx::{Arguments as _, error::BoxDynError, postgres::PgArguments, sqlite::SqliteArguments};
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{CallId, Id, Offset, RingId, SessionId},
        permission::Permissions,
    },
};

/// A bound value. Lists travel as JSON text on SQLite (`json_each($1)`) and as an array on PostgreSQL
/// (`any($1)`, `unnest($1)`); rows of a batch travel as JSON text on both ([`Value::json`]).
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Text; JSON is text too.
    Text(Option<String>),
    /// BIGINT.
    Int(Option<i64>),
    /// BOOLEAN.
    Bool(Option<bool>),
    /// DOUBLE PRECISION.
    Float(Option<f64>),
    /// BYTEA, BLOB.
    Bytes(Option<Vec<u8>>),
    /// UUID; a blob of 16 bytes in SQLite.
    Uuid(Option<Uuid>),
    /// BIGINT microseconds since 1970.
    Time(Option<Timestamp>),
    /// A list of numbers.
    Ints(Vec<i64>),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of UUIDs; on SQLite a JSON list of 32 hexadecimal digits each, for `unhex(value)`.
    Uuids(Vec<Uuid>),
    /// A column of numbers or times of many rows; like those below for [`super::Bulk`] on PostgreSQL only.
    IntColumn(Vec<Option<i64>>),
    /// A column of texts.
    TextColumn(Vec<Option<String>>),
    /// A column of truths.
    BoolColumn(Vec<Option<bool>>),
    /// A column of UUIDs.
    UuidColumn(Vec<Option<Uuid>>),
    /// A column of bytes.
    BytesColumn(Vec<Option<Vec<u8>>>),
}

impl Value {
    /// Data of one statement as JSON text: rows for `json_each($1)` on SQLite and
    /// `jsonb_to_recordset(cast($1 as jsonb))` on PostgreSQL, or the content of a JSON column. The text moves into the
    /// driver, it is not copied. NULL if `data` cannot be JSON (maps with keys that are no strings).
    pub fn json<T: Serialize + ?Sized>(data: &T) -> Self {
        Self::Text(serde_json::to_string(data).ok())
    }

    /// A list of ids.
    pub fn ids<T: Id>(ids: impl IntoIterator<Item = T>) -> Self {
        Self::Ints(ids.into_iter().map(T::get).collect())
    }

    /// PostgreSQL's name of its type.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Int(_) | Self::Time(_) => "bigint",
            Self::Bool(_) => "boolean",
            Self::Float(_) => "double precision",
            Self::Bytes(_) => "bytea",
            Self::Uuid(_) => "uuid",
            Self::Ints(_) | Self::IntColumn(_) => "bigint[]",
            Self::Texts(_) | Self::TextColumn(_) => "text[]",
            Self::Uuids(_) | Self::UuidColumn(_) => "uuid[]",
            Self::BoolColumn(_) => "boolean[]",
            Self::BytesColumn(_) => "bytea[]",
        }
    }

    pub(super) fn bind_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Text(value) => arguments.add(value),
            Self::Int(value) => arguments.add(value),
            Self::Bool(value) => arguments.add(value),
            Self::Float(value) => arguments.add(value),
            Self::Bytes(value) => arguments.add(value),
            Self::Uuid(value) => arguments.add(value),
            Self::Time(value) => arguments.add(value),
            Self::Ints(list) => arguments.add(serde_json::to_string(&list)?),
            Self::Texts(list) => arguments.add(serde_json::to_string(&list)?),
            Self::Uuids(list) => {
                let list: Vec<_> = list.into_iter().map(Uuid::simple).map(|uuid| uuid.to_string()).collect();
                arguments.add(serde_json::to_string(&list)?)
            }
            Self::IntColumn(_)
            | Self::TextColumn(_)
            | Self::BoolColumn(_)
            | Self::UuidColumn(_)
            | Self::BytesColumn(_) => Err("columns travel as arrays on PostgreSQL only".into()),
        }
    }

    pub(super) fn bind_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Text(value) => arguments.add(value),
            Self::Int(value) => arguments.add(value),
            Self::Bool(value) => arguments.add(value),
            Self::Float(value) => arguments.add(value),
            Self::Bytes(value) => arguments.add(value),
            Self::Uuid(value) => arguments.add(value),
            Self::Time(value) => arguments.add(value),
            Self::Ints(list) => arguments.add(list),
            Self::Texts(list) => arguments.add(list),
            Self::Uuids(list) => arguments.add(list),
            Self::IntColumn(list) => arguments.add(list),
            Self::TextColumn(list) => arguments.add(list),
            Self::BoolColumn(list) => arguments.add(list),
            Self::UuidColumn(list) => arguments.add(list),
            Self::BytesColumn(list) => arguments.add(list),
        }
    }
}

/// Shows the type only: bound values stand in no log.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Int(_) => "Int",
            Self::Bool(_) => "Bool",
            Self::Float(_) => "Float",
            Self::Bytes(_) => "Bytes",
            Self::Uuid(_) => "Uuid",
            Self::Time(_) => "Time",
            Self::Ints(_) => "Ints",
            Self::Texts(_) => "Texts",
            Self::Uuids(_) => "Uuids",
            Self::IntColumn(_) => "IntColumn",
            Self::TextColumn(_) => "TextColumn",
            Self::BoolColumn(_) => "BoolColumn",
            Self::UuidColumn(_) => "UuidColumn",
            Self::BytesColumn(_) => "BytesColumn",
        })
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident($value:ident) $into:expr;)+) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self { Self::$variant(Some($into)) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self { Self::$variant(value.map(|$value| $into)) }
        }
    )+};
}

from! {
    String => Text(value) value;
    &String => Text(value) value.clone();
    &str => Text(value) value.to_owned();
    i64 => Int(value) value;
    i32 => Int(value) i64::from(value);
    u32 => Int(value) i64::from(value);
    bool => Bool(value) value;
    f64 => Float(value) value;
    Vec<u8> => Bytes(value) value;
    &[u8] => Bytes(value) value.to_vec();
    Uuid => Uuid(value) value;
    Timestamp => Time(value) value;
    Permissions => Int(value) value.0;
    Offset => Int(value) value.0;
    SessionId => Uuid(value) value.0;
    RingId => Uuid(value) value.0;
    CallId => Text(value) value.0;
    &CallId => Text(value) value.0.clone();
}

impl<T: Id> From<T> for Value {
    fn from(id: T) -> Self {
        Self::Int(Some(id.get()))
    }
}

impl<T: Id> From<Option<T>> for Value {
    fn from(id: Option<T>) -> Self {
        Self::Int(id.map(T::get))
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<Option<[u8; N]>> for Value {
    fn from(bytes: Option<[u8; N]>) -> Self {
        Self::Bytes(bytes.map(|bytes| bytes.to_vec()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}
