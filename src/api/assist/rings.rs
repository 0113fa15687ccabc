//! Ringing and answering, with a session token.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::success::Success;
use crate::{
    domain::{
        caller::TokenKind,
        codes::Code,
        error::{Error, Result},
        ids::{CallId, RingId, SessionId},
        machine::ring::DeclineReason,
    },
    http::{Body, Cx, Json, Query, flexible},
    operations,
    service::{
        calls::{Reached, Rung},
        ice::GssInfo,
    },
};

operations! {
    base "";
    /// Ring contacts into the running call; they become members of the session.
    POST "/v1/session/invite" => 200 invite_to_session(Body<Invite>) -> Json<Value>, Session + CALL,
        fails CallNotActive | NotFound;
    /// Ring every other member of the session.
    POST "/v1/session/video" => 200 ring_session(Body<UserToken>) -> Json<RingReply>, Session + CALL [no_store],
        fails NotFound;
    /// Withdraw the ring: the devices of the others stop.
    DELETE "/v1/session/video" => 200 cancel_session_ring(Query<UserToken>) -> Json<Value>, Session + CALL,
        fails NotFound;
    /// Where media servers and the socket are, without ringing anybody.
    GET "/v1r1/session/auth" => 200 get_session_auth() -> Json<SessionAuth>, Session [no_store], fails NotFound;
    /// Ring every other member of the session: one request id per person who is rung.
    POST "/v1r1/session/video" => 200 request_video() -> Json<RingReplyV1R1>, Session + CALL [no_store], fails NotFound;
    /// Withdraw the ring.
    DELETE "/v1r1/session/video" => 200 cancel_video() -> Json<Success>, Session + CALL, fails NotFound;
    /// Answer a ring.
    POST "/v1r1/session/video/accept" => 200 accept_video(Body<Accept>) -> Json<Accepted>, Session + CALL [no_store],
        fails RingNotActive | Busy | SessionInvalid | NotFound;
    /// Turn a ring down.
    POST "/v1r1/session/video/decline" => 200 decline_video(Body<Decline>) -> Json<Success>, Session + CALL,
        fails RingNotActive | SessionInvalid | NotFound;
}

#[derive(Debug, Deserialize)]
struct Invite {
    call_id: CallId,
    #[serde(deserialize_with = "flexible::one_or_many")]
    contact_tokens: Vec<String>,
    user_token: String,
}

#[derive(Debug, Deserialize)]
struct UserToken {
    user_token: String,
}

#[derive(Debug, Deserialize)]
struct Accept {
    request_id: RingId,
}

#[derive(Debug, Deserialize)]
struct Decline {
    request_id: RingId,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    reason: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

/// `session_authV1`.
#[derive(Debug, Serialize)]
struct SessionAuth {
    gss_info: GssInfo,
}

/// `session_authV1` with what became of each ring.
#[derive(Debug, Serialize)]
struct RingReply {
    gss_info: GssInfo,
    requests: Vec<Rung>,
}

/// `session_request_auth` with what became of each ring.
#[derive(Debug, Serialize)]
struct RingReplyV1R1 {
    request_ids: Vec<RingId>,
    request_id: Option<RingId>,
    requests: Vec<Rung>,
    session_auth: SessionAuth,
}

/// `session_authV1` with the call.
#[derive(Debug, Serialize)]
struct Accepted {
    gss_info: GssInfo,
    call_id: CallId,
    session_id: SessionId,
}

async fn invite_to_session(cx: &Cx, Body(invite): Body<Invite>) -> Result<Json<Value>> {
    check_user_token(cx, &invite.user_token).await?;
    let people = cx.services.sessions.contacts(&cx.caller, &invite.contact_tokens).await?;
    let session = session_of(cx)?;
    let requests = cx.services.calls.invite(&cx.caller, session, &invite.call_id, &people, &cx.once).await?;
    Ok(Json(json!({ "requests": requests })))
}

async fn ring_session(cx: &Cx, Body(token): Body<UserToken>) -> Result<Json<RingReply>> {
    check_user_token(cx, &token.user_token).await?;
    let requests = ring(cx).await?;
    Ok(Json(RingReply { gss_info: auth(cx).await?, requests }))
}

async fn cancel_session_ring(cx: &Cx, Query(token): Query<UserToken>) -> Result<Json<Value>> {
    check_user_token(cx, &token.user_token).await?;
    cx.services.calls.cancel_all(&cx.caller, session_of(cx)?).await?;
    Ok(Json(json!({})))
}

async fn get_session_auth(cx: &Cx) -> Result<Json<SessionAuth>> {
    Ok(Json(SessionAuth { gss_info: auth(cx).await? }))
}

async fn request_video(cx: &Cx) -> Result<Json<RingReplyV1R1>> {
    let requests = ring(cx).await?;
    let ringing = requests.iter().filter(|request| request.state == Reached::Ringing);
    let request_ids: Vec<RingId> = ringing.map(|request| request.request_id).collect();
    let session_auth = SessionAuth { gss_info: auth(cx).await? };
    Ok(Json(RingReplyV1R1 { request_id: request_ids.first().copied(), request_ids, requests, session_auth }))
}

async fn cancel_video(cx: &Cx) -> Result<Json<Success>> {
    cx.services.calls.cancel_all(&cx.caller, session_of(cx)?).await?;
    Ok(Json(Success::new("the ring was withdrawn")))
}

async fn accept_video(cx: &Cx, Body(accept): Body<Accept>) -> Result<Json<Accepted>> {
    let calls = &cx.services.calls;
    let entered = calls.accept(&cx.caller, accept.request_id, &cx.once).await?;
    let gss_info = calls.auth_as(&cx.caller, entered.session_id, entered.user_id).await?;
    Ok(Json(Accepted { gss_info, call_id: entered.call_id, session_id: entered.session_id }))
}

async fn decline_video(cx: &Cx, Body(decline): Body<Decline>) -> Result<Json<Success>> {
    let reason = DeclineReason::by_number(decline.reason.unwrap_or(0))
        .ok_or_else(|| Error::invalid("reason: 0 declined, 1 busy, 2 not answered, 3 no expert available"))?;
    let message = decline.message.filter(|message| !message.is_empty());
    cx.services.calls.decline(&cx.caller, decline.request_id, reason, message, &cx.once).await?;
    Ok(Json(Success::new("the ring was declined")))
}

async fn ring(cx: &Cx) -> Result<Vec<Rung>> {
    cx.services.calls.ring(&cx.caller, session_of(cx)?, None, false, true, &cx.once).await
}

async fn auth(cx: &Cx) -> Result<GssInfo> {
    cx.services.calls.auth(&cx.caller, session_of(cx)?).await
}

fn session_of(cx: &Cx) -> Result<SessionId> {
    cx.caller.session.ok_or_else(|| Error::new(Code::InvalidToken, "the token names no session"))
}

/// `user_token` must be of the person whom the session token was made for.
async fn check_user_token(cx: &Cx, token: &str) -> Result<()> {
    let user = cx.services.tokens.verify(token, &[TokenKind::User]).await?;
    if user.person.is_some() && user.person == cx.caller.person {
        return Ok(());
    }
    Err(Error::new(Code::InvalidToken, "user_token: not of the person whom the session token was made for"))
}
