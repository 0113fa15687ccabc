//! Who may take a place in a channel. Unknown and forbidden look alike, except that kinds of streams which do not exist
//! (yet) are unknown channels.

use crate::{
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        error::{Error, Result},
        event::StreamKind,
        ids::{ConversationId, OrgId, PersonId, SessionId},
        permission::Permissions,
    },
    store::{Db, messages, people, sessions, streams},
};

/// A channel of a stream that this server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `user:7`
    User(PersonId),
    /// `org:1`
    Org(OrgId),
    /// `workbox:42`
    Workbox(ConversationId),
    /// `internal:42`
    Internal(ConversationId),
    /// `session:<uuid>`
    Session(SessionId),
}

impl Channel {
    /// Reads a channel's name; `None` when no stream can have it.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, id) = name.split_once(':')?;
        // Numbers are written one way only: no sign, no leading zero.
        let number = || id.parse::<i64>().ok().filter(|number| *number > 0 && number.to_string() == id);
        Some(match StreamKind::by_name(kind)? {
            StreamKind::User => Self::User(PersonId(number()?)),
            StreamKind::Org => Self::Org(OrgId(number()?)),
            StreamKind::Workbox => Self::Workbox(ConversationId(number()?)),
            StreamKind::Internal => Self::Internal(ConversationId(number()?)),
            StreamKind::Session => Self::Session(SessionId(id.parse().ok()?)),
        })
    }
}

/// Checks the right of `caller` to read `channel` and says where its stream stands.
pub async fn authorize(db: &Db, caller: &Caller, channel: Channel, name: &str) -> Result<streams::StreamRow> {
    if !may_read(db, caller, channel).await? {
        return Err(absent());
    }
    streams::by_name(db, caller.organization, name).await?.ok_or_else(absent)
}

/// Checks the right of `caller` to publish something ephemeral into `channel`, or a message.
pub async fn may_publish(db: &Db, caller: &Caller, channel: Channel) -> Result<()> {
    let person = caller.person()?;
    let allowed = match channel {
        Channel::Workbox(id) => in_workbox(db, caller, person, id, false).await?,
        Channel::Internal(id) => in_workbox(db, caller, person, id, true).await?,
        Channel::Session(id) => in_session(db, caller, person, id).await?,
        Channel::User(_) | Channel::Org(_) => false,
    };
    if allowed { Ok(()) } else { Err(absent()) }
}

fn absent() -> Error {
    Error::not_found("channel")
}

async fn may_read(db: &Db, caller: &Caller, channel: Channel) -> Result<bool> {
    let holds = |needed| caller.permissions.contains(needed);
    let services = matches!(caller.kind, TokenKind::Enterprise | TokenKind::Partner | TokenKind::User);
    Ok(match (channel, caller.person) {
        (Channel::User(id), Some(person)) => {
            caller.kind == TokenKind::User && (id == person || is_same_login(db, caller, id).await?)
        }
        (Channel::Org(id), _) => {
            services
                && id == caller.organization
                && holds(Permissions::MANAGE_USERS | Permissions::MANAGE_ORGANIZATION)
        }
        (Channel::Workbox(id), person) => match person {
            Some(person) if in_workbox(db, caller, person, id, false).await? => true,
            _ => services && holds(Permissions::VIEW_ALL_WORKBOXES),
        },
        (Channel::Internal(id), person) => match person {
            Some(person) if in_workbox(db, caller, person, id, true).await? => true,
            _ => {
                services && caller.person_kind == PersonKind::Member && holds(Permissions::VIEW_ALL_WORKBOXES)
            }
        },
        (Channel::Session(id), Some(person)) => in_session(db, caller, person, id).await?,
        (Channel::User(_) | Channel::Session(_), None) => false,
    })
}

/// Aliases of one login share their inboxes; guests have only their own.
async fn is_same_login(db: &Db, caller: &Caller, id: PersonId) -> Result<bool> {
    let Some(login) = caller.login.filter(|_| !caller.is_outsider()) else {
        return Ok(false);
    };
    Ok(people::faces_of(db, login).await?.iter().any(|face| face.id == id))
}

async fn in_workbox(
    db: &Db,
    caller: &Caller,
    person: PersonId,
    id: ConversationId,
    internal: bool,
) -> Result<bool> {
    // A workbox token, and a guest, are for one thread; a session token is for none.
    if !matches!(caller.kind, TokenKind::User | TokenKind::Workbox)
        || caller.workbox.is_some_and(|only| only != id)
        || !caller.permissions.contains(Permissions::USE_WORKBOXES)
    {
        return Ok(false);
    }
    let place = messages::place_of(db, caller.organization, id, person).await?;
    Ok(place.is_some_and(|place| !internal || (!place.guest && !caller.is_outsider())))
}

async fn in_session(db: &Db, caller: &Caller, person: PersonId, id: SessionId) -> Result<bool> {
    // A session token is for one session; a workbox token is for none.
    if !matches!(caller.kind, TokenKind::User | TokenKind::Session)
        || caller.session.is_some_and(|only| only != id)
        || !caller.permissions.contains(Permissions::CALL)
    {
        return Ok(false);
    }
    Ok(sessions::membership(db, id, person).await?.is_some())
}

/// The inboxes of a person: their own and those of all aliases of the same login.
pub async fn inboxes(db: &Db, caller: &Caller) -> Result<Vec<PersonId>> {
    let Some(person) = caller.person.filter(|_| caller.kind == TokenKind::User) else {
        return Ok(Vec::new());
    };
    let mut inboxes = vec![person];
    if let Some(login) = caller.login.filter(|_| !caller.is_outsider()) {
        inboxes.extend(
            people::faces_of(db, login).await?.into_iter().map(|face| face.id).filter(|id| *id != person),
        );
    }
    Ok(inboxes)
}
