//! `session.*`, `ring.*` and `call.*`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{Ask, PERSON, Row, TALK, THREAD, parse, to_value};
use crate::{
    domain::{
        codes::Code,
        error::{Error, Result},
        event::session_channel,
        ids::{CallId, ConversationId, PersonId, RingId, SessionId},
        machine::ring::DeclineReason,
        permission::Permissions,
    },
    realtime::hub::Audience,
    service::{calls::Reached, session_views::SessionV1, tools::actor_of},
    store::call_records::References,
};

pub(super) const ACTIONS: &[Row] = &[
    ("session.create", THREAD, Permissions::CALL, |ask| Box::pin(create_session(ask))),
    ("session.get", TALK, Permissions::CALL, |ask| Box::pin(get_session(ask))),
    ("session.list", PERSON, Permissions::CALL, |ask| Box::pin(list_sessions(ask))),
    ("ring.start", TALK, Permissions::CALL, |ask| Box::pin(start_ring(ask))),
    ("ring.accept", TALK, Permissions::CALL, |ask| Box::pin(accept_ring(ask))),
    ("ring.decline", TALK, Permissions::CALL, |ask| Box::pin(decline_ring(ask))),
    ("ring.cancel", TALK, Permissions::CALL, |ask| Box::pin(cancel_ring(ask))),
    ("call.join", TALK, Permissions::CALL, |ask| Box::pin(join_call(ask))),
    ("call.leave", TALK, Permissions::CALL, |ask| Box::pin(leave_call(ask))),
    ("call.end", TALK, Permissions::CALL, |ask| Box::pin(end_call(ask))),
    ("call.remove_participant", TALK, Permissions::CALL, |ask| Box::pin(remove_participant(ask))),
    ("call.transfer_owner", TALK, Permissions::CALL, |ask| Box::pin(transfer_owner(ask))),
    ("call.update", PERSON, Permissions::CALL, |ask| Box::pin(update_call(ask))),
    ("call.signal", TALK, Permissions::CALL, |ask| Box::pin(signal(ask))),
    ("call.recording.start", TALK, Permissions::CALL, |ask| Box::pin(record(ask, true))),
    ("call.recording.stop", TALK, Permissions::CALL, |ask| Box::pin(record(ask, false))),
];

/// Sessions that `session.list` gives at most.
const LIST_LIMIT: i64 = 100;
/// Bytes of a signal: session descriptions are a few kilobytes.
const SIGNAL_LIMIT: usize = 64 * 1024;

#[derive(Deserialize)]
struct InCall {
    call_id: CallId,
}

#[derive(Deserialize)]
struct OfPerson {
    call_id: CallId,
    user_id: PersonId,
}

#[derive(Deserialize)]
struct OfRing {
    request_id: RingId,
}

/// The session that is meant: named, or the one of a session token.
fn session(ask: &Ask<'_>) -> Result<SessionId> {
    #[derive(Deserialize)]
    struct Named {
        session_id: Option<SessionId>,
    }
    match (ask.caller.session, parse::<Named>(ask.data)?.session_id) {
        (Some(own), Some(named)) if own != named => {
            Err(Error::new(Code::SessionInvalid, "the token belongs to another session"))
        }
        (Some(session), _) | (None, Some(session)) => Ok(session),
        (None, None) => Err(Error::invalid("`session_id` is missing")),
    }
}

/// From now on what is heard from this connection keeps the person's place.
fn attend(ask: &Ask<'_>, session: SessionId, person: PersonId) {
    let (hub, connection) = (ask.gateway.hub.clone(), ask.connection);
    hub.hold_lease(connection, true);
    let release = Arc::new(move || hub.hold_lease(connection, false));
    ask.gateway.services.calls.attend(connection.client, session, person, release);
}

async fn shown(ask: &Ask<'_>, session: SessionId) -> Result<Value> {
    to_value(SessionV1::from(ask.gateway.services.sessions.get(ask.caller, session).await?))
}

async fn create_session(ask: Ask<'_>) -> Result<Value> {
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
    // A workbox token, and a guest, open the session of their own thread.
    let workbox_id = workbox_id.or(ask.caller.workbox);
    if ask.caller.workbox.is_some_and(|only| workbox_id != Some(only)) {
        return Err(Error::not_found("workbox"));
    }
    let id = match workbox_id {
        Some(thread) => sessions.open_in_thread(ask.caller, thread, &users, &ask.once).await?,
        None => sessions.create(ask.caller, &users, force_new, &ask.once).await?,
    };
    shown(&ask, id).await
}

async fn get_session(ask: Ask<'_>) -> Result<Value> {
    let id = session(&ask)?;
    shown(&ask, id).await
}

async fn list_sessions(ask: Ask<'_>) -> Result<Value> {
    let (views, total) = ask.gateway.services.sessions.list(ask.caller, LIST_LIMIT, 0).await?;
    let views: Vec<SessionV1> = views.into_iter().map(SessionV1::from).collect();
    Ok(json!({ "sessions": to_value(views)?, "total": total }))
}

async fn start_ring(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Ring {
        users: Option<Vec<PersonId>>,
        video: Option<bool>,
    }
    let (id, Ring { users, video }) = (session(&ask)?, parse(ask.data)?);
    let (calls, video) = (&ask.gateway.services.calls, video.unwrap_or(true));
    let requests = calls.ring(ask.caller, id, users.as_deref(), true, video, &ask.once).await?;
    attend(&ask, id, ask.caller.person()?);
    let ringing = requests.iter().filter(|request| request.state == Reached::Ringing);
    let request_ids: Vec<RingId> = ringing.map(|request| request.request_id).collect();
    let gss_info = calls.auth(ask.caller, id).await?;
    Ok(json!({
        "request_ids": request_ids,
        "requests": to_value(requests)?,
        "session_auth": { "gss_info": to_value(gss_info)? },
    }))
}

async fn accept_ring(ask: Ask<'_>) -> Result<Value> {
    let OfRing { request_id } = parse(ask.data)?;
    let calls = &ask.gateway.services.calls;
    let entered = calls.accept(ask.caller, request_id, &ask.once).await?;
    attend(&ask, entered.session_id, entered.user_id);
    let gss_info = to_value(calls.auth_as(ask.caller, entered.session_id, entered.user_id).await?)?;
    Ok(json!({
        "gss_info": gss_info,
        "session_auth": { "gss_info": gss_info },
        "call_id": entered.call_id,
        "session_id": entered.session_id,
    }))
}

async fn decline_ring(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Decline {
        request_id: RingId,
        #[serde(default)]
        reason: i64,
        message: Option<String>,
    }
    let Decline { request_id, reason, message } = parse(ask.data)?;
    let reason = DeclineReason::by_number(reason).ok_or_else(|| {
        Error::invalid("`reason` must be 0 declined, 1 busy, 2 not answered or 3 no expert")
    })?;
    ask.gateway.services.calls.decline(ask.caller, request_id, reason, message, &ask.once).await?;
    Ok(json!({}))
}

async fn cancel_ring(ask: Ask<'_>) -> Result<Value> {
    let OfRing { request_id } = parse(ask.data)?;
    ask.gateway.services.calls.cancel(ask.caller, request_id, &ask.once).await?;
    Ok(json!({}))
}

async fn join_call(ask: Ask<'_>) -> Result<Value> {
    let id = session(&ask)?;
    let joined = ask.gateway.services.calls.join(ask.caller, id).await?;
    attend(&ask, id, ask.caller.person()?);
    to_value(joined)
}

async fn leave_call(ask: Ask<'_>) -> Result<Value> {
    let InCall { call_id } = parse(ask.data)?;
    ask.gateway.services.calls.leave(ask.caller, &call_id).await?;
    Ok(json!({}))
}

async fn end_call(ask: Ask<'_>) -> Result<Value> {
    let InCall { call_id } = parse(ask.data)?;
    ask.gateway.services.calls.end(ask.caller, &call_id).await?;
    Ok(json!({}))
}

async fn remove_participant(ask: Ask<'_>) -> Result<Value> {
    let OfPerson { call_id, user_id } = parse(ask.data)?;
    ask.gateway.services.calls.remove(ask.caller, &call_id, user_id).await?;
    Ok(json!({}))
}

async fn transfer_owner(ask: Ask<'_>) -> Result<Value> {
    let OfPerson { call_id, user_id } = parse(ask.data)?;
    ask.gateway.services.calls.transfer_owner(ask.caller, &call_id, user_id).await?;
    Ok(json!({}))
}

async fn record(ask: Ask<'_>, on: bool) -> Result<Value> {
    let InCall { call_id } = parse(ask.data)?;
    let calls = &ask.gateway.services.calls;
    if on {
        calls.start_recording(ask.caller, &call_id).await?;
    } else {
        calls.stop_recording(ask.caller, &call_id).await?;
    }
    Ok(json!({}))
}

async fn update_call(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Change {
        call_id: CallId,
        alt1_id: Option<String>,
        alt2_id: Option<String>,
        alt3_id: Option<String>,
        extra_info: Option<String>,
        tags: Option<Vec<String>>,
        rating: Option<i64>,
        comment: Option<String>,
    }
    let change: Change = parse(ask.data)?;
    let (records, caller, call) = (&ask.gateway.services.call_records, ask.caller, &change.call_id);
    let Change { alt1_id, alt2_id, alt3_id, extra_info, .. } = change;
    if alt1_id.is_some() || alt2_id.is_some() || alt3_id.is_some() || extra_info.is_some() {
        records.set_references(caller, call, References { alt1_id, alt2_id, alt3_id, extra_info }).await?;
    }
    if let Some(tags) = change.tags {
        records.set_tags(caller, call, tags, true, &ask.once).await?;
    }
    if let Some(rating) = change.rating {
        records.rate(caller, call, rating, &ask.once).await?;
    }
    if let Some(comment) = change.comment {
        records.comment(caller, call, &comment, &ask.once).await?;
    }
    Ok(json!({}))
}

/// Passes what peers need to find each other to the other one's connections; nothing is stored.
async fn signal(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Signal {
        call_id: CallId,
        to: PersonId,
        payload: Box<RawValue>,
    }
    let Signal { call_id, to, payload } = parse(ask.data)?;
    if payload.get().len() > SIGNAL_LIMIT {
        return Err(Error::invalid(format!("`payload` must be at most {SIGNAL_LIMIT} bytes")));
    }
    let gateway = ask.gateway;
    let session = gateway.services.calls.signal_route(ask.caller, &call_id, to).await?;
    let (channel, actor) = (session_channel(session), actor_of(ask.caller));
    let data = json!({ "call_id": call_id, "from": ask.caller.person()?, "payload": payload });
    let organization = ask.caller.organization;
    gateway.teller.tell(organization, &channel, "signal", Some(&actor), &data, Audience::Person(to));
    Ok(json!({}))
}
