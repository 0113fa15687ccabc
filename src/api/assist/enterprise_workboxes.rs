//! Help threads of the whole organisation, for its administrators and services.

use serde::Serialize;

use super::workboxes::List;
use crate::{
    domain::{error::Result, ids::ConversationId, query::CursorPage},
    http::{Cx, Json, Query, Seg},
    operations,
    service::workboxes::WorkboxView,
};

operations! {
    base "/v1r1/enterprise/workboxes";
    /// A page of the organisation's threads, most recently active first.
    GET "" => 200 list_all_workboxes(Query<List>) -> Json<CursorPage<WorkboxView>>,
        Enterprise + VIEW_ALL_WORKBOXES [no_store], fails InvalidLimit;
    /// One thread of the organisation.
    GET "/{id}" => 200 get_any_workbox(Seg<ConversationId>) -> Json<WorkboxView>,
        Enterprise + VIEW_ALL_WORKBOXES [no_store], fails NotFound;
    /// The thread that a call belongs to: its fields, and the same again under `workbox`.
    GET "/by_call_id/{id}" => 200 get_any_workbox_of_call(Seg<String>) -> Json<Twice>,
        Enterprise + VIEW_ALL_WORKBOXES [no_store], fails NotFound;
}

/// What the seed shows bare and its client reads under `workbox`.
#[derive(Debug, Serialize)]
struct Twice {
    #[serde(flatten)]
    bare: WorkboxView,
    workbox: WorkboxView,
}

async fn list_all_workboxes(cx: &Cx, Query(list): Query<List>) -> Result<Json<CursorPage<WorkboxView>>> {
    Ok(Json(cx.services.workboxes.list_all(&cx.caller, &list.request()?).await?))
}

async fn get_any_workbox(cx: &Cx, Seg(id): Seg<ConversationId>) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.get_any(&cx.caller, id).await?))
}

async fn get_any_workbox_of_call(cx: &Cx, Seg(call): Seg<String>) -> Result<Json<Twice>> {
    let workbox = cx.services.workboxes.any_of_call(&cx.caller, &call).await?;
    Ok(Json(Twice { bare: workbox.clone(), workbox }))
}
