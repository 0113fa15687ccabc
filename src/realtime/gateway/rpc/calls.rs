//! `session.*`, `ring.*` and `call.*`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Ask, Row, parse, to_value};
use crate::{
    base::clock::Timestamp,
    domain::{
        codes::Code,
        error::{Error, Result},
        event::session_channel,
        ids::{CallId, ConversationId, PersonId, RingId, SessionId},
        machine::ring::DeclineReason,
        permission::Permissions,
    },
    realtime::hub::Audience,
    service::sessions::{SessionView, StreamPosition},
};

pub(super) const ACTIONS: &[Row] = &[
    ("session.create", Permissions::CALL, |ask| Box::pin(create(ask))),
    ("session.get", Permissions::CALL, |ask| Box::pin(get(ask))),
    ("session.list", Permissions::CALL, |ask| Box::pin(list(ask))),
    ("ring.start", Permissions::CALL, |ask| Box::pin(ring(ask))),
    ("ring.accept", Permissions::CALL, |ask| Box::pin(accept(ask))),
    ("ring.decline", Permissions::CALL, |ask| Box::pin(decline(ask))),
    ("ring.cancel", Permissions::CALL, |ask| Box::pin(cancel(ask))),
    ("call.join", Permissions::CALL, |ask| Box::pin(join(ask))),
    ("call.leave", Permissions::CALL, |ask| Box::pin(leave(ask))),
    ("call.end", Permissions::CALL, |ask| Box::pin(end(ask))),
    ("call.remove_participant", Permissions::CALL, |ask| Box::pin(remove_participant(ask))),
    ("call.transfer_owner", Permissions::CALL, |ask| Box::pin(transfer_owner(ask))),
    ("call.recording.start", Permissions::CALL, |ask| Box::pin(record(ask, true))),
    ("call.recording.stop", Permissions::CALL, |ask| Box::pin(record(ask, false))),
    ("call.signal", Permissions::CALL, |ask| Box::pin(signal(ask))),
];

/// A session as REST shows it, for the caller.
#[derive(Serialize)]
struct SessionObject {
    id: SessionId,
    token: String,
    pin: String,
    video_active: bool,
    updated_at: Timestamp,
    users: Vec<SessionUser>,
    stream: StreamPosition,
}

#[derive(Serialize)]
struct SessionUser {
    id: PersonId,
    name: String,
    token: Option<String>,
}

impl From<SessionView> for SessionObject {
    fn from(view: SessionView) -> Self {
        let SessionView { session, members, token, video_active, stream } = view;
        let users = members
            .into_iter()
            .map(|(member, token)| SessionUser {
                id: member.person.id,
                name: member.person.name().to_owned(),
                token,
            })
            .collect();
        Self {
            id: session.id,
            token,
            pin: session.pin,
            video_active,
            updated_at: session.updated_at,
            users,
            stream,
        }
    }
}

#[derive(Deserialize)]
struct OfSession {
    session_id: SessionId,
}

#[derive(Deserialize)]
struct OfCall {
    call_id: CallId,
}

#[derive(Deserialize)]
struct OfRing {
    request_id: RingId,
}

/// A session token speaks of one session only.
fn session(ask: &Ask<'_>) -> Result<SessionId> {
    match (parse::<Option<OfSession>>(ask.data), ask.caller.session) {
        (Ok(Some(OfSession { session_id })), Some(only)) if session_id != only => {
            Err(Error::not_found("session"))
        }
        (Ok(Some(OfSession { session_id })), _) | (_, Some(session_id)) => Ok(session_id),
        (Err(error), None) => Err(error),
        (Ok(None), None) => Err(Error::invalid("`session_id` is missing")),
    }
}

async fn create(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct New {
        #[serde(default)]
        users: Vec<PersonId>,
        #[serde(default)]
        contact_tokens: Vec<String>,
        workbox_id: Option<ConversationId>,
        #[serde(default)]
        force_new: bool,
    }
    let New { mut users, contact_tokens, workbox_id, force_new } = parse(ask.data)?;
    let sessions = &ask.gateway.services.sessions;
    users.extend(sessions.contacts(ask.caller, &contact_tokens).await?);
    let id = match workbox_id {
        Some(thread) => sessions.open_in_thread(ask.caller, thread, &users, &ask.once).await?,
        None => sessions.create(ask.caller, &users, force_new, &ask.once).await?,
    };
    to_value(SessionObject::from(sessions.get(ask.caller, id).await?))
}

async fn get(ask: Ask<'_>) -> Result<Value> {
    let id = session(&ask)?;
    to_value(SessionObject::from(ask.gateway.services.sessions.get(ask.caller, id).await?))
}

async fn list(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Page {
        limit: Option<i64>,
        offset: Option<i64>,
    }
    let Page { limit, offset } = parse(ask.data)?;
    let (limit, offset) = (limit.unwrap_or(20), offset.unwrap_or(0));
    if !(1..=100).contains(&limit) || offset < 0 {
        return Err(Error::new(Code::InvalidLimit, "`limit` must be 1 to 100, `offset` at least 0"));
    }
    let (entries, total) = ask.gateway.services.sessions.list(ask.caller, limit, offset).await?;
    let entries: Vec<_> = entries.into_iter().map(SessionObject::from).collect();
    Ok(json!({ "entries": to_value(entries)?, "total_entries": total }))
}

async fn ring(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Wish {
        users: Option<Vec<PersonId>>,
        #[serde(default = "with_video")]
        video: bool,
    }
    let id = session(&ask)?;
    let Wish { users, video } = parse(ask.data)?;
    let calls = &ask.gateway.services.calls;
    let requests = calls.ring(ask.caller, id, users.as_deref(), true, video, &ask.once).await?;
    ask.gateway.hold(ask.connection, ask.caller, id);
    let gss_info = calls.auth(ask.caller, id).await?;
    let ids: Vec<RingId> = requests.iter().map(|rung| rung.request_id).collect();
    Ok(json!({
        "request_ids": to_value(ids)?,
        "requests": to_value(requests)?,
        "session_auth": { "gss_info": to_value(gss_info)? },
    }))
}

fn with_video() -> bool {
    true
}

async fn accept(ask: Ask<'_>) -> Result<Value> {
    let OfRing { request_id } = parse(ask.data)?;
    let calls = &ask.gateway.services.calls;
    let entered = calls.accept(ask.caller, request_id, &ask.once).await?;
    ask.gateway.hold_as(ask.connection, entered.user_id, entered.session_id);
    let gss_info = calls.auth_as(ask.caller, entered.session_id, entered.user_id).await?;
    Ok(json!({
        "call_id": entered.call_id,
        "session_id": entered.session_id,
        "session_auth": { "gss_info": to_value(gss_info)? },
    }))
}

async fn decline(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Answer {
        request_id: RingId,
        #[serde(default)]
        reason: i64,
        message: Option<String>,
    }
    let Answer { request_id, reason, message } = parse(ask.data)?;
    let reason = DeclineReason::by_number(reason).ok_or_else(|| Error::invalid("`reason` must be 0 to 3"))?;
    ask.gateway.services.calls.decline(ask.caller, request_id, reason, message, &ask.once).await?;
    Ok(json!({}))
}

async fn cancel(ask: Ask<'_>) -> Result<Value> {
    let OfRing { request_id } = parse(ask.data)?;
    ask.gateway.services.calls.cancel(ask.caller, request_id, &ask.once).await?;
    Ok(json!({}))
}

async fn join(ask: Ask<'_>) -> Result<Value> {
    let id = session(&ask)?;
    let reply = ask.gateway.services.calls.join(ask.caller, id).await?;
    ask.gateway.hold(ask.connection, ask.caller, id);
    to_value(reply)
}

async fn leave(ask: Ask<'_>) -> Result<Value> {
    let OfCall { call_id } = parse(ask.data)?;
    ask.gateway.services.calls.leave(ask.caller, &call_id).await?;
    Ok(json!({}))
}

async fn end(ask: Ask<'_>) -> Result<Value> {
    let OfCall { call_id } = parse(ask.data)?;
    ask.gateway.services.calls.end(ask.caller, &call_id).await?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct Somebody {
    call_id: CallId,
    user_id: PersonId,
}

async fn remove_participant(ask: Ask<'_>) -> Result<Value> {
    let Somebody { call_id, user_id } = parse(ask.data)?;
    ask.gateway.services.calls.remove(ask.caller, &call_id, user_id).await?;
    Ok(json!({}))
}

async fn transfer_owner(ask: Ask<'_>) -> Result<Value> {
    let Somebody { call_id, user_id } = parse(ask.data)?;
    ask.gateway.services.calls.transfer_owner(ask.caller, &call_id, user_id).await?;
    Ok(json!({}))
}

async fn record(ask: Ask<'_>, on: bool) -> Result<Value> {
    let OfCall { call_id } = parse(ask.data)?;
    let calls = &ask.gateway.services.calls;
    if on {
        calls.start_recording(ask.caller, &call_id).await?;
    } else {
        calls.stop_recording(ask.caller, &call_id).await?;
    }
    Ok(json!({}))
}

/// Passes WebRTC signalling on to one participant's connections.
async fn signal(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Signal {
        call_id: CallId,
        to: PersonId,
        payload: Value,
    }
    let Signal { call_id, to, payload } = parse(ask.data)?;
    let id = ask.gateway.services.calls.signal_route(ask.caller, &call_id, to).await?;
    let data = json!({ "call_id": call_id, "from": ask.caller.person, "to": to, "payload": payload });
    ask.gateway.tell_ephemeral(ask.caller, &session_channel(id), "signal", &data, Audience::Person(to));
    Ok(json!({}))
}
