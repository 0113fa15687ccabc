//! API keys of the organisation.

use serde::{Deserialize, Serialize};

use super::{success::Success, types::Paged};
use crate::{
    domain::{
        error::Result,
        ids::ApiKeyId,
        query::{Numbered, Page},
    },
    http::{Body, Cx, Json, Query, Seg},
    operations,
    service::keys,
};

operations! {
    base "/v1r1/enterprise/api_keys";
    /// The organisation's API keys.
    GET "" => 200 list_api_keys(Query<Paged>) -> Json<Numbered<ApiKey>>, Enterprise + MANAGE_KEYS [no_store],
        fails InvalidLimit;
    /// Make an API key.
    POST "" => 200 create_api_key(Body<NewApiKey>) -> Json<ApiKey>, Enterprise + MANAGE_KEYS [no_store],
        fails NotFound;
    /// One API key.
    GET "/{id}" => 200 get_api_key(Seg<ApiKeyId>) -> Json<ApiKey>, Enterprise + MANAGE_KEYS [no_store],
        fails NotFound;
    /// Change an API key's description.
    PUT "/{id}" => 200 update_api_key(Seg<ApiKeyId>, Body<ApiKeyChange>) -> Json<ApiKey>, Enterprise + MANAGE_KEYS
        [no_store], fails NotFound;
    /// Revoke an API key: every application that uses it stops working at once.
    DELETE "/{id}" => 200 delete_api_key(Seg<ApiKeyId>) -> Json<Success>, Enterprise + MANAGE_KEYS, fails NotFound;
}

/// `enterprise_apikey` of the contract.
#[derive(Serialize)]
pub struct ApiKey {
    id: ApiKeyId,
    description: String,
    access_token: String,
}

impl From<keys::ApiKey> for ApiKey {
    fn from(key: keys::ApiKey) -> Self {
        Self { id: key.id, description: key.description, access_token: key.key.expose().to_owned() }
    }
}

/// A new key.
#[derive(Debug, Deserialize)]
pub struct NewApiKey {
    description: String,
}

/// What changes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ApiKeyChange {
    description: Option<String>,
}

async fn list_api_keys(cx: &Cx, Query(query): Query<Paged>) -> Result<Json<Numbered<ApiKey>>> {
    let page = Page::new(query.page, query.page_size)?;
    let keys = cx.services.keys.api_keys(&cx.caller, page).await?;
    Ok(Json(keys.map(ApiKey::from)))
}

async fn create_api_key(cx: &Cx, Body(new): Body<NewApiKey>) -> Result<Json<ApiKey>> {
    let key = cx.services.keys.create_api_key(&cx.caller, &new.description, &cx.once).await?;
    Ok(Json(key.into()))
}

async fn get_api_key(cx: &Cx, Seg(id): Seg<ApiKeyId>) -> Result<Json<ApiKey>> {
    Ok(Json(cx.services.keys.api_key(&cx.caller, id).await?.into()))
}

async fn update_api_key(
    cx: &Cx,
    Seg(id): Seg<ApiKeyId>,
    Body(change): Body<ApiKeyChange>,
) -> Result<Json<ApiKey>> {
    let key = cx.services.keys.describe_api_key(&cx.caller, id, change.description.as_deref()).await?;
    Ok(Json(key.into()))
}

async fn delete_api_key(cx: &Cx, Seg(id): Seg<ApiKeyId>) -> Result<Json<Success>> {
    cx.services.keys.remove_api_key(&cx.caller, id).await?;
    Ok(Json(Success::new("API key revoked")))
}
