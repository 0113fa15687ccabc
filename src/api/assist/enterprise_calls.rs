//! Call records of the organisation, and their attachments.

use serde::Serialize;

use super::{
    call_views::{HermesCall, SessionCall},
    success::Success,
};
use crate::{
    domain::{
        error::Result,
        ids::{AttachmentId, CallId, SessionId},
        query::{ListQuery, Numbered},
    },
    http::{Cx, Json, Query, Seg},
    operations,
    service::attachments::AttachmentView,
    store::call_records::FIELDS,
};

operations! {
    base "";
    /// The organisation's calls, the latest first.
    GET "/v1/enterprise/calls" => 200 list_enterprise_calls(Query<ListQuery>) -> Json<Numbered<HermesCall>>,
        Enterprise + VIEW_ALL_CALLS, fails InvalidLimit;
    /// A call of the organisation.
    GET "/v1/enterprise/calls/{call_id}" => 200 get_enterprise_call(Seg<CallId>) -> Json<Wrapped>,
        Enterprise + VIEW_ALL_CALLS, fails NotFound;
    /// The calls of a session, the latest first.
    GET "/v1/enterprise/sessions/{session_id}" => 200 list_session_calls(Seg<SessionId>) -> Json<Vec<SessionCall>>,
        Enterprise + VIEW_ALL_CALLS, fails NotFound;
    /// All attachments of a call, deleted ones marked.
    GET "/v1r1/enterprise/calls/{call_id}/attachments" => 200 list_enterprise_call_attachments(Seg<CallId>)
        -> Json<Vec<AttachmentView>>, Enterprise + VIEW_ALL_CALLS [no_store], fails NotFound;
    /// One attachment of a call, as a list of one.
    GET "/v1r1/enterprise/calls/{call_id}/attachments/{attachment_id}"
        => 200 get_enterprise_call_attachment(Seg<CallId>, Seg<AttachmentId>) -> Json<[AttachmentView; 1]>,
        Enterprise + VIEW_ALL_CALLS [no_store], fails NotFound;
    /// Delete an attachment: its file goes, the record stays.
    DELETE "/v1r1/enterprise/calls/{call_id}/attachments/{attachment_id}"
        => 200 delete_enterprise_call_attachment(Seg<CallId>, Seg<AttachmentId>) -> Json<Success>,
        Enterprise + MANAGE_CALLS, fails NotFound;
}

/// A call as clients of this one operation read it.
#[derive(Debug, Serialize)]
struct Wrapped {
    error: bool,
    call: HermesCall,
}

async fn list_enterprise_calls(
    cx: &Cx,
    Query(query): Query<ListQuery>,
) -> Result<Json<Numbered<HermesCall>>> {
    let (records, list) = (&cx.services.call_records, query.parse(FIELDS)?);
    let (calls, total) = records.list_all(&cx.caller, &list).await?;
    let now = records.now();
    let calls = calls.iter().map(|call| HermesCall::of(call, now)).collect();
    Ok(Json(Numbered::new(list.page, calls, total)))
}

async fn get_enterprise_call(cx: &Cx, Seg(id): Seg<CallId>) -> Result<Json<Wrapped>> {
    let records = &cx.services.call_records;
    let call = records.get_any(&cx.caller, &id).await?;
    Ok(Json(Wrapped { error: false, call: HermesCall::of(&call, records.now()) }))
}

async fn list_session_calls(cx: &Cx, Seg(id): Seg<SessionId>) -> Result<Json<Vec<SessionCall>>> {
    let records = &cx.services.call_records;
    let calls = records.of_session(&cx.caller, id).await?;
    let now = records.now();
    Ok(Json(calls.iter().map(|call| SessionCall::of(call, now)).collect()))
}

async fn list_enterprise_call_attachments(
    cx: &Cx,
    Seg(id): Seg<CallId>,
) -> Result<Json<Vec<AttachmentView>>> {
    Ok(Json(cx.services.attachments.list_of_call(&cx.caller, &id).await?))
}

async fn get_enterprise_call_attachment(
    cx: &Cx,
    Seg(call): Seg<CallId>,
    Seg(id): Seg<AttachmentId>,
) -> Result<Json<[AttachmentView; 1]>> {
    Ok(Json([cx.services.attachments.get_of_call(&cx.caller, &call, id).await?]))
}

async fn delete_enterprise_call_attachment(
    cx: &Cx,
    Seg(call): Seg<CallId>,
    Seg(id): Seg<AttachmentId>,
) -> Result<Json<Success>> {
    cx.services.attachments.delete_of_call(&cx.caller, &call, id).await?;
    Ok(Json(Success::new("the attachment was deleted")))
}
