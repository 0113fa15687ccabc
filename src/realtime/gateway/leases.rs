//! Which connection keeps whom in a call: any frame of it renews the lease (contract: REALTIME section 5).

use std::sync::Arc;

use dashmap::DashMap;

use super::Gateway;
use crate::{
    domain::{
        caller::Caller,
        ids::{PersonId, SessionId},
    },
    realtime::port::ConnectionId,
};

/// Connections that hold a lease, with what they hold. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Leases(Arc<DashMap<ConnectionId, (SessionId, PersonId)>>);

impl Gateway {
    /// From now on frames of this connection keep the caller in the session's call (or keep its rings going).
    pub(super) fn hold(&self, connection: ConnectionId, caller: &Caller, session: SessionId) {
        if let Some(person) = caller.person {
            self.hold_as(connection, person, session);
        }
    }

    /// As [`Gateway::hold`] for another face of the caller.
    pub(super) fn hold_as(&self, connection: ConnectionId, person: PersonId, session: SessionId) {
        self.leases.0.insert(connection, (session, person));
        self.hub.hold_lease(connection, true);
    }

    /// Tells the sessions that these connections live; those that hold nothing any more are let go.
    pub(super) fn renew_leases(&self, connections: Vec<ConnectionId>) {
        for connection in connections {
            let held = self.leases.0.get(&connection).map(|entry| *entry.value());
            let Some((session, person)) = held else {
                self.hub.hold_lease(connection, false);
                continue;
            };
            let this = self.clone();
            self.tasks.spawn("lease", async move {
                match this.services.calls.renew(session, person).await {
                    Ok(false) => {
                        this.leases.0.remove_if(&connection, |_, now| *now == (session, person));
                        this.hub.hold_lease(connection, false);
                    }
                    Ok(true) => {}
                    Err(error) => tracing::debug!(%error, session.id = %session, "a lease was not renewed"),
                }
            });
        }
    }

    /// The connection is gone: its lease runs out by itself, unless another connection takes it up.
    pub(super) fn let_go(&self, connection: ConnectionId) {
        self.leases.0.remove(&connection);
    }
}
