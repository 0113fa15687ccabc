//! Links by which guests come into a thread.

use uuid::Uuid;

use super::{Db, Result, Stmt, sql, statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, GuestLinkId, OrgId, PersonId, StreamId},
};

statements! {
    INSERT = "insert into guest_link (id, uuid, conversation_id, organization_id, person_id, hash, sealed, email, phone, \
        action, invited_by, created_at, sent_at, joined_at, expires_at, revoked_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, null, $14, null)";
    BY_UUID = "select g.id, g.uuid, g.conversation_id, g.organization_id, g.person_id, g.sealed, g.email, g.phone, \
        g.action, g.joined_at, g.expires_at, g.revoked_at, p.name, p.stream_id \
        from guest_link g join person p on p.id = g.person_id where g.uuid = $1 and g.conversation_id = $2";
    BY_HASH = "select g.id, g.uuid, g.conversation_id, g.organization_id, g.person_id, g.sealed, g.email, g.phone, \
        g.action, g.joined_at, g.expires_at, g.revoked_at, p.name, p.stream_id \
        from guest_link g join person p on p.id = g.person_id where g.hash = $1";
    SEND_AGAIN = "update guest_link set action = $2, sent_at = $3, expires_at = $4 \
        where id = $1 and revoked_at is null";
    JOIN = "update guest_link set joined_at = coalesce(joined_at, $2) where id = $1 and revoked_at is null";
    REVOKE = "update guest_link set revoked_at = $2 where id = $1 and revoked_at is null";
}

/// A guest's link.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct GuestLink {
    /// Its number.
    pub id: GuestLinkId,
    /// What the API calls the guest.
    pub uuid: Uuid,
    /// The thread.
    pub conversation_id: ConversationId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// The guest.
    pub person_id: PersonId,
    /// The secret part of the link, encrypted.
    pub sealed: Vec<u8>,
    /// Where it was sent.
    pub email: Option<String>,
    /// Where it was sent.
    pub phone: Option<String>,
    /// What it leads to.
    pub action: String,
    /// When it was first opened.
    pub joined_at: Option<Timestamp>,
    /// Its end.
    pub expires_at: Timestamp,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// The guest's name.
    pub name: String,
    /// The guest's inbox.
    pub stream_id: StreamId,
}

/// A link that begins.
#[derive(Debug)]
pub struct NewGuestLink<'a> {
    /// Its number.
    pub id: GuestLinkId,
    /// What the API calls the guest.
    pub uuid: Uuid,
    /// The thread.
    pub conversation: ConversationId,
    /// Whose it is.
    pub organization: OrgId,
    /// The guest.
    pub person: PersonId,
    /// Of the link's secret part.
    pub hash: [u8; 32],
    /// The secret part, encrypted.
    pub sealed: Vec<u8>,
    /// Where it is sent.
    pub email: Option<&'a str>,
    /// Where it is sent.
    pub phone: Option<&'a str>,
    /// What it leads to.
    pub action: &'a str,
    /// Who invites.
    pub invited_by: PersonId,
    /// When.
    pub now: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
}

/// Adds a link: one row.
pub fn insert(new: &NewGuestLink<'_>) -> Stmt {
    let sent_at = (new.email.is_some() || new.phone.is_some()).then_some(new.now);
    sql(INSERT)
        .bind(new.id)
        .bind(new.uuid)
        .bind(new.conversation)
        .bind(new.organization)
        .bind(new.person)
        .bind(new.hash.to_vec())
        .bind(new.sealed.clone())
        .bind(new.email.map(str::to_owned))
        .bind(new.phone.map(str::to_owned))
        .bind(new.action)
        .bind(new.invited_by)
        .bind(new.now)
        .bind(sent_at)
        .bind(new.expires_at)
}

/// The link of a guest of this thread.
pub async fn by_uuid(db: &Db, conversation: ConversationId, uuid: Uuid) -> Result<Option<GuestLink>> {
    sql(BY_UUID).bind(uuid).bind(conversation).optional(db).await
}

/// The link with this secret part.
pub async fn by_hash(db: &Db, hash: [u8; 32]) -> Result<Option<GuestLink>> {
    sql(BY_HASH).bind(hash.to_vec()).optional(db).await
}

/// Notes that a living link is sent once more: one row.
pub fn send_again(id: GuestLinkId, action: &str, now: Timestamp, expires_at: Timestamp) -> Stmt {
    sql(SEND_AGAIN).bind(id).bind(action).bind(now).bind(expires_at)
}

/// Notes the first opening of a living link: one row.
pub fn join(id: GuestLinkId, now: Timestamp) -> Stmt {
    sql(JOIN).bind(id).bind(now)
}

/// Takes a living link back: one row.
pub fn revoke(id: GuestLinkId, now: Timestamp) -> Stmt {
    sql(REVOKE).bind(id).bind(now)
}
