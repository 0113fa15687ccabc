//! Keys of an application's backend that stand at an address (JWKS): fetched at the start, every few minutes, and when
//! a token names one that is not known yet.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::{DecodingKey, jwk::JwkSet};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::base::outbound::Outbound;

/// Between two looks at the address when nobody asks.
const REFRESH: Duration = Duration::from_mins(5);
/// The least time between two, whatever tokens name.
const LEAST: Duration = Duration::from_secs(5);
/// Bytes of a document.
const LIMIT: usize = 256 * 1024;

/// A key with its name, if it has one.
type Named = (Option<String>, DecodingKey);

/// The keys of one address.
pub(super) struct KeySet {
    url: String,
    keys: RwLock<Arc<[Named]>>,
    loaded: AtomicBool,
    wanted: Notify,
}

/// What is known of a key.
pub(super) enum Found {
    /// These may be it.
    Keys(Arc<[Named]>),
    /// Nothing yet: it is being looked for.
    Later,
}

impl KeySet {
    /// The keys at `url`, which [`KeySet::follow`] fetches.
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            keys: RwLock::new(Arc::new([])),
            loaded: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    /// The keys that may have signed a token which names `id`.
    pub(super) fn find(&self, id: Option<&str>) -> Found {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let known = match id {
            Some(id) => keys.iter().any(|(name, _)| name.as_deref() == Some(id)),
            None => self.loaded.load(Ordering::Acquire),
        };
        if known {
            return Found::Keys(keys);
        }
        self.wanted.notify_one();
        Found::Later
    }

    /// Keeps the keys up to date, for ever. What cannot be read leaves the ones before in force.
    pub(super) async fn follow(&self, client: &Outbound) {
        loop {
            match self.fetch(client).await {
                Ok(keys) => {
                    *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
                    self.loaded.store(true, Ordering::Release);
                }
                Err(why) => tracing::warn!(why, "keys of realtime.tokens.jwks_url were not fetched"),
            }
            sleep(LEAST).await;
            let _ = timeout(REFRESH, self.wanted.notified()).await;
        }
    }

    async fn fetch(&self, client: &Outbound) -> Result<Vec<Named>, String> {
        let answer = client.get(&self.url, LIMIT).await.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("the answer is {}", answer.status));
        }
        let set: JwkSet = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        // Kinds of keys that we do not know are none of ours.
        let usable = set.keys.iter().filter_map(|key| {
            let name = key.common.key_id.clone();
            DecodingKey::from_jwk(key).ok().map(|decoding| (name, decoding))
        });
        Ok(usable.collect())
    }
}
