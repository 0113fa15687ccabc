//! Sessions: open, read, list; the session of a help thread.

use serde::Deserialize;

use crate::{
    domain::{
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, PersonId, SessionId},
        query::{Numbered, Page},
    },
    http::{Body, Cx, Json, Query, Seg, flexible},
    operations,
    service::session_views::{SessionV1, SessionV1R1},
};

operations! {
    base "";
    /// The caller's sessions, the latest active first.
    GET "/v1/sessions" => 200 list_sessions(Query<ListSessions>) -> Json<Numbered<SessionV1>>, User [no_store],
        fails InvalidLimit;
    /// Open the session of these people, or find it; the token in the reply drives the `/session` operations.
    POST "/v1/sessions" => 200 create_session(Body<NewSession>) -> Json<SessionV1>, User + CALL [no_store],
        fails NotFound;
    /// A session, to one of its members, with the member's own token.
    GET "/v1/sessions/{id}" => 200 get_session(Seg<SessionId>) -> Json<SessionV1>, User [no_store], fails NotFound;
    /// Open the session of a help thread, owned by these participants.
    POST "/v1r1/workbox/session" => 200 open_workbox_session(Body<Owners>) -> Json<SessionV1R1>,
        Workbox + CALL [no_store], fails NotFound;
    /// The session of the call that runs in the help thread.
    GET "/v1r1/workbox/active_call" => 200 get_active_call() -> Json<SessionV1R1>, Workbox + CALL [no_store],
        fails CallNotActive | NotFound;
}

#[derive(Debug, Deserialize)]
struct ListSessions {
    #[serde(default, deserialize_with = "flexible::optional_number")]
    max_sessions: Option<i64>,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    page: Option<i64>,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    page_size: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct NewSession {
    #[serde(deserialize_with = "flexible::one_or_many")]
    contact_tokens: Vec<String>,
    #[serde(default, deserialize_with = "flexible::optional_boolean")]
    force_new: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Owners {
    #[serde(default, deserialize_with = "flexible::numbers")]
    participant_ids: Vec<PersonId>,
}

async fn list_sessions(cx: &Cx, Query(query): Query<ListSessions>) -> Result<Json<Numbered<SessionV1>>> {
    let page = Page::new(query.page, query.max_sessions.or(query.page_size))?;
    let (views, total) = cx.services.sessions.list(&cx.caller, page.limit(), page.offset()).await?;
    Ok(Json(Numbered::new(page, views.into_iter().map(SessionV1::from).collect(), total)))
}

async fn create_session(cx: &Cx, Body(new): Body<NewSession>) -> Result<Json<SessionV1>> {
    let sessions = &cx.services.sessions;
    let people = sessions.contacts(&cx.caller, &new.contact_tokens).await?;
    let id = sessions.create(&cx.caller, &people, new.force_new.unwrap_or(false), &cx.once).await?;
    Ok(Json(sessions.get(&cx.caller, id).await?.into()))
}

async fn get_session(cx: &Cx, Seg(id): Seg<SessionId>) -> Result<Json<SessionV1>> {
    Ok(Json(cx.services.sessions.get(&cx.caller, id).await?.into()))
}

async fn open_workbox_session(cx: &Cx, Body(owners): Body<Owners>) -> Result<Json<SessionV1R1>> {
    let (sessions, thread) = (&cx.services.sessions, thread_of(cx)?);
    let id = sessions.open_in_thread(&cx.caller, thread, &owners.participant_ids, &cx.once).await?;
    Ok(Json(sessions.get(&cx.caller, id).await?.into()))
}

async fn get_active_call(cx: &Cx) -> Result<Json<SessionV1R1>> {
    let sessions = &cx.services.sessions;
    let id = sessions.active_in_thread(&cx.caller, thread_of(cx)?).await?;
    Ok(Json(sessions.get(&cx.caller, id).await?.into()))
}

fn thread_of(cx: &Cx) -> Result<ConversationId> {
    cx.caller.workbox.ok_or_else(|| Error::new(Code::InvalidToken, "the token names no workbox"))
}
