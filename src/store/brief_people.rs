//! People as others see them: the few columns that lists, messages and events show.

use uuid::Uuid;

use super::{Db, Result, sql, statements};
use crate::domain::ids::{OrgId, PersonId};

statements! {
    /// One person.
    BRIEF = "select id, uuid, organization_id, login_id, kind, name, username, title, location, avatar_file \
        from person where id = $1";
}

/// A person as others see them.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct BriefPerson {
    /// Their number.
    pub id: PersonId,
    /// Their UUID.
    pub uuid: Uuid,
    /// Their organisation.
    pub organization_id: OrgId,
    /// The log-in behind them.
    pub login_id: PersonId,
    /// member, guest, anonymous.
    pub kind: String,
    /// Display name.
    pub name: String,
    /// Log-in name.
    pub username: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Where they are.
    pub location: Option<String>,
    /// Key of the avatar in the file store.
    pub avatar_file: Option<String>,
}

/// One person, living or removed.
pub async fn brief(db: &Db, id: PersonId) -> Result<Option<BriefPerson>> {
    sql(BRIEF).bind(id).optional(db).await
}

/// Several people in one statement, in no order; unknown ones are left out.
pub async fn brief_many(db: &Db, ids: &[PersonId]) -> Result<Vec<BriefPerson>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sql("select id, uuid, organization_id, login_id, kind, name, username, title, location, avatar_file \
         from person where id in ")
    .push_list(ids.iter().copied())
    .all(db)
    .await
}
