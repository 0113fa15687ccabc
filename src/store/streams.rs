//! Streams by their channel's name. The journal writes them.

use super::{Db, Result, sql, statements};
use crate::domain::ids::{Offset, OrgId, StreamId};

statements! {
    /// The stream of a channel in an organisation.
    BY_NAME = "select id, name, epoch, head, first_offset from stream where name = $1 and organization_id = $2";
}

/// Where a stream stands.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StreamRow {
    /// Its number.
    pub id: StreamId,
    /// Its channel.
    pub name: String,
    /// Changes when offsets start anew.
    pub epoch: String,
    /// Offset of the newest event.
    pub head: Offset,
    /// Offset of the oldest event that is kept.
    pub first_offset: Offset,
}

/// The stream behind a channel; `None` when the organisation has no such.
pub async fn by_name(db: &Db, organization: OrgId, channel: &str) -> Result<Option<StreamRow>> {
    sql(BY_NAME).bind(channel).bind(organization).optional(db).await
}
