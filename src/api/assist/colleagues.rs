//! People whom the caller can see because they share an organisation: colleagues, team, directory.

use serde::Deserialize;

use super::types::{Contact, EntryTokens, Paged, User, contacts, people_page, user, users};
use crate::{
    domain::{
        codes::Code,
        error::{Error, Result},
        ids::PersonId,
        query::{ListQuery, Numbered},
    },
    http::{Cx, Json, Query, Seg},
    operations,
    store::people::{self, Scope},
};

operations! {
    base "";
    /// Everybody of the caller's organisation, each with a public token.
    GET "/v1/colleagues" => 200 list_colleagues(Query<ListQuery>) -> Json<Numbered<User>>,
        User + VIEW_CONTACTS [no_store], fails InvalidLimit;
    /// One of them.
    GET "/v1/colleagues/{id}" => 200 get_colleague(Seg<PersonId>) -> Json<User>, User + VIEW_CONTACTS [no_store],
        fails NotFound;
    /// People who share a group with the caller (everybody, while the caller is in no group).
    GET "/v1r1/user/search/team" => 200 search_team(Query<Search>) -> Json<Numbered<Contact>>,
        User + VIEW_CONTACTS, fails InvalidLimit | InvalidSearchTerm;
    /// All active people of the organisation.
    GET "/v1r1/user/search/directory" => 200 search_directory(Query<Search>) -> Json<Numbered<Contact>>,
        User + VIEW_CONTACTS, fails InvalidLimit | InvalidSearchTerm;
}

/// Longest search term, in characters.
pub const LONGEST_TERM: usize = 100;

/// Parameters of a search.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Search {
    search_term: Option<String>,
    page: Option<i64>,
    page_size: Option<i64>,
}

async fn list_colleagues(cx: &Cx, Query(query): Query<ListQuery>) -> Result<Json<Numbered<User>>> {
    let scope = Scope { except: cx.caller.person, ..Scope::default() };
    let page = people_page(cx, &cx.caller, &scope, &query).await?;
    let Numbered { entries, page, page_size, total_entries, total_pages } = page;
    let entries = users(cx, entries, EntryTokens::Public).await?;
    Ok(Json(Numbered { entries, page, page_size, total_entries, total_pages }))
}

async fn get_colleague(cx: &Cx, Seg(id): Seg<PersonId>) -> Result<Json<User>> {
    let row = people::in_organization(&cx.services.db, cx.caller.organization, id).await?;
    let row = row.filter(|row| row.kind == "member" && row.active).ok_or_else(|| Error::not_found("user"))?;
    user(cx, row, EntryTokens::Public).await.map(Json)
}

async fn search_team(cx: &Cx, Query(search): Query<Search>) -> Result<Json<Numbered<Contact>>> {
    let person = cx.caller.person()?;
    let grouped = !people::groups_of(&cx.services.db, [person]).await?.is_empty();
    let scope = Scope { team_of: grouped.then_some(person), ..scope(cx, &search)? };
    found(cx, &search, &scope).await
}

async fn search_directory(cx: &Cx, Query(search): Query<Search>) -> Result<Json<Numbered<Contact>>> {
    let scope = scope(cx, &search)?;
    found(cx, &search, &scope).await
}

fn scope(cx: &Cx, search: &Search) -> Result<Scope> {
    let term = search.search_term.as_deref().map(str::trim).filter(|term| !term.is_empty());
    Ok(Scope { except: cx.caller.person, term: term.map(checked_term).transpose()?, ..Scope::default() })
}

/// A search term of a bearable length.
pub fn checked_term(term: &str) -> Result<String> {
    if term.chars().count() > LONGEST_TERM {
        let rule = format!("search_term: at most {LONGEST_TERM} characters");
        return Err(Error::new(Code::InvalidSearchTerm, rule));
    }
    Ok(term.to_owned())
}

async fn found(cx: &Cx, search: &Search, scope: &Scope) -> Result<Json<Numbered<Contact>>> {
    let query = Paged { page: search.page, page_size: search.page_size }.list_query();
    let page = people_page(cx, &cx.caller, scope, &query).await?;
    contacts(cx, page).await.map(Json)
}
