//! Which connections there are, and which of them hold a place in a session: what leases and reachability stand on.
//! Of this node, in memory; the socket keeps it true.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use uuid::Uuid;

use super::reachability::Connections;
use crate::{
    base::clock::Timestamp,
    domain::ids::{PersonId, SessionId},
};

/// Called when a connection holds no place any more.
pub type Release = Arc<dyn Fn() + Send + Sync>;

/// A place: somebody in the call of a session, or ringing in it.
pub type Place = (SessionId, PersonId);

/// Above so many holders those of connections that ended at the wrong moment are looked for.
const CROWD: usize = 1_000;
/// A holder that was silent for so long has ended: every lease is shorter.
const FORGOTTEN: Duration = Duration::from_mins(5);

struct Held {
    places: Vec<Place>,
    release: Release,
    seen: Timestamp,
}

#[derive(Default)]
struct Inner {
    online: DashMap<PersonId, Vec<Uuid>>,
    held: DashMap<Uuid, Held>,
}

/// The register. Cheap to clone.
#[derive(Clone, Default)]
pub struct Attendance(Arc<Inner>);

impl Attendance {
    /// A connection of that human being has begun; true when it is the first.
    pub fn connected(&self, login: PersonId, client: Uuid) -> bool {
        let mut clients = self.0.online.entry(login).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
        clients.len() == 1
    }

    /// A connection has ended; true when it was the last. Its places stay until their leases run out: the person may be
    /// back before.
    pub fn disconnected(&self, login: PersonId, client: Uuid) -> bool {
        let gone = self.0.online.remove_if_mut(&login, |_, clients| {
            clients.retain(|known| *known != client);
            clients.is_empty()
        });
        self.0.held.remove(&client);
        gone.is_some()
    }

    /// The connection holds the place from now on; `release` is called once it holds none.
    pub fn hold(&self, client: Uuid, place: Place, release: Release, now: Timestamp) {
        if self.0.held.len() > CROWD {
            self.0.held.retain(|_, held| now.since(held.seen) < FORGOTTEN);
        }
        let mut held = self.0.held.entry(client).or_insert_with(|| Held {
            places: Vec::new(),
            release: Arc::clone(&release),
            seen: now,
        });
        held.release = release;
        if !held.places.contains(&place) {
            held.places.push(place);
        }
    }

    /// The connection holds the place no more.
    pub fn give_up(&self, client: Uuid, place: Place) {
        let freed = self.0.held.remove_if_mut(&client, |_, held| {
            held.places.retain(|known| *known != place);
            held.places.is_empty()
        });
        if let Some((_, held)) = freed {
            (held.release)();
        }
    }

    /// The places of a connection from which something was heard at `now`.
    pub fn heard(&self, client: Uuid, now: Timestamp) -> Vec<Place> {
        let Some(mut held) = self.0.held.get_mut(&client) else { return Vec::new() };
        held.seen = now;
        held.places.clone()
    }
}

impl Connections for Attendance {
    fn is_connected(&self, login: PersonId) -> bool {
        self.0.online.contains_key(&login)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_connection_is_enough() {
        let (attendance, ann) = (Attendance::default(), PersonId(1));
        let (phone, tablet) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(attendance.connected(ann, phone) && attendance.connected(ann, phone));
        assert!(!attendance.connected(ann, tablet));
        assert!(!attendance.disconnected(ann, phone));
        assert!(attendance.is_connected(ann));
        assert!(attendance.disconnected(ann, tablet));
        assert!(!attendance.is_connected(ann));
    }

    #[test]
    fn a_connection_is_released_with_its_last_place() {
        let (attendance, client, now) = (Attendance::default(), Uuid::from_u128(1), Timestamp::default());
        let place = |number| (SessionId(Uuid::from_u128(number)), PersonId(1));
        let released = Arc::new(AtomicUsize::new(0));
        for number in [1, 2, 2] {
            let released = Arc::clone(&released);
            let release: Release = Arc::new(move || {
                let _ = released.fetch_add(1, Ordering::Relaxed);
            });
            attendance.hold(client, place(number), release, now);
        }
        assert_eq!(attendance.heard(client, now), [place(1), place(2)]);
        attendance.give_up(client, place(1));
        assert_eq!(released.load(Ordering::Relaxed), 0);
        attendance.give_up(client, place(2));
        attendance.give_up(client, place(2));
        assert_eq!(released.load(Ordering::Relaxed), 1);
        assert!(attendance.heard(client, now).is_empty());
    }
}
