//! Fencing: a node takes a higher epoch at each start; a stream remembers the highest that wrote to it, so that a node
//! that was thought dead and wakes up can no longer write where its successor has written.

use crate::store::{Db, StoreError, sql};

/// The epoch of this node's present life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeEpoch(pub i64);

impl NodeEpoch {
    /// Takes the next epoch from the database.
    pub async fn claim(db: &Db) -> Result<Self, StoreError> {
        let mut tx = db.begin().await?;
        let (value,): (String,) =
            sql("insert into meta (name, value) values ('node_epoch', '1') on conflict (name) do update \
             set value = cast(cast(meta.value as bigint) + 1 as text) returning value")
            .one(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(Self(value.parse().unwrap_or(1)))
    }
}
