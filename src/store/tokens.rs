//! What a token's word is checked against: people's state, sign-in families, refresh tokens, personal access tokens,
//! memberships; and the audit log.

use uuid::Uuid;

use super::{
    Bulk,
    Column::{self, Int},
    Db, Executor, Result, Stmt,
    gather::Question,
    sql,
    statements::statements,
};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{AccessTokenId, AuditId, ConversationId, GuestLinkId, OrgId, PersonId, SessionId},
        permission::Permissions,
    },
};

statements! {
    FAMILY = "select * from token_family where id = $1";
    FAMILY_OF_ORIGIN =
        "select * from token_family where origin = $1 and origin_id = $2 and revoked_at is null";
    FAMILY_INSERT =
        "insert into token_family (id, organization_id, person_id, origin, origin_id, added_permissions, \
         removed_permissions, created_at, expires_at, revoked_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, null)";
    FAMILY_REVOKE =
        "update token_family set revoked_at = $2 where id = $1 and revoked_at is null";
    FAMILIES_REVOKE_ORIGIN =
        "update token_family set revoked_at = $3 where origin = $1 and origin_id = $2 and revoked_at is null \
         returning id";
    FAMILIES_REVOKE_PERSON =
        "update token_family set revoked_at = $2 where person_id = $1 and revoked_at is null";
    OTHER_SIGN_INS =
        "select id from token_family where person_id = $1 and revoked_at is null and origin <> 'pat' \
         and id <> $2";
    FAMILY_EXTEND = "update token_family set expires_at = $2 where id = $1 and expires_at < $2";
    RAISE_TOKEN_VERSION =
        "update person set token_version = token_version + 1 where id = $1 and removed_at is null";
    REFRESH_INSERT =
        "insert into refresh_token (hash, family_id, created_at, expires_at, replaced_at) \
         values ($1, $2, $3, $4, null)";
    REFRESH_REPLACE =
        "update refresh_token set replaced_at = coalesce(replaced_at, $2) where hash = $1 \
         returning family_id, expires_at, replaced_at";
    ACCESS_TOKEN_INSERT =
        "insert into personal_access_token (id, person_id, organization_id, description, hash, hint, created_at, \
         last_used_at, removed_at) values ($1, $2, $3, $4, $5, $6, $7, null, null)";
    ACCESS_TOKEN_RENEW = "update personal_access_token set hash = $3, hint = $4 where person_id = $1 and id = $2";
    ACCESS_TOKEN_BY_HASH =
        "select id, person_id, organization_id, description, hint, created_at, last_used_at \
         from personal_access_token where hash = $1 and removed_at is null";
    ACCESS_TOKENS_OF =
        "select id, person_id, organization_id, description, hint, created_at, last_used_at \
         from personal_access_token where person_id = $1 and removed_at is null order by id";
    ACCESS_TOKEN_OF =
        "select id, person_id, organization_id, description, hint, created_at, last_used_at \
         from personal_access_token where person_id = $1 and id = $2 and removed_at is null";
    ACCESS_TOKEN_USED = "update personal_access_token set last_used_at = $2 where id = $1";
    ACCESS_TOKEN_REMOVE =
        "update personal_access_token set removed_at = $3 \
         where person_id = $1 and id = $2 and removed_at is null";
    ACCESS_TOKENS_REMOVE_ALL =
        "update personal_access_token set removed_at = $2 where person_id = $1 and removed_at is null";
    IN_CONVERSATION =
        "select cast(1 as bigint) from participant where conversation_id = $1 and person_id = $2 and removed_at is null";
    CONVERSATION_ORGANIZATION = "select organization_id from conversation where id = $1";
    IN_SESSION =
        "select cast(1 as bigint) from session_member where session_id = $1 and person_id = $2 and removed_at is null";
    WORKBOX_OF_GUEST =
        "select conversation_id from guest_link where person_id = $1 and revoked_at is null order by id desc limit 1";
    AUDIT =
        "insert into audit_log (id, organization_id, time, actor_id, acting_for_id, action, subject, detail) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)";
}

static PERSON_STATE: Bulk = Bulk::new(
    "select v.column1 as asked, p.organization_id, o.active as organization_active, p.login_id, p.kind, p.uuid, \
     p.name, p.role, p.token_version, p.active, p.removed_at, f.origin as family_origin, \
     f.expires_at as family_expires_at, f.revoked_at as family_revoked_at from",
    &[Int, Int, Column::Uuid],
    "join person p on p.id = v.column2 join organization o on o.id = p.organization_id \
     left join token_family f on f.id = v.column3",
);
const PEOPLE: Question<(PersonId, Option<Uuid>), PersonState> = Question {
    bulk: &PERSON_STATE,
    fill: |v, (person, family)| v.bind(*person).bind(*family),
    gather: |gathers| &gathers.people,
};
/// What is asked through a gather.
pub(super) static GATHERED: &[&Bulk] = &[&PERSON_STATE];

/// A person as tokens see them, with the family that was asked for.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct PersonState {
    /// The organisation.
    pub organization_id: OrgId,
    /// False = the whole organisation is switched off.
    pub organization_active: bool,
    /// The log-in behind the person.
    pub login_id: PersonId,
    /// `member`, `guest` or `anonymous`.
    pub kind: String,
    /// The person's UUID.
    pub uuid: Uuid,
    /// Display name.
    pub name: String,
    /// Role name.
    pub role: String,
    /// Tokens of another version are dead.
    pub token_version: i64,
    /// False = switched off.
    pub active: bool,
    /// Set = removed.
    pub removed_at: Option<Timestamp>,
    /// How the family began, where there is one.
    pub family_origin: Option<String>,
    /// Its end.
    pub family_expires_at: Option<Timestamp>,
    /// Set = revoked.
    pub family_revoked_at: Option<Timestamp>,
}

/// A sign-in and all tokens that came of it.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct FamilyRow {
    /// Its id, which tokens carry.
    pub id: Uuid,
    /// The organisation.
    pub organization_id: OrgId,
    /// Who signed in; 0 for a partner key, which stands for nobody.
    pub person_id: PersonId,
    /// `password`, `pat`, `link`, `partner`, `anonymous` or `admin`.
    pub origin: String,
    /// The personal access token, guest link or partner key it came from.
    pub origin_id: Option<i64>,
    /// Permissions beyond the role's.
    pub added_permissions: Permissions,
    /// Permissions taken away.
    pub removed_permissions: Permissions,
    /// When it began.
    pub created_at: Timestamp,
    /// When the last token of it ends.
    pub expires_at: Timestamp,
    /// Set = over before its time.
    pub revoked_at: Option<Timestamp>,
}

/// The person's state and, in the same read, that of a family (all `None` where there is none).
pub async fn person_state(db: &Db, person: PersonId, family: Option<Uuid>) -> Result<Option<PersonState>> {
    Ok(PEOPLE.ask(db, (person, family)).await?.pop())
}

/// One family.
pub async fn family(on: impl Executor, id: Uuid) -> Result<Option<FamilyRow>> {
    sql(FAMILY).bind(id).optional(on).await
}

/// The living family of a personal access token or partner key.
pub async fn family_of(on: impl Executor, origin: &'static str, id: i64) -> Result<Option<FamilyRow>> {
    sql(FAMILY_OF_ORIGIN).bind(origin).bind(id).optional(on).await
}

/// Adds a family.
pub fn insert_family(family: &FamilyRow) -> Stmt {
    sql(FAMILY_INSERT)
        .bind(family.id)
        .bind(family.organization_id)
        .bind(family.person_id)
        .bind(family.origin.as_str())
        .bind(family.origin_id)
        .bind(family.added_permissions)
        .bind(family.removed_permissions)
        .bind(family.created_at)
        .bind(family.expires_at)
}

/// Ends one family.
pub fn revoke_family(id: Uuid, now: Timestamp) -> Stmt {
    sql(FAMILY_REVOKE).bind(id).bind(now)
}

/// A person's living sign-ins, but for `family` and those by personal access token, which their owner removes.
pub async fn other_sign_ins(on: impl Executor, person: PersonId, family: Option<Uuid>) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> =
        sql(OTHER_SIGN_INS).bind(person).bind(family.unwrap_or_default()).all(on).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Lets a family live on until `end`.
pub fn extend_family(id: Uuid, end: Timestamp) -> Stmt {
    sql(FAMILY_EXTEND).bind(id).bind(end)
}

/// Makes all tokens of a person worthless.
pub fn raise_token_version(person: PersonId) -> Stmt {
    sql(RAISE_TOKEN_VERSION).bind(person)
}

/// Ends the families that came from one personal access token, guest link or partner key; gives their ids.
pub async fn revoke_origin(
    on: impl Executor,
    origin: &'static str,
    id: i64,
    now: Timestamp,
) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = sql(FAMILIES_REVOKE_ORIGIN).bind(origin).bind(id).bind(now).all(on).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Ends every family of a person.
pub fn revoke_person(person: PersonId, now: Timestamp) -> Stmt {
    sql(FAMILIES_REVOKE_PERSON).bind(person).bind(now)
}

/// Remembers a refresh token by its hash.
pub fn insert_refresh(hash: [u8; 32], family: Uuid, now: Timestamp, expires_at: Timestamp) -> Stmt {
    sql(REFRESH_INSERT).bind(hash.to_vec()).bind(family).bind(now).bind(expires_at)
}

/// A refresh token that was used.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct UsedRefresh {
    /// Its family.
    pub family_id: Uuid,
    /// Its end.
    pub expires_at: Timestamp,
    /// Its first use.
    pub replaced_at: Timestamp,
}

/// Marks a refresh token as used; the first use counts when several come at once.
pub async fn use_refresh(on: impl Executor, hash: [u8; 32], now: Timestamp) -> Result<Option<UsedRefresh>> {
    sql(REFRESH_REPLACE).bind(hash.to_vec()).bind(now).optional(on).await
}

/// A personal access token; its text is not kept.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct AccessTokenRow {
    /// Its number.
    pub id: AccessTokenId,
    /// Whose it is.
    pub person_id: PersonId,
    /// Their organisation.
    pub organization_id: OrgId,
    /// What its owner wrote about it.
    pub description: String,
    /// Its last four characters.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used to sign in.
    pub last_used_at: Option<Timestamp>,
}

/// Adds a personal access token.
pub fn insert_access_token(token: &AccessTokenRow, hash: [u8; 32]) -> Stmt {
    sql(ACCESS_TOKEN_INSERT)
        .bind(token.id)
        .bind(token.person_id)
        .bind(token.organization_id)
        .bind(token.description.as_str())
        .bind(hash.to_vec())
        .bind(token.hint.as_str())
        .bind(token.created_at)
}

/// Gives a token another text.
pub fn renew_access_token(person: PersonId, id: AccessTokenId, hash: [u8; 32], hint: &str) -> Stmt {
    sql(ACCESS_TOKEN_RENEW).bind(person).bind(id).bind(hash.to_vec()).bind(hint)
}

/// The living token with that hash.
pub async fn access_token_by_hash(on: impl Executor, hash: [u8; 32]) -> Result<Option<AccessTokenRow>> {
    sql(ACCESS_TOKEN_BY_HASH).bind(hash.to_vec()).optional(on).await
}

/// A person's living tokens, oldest first.
pub async fn access_tokens_of(on: impl Executor, person: PersonId) -> Result<Vec<AccessTokenRow>> {
    sql(ACCESS_TOKENS_OF).bind(person).all(on).await
}

/// One of a person's living tokens.
pub async fn access_token_of(
    on: impl Executor,
    person: PersonId,
    id: AccessTokenId,
) -> Result<Option<AccessTokenRow>> {
    sql(ACCESS_TOKEN_OF).bind(person).bind(id).optional(on).await
}

/// Notes a sign-in with it.
pub fn access_token_used(id: AccessTokenId, now: Timestamp) -> Stmt {
    sql(ACCESS_TOKEN_USED).bind(id).bind(now)
}

/// Removes one of a person's tokens: one row where it was there.
pub fn remove_access_token(person: PersonId, id: AccessTokenId, now: Timestamp) -> Stmt {
    sql(ACCESS_TOKEN_REMOVE).bind(person).bind(id).bind(now)
}

/// Removes all of a person's tokens.
pub fn remove_access_tokens(person: PersonId, now: Timestamp) -> Stmt {
    sql(ACCESS_TOKENS_REMOVE_ALL).bind(person).bind(now)
}

/// True while the person takes part in the conversation.
pub async fn is_in_conversation(
    on: impl Executor,
    conversation: ConversationId,
    person: PersonId,
) -> Result<bool> {
    let row: Option<(i64,)> = sql(IN_CONVERSATION).bind(conversation).bind(person).optional(on).await?;
    Ok(row.is_some())
}

/// The organisation that a conversation belongs to.
pub async fn conversation_organization(on: impl Executor, id: ConversationId) -> Result<Option<OrgId>> {
    let row: Option<(OrgId,)> = sql(CONVERSATION_ORGANIZATION).bind(id).optional(on).await?;
    Ok(row.map(|(id,)| id))
}

/// True while the person belongs to the session.
pub async fn is_in_session(on: impl Executor, session: SessionId, person: PersonId) -> Result<bool> {
    let row: Option<(i64,)> = sql(IN_SESSION).bind(session).bind(person).optional(on).await?;
    Ok(row.is_some())
}

/// The help thread that a guest was let into.
pub async fn workbox_of_guest(on: impl Executor, person: PersonId) -> Result<Option<ConversationId>> {
    let row: Option<(ConversationId,)> = sql(WORKBOX_OF_GUEST).bind(person).optional(on).await?;
    Ok(row.map(|(id,)| id))
}

/// A guest's link that somebody opens.
#[derive(Clone, Debug)]
pub struct OpenedLink {
    /// The link.
    pub id: GuestLinkId,
    /// The guest's UUID on the wire.
    pub uuid: Uuid,
    /// The organisation.
    pub organization_id: OrgId,
    /// The help thread it leads to.
    pub conversation_id: ConversationId,
    /// The guest.
    pub person_id: PersonId,
    /// When it was first opened.
    pub joined_at: Option<Timestamp>,
    /// Its end.
    pub expires_at: Timestamp,
    /// Set = taken back.
    pub revoked_at: Option<Timestamp>,
    /// What opening it leads to: nothing, `join_session`, `start_procedure=<id>`.
    pub action: String,
}

/// A row of the audit log.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Its number.
    pub id: AuditId,
    /// The organisation whose administrators may read it.
    pub organization: OrgId,
    /// When.
    pub time: Timestamp,
    /// Who really did it; `None` for a partner key.
    pub actor: Option<PersonId>,
    /// In whose name.
    pub acting_for: Option<PersonId>,
    /// `user.impersonated` and so on.
    pub action: &'static str,
    /// What it was done to: `user:7`.
    pub subject: String,
    /// JSON: names of both, what changed; never a secret.
    pub detail: String,
}

/// Adds a row to the audit log.
pub fn insert_audit(row: &AuditRow) -> Stmt {
    sql(AUDIT)
        .bind(row.id)
        .bind(row.organization)
        .bind(row.time)
        .bind(row.actor)
        .bind(row.acting_for)
        .bind(row.action)
        .bind(row.subject.as_str())
        .bind(row.detail.as_str())
}
