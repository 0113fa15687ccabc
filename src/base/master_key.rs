//! The master key: 32 bytes that everything sealed in the database hangs on. It comes from the configuration or from
//! a file of its own, made on first start; never from the database nor its backups.

use std::{fmt, io, io::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::random::Random;

/// The key. `Debug` hides it.
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

    /// The bytes: for the cipher only.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose alone: neither the master key nor another purpose's key follows from it.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
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
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    let told = format!("{} can be read by others (mode {mode:o}): chmod 600 it", file.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, told))
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
