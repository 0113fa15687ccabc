//! Procedures attached to threads. Lists of them: `workbox_views`.

use super::{Db, Result, Stmt, sql, statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, PersonId, ProcedureLinkId},
};

statements! {
    FIND = "select conversation_id, id, procedure_id, procedure_version, owner_id, state, task_uuid, values_url, offline, \
        action_time, created_at, updated_at from procedure_link \
        where conversation_id = $1 and id = $2 and removed_at is null";
    INSERT = "insert into procedure_link (id, conversation_id, procedure_id, procedure_version, owner_id, state, task_uuid, \
        values_url, offline, action_time, created_at, updated_at, removed_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, null)";
    MOVE = "update procedure_link set state = $3, task_uuid = $4, action_time = $5, updated_at = $6, removed_at = $7 \
        where conversation_id = $1 and id = $2 and removed_at is null";
}

/// A procedure attached to a thread.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct ProcedureRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// Its place there.
    pub id: ProcedureLinkId,
    /// The procedure.
    pub procedure_id: i64,
    /// Its version.
    pub procedure_version: i64,
    /// Who runs it.
    pub owner_id: PersonId,
    /// Where it stands.
    pub state: String,
    /// The app's reference.
    pub task_uuid: Option<String>,
    /// Where the app keeps its values.
    pub values_url: Option<String>,
    /// Run without a connection.
    pub offline: bool,
    /// When it last moved.
    pub action_time: Option<Timestamp>,
    /// When it was attached.
    pub created_at: Timestamp,
    /// When its row last changed.
    pub updated_at: Timestamp,
}

/// A procedure of this thread.
pub async fn find(
    db: &Db,
    conversation: ConversationId,
    id: ProcedureLinkId,
) -> Result<Option<ProcedureRow>> {
    sql(FIND).bind(conversation).bind(id).optional(db).await
}

/// Attaches a procedure: one row.
pub fn insert(row: &ProcedureRow) -> Stmt {
    sql(INSERT)
        .bind(row.id)
        .bind(row.conversation_id)
        .bind(row.procedure_id)
        .bind(row.procedure_version)
        .bind(row.owner_id)
        .bind(row.state.as_str())
        .bind(row.task_uuid.clone())
        .bind(row.values_url.clone())
        .bind(row.offline)
        .bind(row.action_time)
        .bind(row.created_at)
        .bind(row.updated_at)
}

/// Moves a procedure on, or takes it away: one row.
pub fn change(row: &ProcedureRow, removed: bool) -> Stmt {
    sql(MOVE)
        .bind(row.conversation_id)
        .bind(row.id)
        .bind(row.state.as_str())
        .bind(row.task_uuid.clone())
        .bind(row.action_time)
        .bind(row.updated_at)
        .bind(removed.then_some(row.updated_at))
}
