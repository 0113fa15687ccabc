//! Streams by their channel's name. The journal writes them.

use super::{
    Bulk,
    Column::{Int, Text},
    Db, Result,
    gather::Question,
};
use crate::domain::ids::{Offset, OrgId, StreamId};

/// The stream of a channel in an organisation.
static BY_NAME: Bulk = Bulk::new(
    "select v.column1 as asked, s.id, s.name, s.epoch, s.head, s.first_offset from",
    &[Int, Int, Text],
    "join stream s on s.name = v.column3 and s.organization_id = v.column2",
);
const STREAMS: Question<(OrgId, String), StreamRow> = Question {
    bulk: &BY_NAME,
    fill: |v, (organization, name)| v.bind(*organization).bind(name),
    gather: |gathers| &gathers.streams,
};
/// What is asked through a gather.
pub(super) static GATHERED: &[&Bulk] = &[&BY_NAME];

/// Where a stream stands.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
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
    Ok(STREAMS.ask(db, (organization, channel.to_owned())).await?.pop())
}
