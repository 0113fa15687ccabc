//! Groups of people: pods now; departments, locations and security groups later.

use super::{Stmt, sql, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{GroupId, OrgId},
};

statements! {
    INSERT = "insert into people_group (id, organization_id, kind, name, name_key, description, is_default, expert, \
        settings, created_at, updated_at) values ($1, $2, 'pod', $3, $4, $5, false, $6, '{}', $7, $7)";
}

/// A new pod.
#[derive(Clone, Debug)]
pub struct NewPod<'a> {
    /// Its number.
    pub id: GroupId,
    /// Whose it is.
    pub organization: OrgId,
    /// Its name.
    pub name: &'a str,
    /// Free text.
    pub description: &'a str,
    /// Its members are experts who can be called as a group.
    pub expert: bool,
    /// When.
    pub created_at: Timestamp,
}

/// Adds a pod: one row.
pub fn insert(new: &NewPod<'_>) -> Stmt {
    sql(INSERT)
        .bind(new.id)
        .bind(new.organization)
        .bind(new.name)
        .bind(new.name.to_lowercase())
        .bind(new.description)
        .bind(new.expert)
        .bind(new.created_at)
}
