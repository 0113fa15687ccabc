//! Organisations (enterprises, sites, workspaces).

use uuid::Uuid;

use super::{Executor, Result, Stmt, sql, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{OrgId, StreamId},
};

const INVITATION_TEXT: &str = "invitation_text";

statements! {
    BY_ID = "select * from organization where id = $1";
    OLDEST_ACTIVE = "select * from organization where active order by id limit 1";
    ALL = "select * from organization order by id";
    INSERT =
        "insert into organization (id, uuid, parent_id, name, description, active, auto_accept, contact_name, \
         contact_email, contact_phone, domains, time_zone, max_users, recording_policy, \
         settings, stream_id, created_at, updated_at) \
         values ($1, $2, null, $3, '', true, false, null, $4, null, $5, 'UTC', null, 'opt_in', '{}', $6, $7, $7)";
    SET_RECORDING_POLICY = "update organization set recording_policy = $2, updated_at = $3 where id = $1";
    SET_SETTINGS = "update organization set settings = $2, updated_at = $3 where id = $1 and settings = $4";
    RECORDING_POLICY = "select recording_policy from organization where id = $1";
}

/// An organisation.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
#[expect(missing_docs, reason = "the columns of table organization, explained in the migration")]
pub struct OrganizationRow {
    pub id: OrgId,
    pub uuid: Uuid,
    pub parent_id: Option<OrgId>,
    pub name: String,
    pub description: String,
    pub active: bool,
    pub auto_accept: bool,
    pub contact_name: Option<String>,
    pub contact_email: Option<String>,
    pub contact_phone: Option<String>,
    pub domains: String,
    pub time_zone: String,
    pub max_users: Option<i64>,
    pub recording_policy: String,
    pub settings: String,
    pub stream_id: StreamId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl OrganizationRow {
    /// The approved e-mail domains, in lower case.
    pub fn domain_list(&self) -> Vec<String> {
        let list: Vec<String> = serde_json::from_str(&self.domains).unwrap_or_default();
        list.into_iter().map(|domain| domain.to_lowercase()).collect()
    }

    /// The sentence that invites people in its name, where it has its own.
    pub fn invitation_text(&self) -> Option<String> {
        let settings: serde_json::Value = serde_json::from_str(&self.settings).unwrap_or_default();
        settings.get(INVITATION_TEXT)?.as_str().map(str::to_owned).filter(|text| !text.trim().is_empty())
    }

    /// The settings with another such sentence; an empty one takes it away.
    pub fn with_invitation_text(&self, text: &str) -> String {
        let mut settings: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.settings).unwrap_or_default();
        settings.insert(INVITATION_TEXT.to_owned(), text.into());
        serde_json::Value::Object(settings).to_string()
    }

    /// True when the address lies in one of the approved domains.
    pub fn approves(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
        domain.is_some_and(|domain| self.domain_list().contains(&domain))
    }
}

/// One organisation.
pub async fn by_id(on: impl Executor, id: OrgId) -> Result<Option<OrganizationRow>> {
    sql(BY_ID).bind(id).optional(on).await
}

/// The first active organisation: where visitors without an API key belong.
pub async fn oldest_active(on: impl Executor) -> Result<Option<OrganizationRow>> {
    sql(OLDEST_ACTIVE).optional(on).await
}

/// All organisations: for operators.
pub async fn all(on: impl Executor) -> Result<Vec<OrganizationRow>> {
    sql(ALL).all(on).await
}

/// A new organisation.
#[derive(Clone, Debug)]
pub struct NewOrganization {
    /// Its number.
    pub id: OrgId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whom to write to.
    pub contact_email: Option<String>,
    /// Approved e-mail domains.
    pub domains: Vec<String>,
    /// Its stream `org:<id>`.
    pub stream: StreamId,
    /// When.
    pub created_at: Timestamp,
}

/// Adds an organisation: one row.
pub fn insert(new: &NewOrganization) -> Stmt {
    sql(INSERT)
        .bind(new.id)
        .bind(new.uuid)
        .bind(new.name.as_str())
        .bind(new.contact_email.clone())
        .bind(super::Value::json(&new.domains))
        .bind(new.stream)
        .bind(new.created_at)
}

/// How calls are recorded from the next one on.
pub fn set_recording_policy(id: OrgId, policy: &str, now: Timestamp) -> Stmt {
    sql(SET_RECORDING_POLICY).bind(id).bind(policy).bind(now)
}

/// How calls of the organisation are recorded.
pub async fn recording_policy(on: impl Executor, id: OrgId) -> Result<Option<String>> {
    let row: Option<(String,)> = sql(RECORDING_POLICY).bind(id).optional(on).await?;
    Ok(row.map(|(policy,)| policy))
}

/// Other settings; touches no row where somebody else has changed them meanwhile.
pub fn set_settings(row: &OrganizationRow, settings: &str, now: Timestamp) -> Stmt {
    sql(SET_SETTINGS).bind(row.id).bind(settings).bind(now).bind(row.settings.as_str())
}
