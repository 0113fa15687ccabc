//! A family of operations: where it stands, how its requests carry credentials, how it spells errors.

use std::fmt;

use futures_util::future::BoxFuture;

use super::{Auth, Op, Reply, openapi::Contract};
use crate::domain::{
    caller::Caller,
    error::{Error, Result},
};

/// One of the API families. A static value in `api/<family>/mod.rs`.
pub struct Family {
    /// Its name: log field, `/openapi/<name>.json`.
    pub name: &'static str,
    /// Base path of its operations.
    pub base: &'static str,
    /// Beginnings of paths that are the family's, also where no operation stands: decides who spells a 404.
    pub prefixes: &'static [&'static str],
    /// Its tables, one per section.
    pub tables: &'static [&'static [Op]],
    /// Its contract as YAML: the reference first, then what we add.
    pub contract: &'static [&'static str],
    /// Request headers of its own, in lower case, that pages of other sites may send.
    pub headers: &'static [&'static str],
    /// Finds the credentials of a request.
    pub credentials: for<'a> fn(&Head<'a>) -> Credentials<'a>,
    /// Spells an error.
    pub refuse: fn(&At<'_>, &Error) -> Reply,
}

impl Family {
    /// All its operations.
    pub fn operations(&self) -> impl Iterator<Item = &'static Op> + use<> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    /// Its contract, to be served.
    pub fn document(&self) -> Contract {
        Contract { name: self.name, texts: self.contract }
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.name).finish()
    }
}

/// Where a request went, for the spelling of its errors.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The path as sent.
    pub path: &'a str,
    /// The operation, where one was found.
    pub op: Option<&'static Op>,
}

/// What [`Family::credentials`] may look at.
pub struct Head<'a> {
    header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The query string without `?`.
    pub query: &'a str,
}

impl<'a> Head<'a> {
    /// A head whose headers `header` finds by their lower-case name.
    pub fn new(header: &'a dyn Fn(&str) -> Option<&'a str>, query: &'a str) -> Self {
        Self { header, query }
    }

    /// A header's value, trimmed; `None` when missing, empty or not ASCII.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        (self.header)(name).map(str::trim).filter(|value| !value.is_empty())
    }
}

/// What a request shows of its sender.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The token's text.
    pub token: Option<&'a str>,
    /// The key of the calling application.
    pub api_key: Option<&'a str>,
}

/// Verifies credentials. Implemented over `service::tokens` in `app.rs`.
pub trait Authenticate: Send + Sync + 'static {
    /// Checks the application's key (every request may need one) and, unless `wanted` is [`Auth::None`], the token:
    /// known, not expired, not revoked, of a wanted kind. Answers who calls; `None` for [`Auth::None`].
    fn authenticate<'a>(
        &'a self,
        family: &'static str,
        credentials: Credentials<'a>,
        wanted: Auth,
    ) -> BoxFuture<'a, Result<Option<Caller>>>;
}
