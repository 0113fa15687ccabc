//! Keys: those that sign our tokens, those that name applications, those with which integrators sign.

use uuid::Uuid;

use super::{Executor, Result, Stmt, sql, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{ApiKeyId, OrgId, PartnerKeyId, SigningKeyId},
        query::Page,
    },
};

statements! {
    SIGNING_KEYS =
        "select id, sealed, created_at from signing_key where retired_at is null order by created_at desc, id desc";
    SIGNING_KEY_INSERT =
        "insert into signing_key (id, sealed, created_at, retired_at) values ($1, $2, $3, null)";
    SIGNING_KEY_RETIRE = "update signing_key set retired_at = $2 where id = $1 and retired_at is null";
    API_KEY_BY_HASH =
        "select k.id, k.organization_id from api_key k join organization o on o.id = k.organization_id \
         where k.hash = $1 and k.removed_at is null and o.active";
    API_KEYS =
        "select id, description, sealed from api_key where organization_id = $1 and removed_at is null \
         order by id limit $2 offset $3";
    API_KEYS_COUNT = "select count(*) from api_key where organization_id = $1 and removed_at is null";
    API_KEY =
        "select id, description, sealed from api_key \
         where organization_id = $1 and id = $2 and removed_at is null";
    API_KEY_INSERT =
        "insert into api_key (id, organization_id, description, hash, sealed, created_at, removed_at) \
         values ($1, $2, $3, $4, $5, $6, null)";
    API_KEY_DESCRIBE =
        "update api_key set description = $3 where organization_id = $1 and id = $2 and removed_at is null";
    API_KEY_REMOVE =
        "update api_key set removed_at = $3 where organization_id = $1 and id = $2 and removed_at is null";
    PARTNER_KEYS =
        "select k.id, k.organization_id, k.description, k.public_key, k.created_at, f.id as family_id \
         from partner_key k left join token_family f \
         on f.origin = 'partner' and f.origin_id = k.id and f.revoked_at is null \
         where k.organization_id = $1 order by k.id";
    PARTNER_KEYS_COUNT = "select count(*) from partner_key where organization_id = $1";
    PARTNER_KEYS_HAVE_ROOM =
        "select cast(1 as bigint) where (select count(*) from partner_key where organization_id = $1) < $2";
    PARTNER_KEY_INSERT =
        "insert into partner_key (id, organization_id, description, public_key, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $5)";
    PARTNER_KEY_UPDATE =
        "update partner_key set description = coalesce($3, description), public_key = coalesce($4, public_key), \
         updated_at = $5 where organization_id = $1 and id = $2";
    PARTNER_KEY_REMOVE = "delete from partner_key where organization_id = $1 and id = $2";
}

/// A key that signs our tokens.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct SigningKeyRow {
    /// Its number.
    pub id: SigningKeyId,
    /// The key, sealed under the master key.
    pub sealed: Vec<u8>,
    /// Its age: the newest signs.
    pub created_at: Timestamp,
}

/// The keys whose signatures are good, newest first.
pub async fn signing_keys(on: impl Executor) -> Result<Vec<SigningKeyRow>> {
    sql(SIGNING_KEYS).all(on).await
}

/// Adds a signing key.
pub fn insert_signing_key(key: &SigningKeyRow) -> Stmt {
    sql(SIGNING_KEY_INSERT).bind(key.id).bind(key.sealed.clone()).bind(key.created_at)
}

/// Makes a key's signatures worthless.
pub fn retire_signing_key(id: SigningKeyId, now: Timestamp) -> Stmt {
    sql(SIGNING_KEY_RETIRE).bind(id).bind(now)
}

/// An API key with what must be shown again.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct ApiKeyRow {
    /// Its number.
    pub id: ApiKeyId,
    /// What its owner wrote about it.
    pub description: String,
    /// The key, sealed under the master key.
    pub sealed: Vec<u8>,
}

/// The living key with that hash and its organisation.
pub async fn api_key_by_hash(on: impl Executor, hash: [u8; 32]) -> Result<Option<(ApiKeyId, OrgId)>> {
    sql(API_KEY_BY_HASH).bind(hash.to_vec()).optional(on).await
}

/// A page of the organisation's keys, and how many there are.
pub async fn api_keys(db: &super::Db, organization: OrgId, page: Page) -> Result<(Vec<ApiKeyRow>, i64)> {
    let (total,): (i64,) = sql(API_KEYS_COUNT).bind(organization).one(db).await?;
    let rows = sql(API_KEYS).bind(organization).bind(page.limit()).bind(page.offset()).all(db).await?;
    Ok((rows, total))
}

/// One of the organisation's keys.
pub async fn api_key(on: impl Executor, organization: OrgId, id: ApiKeyId) -> Result<Option<ApiKeyRow>> {
    sql(API_KEY).bind(organization).bind(id).optional(on).await
}

/// Adds an API key.
pub fn insert_api_key(organization: OrgId, key: &ApiKeyRow, hash: [u8; 32], now: Timestamp) -> Stmt {
    sql(API_KEY_INSERT)
        .bind(key.id)
        .bind(organization)
        .bind(key.description.as_str())
        .bind(hash.to_vec())
        .bind(key.sealed.clone())
        .bind(now)
}

/// Changes the description: one row where the key is there.
pub fn describe_api_key(organization: OrgId, id: ApiKeyId, description: &str) -> Stmt {
    sql(API_KEY_DESCRIBE).bind(organization).bind(id).bind(description)
}

/// Revokes a key: one row where it was there.
pub fn remove_api_key(organization: OrgId, id: ApiKeyId, now: Timestamp) -> Stmt {
    sql(API_KEY_REMOVE).bind(organization).bind(id).bind(now)
}

/// A partner key: its public half.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct PartnerKeyRow {
    /// Its number.
    pub id: PartnerKeyId,
    /// Whose administrator it stands for.
    pub organization_id: OrgId,
    /// What its owner wrote about it.
    pub description: String,
    /// PEM.
    pub public_key: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What is revoked when the key goes.
    pub family_id: Option<Uuid>,
}

/// The organisation's partner keys.
pub async fn partner_keys(on: impl Executor, organization: OrgId) -> Result<Vec<PartnerKeyRow>> {
    sql(PARTNER_KEYS).bind(organization).all(on).await
}

/// How many partner keys the organisation has.
pub async fn count_partner_keys(on: impl Executor, organization: OrgId) -> Result<i64> {
    let (count,): (i64,) = sql(PARTNER_KEYS_COUNT).bind(organization).one(on).await?;
    Ok(count)
}

/// A row when the organisation has fewer than `limit` partner keys.
pub fn partner_keys_have_room(organization: OrgId, limit: i64) -> Stmt {
    sql(PARTNER_KEYS_HAVE_ROOM).bind(organization).bind(limit)
}

/// Adds a partner key.
pub fn insert_partner_key(key: &PartnerKeyRow) -> Stmt {
    sql(PARTNER_KEY_INSERT)
        .bind(key.id)
        .bind(key.organization_id)
        .bind(key.description.as_str())
        .bind(key.public_key.as_str())
        .bind(key.created_at)
}

/// Changes what is given: one row where the key is there.
pub fn update_partner_key(
    organization: OrgId,
    id: PartnerKeyId,
    description: Option<String>,
    public_key: Option<String>,
    now: Timestamp,
) -> Stmt {
    sql(PARTNER_KEY_UPDATE).bind(organization).bind(id).bind(description).bind(public_key).bind(now)
}

/// Removes a partner key: one row where it was there.
pub fn remove_partner_key(organization: OrgId, id: PartnerKeyId) -> Stmt {
    sql(PARTNER_KEY_REMOVE).bind(organization).bind(id)
}
