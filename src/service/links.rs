//! The form of guests' links: `<public url>/guest/<uuid>?sig=<22 characters>`, where the signature is 128 random bits.
//! The database finds a link by the hash of that text; the text itself is kept sealed, to send it again.

use uuid::Uuid;

use crate::base::{random::Random, seal::fingerprint};

/// Characters of 128 bits in URL-safe base64.
const SECRET: usize = 22;
/// Longest link that is looked at, in bytes.
const LONGEST: usize = 2_048;

/// The secret of a new link.
pub fn new_secret(random: &Random) -> String {
    random.token::<16>()
}

/// What `guest_link.hash` holds of a secret.
pub fn hash_of(secret: &str) -> [u8; 32] {
    fingerprint(secret)
}

/// The whole link.
pub fn guest_link(public_url: &str, guest: Uuid, secret: &str) -> String {
    format!("{public_url}/guest/{guest}?sig={secret}")
}

/// The secret of a link, however it reaches us (another host, percent signs, further parameters); `None` when there
/// is none in it.
pub fn secret_of(link: &str) -> Option<String> {
    let (_, query) = link.trim().get(..link.trim().len().min(LONGEST))?.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let value = query.split('&').find_map(|pair| pair.strip_prefix("sig="))?;
    let secret = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
    let plain = secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (plain && secret.len() == SECRET).then(|| secret.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_gives_its_secret_back() {
        let random = Random::seeded(3);
        let secret = new_secret(&random);
        let link = guest_link("https://help.example.org", random.uuid(), &secret);
        assert_eq!(secret_of(&link).as_deref(), Some(secret.as_str()));
        assert_eq!(secret_of(&format!(" {link}&utm=1#top ")).as_deref(), Some(secret.as_str()));
        for wrong in ["", "x", "?sig=", "?sig=short", "https://a/b?sig=aaaaaaaaaaaaaaaaaaaa'-", &"é".repeat(3_000)] {
            assert_eq!(secret_of(wrong), None, "{wrong}");
        }
    }
}
