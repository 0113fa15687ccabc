//! `message.*` and `receipt.*`.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ask, Gateway, PLACE, Row, TALK, THREAD, allow, parse, to_value, wrong};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        error::{Error, Result},
        ids::{ConversationId, MessageId},
        once::Once,
        permission::Permissions,
        query,
    },
    realtime::gateway::{Channel, conversation_of},
    service::messages::{Direction, Draft},
};

pub(super) const ACTIONS: &[Row] = &[
    // In a workbox or in a session: what it needs depends on where it goes.
    ("message.send", PLACE, Permissions::NONE, |ask| Box::pin(send(ask))),
    ("message.edit", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(edit(ask))),
    ("message.delete", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(delete(ask))),
    ("message.history", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(history(ask))),
    ("message.get", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(get(ask))),
    ("receipt.received", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(mark(ask, false))),
    ("receipt.read", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(mark(ask, true))),
];

impl Gateway {
    /// `{"type":"message", ..}` published into a channel is `message.send`.
    pub(in crate::realtime::gateway) async fn send_published(
        &self,
        caller: &Caller,
        channel: Channel,
        data: &[u8],
    ) -> Result<()> {
        #[derive(Deserialize)]
        struct Published {
            data: Option<Value>,
        }
        let Published { data: inner } = parse(data)?;
        let draft = match inner {
            Some(inner) => serde_json::from_value::<NewMessage>(inner).map_err(wrong)?,
            None => NewMessage { kind: None, ..parse::<NewMessage>(data)? },
        };
        if let Channel::Session(session) = channel {
            allow(caller, TALK, Permissions::CALL)?;
            let draft = draft.into_draft(false)?;
            return self.services.session_messages.send(caller, session, draft).await.map(drop);
        }
        let (id, internal) = conversation_of(channel)
            .ok_or_else(|| Error::invalid("messages go to workbox, internal and session channels"))?;
        allow(caller, THREAD, Permissions::USE_WORKBOXES)?;
        self.services.messages.send(caller, id, draft.into_draft(internal)?, &Once::none()).await.map(drop)
    }
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
pub(super) struct Place {
    channel: Option<String>,
    workbox_id: Option<ConversationId>,
}

impl Place {
    fn channel(&self) -> Option<Channel> {
        self.channel.as_deref().and_then(Channel::parse)
    }

    pub(super) fn resolve(&self) -> Result<(ConversationId, bool)> {
        match (&self.channel, self.workbox_id) {
            (Some(_), None) => self
                .channel()
                .and_then(conversation_of)
                .ok_or_else(|| Error::invalid("`channel` must be workbox:<id> or internal:<id>")),
            (None, Some(id)) => Ok((id, false)),
            _ => Err(Error::invalid("`channel` is missing")),
        }
    }
}

/// A workbox token, and a guest, speak of one thread only.
pub(super) fn place(ask: &Ask<'_>) -> Result<(ConversationId, bool)> {
    let (id, internal) = parse::<Place>(ask.data)?.resolve()?;
    if ask.caller.workbox.is_some_and(|only| only != id) {
        return Err(Error::not_found("workbox"));
    }
    Ok((id, internal))
}

async fn send(ask: Ask<'_>) -> Result<Value> {
    if let Some(Channel::Session(session)) = parse::<Place>(ask.data)?.channel() {
        let draft = parse::<NewMessage>(ask.data)?.into_draft(false)?;
        allow(ask.caller, TALK, Permissions::CALL)?;
        return to_value(ask.gateway.services.session_messages.send(ask.caller, session, draft).await?);
    }
    allow(ask.caller, THREAD, Permissions::USE_WORKBOXES)?;
    let (id, internal) = place(&ask)?;
    let draft = parse::<NewMessage>(ask.data)?.into_draft(internal)?;
    to_value(ask.gateway.services.messages.send(ask.caller, id, draft, &ask.once).await?)
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
    let limit = i64::from(query::limit(page.limit)?);
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
    to_value(ask.gateway.services.messages.mark(ask.caller, id, message_id, read, &ask.once).await?)
}
