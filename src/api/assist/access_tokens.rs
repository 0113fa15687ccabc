//! Personal access tokens of the caller.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{error::Result, ids::AccessTokenId},
    http::{Body, Cx, Json, Nothing, Seg},
    operations,
    store::tokens::AccessTokenRow,
};

operations! {
    base "/v1r1/personal_access_token";
    /// The caller's personal access tokens; their texts are not kept.
    GET "" => 200 list_access_tokens() -> Json<Vec<AccessToken>>, User + VIEW_ACCOUNT [no_store];
    /// Make a personal access token: its text stands in this reply only.
    POST "" => 200 create_access_token(Body<NewAccessToken>) -> Json<AccessToken>, User + MANAGE_ACCESS_TOKENS
        [no_store], fails Constraint;
    /// One of the caller's personal access tokens.
    GET "/{id}" => 200 get_access_token(Seg<AccessTokenId>) -> Json<AccessToken>, User + VIEW_ACCOUNT
        [no_store], fails NotFound;
    /// Remove one for good: what came of it ends at once.
    DELETE "/{id}" => 200 delete_access_token(Seg<AccessTokenId>) -> Nothing, User + MANAGE_ACCESS_TOKENS,
        fails NotFound;
}

/// What its owner says about it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewAccessToken {
    description: Option<String>,
}

/// `personal_access_token` of the contract; `token` is null but in the reply that made it.
#[derive(Serialize)]
pub struct AccessToken {
    id: AccessTokenId,
    description: String,
    token: Option<String>,
    hint: String,
    created_at: crate::base::clock::Timestamp,
    last_used_at: Option<crate::base::clock::Timestamp>,
}

impl AccessToken {
    fn new(row: AccessTokenRow, token: Option<String>) -> Self {
        let AccessTokenRow { id, description, hint, created_at, last_used_at, .. } = row;
        Self { id, description, token, hint, created_at, last_used_at }
    }
}

async fn list_access_tokens(cx: &Cx) -> Result<Json<Vec<AccessToken>>> {
    let rows = cx.services.access_tokens.list(&cx.caller).await?;
    Ok(Json(rows.into_iter().map(|row| AccessToken::new(row, None)).collect()))
}

async fn create_access_token(cx: &Cx, Body(body): Body<NewAccessToken>) -> Result<Json<AccessToken>> {
    let description = body.description.unwrap_or_default();
    let made = cx.services.access_tokens.create(&cx.caller, &description, &cx.once).await?;
    Ok(Json(AccessToken::new(made.row, Some(made.text))))
}

async fn get_access_token(cx: &Cx, Seg(id): Seg<AccessTokenId>) -> Result<Json<AccessToken>> {
    let row = cx.services.access_tokens.get(&cx.caller, id).await?;
    Ok(Json(AccessToken::new(row, None)))
}

async fn delete_access_token(cx: &Cx, Seg(id): Seg<AccessTokenId>) -> Result<Nothing> {
    cx.services.access_tokens.remove(&cx.caller, id).await?;
    Ok(Nothing)
}
