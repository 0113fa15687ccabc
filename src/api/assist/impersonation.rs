//! Acting as another user of the organisation.

use serde::Deserialize;

use super::types::Token;
use crate::{
    domain::{
        error::{Error, Result},
        ids::PersonId,
        permission::Permissions,
    },
    http::{Cx, Json, Query, Seg},
    operations,
};

operations! {
    base "/v1r1/enterprise/impersonate";
    /// A token that acts as the user, with what both may do; it cannot be refreshed, and the audit log has both names.
    GET "/{user_id}" => 200 impersonate(Seg<PersonId>, Query<Adjustment>) -> Json<Token>,
        Enterprise + IMPERSONATE [no_store], fails NotFound;
}

/// What the token shall be able to do beside, or less than, what acting tokens can.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Adjustment {
    add_permissions: Vec<String>,
    remove_permissions: Vec<String>,
}

async fn impersonate(
    cx: &Cx,
    Seg(id): Seg<PersonId>,
    Query(query): Query<Adjustment>,
) -> Result<Json<Token>> {
    let add = named("add_permissions", &query.add_permissions)?;
    let remove = named("remove_permissions", &query.remove_permissions)?;
    let token = cx.services.acting.impersonate(&cx.caller, id, add, remove).await?;
    Ok(Json(Token { token }))
}

fn named(parameter: &str, names: &[String]) -> Result<Permissions> {
    names.iter().filter(|name| !name.is_empty()).try_fold(Permissions::NONE, |all, name| {
        let known = Permissions::by_name(name);
        Ok(all
            | known
                .ok_or_else(|| Error::invalid(format!("query: {parameter}: unknown permission {name}")))?)
    })
}
