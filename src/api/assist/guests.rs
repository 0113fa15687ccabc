//! Guests of a help thread: inviting them by link, again, and taking the link back.

use serde::Deserialize;
use uuid::Uuid;

use super::workbox::thread;
use crate::{
    domain::error::Result,
    http::{Body, Cx, Json, Seg},
    operations,
    service::workboxes::{Invitation, Invited, WorkboxView},
};

operations! {
    base "/v1r1/workbox/invite";
    /// Invite a guest from outside by e-mail or text message.
    POST "" => 200 invite_guest(Body<New>) -> Json<WorkboxView>, Workbox + USE_WORKBOXES [no_store],
        fails NotFound | InvalidName | InvalidEmail | InvalidNumber;
    /// Make a guest and give the link to whoever asks, without sending anything.
    POST "/silent" => 200 invite_guest_silently(Body<New>) -> Json<Invited>, Workbox + USE_WORKBOXES [no_store],
        fails NotFound | InvalidName | InvalidEmail | InvalidNumber;
    /// Send a guest's invitation again.
    POST "/{uuid}" => 200 invite_guest_again(Seg<Uuid>, Body<Again>) -> Json<WorkboxView>,
        Workbox + USE_WORKBOXES [no_store], fails NotFound;
    /// Take a guest's invitation back: the link is dead, the guest out.
    DELETE "/{uuid}" => 200 revoke_guest(Seg<Uuid>) -> Json<WorkboxView>, Workbox + USE_WORKBOXES [no_store],
        fails NotFound;
}

#[derive(Debug, Deserialize)]
struct New {
    name: String,
    email: Option<String>,
    phone: Option<String>,
    message: Option<String>,
    action: Option<String>,
}

impl From<New> for Invitation {
    fn from(New { name, email, phone, message, action }: New) -> Self {
        Self { name, email, phone, message, action: action.unwrap_or_default() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Again {
    message: Option<String>,
    action: Option<String>,
}

async fn invite_guest(cx: &Cx, Body(new): Body<New>) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.invite(&cx.caller, thread(cx)?, new.into(), &cx.once).await?))
}

async fn invite_guest_silently(cx: &Cx, Body(new): Body<New>) -> Result<Json<Invited>> {
    Ok(Json(cx.services.workboxes.invite_silently(&cx.caller, thread(cx)?, new.into(), &cx.once).await?))
}

async fn invite_guest_again(
    cx: &Cx,
    Seg(uuid): Seg<Uuid>,
    Body(again): Body<Again>,
) -> Result<Json<WorkboxView>> {
    let invitation = Invitation {
        message: again.message,
        action: again.action.unwrap_or_default(),
        ..Invitation::default()
    };
    Ok(Json(cx.services.workboxes.resend(&cx.caller, thread(cx)?, uuid, invitation, &cx.once).await?))
}

async fn revoke_guest(cx: &Cx, Seg(uuid): Seg<Uuid>) -> Result<Json<WorkboxView>> {
    Ok(Json(cx.services.workboxes.revoke(&cx.caller, thread(cx)?, uuid).await?))
}
