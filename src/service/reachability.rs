//! Who can be reached: one live connection or one push device is enough, whatever face the person wears.

use std::{collections::HashSet, sync::Arc};

use crate::{
    base::changes::Changes,
    domain::{error::Result, ids::PersonId},
    store::{Db, sessions},
};

/// The live connections, as the rest of the server asks for them.
pub trait Connections: Send + Sync + 'static {
    /// True when the human being holds a live connection, by any of its faces.
    fn is_connected(&self, login: PersonId) -> bool;
}

/// Nobody is connected: for commands that run without a socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConnections;

impl Connections for NoConnections {
    fn is_connected(&self, _: PersonId) -> bool {
        false
    }
}

/// Tells who can be reached. Cheap to clone.
#[derive(Clone)]
pub struct Reachability {
    db: Db,
    connections: Arc<dyn Connections>,
    changes: Changes<PersonId>,
}

impl Reachability {
    /// Looks at live connections and at registered devices.
    pub fn new(db: Db, connections: Arc<dyn Connections>) -> Self {
        Self { db, connections, changes: Changes::default() }
    }

    /// A human being came, went, or said how they are: whom it concerns is told.
    pub fn changed(&self, login: PersonId) {
        self.changes.note(login, ());
    }

    /// The logins of whom that is to be told.
    pub fn changes(&self) -> &Changes<PersonId> {
        &self.changes
    }

    /// True while the login has a live connection.
    pub fn is_connected(&self, login: PersonId) -> bool {
        self.connections.is_connected(login)
    }

    /// Those of `logins` who can be reached: one statement at most.
    pub async fn among(&self, logins: impl IntoIterator<Item = PersonId>) -> Result<HashSet<PersonId>> {
        let (mut reachable, away): (HashSet<_>, HashSet<_>) =
            logins.into_iter().partition(|login| self.connections.is_connected(*login));
        if !away.is_empty() {
            reachable.extend(sessions::with_devices(&self.db, away).await?);
        }
        Ok(reachable)
    }
}
