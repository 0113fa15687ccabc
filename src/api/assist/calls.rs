//! Call records of the caller.

use serde::Deserialize;
use serde_json::Value;

use super::{
    call_history::{self, Entry},
    call_views::{HermesCall, RecentCall},
};
use crate::{
    domain::{error::Result, ids::CallId, query::ListQuery},
    http::{Body, Cx, Json, Query, Seg},
    operations,
    store::call_records::{FIELDS, References},
};

operations! {
    base "/v1/calls";
    /// The calls that the caller has been in, the latest first.
    GET "" => 200 list_calls(Query<ListQuery>) -> Json<Vec<HermesCall>>, User, fails InvalidLimit;
    /// The caller's latest calls, answered or not: one entry per person who was rung.
    GET "/recent" => 200 list_recent_calls() -> Json<Vec<RecentCall>>, User [no_store];
    /// A call that the caller has been in or was rung for.
    GET "/{call_id}" => 200 get_call(Seg<CallId>) -> Json<HermesCall>, User, fails NotFound;
    /// Write own references into a call.
    PUT "/{call_id}" => 200 update_call(Seg<CallId>, Body<Change>) -> Json<&'static str>, User + CALL, fails NotFound;
    /// A call with who was in it and when.
    GET "/{call_id}/events" => 200 get_call_events(Seg<CallId>) -> Json<Value>, User, fails NotFound;
    /// Rings, comings and goings, attachments of a call, in the order in which they happened.
    GET "/{call_id}/event_stream" => 200 get_call_event_stream(Seg<CallId>) -> Json<Vec<Entry>>, User [no_store],
        fails NotFound;
}

#[derive(Debug, Deserialize)]
struct Change {
    #[serde(default)]
    alt1_id: Option<String>,
    #[serde(default)]
    alt2_id: Option<String>,
    #[serde(default)]
    alt3_id: Option<String>,
    #[serde(default)]
    extra_info: Option<String>,
}

async fn list_calls(cx: &Cx, Query(query): Query<ListQuery>) -> Result<Json<Vec<HermesCall>>> {
    let records = &cx.services.call_records;
    let (calls, _) = records.list_mine(&cx.caller, &query.parse(FIELDS)?).await?;
    let now = records.now();
    Ok(Json(calls.iter().map(|call| HermesCall::of(call, now)).collect()))
}

async fn list_recent_calls(cx: &Cx) -> Result<Json<Vec<RecentCall>>> {
    let records = &cx.services.call_records;
    let entries = records.recent(&cx.caller).await?;
    let now = records.now();
    Ok(Json(entries.iter().map(|entry| RecentCall::of(entry, now)).collect()))
}

async fn get_call(cx: &Cx, Seg(id): Seg<CallId>) -> Result<Json<HermesCall>> {
    let records = &cx.services.call_records;
    let call = records.get(&cx.caller, &id).await?;
    Ok(Json(HermesCall::of(&call, records.now())))
}

async fn update_call(
    cx: &Cx,
    Seg(id): Seg<CallId>,
    Body(change): Body<Change>,
) -> Result<Json<&'static str>> {
    let Change { alt1_id, alt2_id, alt3_id, extra_info } = change;
    let references = References { alt1_id, alt2_id, alt3_id, extra_info };
    cx.services.call_records.set_references(&cx.caller, &id, references).await?;
    Ok(Json("success"))
}

async fn get_call_events(cx: &Cx, Seg(id): Seg<CallId>) -> Result<Json<Value>> {
    let records = &cx.services.call_records;
    let call = records.get(&cx.caller, &id).await?;
    Ok(Json(call_history::events(&call, records.now())))
}

async fn get_call_event_stream(cx: &Cx, Seg(id): Seg<CallId>) -> Result<Json<Vec<Entry>>> {
    let call = cx.services.call_records.get(&cx.caller, &id).await?;
    let attachments = cx.services.attachments.list_of_call(&cx.caller, &id).await?;
    Ok(Json(call_history::stream(&call, attachments)))
}
