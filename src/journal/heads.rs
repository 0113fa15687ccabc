//! Where streams stand: read within a commit, moved on by it, and remembered for the next.

use std::{collections::HashMap, sync::Arc};

use super::{append::Append, fence::NodeEpoch};
use crate::{
    domain::{
        event::StreamKind,
        ids::{Offset, OrgId, StreamId},
    },
    store::{Bulk, Column::Int, Rows, StoreError, Tuple, Tx},
};

/// Streams whose heads are remembered, at most.
const REMEMBERED: usize = 100_000;

/// Where streams stand; on PostgreSQL locked in ascending order.
pub(super) static HEADS: Bulk = Bulk::new(
    "select id, organization_id, kind, name, epoch, head, owner_epoch from stream where id in (select column1 from",
    &[Int],
    ")",
)
.locking(" order by id for update");
/// Head and owner of a stream that still stands where it did, and that no later node has taken over: stream, new head, new
/// owner, old head, this node.
pub(super) static MOVED: Bulk = Bulk::new(
    "update stream set head = v.column2, owner_epoch = v.column3 from",
    &[Int, Int, Int, Int, Int],
    "where stream.id = v.column1 and stream.head = v.column4 and stream.owner_epoch <= v.column5",
);

#[derive(sqlx_macros::FromRow)]
struct HeadRow {
    id: StreamId,
    organization_id: OrgId,
    kind: String,
    name: String,
    epoch: String,
    head: Offset,
    owner_epoch: i64,
}

/// A stream as a commit sees it.
pub(super) struct Head {
    pub(super) organization: OrgId,
    pub(super) channel: Arc<str>,
    pub(super) epoch: Arc<str>,
    /// Offset of the newest event, those of this commit included.
    pub(super) head: i64,
    /// The same without them.
    before: i64,
    /// A later node has taken it over.
    pub(super) fenced: bool,
    owned: bool,
}

/// Heads of streams with an owner, after their last commit.
#[derive(Default)]
pub(super) struct Remembered(HashMap<StreamId, Head>);

impl Remembered {
    /// The heads that are known of the streams of `appends`. They are taken out: nothing is remembered of a commit that fails.
    pub(super) fn take(&mut self, appends: &[Append]) -> HashMap<StreamId, Head> {
        let events = appends.iter().flat_map(|append| &append.events);
        events.filter_map(|event| self.0.remove_entry(&event.stream)).collect()
    }

    /// Remembers what a commit left.
    pub(super) fn keep(&mut self, heads: HashMap<StreamId, Head>) {
        if self.0.len() + heads.len() > REMEMBERED {
            self.0.clear();
        }
        // Any node may write to the others.
        let standing = heads.into_iter().filter(|(_, head)| head.owned && !head.fenced);
        self.0.extend(standing.map(|(id, head)| (id, Head { before: head.head, ..head })));
    }
}

/// The wanted streams of `appends` that are not among `heads`, in ascending order.
pub(super) fn missing(
    appends: &[Append],
    heads: &HashMap<StreamId, Head>,
    wanted: impl Fn(StreamId) -> bool,
) -> Vec<StreamId> {
    let streams = appends.iter().flat_map(|append| &append.events).map(|event| event.stream);
    let mut ids: Vec<StreamId> = streams.filter(|id| !heads.contains_key(id) && wanted(*id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Reads heads, and holds the streams until the end of the transaction. One that is gone is left out.
pub(super) async fn read(
    tx: &mut Tx,
    node: NodeEpoch,
    ids: &[StreamId],
) -> Result<HashMap<StreamId, Head>, StoreError> {
    let mut heads = HashMap::with_capacity(ids.len());
    for row in HEADS.all::<_, HeadRow>(tx, ids, |v, id| v.bind(*id)).await? {
        let owned = StreamKind::by_name(&row.kind).is_some_and(StreamKind::is_owned);
        let head = Head {
            organization: row.organization_id,
            channel: row.name.into(),
            epoch: row.epoch.into(),
            head: row.head.0,
            before: row.head.0,
            fenced: owned && row.owner_epoch > node.0,
            owned,
        };
        heads.insert(row.id, head);
    }
    Ok(heads)
}

/// What moves heads on, and with that holds their streams until the end of the transaction: rows for [`MOVED`], in
/// ascending order. A row that changes nothing stands elsewhere than remembered, or is gone.
pub(super) fn moves(node: NodeEpoch, heads: &HashMap<StreamId, Head>) -> Rows {
    let mut moved: Vec<_> = heads.iter().filter(|(_, head)| head.head > head.before).collect();
    moved.sort_unstable_by_key(|(id, _)| **id);
    let fill = |v: Tuple, (id, head): &(&StreamId, &Head)| {
        v.bind(**id).bind(head.head).bind(if head.owned { node.0 } else { 0 }).bind(head.before).bind(node.0)
    };
    MOVED.rows(&moved, fill)
}
