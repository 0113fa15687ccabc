//! Help threads of the signed-in person: lists, lookups, opening one.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::custom_fields::{Values, field_inputs};
use crate::{
    domain::{
        error::{Error, Result},
        ids::{ConversationId, PersonId},
        query::{self, CursorPage},
    },
    http::{Body, Cx, Json, Query, Seg, flexible},
    operations,
    service::workboxes::{CallWorkbox, Info, ListRequest, NewWorkbox, StatusFilter, WorkboxView},
};

operations! {
    base "/v1r1/workboxes";
    /// A page of the caller's threads, most recently active first.
    GET "" => 200 list_workboxes(Query<List>) -> Json<CursorPage<WorkboxView>>, User + USE_WORKBOXES [no_store],
        fails InvalidLimit;
    /// Open a thread with some people of the own organisation.
    POST "" => 200 create_workbox(Body<New>) -> Json<WorkboxView>, User + USE_WORKBOXES [no_store];
    /// One of the caller's threads.
    GET "/{id}" => 200 get_workbox_of_user(Seg<ConversationId>) -> Json<WorkboxView>,
        User + USE_WORKBOXES [no_store], fails NotFound;
    /// Counts of the caller's threads and of what is unread in them.
    GET "/info" => 200 get_workboxes_info() -> Json<Info>, User + USE_WORKBOXES;
    /// The thread that a call belongs to.
    GET "/by_call_id/{id}" => 200 get_workbox_of_call(Seg<String>) -> Json<CallWorkbox>,
        User + USE_WORKBOXES [no_store], fails NotFound;
    /// The thread behind a guest's link, given whole.
    GET "/by_url" => 200 get_workbox_by_url(Query<Link>) -> Json<WorkboxView>, User + USE_WORKBOXES [no_store],
        fails NotFound | LinkExpired;
}

/// The query of a list of threads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct List {
    limit: Option<i64>,
    after: Option<String>,
    status: Option<String>,
    filter: Option<String>,
}

impl List {
    /// Checked, but for what depends on the caller.
    pub(super) fn request(self) -> Result<ListRequest> {
        Ok(ListRequest {
            status: StatusFilter::by_name(self.status.as_deref().unwrap_or_default())
                .ok_or_else(|| Error::invalid("status: ALL, OPEN, REPORTED, ASSIGNED or CLOSED"))?,
            filter: self.filter,
            after: self.after,
            limit: query::limit(self.limit)?,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct New {
    title: Option<String>,
    description: Option<String>,
    #[serde(deserialize_with = "people")]
    participant_ids: Vec<PersonId>,
    #[serde(deserialize_with = "people")]
    participants: Vec<PersonId>,
    #[serde(alias = "fields", alias = "values", deserialize_with = "field_inputs")]
    custom_fields: Values,
}

/// Numbers of people in any form: one, a list, joined by commas, or objects with an `id`.
fn people<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PersonId>, D::Error> {
    let plain = match Value::deserialize(deserializer)? {
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(mut object) => object.remove("id").unwrap_or_default(),
                other => other,
            })
            .collect(),
        other => other,
    };
    flexible::numbers(plain).map_err(serde::de::Error::custom)
}

#[derive(Debug, Deserialize)]
struct Link {
    link_url: String,
}

async fn list_workboxes(cx: &Cx, Query(list): Query<List>) -> Result<Json<CursorPage<WorkboxView>>> {
    Ok(Json(cx.services.workboxes.list(&cx.caller, &list.request()?).await?))
}

async fn create_workbox(cx: &Cx, Body(new): Body<New>) -> Result<Json<WorkboxView>> {
    let mut participants = new.participant_ids;
    participants.extend(new.participants);
    let new = NewWorkbox {
        title: new.title.unwrap_or_default(),
        description: new.description.unwrap_or_default(),
        participants,
        fields: new.custom_fields.0,
        call: None,
    };
    Ok(Json(cx.services.workboxes.create(&cx.caller, new, &cx.once).await?))
}

async fn get_workbox_of_user(cx: &Cx, Seg(id): Seg<ConversationId>) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.get(&cx.caller, id).await?))
}

async fn get_workboxes_info(cx: &Cx) -> Result<Json<Info>> {
    Ok(Json(cx.services.workboxes.info(&cx.caller).await?))
}

async fn get_workbox_of_call(cx: &Cx, Seg(call): Seg<String>) -> Result<Json<CallWorkbox>> {
    Ok(Json(cx.services.workboxes.of_call(&cx.caller, &call).await?))
}

async fn get_workbox_by_url(cx: &Cx, Query(link): Query<Link>) -> Result<Json<WorkboxView>> {
    cx.services.sign_in.link_attempt(cx.request.remote)?;
    Ok(Json(cx.services.workboxes.by_url(&cx.caller, &link.link_url).await?))
}
