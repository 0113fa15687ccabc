//! Rings under way: which devices of the person rung have heard of them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::world::World;

/// What the devices of one person heard of one ring.
#[derive(Debug, Default)]
struct Heard {
    ringing: HashSet<usize>,
    stopped: HashSet<usize>,
    arrived_us: Vec<u64>,
}

/// Rings under way, by request.
#[derive(Debug, Default)]
pub struct Rings {
    heard: Mutex<HashMap<String, Heard>>,
    news: Arc<Notify>,
    /// People who ring, are rung or talk.
    taken: Mutex<HashSet<usize>>,
}

const REQUEST: &[u8] = br#""request_id":""#;

impl Rings {
    fn heard(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came into somebody's inbox.
    pub fn arrived(&self, world: &World, client: usize, data: &[u8]) {
        let rings = memchr::memmem::find(data, br#""type":"ring.incoming""#).is_some();
        if !rings && memchr::memmem::find(data, br#""type":"ring.stopped""#).is_none() {
            return;
        }
        let Some(at) = memchr::memmem::find(data, REQUEST) else { return };
        let Some(request) = data.get(at + REQUEST.len()..at + REQUEST.len() + 36) else { return };
        let request = String::from_utf8_lossy(request).into_owned();
        {
            let mut heard = self.heard();
            let one = heard.entry(request).or_default();
            if rings {
                one.ringing.insert(client);
                one.arrived_us.push(world.watch.now_us());
            } else {
                one.stopped.insert(client);
            }
        }
        self.news.notify_waiters();
    }

    async fn until(&self, limit: Duration, done: impl Fn(&HashMap<String, Heard>) -> bool) -> bool {
        timeout(limit, async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                // Enabled before looking, so that nothing in between is missed.
                news.as_mut().enable();
                if done(&self.heard()) {
                    break;
                }
                news.await;
            }
        })
        .await
        .is_ok()
    }

    /// Waits until a ring is heard on `devices` devices.
    pub async fn ringing(&self, request: &str, devices: usize, limit: Duration) -> bool {
        self.until(limit, |heard| heard.get(request).is_some_and(|one| one.ringing.len() >= devices)).await
    }

    /// Waits until a ring has stopped on `devices` devices.
    pub async fn stopped(&self, request: &str, devices: usize, limit: Duration) -> bool {
        self.until(limit, |heard| heard.get(request).is_some_and(|one| one.stopped.len() >= devices)).await
    }

    /// Forgets a ring; gives when each device heard it.
    pub fn forget(&self, request: &str) -> Vec<u64> {
        self.heard().remove(request).map(|one| one.arrived_us).unwrap_or_default()
    }

    /// Takes people who are free, none of them or all.
    pub fn take(&self, people: &[usize]) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if people.iter().any(|person| taken.contains(person)) {
            return false;
        }
        taken.extend(people);
        true
    }

    /// They are free again.
    pub fn release(&self, people: &[usize]) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|person| !people.contains(person));
    }
}
