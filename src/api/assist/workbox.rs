//! One help thread, with its own token: showing it, changing what it says of itself, its people, its procedures.

use serde::{Deserialize, Deserializer};

use super::custom_fields::{Values, field_inputs};
use crate::{
    base::clock::Timestamp,
    domain::{
        error::{Error, Result},
        ids::{ConversationId, PersonId, ProcedureLinkId},
    },
    http::{Body, Cx, Json, flexible},
    operations,
    service::workboxes::{NewProcedure, ProcedureMove, WorkboxView},
};

operations! {
    base "/v1r1/workbox";
    /// The thread.
    GET "" => 200 get_workbox() -> Json<WorkboxView>, Workbox + USE_WORKBOXES [no_store], fails NotFound;
    /// Close the thread. Refused while a field that must be filled by then is empty.
    POST "/close" => 200 close_workbox() -> Json<WorkboxView>, Workbox + USE_WORKBOXES [no_store], fails NotFound;
    /// Open the closed thread again.
    POST "/reopen" => 200 reopen_workbox() -> Json<WorkboxView>, Workbox + USE_WORKBOXES [no_store],
        fails NotFound;
    /// Set values of custom fields; fields that are not named stay.
    PUT "/custom_fields" => 200 set_workbox_fields(Body<Fields>) -> Json<WorkboxView>,
        Workbox + USE_WORKBOXES [no_store], fails NotFound | Constraint;
    /// Set the title.
    PUT "/title" => 200 set_workbox_title(Body<Title>) -> Json<WorkboxView>, Workbox + USE_WORKBOXES [no_store],
        fails NotFound;
    /// Replace the coworkers: people of the own organisation. Whoever opened the thread, the caller and guests stay.
    PUT "/participants" => 200 set_workbox_participants(Body<Coworkers>) -> Json<WorkboxView>,
        Workbox + USE_WORKBOXES [no_store], fails NotFound;
    /// Start a procedure in the thread.
    POST "/procedure" => 200 add_workbox_procedure(Body<New>) -> Json<WorkboxView>,
        Workbox + USE_WORKBOXES [no_store], fails NotFound;
    /// Move a procedure on; the state DELETED takes it out of the thread.
    PUT "/procedure" => 200 move_workbox_procedure(Body<Move>) -> Json<WorkboxView>,
        Workbox + USE_WORKBOXES [no_store], fails NotFound;
}

/// The thread that the token is for.
pub(super) fn thread(cx: &Cx) -> Result<ConversationId> {
    cx.caller.workbox.ok_or_else(|| Error::forbidden("this needs a workbox's token"))
}

#[derive(Debug, Deserialize)]
struct Fields {
    #[serde(deserialize_with = "field_inputs")]
    values: Values,
}

#[derive(Debug, Deserialize)]
struct Title {
    title: String,
}

#[derive(Debug, Deserialize)]
struct Coworkers {
    #[serde(deserialize_with = "flexible::numbers")]
    coworker_ids: Vec<PersonId>,
}

#[derive(Debug, Deserialize)]
struct New {
    #[serde(deserialize_with = "flexible::number")]
    procedure_id: i64,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    procedure_version: Option<i64>,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    owner_id: Option<PersonId>,
    state: Option<String>,
    task_uuid: Option<String>,
    values_url: Option<String>,
    #[serde(default, deserialize_with = "flexible::optional_boolean")]
    offline: Option<bool>,
    #[serde(default, deserialize_with = "moment")]
    action_time: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Move {
    #[serde(deserialize_with = "flexible::number")]
    id: ProcedureLinkId,
    state: Option<String>,
    task_uuid: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    action_time: Option<Timestamp>,
}

/// A moment as clients write it: ISO 8601, UTC where no offset stands. Null and empty are none.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty());
    let read =
        |text: String| read_moment(&text).ok_or_else(|| serde::de::Error::custom("not an ISO 8601 time"));
    text.map(read).transpose()
}

/// See [`moment`]. A `+` of an offset that arrived as a blank, since it was not encoded, is one again.
pub(super) fn read_moment(text: &str) -> Option<Timestamp> {
    let text = text.trim().replace(' ', "+");
    Timestamp::parse_rfc3339(&text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
}

async fn get_workbox(cx: &Cx) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.get(&cx.caller, thread(cx)?).await?))
}

async fn close_workbox(cx: &Cx) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.close(&cx.caller, thread(cx)?, &cx.once).await?))
}

async fn reopen_workbox(cx: &Cx) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.reopen(&cx.caller, thread(cx)?, &cx.once).await?))
}

async fn set_workbox_fields(cx: &Cx, Body(fields): Body<Fields>) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.set_fields(&cx.caller, thread(cx)?, &fields.values.0).await?))
}

async fn set_workbox_title(cx: &Cx, Body(title): Body<Title>) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.set_title(&cx.caller, thread(cx)?, &title.title).await?))
}

async fn set_workbox_participants(cx: &Cx, Body(people): Body<Coworkers>) -> Result<Json<WorkboxView>> {
    let service = &cx.services.workboxes;
    Ok(Json(service.set_participants(&cx.caller, thread(cx)?, people.coworker_ids).await?))
}

async fn add_workbox_procedure(cx: &Cx, Body(new): Body<New>) -> Result<Json<WorkboxView>> {
    let new = NewProcedure {
        procedure: new.procedure_id,
        version: new.procedure_version.unwrap_or(1),
        owner: new.owner_id,
        state: new.state,
        task_uuid: new.task_uuid,
        values_url: new.values_url,
        offline: new.offline.unwrap_or(false),
        action_time: new.action_time,
    };
    Ok(Json(cx.services.workboxes.add_procedure(&cx.caller, thread(cx)?, new, &cx.once).await?))
}

async fn move_workbox_procedure(cx: &Cx, Body(step): Body<Move>) -> Result<Json<WorkboxView>> {
    let step = ProcedureMove {
        id: step.id,
        state: step.state,
        task_uuid: step.task_uuid,
        action_time: step.action_time,
    };
    Ok(Json(cx.services.workboxes.move_procedure(&cx.caller, thread(cx)?, step).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_clients_write_them() {
        let noon = Timestamp::parse_rfc3339("2026-01-01T12:00:00Z");
        for text in ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000000", "2026-01-01T13:00:00 01:00"] {
            assert_eq!(read_moment(text), noon, "{text}");
        }
        assert_eq!(read_moment("yesterday"), None);
    }
}
