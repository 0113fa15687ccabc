//! What lists take: `filter`, `order`, numbered pages, cursor pages; and the two reply envelopes.
//!
//! A noun declares a static table of [`Field`]s. [`Filter::parse`] turns the text of a request into checked
//! conditions over that table; `store::filter` turns them into SQL. Nothing of the text reaches SQL but as a bound
//! value.
//!
//! Grammar: conditions `key op value`, joined by ` and `; the whole may stand in double quotes. Operators are `=`,
//! `!=`, `>`, `<`, `>=`, `<=`, `~=` (match with `%` wildcards, without case) and `|=` (one of a comma-separated
//! list). A value may stand in `'` quotes; `\` takes the next character as it is. ` and ` ends a bare value only where
//! another condition follows, so `name=Tom and Jerry` needs no quotes.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    codes::Code,
    error::{Error, Result},
};
use crate::base::clock::Timestamp;

/// Entries of a page when the client does not say.
pub const DEFAULT_PAGE_SIZE: u32 = 20;
/// Most entries of a page. Clients that count with their own page size rely on an error, not on a silent cap.
pub const MAX_PAGE_SIZE: u32 = 100;
/// Most conditions of a filter, values of a list and keys of an order.
const MAX_PARTS: usize = 100;
/// Longest filter or order text, in bytes.
const MAX_TEXT: usize = 4_096;

/// How a field's values are read and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, compared without case.
    Text,
    /// Text whose column holds lower case already (`name_key`, `email_key`): values are lowered before they are bound.
    Folded,
    /// Whole number.
    Int,
    /// `true`, `false`, `1`, `0`.
    Bool,
    /// RFC 3339 time.
    Time,
    /// UUID.
    Uuid,
}

/// One key that a list can be filtered or ordered by.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The name on the wire, dotted where the contract has dots.
    pub key: &'static str,
    /// The SQL column or expression.
    pub column: &'static str,
    /// How values are read.
    pub kind: Kind,
    /// True where `order` may name it.
    pub orders: bool,
}

impl Field {
    /// A field that filters and orders.
    pub const fn new(key: &'static str, column: &'static str, kind: Kind) -> Self {
        Self { key, column, kind, orders: true }
    }

    /// A field that filters only.
    pub const fn filter_only(key: &'static str, column: &'static str, kind: Kind) -> Self {
        Self { key, column, kind, orders: false }
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `~=`, SQL LIKE without case
    Like,
    /// `|=`, one of a list
    In,
}

impl Operator {
    /// Every operator with its spelling; longer ones stand before their prefixes.
    const ALL: [(&'static str, Self); 8] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("!=", Self::NotEqual),
        ("~=", Self::Like),
        ("|=", Self::In),
        ("=", Self::Equal),
        (">", Self::Greater),
        ("<", Self::Less),
    ];

    /// The spelling.
    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).map_or("=", |(text, _)| text)
    }

    fn at_start(text: &str) -> Option<(Self, &str)> {
        Self::ALL.iter().find_map(|(spelling, operator)| Some((*operator, text.strip_prefix(spelling)?)))
    }
}

/// A value of the field's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// For [`Kind::Text`] and (lowered) [`Kind::Folded`]; for [`Operator::Like`] the pattern.
    Text(String),
    /// For [`Kind::Int`].
    Int(i64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Time`].
    Time(Timestamp),
    /// For [`Kind::Uuid`].
    Uuid(Uuid),
}

impl Scalar {
    fn parse(field: &'static Field, text: &str) -> Result<Self> {
        let wrong = |right: &str| {
            Error::invalid(format!("filter: {} needs {right}, not '{}'", field.key, shortened(text)))
        };
        Ok(match field.kind {
            Kind::Text => Self::Text(text.to_owned()),
            Kind::Folded => Self::Text(text.to_lowercase()),
            Kind::Int => Self::Int(text.parse().map_err(|_| wrong("a whole number"))?),
            Kind::Bool => Self::Bool(match text {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(wrong("true or false")),
            }),
            Kind::Time => {
                Self::Time(Timestamp::parse_rfc3339(text).ok_or_else(|| wrong("an RFC 3339 time"))?)
            }
            Kind::Uuid => Self::Uuid(text.parse().map_err(|_| wrong("a UUID"))?),
        })
    }
}

impl fmt::Display for Scalar {
    /// Quoted and escaped so that the parser reads the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bool(yes) => yes.to_string(),
            Self::Time(time) => time.to_string(),
            Self::Uuid(uuid) => uuid.to_string(),
        };
        write!(f, "'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// `key op value`, checked against a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field.
    pub field: &'static Field,
    /// The comparison.
    pub operator: Operator,
    /// One value; several for [`Operator::In`].
    pub values: Vec<Scalar>,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.field.key, self.operator.text())?;
        for (i, value) in self.values.iter().enumerate() {
            write!(f, "{}{value}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Conditions that must all hold; none = everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In the order of the text.
    pub conditions: Vec<Condition>,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, condition) in self.conditions.iter().enumerate() {
            write!(f, "{}{condition}", if i == 0 { "" } else { " and " })?;
        }
        Ok(())
    }
}

impl Filter {
    /// Reads a `filter` parameter (`None` and blank = no condition) over the fields of a list.
    pub fn parse(text: Option<&str>, fields: &'static [Field]) -> Result<Self> {
        let text = text.unwrap_or_default().trim();
        if text.len() > MAX_TEXT {
            return Err(Error::invalid(format!("filter: longer than {MAX_TEXT} bytes")));
        }
        let mut rest = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).trim();
        let mut conditions = Vec::new();
        while !rest.is_empty() {
            if conditions.len() == MAX_PARTS {
                return Err(Error::invalid(format!("filter: more than {MAX_PARTS} conditions")));
            }
            let (condition, after) = Self::condition(rest, fields)?;
            conditions.push(condition);
            rest = match joined(after) {
                Some(next) => next,
                None if after.trim().is_empty() => "",
                None => {
                    return Err(Error::invalid(format!(
                        "filter: expected ' and ' or the end before '{}'",
                        shortened(after)
                    )));
                }
            };
        }
        Ok(Self { conditions })
    }

    fn condition<'a>(text: &'a str, fields: &'static [Field]) -> Result<(Condition, &'a str)> {
        let (key, after) = split_key(text);
        let field = find(fields, key, |_| true).ok_or_else(|| {
            Error::invalid(format!(
                "filter: unknown key '{}'; known keys are {}",
                shortened(key),
                known(fields, |_| true)
            ))
        })?;
        let (operator, after) = Operator::at_start(after.trim_start()).ok_or_else(|| {
            Error::invalid(format!(
                "filter: expected an operator after '{key}'; known operators are = != > < >= <= ~= |="
            ))
        })?;
        let allowed = match operator {
            Operator::Like => matches!(field.kind, Kind::Text | Kind::Folded),
            Operator::Greater | Operator::Less | Operator::AtLeast | Operator::AtMost => {
                field.kind != Kind::Bool
            }
            Operator::Equal | Operator::NotEqual | Operator::In => true,
        };
        if !allowed {
            return Err(Error::invalid(format!("filter: {key} cannot be compared with {}", operator.text())));
        }
        let (texts, rest) = values(after.trim_start(), operator == Operator::In)?;
        let values = texts.iter().map(|text| Scalar::parse(field, text)).collect::<Result<_>>()?;
        Ok((Condition { field, operator, values }, rest))
    }
}

/// Reads a value, or a list of them, up to its end; gives what follows.
fn values(text: &str, list: bool) -> Result<(Vec<String>, &str)> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, after) = value(rest, list)?;
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) if list && values.len() < MAX_PARTS => rest = next.trim_start(),
            Some(_) if list => {
                return Err(Error::invalid(format!("filter: more than {MAX_PARTS} values in a list")));
            }
            _ => return Ok((values, after)),
        }
    }
}

fn value(text: &str, list: bool) -> Result<(String, &str)> {
    let unfinished = || Error::invalid("filter: a quoted value is not closed");
    let quoted = text.strip_prefix('\'');
    let body = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = body.char_indices();
    // Length of `value` up to its last character that must stay: trailing blanks of a bare value are dropped.
    let mut keep = 0;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                // A lone backslash at the end stands for itself.
                value.push(chars.next().map_or('\\', |(_, next)| next));
                keep = value.len();
            }
            '\'' if quoted.is_some() => {
                let rest = body[at + 1..].trim_start_matches(' ');
                // ` and ` keeps its leading blank for `joined`.
                return Ok((value, if rest.starts_with(',') { rest } else { &body[at + 1..] }));
            }
            ',' if list && quoted.is_none() => {
                value.truncate(keep);
                return Ok((value, &body[at..]));
            }
            _ if quoted.is_none() && c.is_whitespace() && joined(&body[at..]).is_some() => {
                value.truncate(keep);
                return Ok((value, &body[at..]));
            }
            _ => {
                value.push(c);
                if quoted.is_some() || !c.is_whitespace() {
                    keep = value.len();
                }
            }
        }
    }
    if quoted.is_some() {
        return Err(unfinished());
    }
    value.truncate(keep);
    Ok((value, ""))
}

/// The next condition where `text` is ` and ` and a condition.
fn joined(text: &str) -> Option<&str> {
    let after = text.trim_start();
    let word = after.get(..3)?;
    let next = &after[3..];
    if after.len() == text.len()
        || !word.eq_ignore_ascii_case("and")
        || !next.starts_with(char::is_whitespace)
    {
        return None;
    }
    let next = next.trim_start();
    let (key, rest) = split_key(next);
    (!key.is_empty() && Operator::at_start(rest.trim_start()).is_some()).then_some(next)
}

fn split_key(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
    text.split_at(end)
}

fn find(fields: &'static [Field], key: &str, usable: impl Fn(&Field) -> bool) -> Option<&'static Field> {
    fields.iter().find(|field| field.key == key && usable(field))
}

fn known(fields: &'static [Field], usable: impl Fn(&Field) -> bool) -> String {
    let keys: Vec<_> = fields.iter().filter(|f| usable(f)).map(|f| f.key).collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
}

/// At most 40 characters of a client's text, for messages.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(at, _)| &text[..at])
}

/// Keys to sort by, each ascending or descending; empty = the list's own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Field and "descending", the first one weighs most.
    pub keys: Vec<(&'static Field, bool)>,
}

impl Order {
    /// Reads an `order` parameter: `a,-b,c desc,d asc`.
    pub fn parse(text: Option<&str>, fields: &'static [Field]) -> Result<Self> {
        let text = text.unwrap_or_default().trim();
        if text.len() > MAX_TEXT {
            return Err(Error::invalid(format!("order: longer than {MAX_TEXT} bytes")));
        }
        let mut keys: Vec<(&'static Field, bool)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, descending) = match part.strip_prefix('-') {
                Some(key) => (key, true),
                None => match part.split_once(char::is_whitespace) {
                    None => (part, false),
                    Some((key, way)) if way.trim().eq_ignore_ascii_case("desc") => (key, true),
                    Some((key, way)) if way.trim().eq_ignore_ascii_case("asc") => (key, false),
                    Some((_, way)) => {
                        return Err(Error::invalid(format!(
                            "order: '{}' is neither asc nor desc",
                            shortened(way.trim())
                        )));
                    }
                },
            };
            let field = find(fields, key, |field| field.orders).ok_or_else(|| {
                Error::invalid(format!(
                    "order: unknown key '{}'; known keys are {}",
                    shortened(key),
                    known(fields, |field| field.orders)
                ))
            })?;
            // A repeated key cannot change the order any more.
            if !keys.iter().any(|(known, _)| *known == field) {
                keys.push((field, descending));
            }
        }
        Ok(Self { keys })
    }
}

/// Which numbered page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    number: u32,
    size: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { number: 1, size: DEFAULT_PAGE_SIZE }
    }
}

impl Page {
    /// From `page` (1 when missing) and `page_size` (20 when missing).
    pub fn new(page: Option<i64>, page_size: Option<i64>) -> Result<Self> {
        let number = match page {
            None => 1,
            Some(number) => u32::try_from(number)
                .ok()
                .filter(|number| (1..=1_000_000).contains(number))
                .ok_or_else(|| Error::invalid("page: pages are numbered from 1 to 1000000"))?,
        };
        Ok(Self { number, size: size("page_size", page_size, None)? })
    }

    /// Rows before the page.
    pub fn offset(self) -> i64 {
        i64::from(self.number - 1) * i64::from(self.size)
    }

    /// Rows of the page.
    pub fn limit(self) -> i64 {
        i64::from(self.size)
    }
}

/// A `limit` parameter of cursor pages and bare lists: missing and -1 mean the default.
pub fn limit(value: Option<i64>) -> Result<u32> {
    size("limit", value, Some(-1))
}

fn size(name: &str, value: Option<i64>, default: Option<i64>) -> Result<u32> {
    if value.is_none() || value == default {
        return Ok(DEFAULT_PAGE_SIZE);
    }
    value
        .and_then(|value| u32::try_from(value).ok())
        .filter(|value| (1..=MAX_PAGE_SIZE).contains(value))
        .ok_or_else(|| Error::new(Code::InvalidLimit, format!("{name}: from 1 to {MAX_PAGE_SIZE}")))
}

/// A numbered page as the contract shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Numbered<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// From 1.
    pub page: u32,
    /// Entries per page.
    pub page_size: u32,
    /// Entries of all pages.
    pub total_entries: i64,
    /// Pages; 0 when there are no entries.
    pub total_pages: i64,
}

impl<T> Numbered<T> {
    /// The reply for `page` with `total` entries in all.
    pub fn new(page: Page, entries: Vec<T>, total: i64) -> Self {
        let total_pages = (total + page.limit() - 1) / page.limit();
        Self { entries, page: page.number, page_size: page.size, total_entries: total, total_pages }
    }

    /// The same page of other entries.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Numbered<U> {
        let Self { entries, page, page_size, total_entries, total_pages } = self;
        Numbered {
            entries: entries.into_iter().map(convert).collect(),
            page,
            page_size,
            total_entries,
            total_pages,
        }
    }
}

/// A cursor page as the contract shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CursorPage<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where to go on; null on the last page.
    pub after: Option<String>,
}

impl<T> CursorPage<T> {
    /// From at most `limit` + 1 `rows`: the surplus row says that there is another page, which starts after the last
    /// row shown. `list` names the list, so that one list's cursor is no good at another.
    pub fn new<K: Serialize>(list: &str, mut rows: Vec<T>, limit: u32, key: impl FnOnce(&T) -> K) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let after = rows.last().filter(|_| more).map(|last| encode_cursor(list, &key(last)));
        Self { entries: rows, after }
    }

    /// The same page of other entries.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> CursorPage<U> {
        CursorPage { entries: self.entries.into_iter().map(convert).collect(), after: self.after }
    }
}

/// An opaque cursor: the key of the last row shown. It authorises nothing (every page checks the caller again), so
/// it is validated, not signed.
pub fn encode_cursor<K: Serialize>(list: &str, key: &K) -> String {
    // Keys are numbers, times and identifiers: serialisation cannot fail.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(list, key)).unwrap_or_default())
}

/// Reads an `after` parameter of that list; missing and empty = from the start.
pub fn decode_cursor<K: DeserializeOwned>(list: &str, after: Option<&str>) -> Result<Option<K>> {
    let Some(text) = after.filter(|text| !text.is_empty()) else { return Ok(None) };
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<(String, K)>(&bytes).ok())
        .filter(|(name, _)| name == list)
        .map(|(_, key)| Some(key))
        .ok_or_else(|| Error::invalid("after: not a cursor of this list; take it from the page before"))
}

/// The query parameters of a numbered list, as they come.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListQuery {
    /// See [`Filter`].
    pub filter: Option<String>,
    /// See [`Order`].
    pub order: Option<String>,
    /// See [`Page`].
    pub page: Option<i64>,
    /// See [`Page`].
    pub page_size: Option<i64>,
}

/// A checked list request.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// What to keep.
    pub filter: Filter,
    /// How to sort.
    pub order: Order,
    /// Which page.
    pub page: Page,
}

impl ListQuery {
    /// Checks all parts over the fields of the list.
    pub fn parse(&self, fields: &'static [Field]) -> Result<List> {
        Ok(List {
            filter: Filter::parse(self.filter.as_deref(), fields)?,
            order: Order::parse(self.order.as_deref(), fields)?,
            page: Page::new(self.page, self.page_size)?,
        })
    }
}

#[cfg(test)]
mod tests;
