//! Wire types that several sections of the family share.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        caller::Caller,
        error::Result,
        ids::PersonId,
        query::{ListQuery, Numbered},
    },
    http::Cx,
    service::{
        person_views::{UserView, is_unavailable, status_of},
        views::Avatar,
    },
    store::people::{self, Membership, PersonRow},
};

/// `tokenV1` of the contract.
#[derive(Serialize)]
pub struct Token {
    /// The token.
    pub token: String,
}

/// `user`, `enterprise_user` and `personal_user` of the contract in one: clients of both versions find their keys.
#[derive(Serialize)]
pub struct User {
    /// The account.
    #[serde(flatten)]
    pub view: UserView,
    /// Acts as the person, or names them, depending on what the caller may do.
    pub token: Option<String>,
}

impl User {
    /// As the newer version shows it.
    #[must_use]
    pub fn in_words(self) -> Self {
        Self { view: self.view.in_words(), ..self }
    }
}

/// `contactV1R1` of the contract.
#[derive(Clone, Debug, Serialize)]
pub struct Contact {
    pub id: PersonId,
    pub name: String,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub license: String,
    pub avatar: Avatar,
    pub favorite: bool,
    pub reachable: bool,
    pub supports_messaging: bool,
    pub available: bool,
    pub status: i64,
    pub on_call_group: bool,
}

/// Parameters of a list without filter and order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Paged {
    /// From 1.
    pub page: Option<i64>,
    /// Entries per page.
    pub page_size: Option<i64>,
}

impl Paged {
    /// As a list request.
    pub fn list_query(&self) -> ListQuery {
        ListQuery { page: self.page, page_size: self.page_size, ..ListQuery::default() }
    }
}

/// Whose tokens stand in the entries of a list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryTokens {
    /// Tokens that act as the person where the caller may, public ones otherwise.
    Acting,
    /// Public ones.
    Public,
}

/// The entries of a list of users: two statements for the whole page.
pub async fn users(cx: &Cx, rows: Vec<PersonRow>, tokens: EntryTokens) -> Result<Vec<User>> {
    let services = &cx.services;
    let ids = || rows.iter().map(|row| row.id);
    let memberships = people::groups_of(&services.db, ids()).await?;
    let faces = people::faces(&services.db, ids()).await?;
    let tokens = match tokens {
        EntryTokens::Acting => services.acting.entry_tokens(&cx.caller, &rows).await?,
        EntryTokens::Public => services.acting.public_tokens(&cx.caller, &rows).await?,
    };
    let now = services.clock.now();
    let by_person = grouped(&memberships);
    Ok(rows
        .iter()
        .zip(tokens)
        .map(|(row, token)| {
            let online = services.reachability.is_connected(row.login_id);
            let own = by_person.get(&row.id).map_or(&[][..], Vec::as_slice);
            User { view: UserView::new(row, now, online).with_places(own, &faces), token: Some(token) }
        })
        .collect())
}

/// One user as the entry of a list.
pub async fn user(cx: &Cx, row: PersonRow, tokens: EntryTokens) -> Result<User> {
    let mut entries = users(cx, vec![row], tokens).await?;
    entries.pop().ok_or_else(|| crate::domain::error::Error::not_found("user"))
}

fn grouped(memberships: &[Membership]) -> HashMap<PersonId, Vec<Membership>> {
    let mut by_person: HashMap<PersonId, Vec<Membership>> = HashMap::new();
    for membership in memberships {
        by_person.entry(membership.person_id).or_default().push(membership.clone());
    }
    by_person
}

/// The page of contacts: two statements.
pub async fn contacts(cx: &Cx, page: Numbered<PersonRow>) -> Result<Numbered<Contact>> {
    let services = &cx.services;
    let person = cx.caller.person()?;
    let logins: Vec<_> = page.entries.iter().map(|row| row.login_id).collect();
    let reachable = services.reachability.among(logins).await?;
    let favorites = people::favorites(&services.db, person, page.entries.iter().map(|row| row.id)).await?;
    let now = services.clock.now();
    Ok(page.map(|row| {
        let online = services.reachability.is_connected(row.login_id);
        Contact {
            id: row.id,
            avatar: Avatar::default(),
            favorite: favorites.contains(&row.id),
            reachable: reachable.contains(&row.login_id),
            supports_messaging: true,
            available: row.active && !is_unavailable(&row, now),
            status: status_of(&row, now, online),
            on_call_group: false,
            name: row.name,
            username: row.username,
            title: row.title,
            location: row.location,
            license: row.license,
        }
    }))
}

/// Reads a page of people of the caller's organisation.
pub async fn people_page(
    cx: &Cx,
    caller: &Caller,
    scope: &people::Scope,
    query: &ListQuery,
) -> Result<Numbered<PersonRow>> {
    let list = query.parse(people::FIELDS)?;
    let (rows, total) = people::list(&cx.services.db, caller.organization, scope, &list).await?;
    Ok(Numbered::new(list.page, rows, total))
}
