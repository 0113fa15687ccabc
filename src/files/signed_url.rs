//! Signed, expiring addresses of files: `/files/<payload>.<hmac>`.
//!
//! A token binds organisation, file, variant, method and expiry; it needs no header, so that a browser or a CRM can
//! fetch it. It proves that the server made it, nothing more: whoever serves the file also checks that it still
//! exists ("checked at use"). Both parts are URL-safe base64, so that taking an address apart and re-encoding it
//! changes nothing.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::{
    base::{clock::Timestamp, master_key::MasterKey},
    domain::ids::OrgId,
};

const VERSION: u8 = 1;
/// The only method that addresses are made for today: reading (GET and HEAD).
const READ: u8 = b'R';
const PAYLOAD_BYTES: usize = 1 + 1 + 1 + 8 + 16 + 8;
const MAC_BYTES: usize = 32;

/// Which form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As it was uploaded.
    Original,
    /// The small picture.
    Thumbnail,
}

impl Variant {
    const fn byte(self) -> u8 {
        match self {
            Self::Original => b'o',
            Self::Thumbnail => b't',
        }
    }
}

/// What a valid token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose file.
    pub organization: OrgId,
    /// Which file.
    pub file: Uuid,
    /// Which form of it.
    pub variant: Variant,
    /// End of the address.
    pub expires_at: Timestamp,
}

/// Why a token is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a token of ours.
    #[error("not a valid file address")]
    Invalid,
    /// It was one.
    #[error("the file address has expired")]
    Expired,
}

/// Makes and checks addresses. Cheap to clone.
#[derive(Clone)]
pub struct UrlSigner {
    key: [u8; 32],
    base: String,
    lifetime: Duration,
}

impl UrlSigner {
    /// Addresses below `base`, the public address of the server without a slash at its end, that are good for
    /// `lifetime` (`files.url_ttl_seconds`).
    pub fn new(master: &MasterKey, base: &str, lifetime: Duration) -> Self {
        Self { key: master.derive("file addresses 1"), base: base.to_owned(), lifetime }
    }

    /// The address of a file, good from `now` for the configured time.
    pub fn url(&self, organization: OrgId, file: Uuid, variant: Variant, now: Timestamp) -> String {
        let claim = Claim { organization, file, variant, expires_at: now.plus(self.lifetime) };
        format!("{}/files/{}", self.base, self.token(&claim))
    }

    /// What an address of ours names, whether or not its time is over.
    pub fn names(&self, address: &str) -> Option<Claim> {
        let token = address.strip_prefix(&self.base)?.strip_prefix("/files/")?;
        self.read(token).ok()
    }

    /// The public address of the server.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The last segment of an address.
    pub fn token(&self, claim: &Claim) -> String {
        let payload = encode(claim);
        let mac = self.mac(&payload).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(mac))
    }

    /// What `token` names, when it is ours and its time is not over.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<Claim, Refused> {
        let claim = self.read(token)?;
        if now >= claim.expires_at { Err(Refused::Expired) } else { Ok(claim) }
    }

    fn read(&self, token: &str) -> Result<Claim, Refused> {
        let (payload, mac) = token.split_once('.').ok_or(Refused::Invalid)?;
        let payload: [u8; PAYLOAD_BYTES] = decode(payload)?;
        let mac: [u8; MAC_BYTES] = decode(mac)?;
        self.mac(&payload).verify_slice(&mac).map_err(|_| Refused::Invalid)?;
        claim_of(&payload).ok_or(Refused::Invalid)
    }

    fn mac(&self, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(payload);
        mac
    }
}

impl std::fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UrlSigner")
            .field("base", &self.base)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], Refused> {
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Refused::Invalid)
}

fn encode(claim: &Claim) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[0] = VERSION;
    payload[1] = READ;
    payload[2] = claim.variant.byte();
    payload[3..11].copy_from_slice(&claim.organization.0.to_be_bytes());
    payload[11..27].copy_from_slice(claim.file.as_bytes());
    payload[27..].copy_from_slice(&claim.expires_at.0.to_be_bytes());
    payload
}

fn claim_of(payload: &[u8; PAYLOAD_BYTES]) -> Option<Claim> {
    if payload[0] != VERSION || payload[1] != READ {
        return None;
    }
    let variant = [Variant::Original, Variant::Thumbnail].into_iter().find(|v| v.byte() == payload[2])?;
    Some(Claim {
        organization: OrgId(i64::from_be_bytes(payload[3..11].try_into().ok()?)),
        file: Uuid::from_slice(&payload[11..27]).ok()?,
        variant,
        expires_at: Timestamp(i64::from_be_bytes(payload[27..].try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    const LIFETIME: Duration = Duration::from_mins(15);

    fn signer(master: u8) -> UrlSigner {
        let master = MasterKey::parse(&STANDARD.encode([master; 32])).unwrap();
        UrlSigner::new(&master, "https://switchboard.example", LIFETIME)
    }

    fn token_of(url: &str) -> &str {
        url.strip_prefix("https://switchboard.example/files/").unwrap()
    }

    #[test]
    fn an_address_names_its_file_until_it_expires() {
        let signer = signer(1);
        let file = Uuid::from_u128(7);
        let url = signer.url(OrgId(3), file, Variant::Thumbnail, NOW);
        let claim = signer.check(token_of(&url), NOW).unwrap();
        assert_eq!((claim.organization, claim.file, claim.variant), (OrgId(3), file, Variant::Thumbnail));
        let last = NOW.plus(LIFETIME).minus(Duration::from_micros(1));
        assert!(signer.check(token_of(&url), last).is_ok());
        assert_eq!(signer.check(token_of(&url), NOW.plus(LIFETIME)), Err(Refused::Expired));
    }

    #[test]
    fn no_changed_bit_and_no_other_key_is_taken() {
        let ours = signer(1);
        let url = ours.url(OrgId(3), Uuid::from_u128(7), Variant::Original, NOW);
        let token = token_of(&url);
        assert_eq!(signer(2).check(token, NOW), Err(Refused::Invalid));
        let (payload, mac) = token.split_once('.').unwrap();
        for (part, other, payload_first) in [(payload, mac, true), (mac, payload, false)] {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let changed = URL_SAFE_NO_PAD.encode(changed);
                let forged =
                    if payload_first { format!("{changed}.{other}") } else { format!("{other}.{changed}") };
                assert_eq!(ours.check(&forged, NOW), Err(Refused::Invalid));
            }
        }
        for text in ["", ".", "a.b", "AAAA", "é.é", &format!("{token}.{mac}"), &format!("{token}=")] {
            assert_eq!(ours.check(text, NOW), Err(Refused::Invalid), "{text}");
        }
    }
}
