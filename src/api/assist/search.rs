//! Finding people by name or e-mail address.

use serde::{Deserialize, Serialize};

use super::colleagues::checked_term;
use crate::{
    domain::{
        codes::Code,
        error::{Error, Result},
        ids::PersonId,
        query::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE},
    },
    http::{Body, Cx, Json, flexible},
    operations,
    service::views::Avatar,
    store::people::{self, PersonRow, Scope},
};

operations! {
    base "/v1/search";
    /// Find people of the caller's organisation; with `include_token` each with a public token.
    POST "" => 200 search_people(Body<Search>) -> Json<Vec<Found>>, UserOrEnterprise + VIEW_CONTACTS
        [no_store, reads], fails InvalidSearchTerm | InvalidLimit;
}

/// What to look for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Search {
    search_term: Option<String>,
    #[serde(deserialize_with = "flexible::optional_boolean")]
    include_token: Option<bool>,
    #[serde(deserialize_with = "flexible::optional_number")]
    max_limit: Option<i64>,
}

/// `search_result` of the contract: the e-mail address is left out on purpose.
#[derive(Serialize)]
pub struct Found {
    id: PersonId,
    name: String,
    username: Option<String>,
    active: bool,
    avatar: Avatar,
    title: Option<String>,
    location: Option<String>,
    token: Option<String>,
}

async fn search_people(cx: &Cx, Body(search): Body<Search>) -> Result<Json<Vec<Found>>> {
    let term = search.search_term.as_deref().map(str::trim).filter(|term| !term.is_empty());
    let term =
        term.ok_or_else(|| Error::new(Code::InvalidSearchTerm, "search_term: at least one character"))?;
    let limit = match search.max_limit {
        None | Some(-1) => i64::from(DEFAULT_PAGE_SIZE),
        Some(limit @ 1..) => limit.min(i64::from(MAX_PAGE_SIZE)),
        Some(_) => return Err(Error::new(Code::InvalidLimit, "max_limit: at least 1")),
    };
    let scope = Scope {
        except: cx.caller.person,
        term: Some(checked_term(term)?),
        term_in_addresses: true,
        ..Scope::default()
    };
    let organization = (!cx.services.tokens.search_is_open()).then_some(cx.caller.organization);
    let rows = people::find(&cx.services.db, organization, &scope, limit).await?;
    let tokens = match search.include_token {
        Some(true) => cx.services.acting.public_tokens(&cx.caller, &rows).await?,
        _ => Vec::new(),
    };
    let tokens = tokens.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    Ok(Json(rows.into_iter().zip(tokens).map(|(row, token)| found(row, token)).collect()))
}

fn found(row: PersonRow, token: Option<String>) -> Found {
    let PersonRow { id, name, username, active, title, location, .. } = row;
    Found { id, name, username, active, avatar: Avatar::default(), title, location, token }
}
