//! Secrets at rest: what must be shown or used again is encrypted under the master key, what must only be recognised
//! is hashed. The master key lives outside the database (see `auth.master_key`).

use std::fmt;

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Aead as _, KeyInit as _, Payload},
};
use sha2::{Digest as _, Sha256};

use super::random::Random;

const NONCE: usize = 24;

/// Encrypts and decrypts under the master key. Cheap enough to clone.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// With the master key of this installation.
    pub fn new(master_key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&(*master_key).into()))
    }

    /// Encrypts `plain`. `purpose` (a table and column, say) is bound to it: what was sealed for one purpose opens
    /// for no other.
    pub fn seal(&self, purpose: &str, plain: &[u8], random: &Random) -> Vec<u8> {
        let nonce: [u8; NONCE] = random.bytes();
        let sealed = self.0.encrypt(&nonce.into(), Payload { msg: plain, aad: purpose.as_bytes() });
        let mut out = nonce.to_vec();
        out.extend(sealed.expect("texts are far shorter than the cipher's limit of 256 GiB"));
        out
    }

    /// Decrypts; `None` when it was sealed under another key or for another purpose, or was damaged.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        self.0.decrypt(&nonce.into(), Payload { msg: rest, aad: purpose.as_bytes() }).ok()
    }

    /// [`Sealer::open`] for a text.
    pub fn open_text(&self, purpose: &str, sealed: &[u8]) -> Option<String> {
        String::from_utf8(self.open(purpose, sealed)?).ok()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// SHA-256: how random tokens are stored and found. Not for passwords, which people choose.
pub fn fingerprint(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text.as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let random = Random::seeded(1);
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("api_key", b"secret", &random);
        assert_eq!(sealer.open_text("api_key", &sealed).as_deref(), Some("secret"));
        assert_eq!(sealer.open("signing_key", &sealed), None);
        assert_eq!(Sealer::new(&[8; 32]).open("api_key", &sealed), None);
        assert_eq!(sealer.open("api_key", &sealed[..20]), None);
        let mut damaged = sealed.clone();
        damaged[30] ^= 1;
        assert_eq!(sealer.open("api_key", &damaged), None);
        assert_ne!(sealed, sealer.seal("api_key", b"secret", &random));
    }
}
