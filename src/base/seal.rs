//! Secrets at rest: what must be shown or used again (API keys, signing keys, links) is encrypted under the master
//! key before it enters the database, bound to what it is for.

use std::{fmt, io, io::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};

use super::random::Random;

const NONCE: usize = 24;

/// The 32 bytes that everything sealed hangs on. Never in the database nor its backups.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// From base64; `None` unless that is 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// Reads the key of `file`, or makes one there (mode 0600) when there is no such file.
    ///
    /// # Errors
    /// The file cannot be read or made, holds something else, or can be read by others than its owner.
    pub fn load_or_create(file: &Path, random: &Random) -> io::Result<Self> {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                refuse_shared(file)?;
                Self::parse(&text).ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{} holds no master key", file.display()),
                    )
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self(random.bytes());
                write_private(file, &format!("{}\n", STANDARD.encode(key.0)))?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Writes a new file that only its owner can read, through to the disk. Fails when it is there.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut made = options.open(file)?;
    made.write_all(text.as_bytes())?;
    made.sync_all()
}

#[cfg(unix)]
fn refuse_shared(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let told = format!("{} can be read by others (mode {mode:o}): chmod 600 it", file.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, told))
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Seals and opens under the master key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    random: Random,
}

/// What was stored does not open: another master key, another context, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret does not open under this master key")]
pub struct OpenError;

impl Sealer {
    /// Seals under `key`; nonces come from `random`.
    pub fn new(key: &MasterKey, random: Random) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&key.0.into()), random }
    }

    /// Encrypts `plain` for `context`, which says what it is (`"api_key:12"`): only the same context opens it, so that
    /// a sealed value moved to another row is worthless.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        // 192 random bits of nonce: no counter to keep, no chance of a repeat.
        let nonce: [u8; NONCE] = self.random.bytes();
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context.as_bytes() })
            .expect("the cipher fails beyond 256 GiB only");
        [&nonce[..], &sealed].concat()
    }

    /// Decrypts what [`Sealer::seal`] made for the same `context`.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(OpenError)?;
        self.cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context.as_bytes() })
            .map_err(|_| OpenError)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(seed: u64) -> Sealer {
        let random = Random::seeded(seed);
        Sealer::new(&MasterKey(random.bytes()), random)
    }

    #[test]
    fn opens_what_it_sealed_only() {
        let sealer = sealer(1);
        let sealed = sealer.seal("api_key:1", b"hush");
        assert_eq!(sealer.open("api_key:1", &sealed).unwrap(), b"hush");
        assert_ne!(sealer.seal("api_key:1", b"hush"), sealed);
        assert_eq!(sealer.open("api_key:2", &sealed), Err(OpenError));
        assert_eq!(self::sealer(2).open("api_key:1", &sealed), Err(OpenError));
        assert_eq!(sealer.open("api_key:1", &sealed[..20]), Err(OpenError));
        let mut damaged = sealed;
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(sealer.open("api_key:1", &damaged), Err(OpenError));
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let made = MasterKey::load_or_create(&file, &Random::seeded(1)).unwrap();
        let read = MasterKey::load_or_create(&file, &Random::seeded(2)).unwrap();
        assert_eq!(made.0, read.0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
            let refused = MasterKey::load_or_create(&file, &Random::seeded(2)).unwrap_err();
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }
}
