//! Actions over the socket: one table from method name to service call (contract: REALTIME section 4). Every one is a
//! REST operation too, and both run the same code.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Channel, Gateway, calls, conversation_of};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, MessageId},
        permission::Permissions,
    },
    realtime::{
        disconnect::error,
        port::{ConnectionId, Identity, Refusal},
    },
    service::messages::{DEFAULT_PAGE, Direction, Draft, LARGEST_PAGE},
};

/// What an action gets.
pub(super) struct Ask<'a> {
    pub gateway: &'a Gateway,
    pub caller: &'a Caller,
    pub connection: ConnectionId,
    pub data: &'a [u8],
}

type Action = for<'a> fn(Ask<'a>) -> BoxFuture<'a, Result<Value>>;

/// Method, the permission it needs, what runs.
const ACTIONS: &[(&str, Permissions, Action)] = &[
    ("message.send", Permissions::USE_WORKBOXES, |ask| Box::pin(send(ask))),
    ("message.edit", Permissions::USE_WORKBOXES, |ask| Box::pin(edit(ask))),
    ("message.delete", Permissions::USE_WORKBOXES, |ask| Box::pin(delete(ask))),
    ("message.history", Permissions::USE_WORKBOXES, |ask| Box::pin(history(ask))),
    ("message.get", Permissions::USE_WORKBOXES, |ask| Box::pin(get(ask))),
    ("receipt.received", Permissions::USE_WORKBOXES, |ask| Box::pin(mark(ask, false))),
    ("receipt.read", Permissions::USE_WORKBOXES, |ask| Box::pin(mark(ask, true))),
    ("session.create", Permissions::CALL, |ask| Box::pin(calls::create_session(ask))),
    ("session.get", Permissions::CALL, |ask| Box::pin(calls::get_session(ask))),
    ("session.list", Permissions::CALL, |ask| Box::pin(calls::list_sessions(ask))),
    ("ring.start", Permissions::CALL, |ask| Box::pin(calls::start_ring(ask))),
    ("ring.accept", Permissions::CALL, |ask| Box::pin(calls::accept_ring(ask))),
    ("ring.decline", Permissions::CALL, |ask| Box::pin(calls::decline_ring(ask))),
    ("ring.cancel", Permissions::CALL, |ask| Box::pin(calls::cancel_ring(ask))),
    ("call.join", Permissions::CALL, |ask| Box::pin(calls::join_call(ask))),
    ("call.leave", Permissions::CALL, |ask| Box::pin(calls::leave_call(ask))),
    ("call.end", Permissions::CALL, |ask| Box::pin(calls::end_call(ask))),
    ("call.remove_participant", Permissions::CALL, |ask| Box::pin(calls::remove_participant(ask))),
    ("call.transfer_owner", Permissions::CALL, |ask| Box::pin(calls::transfer_owner(ask))),
    ("call.update", Permissions::CALL, |ask| Box::pin(calls::update_call(ask))),
    ("call.signal", Permissions::CALL, |ask| Box::pin(calls::signal(ask))),
    ("call.recording.start", Permissions::CALL, |ask| Box::pin(calls::record(ask, true))),
    ("call.recording.stop", Permissions::CALL, |ask| Box::pin(calls::record(ask, false))),
    ("server.time", Permissions::NONE, |ask| Box::pin(async move { Ok(time(&ask)) })),
];

/// Names of all actions that are served, for the AsyncAPI document.
pub fn methods() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|(name, ..)| *name)
}

impl Gateway {
    pub(super) async fn act(
        &self,
        connection: ConnectionId,
        identity: &Identity,
        method: &str,
        data: &[u8],
    ) -> std::result::Result<Bytes, Refusal> {
        let Some((_, needed, action)) = ACTIONS.iter().find(|(name, ..)| *name == method) else {
            return Err(error::NOT_AVAILABLE.into());
        };
        let caller = identity.caller()?;
        caller.require(*needed)?;
        let value = action(Ask { gateway: self, caller, connection, data }).await?;
        Ok(serde_json::to_vec(&value).map_err(Error::unavailable)?.into())
    }

    /// `{"type":"message", ..}` published into a channel is `message.send`.
    pub(super) async fn send_published(
        &self,
        caller: &Caller,
        id: ConversationId,
        internal: bool,
        data: &[u8],
    ) -> Result<()> {
        #[derive(Deserialize)]
        struct Published {
            data: Option<Value>,
        }
        caller.require(Permissions::USE_WORKBOXES)?;
        let Published { data: inner } = parse(data)?;
        let draft = match inner {
            Some(inner) => serde_json::from_value::<NewMessage>(inner).map_err(wrong)?,
            None => NewMessage { kind: None, ..parse::<NewMessage>(data)? },
        };
        self.services.messages.send(caller, id, draft.into_draft(internal)?).await.map(drop)
    }
}

pub(super) fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T> {
    let data = if data.is_empty() { b"{}" } else { data };
    serde_json::from_slice(data).map_err(wrong)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn wrong(problem: serde_json::Error) -> Error {
    Error::new(Code::ParametersInvalid, format!("data: {problem}"))
}

#[derive(Deserialize)]
struct NewMessage {
    uuid: Option<Uuid>,
    #[serde(rename = "type")]
    kind: Option<String>,
    metadata: Option<Value>,
    text: Option<String>,
    version: Option<i64>,
    #[serde(default)]
    internal: bool,
    sent_at: Option<Timestamp>,
    username: Option<String>,
}

impl NewMessage {
    fn into_draft(self, internal: bool) -> Result<Draft> {
        let (kind, metadata) = match (self.text, self.metadata) {
            (Some(text), None) => ("Text".to_owned(), json!({ "message": text })),
            (None, Some(metadata)) => (self.kind.unwrap_or_else(|| "Text".to_owned()), metadata),
            (Some(_), Some(_)) => return Err(Error::invalid("send `text` or `metadata`, not both")),
            (None, None) => return Err(Error::invalid("`text` or `metadata` is missing")),
        };
        Ok(Draft {
            uuid: self.uuid,
            kind,
            metadata,
            version: self.version.unwrap_or(2),
            internal: self.internal || internal,
            sent_at: self.sent_at,
            username: self.username,
        })
    }
}

/// The conversation that a call speaks of, as a channel or as a number.
#[derive(Deserialize)]
struct Place {
    channel: Option<String>,
    workbox_id: Option<ConversationId>,
}

impl Place {
    fn resolve(&self) -> Result<(ConversationId, bool)> {
        match (&self.channel, self.workbox_id) {
            (Some(name), None) => Channel::parse(name)
                .and_then(conversation_of)
                .ok_or_else(|| Error::invalid("`channel` must be workbox:<id> or internal:<id>")),
            (None, Some(id)) => Ok((id, false)),
            _ => Err(Error::invalid("`channel` is missing")),
        }
    }
}

/// A workbox token, and a guest, speak of one thread only.
fn place(ask: &Ask<'_>) -> Result<(ConversationId, bool)> {
    let (id, internal) = parse::<Place>(ask.data)?.resolve()?;
    if ask.caller.workbox.is_some_and(|only| only != id) {
        return Err(Error::not_found("workbox"));
    }
    Ok((id, internal))
}

pub(super) fn to_value<T: serde::Serialize>(value: T) -> Result<Value> {
    serde_json::to_value(value).map_err(Error::unavailable)
}

async fn send(ask: Ask<'_>) -> Result<Value> {
    let (id, internal) = place(&ask)?;
    let draft = parse::<NewMessage>(ask.data)?.into_draft(internal)?;
    to_value(ask.gateway.services.messages.send(ask.caller, id, draft).await?)
}

#[derive(Deserialize)]
struct OneMessage {
    message_id: MessageId,
}

async fn edit(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Content {
        metadata: Option<Value>,
        text: Option<String>,
    }
    let (id, _) = place(&ask)?;
    let OneMessage { message_id } = parse(ask.data)?;
    let metadata = match parse(ask.data)? {
        Content { metadata: Some(metadata), text: None } => metadata,
        Content { metadata: None, text: Some(text) } => json!({ "message": text }),
        _ => return Err(Error::invalid("`metadata` is missing")),
    };
    to_value(ask.gateway.services.messages.edit(ask.caller, id, message_id, metadata).await?)
}

async fn delete(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    let OneMessage { message_id } = parse(ask.data)?;
    ask.gateway.services.messages.delete(ask.caller, id, message_id).await?;
    Ok(json!({}))
}

async fn get(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    let OneMessage { message_id } = parse(ask.data)?;
    to_value(ask.gateway.services.messages.get(ask.caller, id, message_id).await?)
}

async fn history(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Page {
        message_id: Option<MessageId>,
        direction: Option<String>,
        limit: Option<i64>,
    }
    let (id, _) = place(&ask)?;
    let page: Page = parse(ask.data)?;
    let direction = match page.direction.as_deref() {
        None | Some("DESC") => Direction::Descending,
        Some("ASC") => Direction::Ascending,
        Some(_) => return Err(Error::invalid("`direction` must be ASC or DESC")),
    };
    let limit = match page.limit {
        None | Some(-1) => DEFAULT_PAGE,
        Some(limit @ 1..=LARGEST_PAGE) => limit,
        Some(_) => {
            return Err(Error::new(Code::InvalidLimit, format!("`limit` must be 1 to {LARGEST_PAGE}, or -1")));
        }
    };
    let from = page.message_id.unwrap_or_default();
    let messages = ask.gateway.services.messages.around(ask.caller, id, from, direction, limit).await?;
    Ok(json!({ "messages": to_value(messages)? }))
}

async fn mark(ask: Ask<'_>, read: bool) -> Result<Value> {
    #[derive(Deserialize)]
    struct UpTo {
        #[serde(default)]
        message_id: MessageId,
    }
    let (id, _) = place(&ask)?;
    let UpTo { message_id } = parse(ask.data)?;
    to_value(ask.gateway.services.messages.mark(ask.caller, id, message_id, read).await?)
}

fn time(ask: &Ask<'_>) -> Value {
    let Ask { gateway, connection, .. } = ask;
    json!({ "server_time": gateway.clock.now(), "client": connection.client })
}
