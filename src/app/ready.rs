//! Readiness: up once everything is wired, down when the server stops or cannot write.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    base::clock::{Clock, Timestamp},
    http::health::Ready,
    journal::Journal,
    store::{Db, meta},
};

/// A probe's answer is believed for so long, so that nobody loads the database by asking.
const PROBE_AGE: Duration = Duration::from_secs(1);

/// Bytes of a probe after a commit that failed: a disk that is all but full takes a line and refuses a message.
const ROOM: usize = 256 * 1024;

/// Whether the server takes work.
pub(super) struct Readiness {
    up: AtomicBool,
    db: Db,
    journal: Journal,
    clock: Clock,
    probed: Mutex<Option<(Timestamp, Option<String>)>>,
}

impl Readiness {
    /// Not ready yet.
    pub fn new(db: Db, journal: Journal, clock: Clock) -> Self {
        Self { up: AtomicBool::new(false), db, journal, clock, probed: Mutex::new(None) }
    }

    /// Takes work from now on.
    pub fn up(&self) {
        self.up.store(true, Ordering::Release);
    }

    /// Takes no more work.
    pub fn down(&self) {
        self.up.store(false, Ordering::Release);
    }

    /// A small write: a full disk lets reads pass. Once a commit has failed, one that needs some room.
    async fn probe(&self) -> Option<String> {
        let now = self.clock.now();
        let known = self.probed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, outcome)) = known
            && now.since(at) < PROBE_AGE
        {
            return outcome;
        }
        let failing = self.journal.is_failing();
        let probed = meta::probe(&self.db, now, if failing { ROOM } else { 0 }).await;
        if failing && probed.is_ok() {
            self.journal.forgive();
        }
        let outcome = probed.err().map(|error| format!("database: {error}"));
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, outcome.clone()));
        outcome
    }
}

impl Ready for Readiness {
    fn problems(&self) -> BoxFuture<'_, Vec<String>> {
        async {
            if !self.up.load(Ordering::Acquire) {
                return vec!["starting or stopping".to_owned()];
            }
            self.probe().await.into_iter().collect()
        }
        .boxed()
    }
}
