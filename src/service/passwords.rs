//! Passwords: argon2id hashes, computed one per core at a time, with a bounded queue before them.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{
    base::{random::Random, secret::Secret, tasks::Tasks},
    config::Auth,
    domain::{
        codes::Code,
        error::{Error, Result},
    },
};

/// Longest password that is hashed, in bytes: more only costs time.
const LONGEST: usize = 1_024;
/// When a full queue may be tried again.
const FULL_DELAY: Duration = Duration::from_secs(1);

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    argon2: Argon2<'static>,
    random: Random,
    tasks: Tasks,
    cores: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    shortest: usize,
    /// Checked where there is no account (or no password), so that both take the same time.
    dummy: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Passwords {
    /// With the cost that the configuration asks for. Computes one hash.
    pub fn new(auth: &Auth, random: Random, tasks: Tasks) -> Result<Self> {
        let params = Params::new(auth.argon2_memory_kib, auth.argon2_passes, auth.argon2_lanes, None);
        let params = params.map_err(|error| Error::unavailable(format!("argon2 parameters: {error}")))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash_now(&argon2, &random.bytes::<32>(), random.bytes())?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self(Arc::new(Inner {
            argon2,
            random,
            tasks,
            cores: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            queue: auth.hash_queue + cores,
            shortest: auth.password_min_length,
            dummy,
        })))
    }

    /// Fails unless the password may be chosen.
    pub fn check_rules(&self, password: &Secret) -> Result<()> {
        let text = password.expose();
        let shortest = self.0.shortest;
        if text.chars().count() < shortest || text.len() > LONGEST {
            let rule = format!("a password has {shortest} characters or more, and at most {LONGEST} bytes");
            return Err(Error::new(Code::InvalidPassword, rule));
        }
        Ok(())
    }

    /// The hash of a new password, which must keep the rules.
    pub async fn hash(&self, password: &Secret) -> Result<Secret> {
        self.check_rules(password)?;
        let (text, salt) = (password.expose().to_owned(), self.0.random.bytes());
        let hash = self.compute(move |inner| hash_now(&inner.argon2, text.as_bytes(), salt)).await??;
        Ok(Secret::new(hash))
    }

    /// True when the password belongs to the hash. Without a hash the answer is false after the same work.
    pub async fn verify(&self, password: &Secret, hash: Option<&str>) -> Result<bool> {
        if password.expose().len() > LONGEST {
            return Ok(false);
        }
        let text = password.expose().to_owned();
        let hash = hash.map(str::to_owned);
        self.compute(move |inner| {
            let parsed = PasswordHash::new(hash.as_deref().unwrap_or(&inner.dummy));
            let matches =
                parsed.is_ok_and(|parsed| inner.argon2.verify_password(text.as_bytes(), &parsed).is_ok());
            matches && hash.is_some()
        })
        .await
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        if self.0.waiting.fetch_add(1, Ordering::AcqRel) >= self.0.queue {
            drop(Place(&self.0.waiting));
            return Err(
                Error::new(Code::MailboxFull, "too many sign-ins at once, try again").retry_after(FULL_DELAY)
            );
        }
        let _place = Place(&self.0.waiting);
        let core = Arc::clone(&self.0.cores).acquire_owned().await.map_err(Error::unavailable)?;
        let inner = Arc::clone(&self.0);
        let worker = self.0.tasks.runtime().spawn_blocking(move || {
            // Held by the work, not by whoever waits for it and may go away.
            let _core = core;
            work(&inner)
        });
        worker.await.map_err(Error::unavailable)
    }
}

fn hash_now(argon2: &Argon2<'_>, password: &[u8], salt: [u8; 16]) -> Result<String> {
    let hash = argon2.hash_password_with_salt(password, &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| Error::unavailable(format!("argon2: {error}")))
}
