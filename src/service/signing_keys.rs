//! The keys that sign our tokens (HS256): made on first start, sealed in the database, rotatable.
//!
//! Two keys are valid at once: the newest signs, the one before still verifies, so that a rotation signs nobody out.
//! Every node sees a rotation within seconds, at the latest when a token shows up that no known key has signed.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        seal::Sealer,
    },
    domain::error::{Error, Result},
    store::{
        Db,
        ids::Ids,
        keys::{self, SigningKeyRow},
    },
};

const PURPOSE: &str = "signing_key.sealed";
/// Keys that verify.
const VALID: usize = 2;
/// How often the database may be asked again because of tokens that no key has signed.
const RELOAD: Duration = Duration::from_secs(2);
/// When the newest key is looked for anyway.
const STALE: Duration = Duration::from_secs(60);

/// The keys, newest first. At least one.
#[derive(Clone)]
pub struct KeySet {
    /// Signs.
    pub signing: EncodingKey,
    /// Verify.
    pub verifying: Vec<DecodingKey>,
}

/// The signing keys of this installation.
pub struct SigningKeys {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    sealer: Sealer,
    loaded: RwLock<(Arc<KeySet>, Timestamp)>,
}

impl SigningKeys {
    /// Loads the keys and makes the first one where there is none.
    pub async fn open(db: Db, ids: Ids, clock: Clock, random: Random, sealer: Sealer) -> Result<Self> {
        let now = clock.now();
        let set = match load(&db, &sealer).await? {
            Some(set) => set,
            None => {
                let row = new_row(&ids, &random, &sealer, now)?;
                keys::insert_signing_key(&row).execute(&db).await?;
                // Another node may have been as quick; both read the same newest key now.
                load(&db, &sealer)
                    .await?
                    .ok_or_else(|| Error::unavailable("the signing key is gone again"))?
            }
        };
        Ok(Self { db, ids, clock, random, sealer, loaded: RwLock::new((Arc::new(set), now)) })
    }

    /// The keys as known.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// True when the database should be asked for newer keys.
    pub fn is_stale(&self) -> bool {
        self.age() >= STALE
    }

    /// Asks the database again, unless that was done a moment ago; true when it was asked.
    pub async fn reload(&self) -> Result<bool> {
        if self.age() < RELOAD {
            return Ok(false);
        }
        let set = load(&self.db, &self.sealer).await?;
        let set = set.ok_or_else(|| Error::unavailable("no signing key in the database"))?;
        self.remember(set);
        Ok(true)
    }

    /// Makes a new key sign from now on; the one that signed so far verifies until the next rotation, older ones are
    /// retired at once.
    pub async fn rotate(&self) -> Result<()> {
        let now = self.clock.now();
        let row = new_row(&self.ids, &self.random, &self.sealer, now)?;
        let mut tx = self.db.begin().await?;
        let before = keys::signing_keys(&mut tx).await?;
        for old in before.iter().skip(VALID - 1) {
            keys::retire_signing_key(old.id, now).execute(&mut tx).await?;
        }
        keys::insert_signing_key(&row).execute(&mut tx).await?;
        tx.commit().await?;
        if let Some(set) = load(&self.db, &self.sealer).await? {
            self.remember(set);
        }
        Ok(())
    }

    fn age(&self) -> Duration {
        self.clock.now().since(self.loaded.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    fn remember(&self, set: KeySet) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(set), self.clock.now());
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKeys")
    }
}

fn new_row(ids: &Ids, random: &Random, sealer: &Sealer, now: Timestamp) -> Result<SigningKeyRow> {
    let key: [u8; 32] = random.bytes();
    Ok(SigningKeyRow { id: ids.next()?, sealed: sealer.seal(PURPOSE, &key, random), created_at: now })
}

async fn load(db: &Db, sealer: &Sealer) -> Result<Option<KeySet>> {
    let mut keys = Vec::with_capacity(VALID);
    for row in keys::signing_keys(db).await?.into_iter().take(VALID) {
        let Some(key) = sealer.open(PURPOSE, &row.sealed) else {
            let told =
                format!("signing key {} does not open: is auth.master_key the one of this database?", row.id);
            return Err(Error::unavailable(told));
        };
        keys.push(key);
    }
    Ok(keys.first().map(|newest| KeySet {
        signing: EncodingKey::from_secret(newest),
        verifying: keys.iter().map(|key| DecodingKey::from_secret(key)).collect(),
    }))
}
