//! Secrets by which people choose the password of an account that was made for them.

use super::{Db, Result, Stmt, sql, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{OrgId, PersonId},
};

statements! {
    INSERT = "insert into invitation (hash, person_id, organization_id, created_at, expires_at) \
        values ($1, $2, $3, $4, $5)";
    FIND = "select person_id, organization_id, expires_at from invitation where hash = $1";
    USE = "delete from invitation where hash = $1";
    EXPIRED = "delete from invitation where expires_at < $1";
    CONFIRM = "update person set confirmed_at = coalesce(confirmed_at, $3), updated_at = $3 \
        where organization_id = $1 and id = $2 and removed_at is null";
}

/// Somebody who may choose a password.
#[derive(Clone, Copy, Debug, sqlx_macros::FromRow)]
pub struct InvitationRow {
    /// Who.
    pub person_id: PersonId,
    /// Whose account it is in.
    pub organization_id: OrgId,
    /// End of the secret.
    pub expires_at: Timestamp,
}

/// Remembers a secret by its hash.
pub fn insert(hash: [u8; 32], row: &InvitationRow, now: Timestamp) -> Stmt {
    sql(INSERT)
        .bind(hash.to_vec())
        .bind(row.person_id)
        .bind(row.organization_id)
        .bind(now)
        .bind(row.expires_at)
}

/// Whom a secret is for.
pub async fn find(db: &Db, hash: [u8; 32]) -> Result<Option<InvitationRow>> {
    sql(FIND).bind(hash.to_vec()).optional(db).await
}

/// A secret serves once.
pub fn use_up(hash: [u8; 32]) -> Stmt {
    sql(USE).bind(hash.to_vec())
}

/// Forgets those that ended before `before`.
pub async fn purge(db: &Db, before: Timestamp) -> Result<()> {
    sql(EXPIRED).bind(before).execute(db).await.map(drop)
}

/// The person has accepted the account.
pub fn confirm(organization: OrgId, person: PersonId, now: Timestamp) -> Stmt {
    sql(CONFIRM).bind(organization).bind(person).bind(now)
}
