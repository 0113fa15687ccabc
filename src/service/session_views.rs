//! Sessions as the contract shows them.

use serde::Serialize;

use super::{
    sessions::{SessionView, StreamPosition},
    views::Avatar,
};
use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, OrgId, PersonId, SessionId},
};

/// A session with its members in one of the contract's forms.
#[derive(Debug, Serialize)]
pub struct Shown<U> {
    id: SessionId,
    pin: String,
    token: String,
    updated_at: Timestamp,
    users: Vec<U>,
    video_active: bool,
    workbox_id: Option<ConversationId>,
    stream: StreamPosition,
}

/// `sessionV1`; also what rpc answers.
pub type SessionV1 = Shown<UserV1>;
/// `sessionV1R1`.
pub type SessionV1R1 = Shown<UserV1R1>;

/// A member as `sessionV1` shows it.
#[derive(Debug, Serialize)]
pub struct UserV1 {
    id: PersonId,
    name: String,
    username: Option<String>,
    status: i64,
    avatar: Avatar,
    token: Option<String>,
}

/// A member as `sessionV1R1` shows it.
#[derive(Debug, Serialize)]
pub struct UserV1R1 {
    id: String,
    name: String,
    username: Option<String>,
    active: bool,
    enterprise_id: OrgId,
}

impl From<SessionView> for SessionV1 {
    fn from(mut view: SessionView) -> Self {
        let users = std::mem::take(&mut view.members).into_iter().map(|(member, token)| UserV1 {
            id: member.person.id,
            name: member.person.name().to_owned(),
            username: member.person.username.clone(),
            status: member.person.status,
            avatar: Avatar::default(),
            token,
        });
        let users = users.collect();
        Self::new(view, users)
    }
}

impl From<SessionView> for SessionV1R1 {
    fn from(mut view: SessionView) -> Self {
        let users = std::mem::take(&mut view.members).into_iter().map(|(member, _)| UserV1R1 {
            id: member.person.id.to_string(),
            name: member.person.name().to_owned(),
            username: member.person.username.clone(),
            active: member.person.active && !member.person.removed,
            enterprise_id: member.person.organization_id,
        });
        let users = users.collect();
        Self::new(view, users)
    }
}

impl<U> Shown<U> {
    fn new(view: SessionView, users: Vec<U>) -> Self {
        Self {
            id: view.session.id,
            pin: view.session.pin,
            token: view.token,
            updated_at: view.session.updated_at,
            users,
            video_active: view.video_active,
            workbox_id: view.session.conversation_id,
            stream: view.stream,
        }
    }
}
