//! Every statement text of the store by name, so that tests can prepare and explain each on both engines.

use super::{
    Dialects, attachments, call_records, calls, conversations, custom_fields, generation, groups,
    guest_links, idempotency, ids, inboxes, invitations, keys, leftovers, messages, meta, notices,
    organizations, people, procedures, relay, sessions, tallies, tokens, workbox_views,
};

/// A named text.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// `module::NAME`, unique over all files.
    pub name: &'static str,
    /// What each engine runs; the same text twice where one does for both.
    pub text: Dialects,
}

/// The lists of all store files.
const FILES: &[&[Statement]] = &[
    attachments::STATEMENTS,
    call_records::STATEMENTS,
    calls::STATEMENTS,
    conversations::STATEMENTS,
    custom_fields::STATEMENTS,
    generation::STATEMENTS,
    groups::STATEMENTS,
    guest_links::STATEMENTS,
    idempotency::STATEMENTS,
    ids::STATEMENTS,
    inboxes::STATEMENTS,
    invitations::STATEMENTS,
    keys::STATEMENTS,
    leftovers::STATEMENTS,
    messages::STATEMENTS,
    meta::STATEMENTS,
    notices::STATEMENTS,
    organizations::STATEMENTS,
    people::STATEMENTS,
    procedures::STATEMENTS,
    relay::STATEMENTS,
    sessions::STATEMENTS,
    tallies::STATEMENTS,
    tokens::STATEMENTS,
    workbox_views::STATEMENTS,
];

/// All statements of all store files.
pub fn all_statements() -> impl Iterator<Item = &'static Statement> {
    FILES.iter().copied().flatten()
}

/// Declares the statement texts of a store file: a constant each and the slice `STATEMENTS`, which
/// [`all_statements`] joins.
///
/// ```ignore
/// statements! {
///     /// For `sql(FIND)`.
///     FIND = "select id from person where id = $1";
///     /// For `sql_for(SAVE_ALL)`.
///     SAVE_ALL = { sqlite: "insert .. json_each($1)", postgres: "insert .. unnest($1)" };
///     /// For `sql_for(NAMES)`, with a list (`Value::ids`) for the placeholder in brackets.
///     NAMES = listed("select name from person where id" ["$1"], "and removed_at is null");
/// }
/// ```
macro_rules! statements {
    (@ [$($entry:tt)*]) => {
        /// Every statement of this file.
        pub(crate) const STATEMENTS: &[$crate::store::Statement] = &[$($entry)*];
    };
    (@ [$($entry:tt)*] $(#[$meta:meta])* $name:ident = { sqlite: $sqlite:expr, postgres: $postgres:expr $(,)? };
     $($rest:tt)*) => {
        $(#[$meta])*
        const $name: $crate::store::Dialects = $crate::store::Dialects { sqlite: $sqlite, postgres: $postgres };
        $crate::store::statements::statements! { @ [$($entry)* $crate::store::Statement {
            name: concat!(module_path!(), "::", stringify!($name)),
            text: $name,
        },] $($rest)* }
    };
    (@ [$($entry:tt)*] $(#[$meta:meta])* $name:ident = listed($($text:literal [$list:literal])+ $(, $tail:literal)?);
     $($rest:tt)*) => {
        $crate::store::statements::statements! { @ [$($entry)*] $(#[$meta])* $name = {
            sqlite: concat!($($text, " in (select value from json_each(", $list, ")) ",)+ $($tail)?),
            postgres: concat!($($text, " = any(", $list, ") ",)+ $($tail)?),
        }; $($rest)* }
    };
    (@ [$($entry:tt)*] $(#[$meta:meta])* $name:ident = $text:expr; $($rest:tt)*) => {
        $(#[$meta])*
        const $name: &str = $text;
        $crate::store::statements::statements! { @ [$($entry)* $crate::store::Statement {
            name: concat!(module_path!(), "::", stringify!($name)),
            text: $crate::store::Dialects { sqlite: $name, postgres: $name },
        },] $($rest)* }
    };
    ($($tokens:tt)+) => {
        $crate::store::statements::statements! { @ [] $($tokens)+ }
    };
}
pub(crate) use statements;
