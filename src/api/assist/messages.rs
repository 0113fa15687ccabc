//! Messages of a help thread.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use super::workbox::{moment, read_moment, thread};
use crate::{
    base::clock::Timestamp,
    domain::{
        error::{Error, Result},
        ids::MessageId,
        query::{self, CursorPage, decode_cursor},
    },
    http::{Body, Cx, Json, Query, Seg, flexible},
    operations,
    service::messages::{Direction, Draft, MessageView},
    store::messages::Side,
};

operations! {
    base "/v1r1/workbox/messages";
    /// A page of messages, newest first.
    GET "" => 200 list_messages(Query<Page>) -> Json<CursorPage<MessageView>>, Workbox + USE_WORKBOXES,
        fails NotFound | InvalidLimit;
    /// Send a message. The same uuid again gives the first message again.
    POST "" => 200 send_message(Body<New>) -> Json<MessageView>, Workbox + USE_WORKBOXES,
        fails NotFound | InvalidMessage | InvalidName;
    /// Messages on one side of a message: newer ones oldest first (ASC), older ones newest first (DESC).
    GET "/history_by_direction" => 200 list_messages_around(Query<Around>) -> Json<Vec<MessageView>>,
        Workbox + USE_WORKBOXES, fails NotFound | InvalidLimit;
    /// The newest messages, newest first.
    GET "/recent_history" => 200 list_recent_messages(Query<Recent>) -> Json<Vec<MessageView>>,
        Workbox + USE_WORKBOXES, fails NotFound | InvalidLimit;
    /// What was sent, edited or deleted after a moment, oldest first.
    GET "/updates_since" => 200 list_message_updates(Query<Since>) -> Json<Vec<MessageView>>,
        Workbox + USE_WORKBOXES, fails NotFound | InvalidLimit;
    /// One message.
    GET "/{message_id}" => 200 get_message(Seg<MessageId>) -> Json<MessageView>, Workbox + USE_WORKBOXES,
        fails NotFound;
    /// Replace the content of an own message; what it said before is kept.
    PUT "/{message_id}" => 200 edit_message(Seg<MessageId>, Body<Edit>) -> Json<bool>, Workbox + USE_WORKBOXES,
        fails NotFound | InvalidMessage;
    /// Delete an own message: its content is gone, its place stays.
    DELETE "/{message_id}" => 200 delete_message(Seg<MessageId>) -> Json<bool>, Workbox + USE_WORKBOXES,
        fails NotFound;
}

/// Name of the list in cursors.
const LIST: &str = "messages";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    limit: Option<i64>,
    after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Recent {
    limit: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Around {
    message_id: Option<i64>,
    direction: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Since {
    timestamp: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct New {
    #[serde(default, deserialize_with = "optional_uuid")]
    uuid: Option<Uuid>,
    #[serde(rename = "type")]
    kind: String,
    metadata: Value,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    version: Option<i64>,
    #[serde(default, deserialize_with = "flexible::optional_boolean")]
    internal: Option<bool>,
    #[serde(default, deserialize_with = "moment")]
    sent_at: Option<Timestamp>,
    username: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Edit {
    metadata: Value,
}

/// A UUID; null and empty are none.
fn optional_uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty());
    text.map(|text| text.trim().parse().map_err(|_| serde::de::Error::custom("not a UUID"))).transpose()
}

async fn list_messages(cx: &Cx, Query(page): Query<Page>) -> Result<Json<CursorPage<MessageView>>> {
    let limit = query::limit(page.limit)?;
    let side = match decode_cursor::<(i64, MessageId)>(LIST, page.after.as_deref())? {
        Some((at, id)) => Side::Before(Timestamp(at), id),
        None => Side::Newest,
    };
    let rows = cx.services.messages.list(&cx.caller, thread(cx)?, side, i64::from(limit) + 1).await?;
    Ok(Json(CursorPage::new(LIST, rows, limit, |message| (message.sent_at.0, message.id))))
}

async fn send_message(cx: &Cx, Body(new): Body<New>) -> Result<Json<MessageView>> {
    let draft = Draft {
        uuid: new.uuid,
        kind: new.kind,
        metadata: new.metadata,
        version: new.version.unwrap_or(2),
        internal: new.internal.unwrap_or(false),
        sent_at: new.sent_at,
        username: new.username,
    };
    Ok(Json(cx.services.messages.send(&cx.caller, thread(cx)?, draft, &cx.once).await?))
}

async fn list_messages_around(cx: &Cx, Query(around): Query<Around>) -> Result<Json<Vec<MessageView>>> {
    let direction = match around.direction.unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "DESC" => Direction::Descending,
        "ASC" => Direction::Ascending,
        _ => return Err(Error::invalid("direction: ASC or DESC")),
    };
    let (limit, message) = (query::limit(around.limit)?, MessageId(around.message_id.unwrap_or(0)));
    let service = &cx.services.messages;
    Ok(Json(service.around(&cx.caller, thread(cx)?, message, direction, i64::from(limit)).await?))
}

async fn list_recent_messages(cx: &Cx, Query(recent): Query<Recent>) -> Result<Json<Vec<MessageView>>> {
    let limit = i64::from(query::limit(recent.limit)?);
    Ok(Json(cx.services.messages.recent(&cx.caller, thread(cx)?, limit).await?))
}

async fn list_message_updates(cx: &Cx, Query(since): Query<Since>) -> Result<Json<Vec<MessageView>>> {
    let limit = i64::from(query::limit(since.limit)?);
    let since = match since.timestamp.filter(|text| !text.trim().is_empty()) {
        Some(text) => read_moment(&text).ok_or_else(|| Error::invalid("timestamp: not an ISO 8601 time"))?,
        None => Timestamp(i64::MIN),
    };
    Ok(Json(cx.services.messages.updates_since(&cx.caller, thread(cx)?, since, limit).await?))
}

async fn get_message(cx: &Cx, Seg(message): Seg<MessageId>) -> Result<Json<MessageView>> {
    Ok(Json(cx.services.messages.get(&cx.caller, thread(cx)?, message).await?))
}

async fn edit_message(cx: &Cx, Seg(message): Seg<MessageId>, Body(edit): Body<Edit>) -> Result<Json<bool>> {
    cx.services.messages.edit(&cx.caller, thread(cx)?, message, edit.metadata).await?;
    Ok(Json(true))
}

async fn delete_message(cx: &Cx, Seg(message): Seg<MessageId>) -> Result<Json<bool>> {
    cx.services.messages.delete(&cx.caller, thread(cx)?, message).await?;
    Ok(Json(true))
}
