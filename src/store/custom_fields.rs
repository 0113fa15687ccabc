//! Definitions of custom fields.

use super::{Db, Result, Stmt, sql, statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{CustomFieldId, OrgId},
};

statements! {
    LIST = "select id, name, description, type, mandatory, hidden, multi_select, default_value, options, position \
        from custom_field where organization_id = $1 and removed_at is null order by position, id";
    INSERT = "insert into custom_field (id, organization_id, name, description, type, mandatory, hidden, multi_select, \
        default_value, options, position, created_at, updated_at, removed_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, null)";
    UPDATE = "update custom_field set name = $3, description = $4, mandatory = $5, hidden = $6, multi_select = $7, \
        default_value = $8, options = $9, position = $10, updated_at = $11 \
        where id = $1 and organization_id = $2 and removed_at is null";
    REMOVE = "update custom_field set removed_at = $3, updated_at = $3 \
        where id = $1 and organization_id = $2 and removed_at is null";
}

/// A definition.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct CustomFieldRow {
    /// Its number.
    pub id: CustomFieldId,
    /// Its label.
    pub name: String,
    /// Its explanation.
    pub description: String,
    /// TEXT, BOOLEAN or LIST.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// When it must be filled.
    pub mandatory: String,
    /// Not to be shown by apps.
    pub hidden: bool,
    /// Takes several options.
    pub multi_select: bool,
    /// JSON text.
    pub default_value: String,
    /// JSON text: a list of `{id, name}`.
    pub options: String,
    /// Place among the others.
    pub position: i64,
}

/// The definitions of an organisation, in display order.
pub async fn list(db: &Db, organization: OrgId) -> Result<Vec<CustomFieldRow>> {
    sql(LIST).bind(organization).all(db).await
}

/// Adds a definition: one row.
pub fn insert(organization: OrgId, row: &CustomFieldRow, now: Timestamp) -> Stmt {
    sql(INSERT)
        .bind(row.id)
        .bind(organization)
        .bind(row.name.as_str())
        .bind(row.description.as_str())
        .bind(row.kind.as_str())
        .bind(row.mandatory.as_str())
        .bind(row.hidden)
        .bind(row.multi_select)
        .bind(row.default_value.as_str())
        .bind(row.options.as_str())
        .bind(row.position)
        .bind(now)
}

/// Changes a definition, its type apart: one row.
pub fn update(organization: OrgId, row: &CustomFieldRow, now: Timestamp) -> Stmt {
    sql(UPDATE)
        .bind(row.id)
        .bind(organization)
        .bind(row.name.as_str())
        .bind(row.description.as_str())
        .bind(row.mandatory.as_str())
        .bind(row.hidden)
        .bind(row.multi_select)
        .bind(row.default_value.as_str())
        .bind(row.options.as_str())
        .bind(row.position)
        .bind(now)
}

/// Removes a definition; values stay with their threads, unseen. One row.
pub fn remove(organization: OrgId, id: CustomFieldId, now: Timestamp) -> Stmt {
    sql(REMOVE).bind(id).bind(organization).bind(now)
}
