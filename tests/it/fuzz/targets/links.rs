//! Addresses that strangers send: guests' links, addresses of files, addresses that the server itself would ask.

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use switchboard::{
    base::{
        clock::Timestamp,
        master_key::MasterKey,
        outbound::{Named, Outbound, is_public},
    },
    domain::ids::OrgId,
    files::signed_url::{Claim, UrlSigner, Variant},
    service::workboxes::links,
};
use uuid::Uuid;

use super::source::Source;

const BASE: &str = "https://help.example";
/// Longest action of a link, in characters.
const ACTION: usize = 255;

static FILES: LazyLock<UrlSigner> = LazyLock::new(|| {
    let master = MasterKey::parse(&STANDARD.encode([7; 32])).expect("a key of 32 bytes");
    UrlSigner::new(&master, BASE, Duration::from_mins(15))
});
static TENANT: LazyLock<Outbound> =
    LazyLock::new(|| Outbound::new(Named::ByTenant).expect("TLS can be set up"));
static OPERATOR: LazyLock<Outbound> =
    LazyLock::new(|| Outbound::new(Named::ByOperator).expect("TLS can be set up"));

/// The input as each kind of address, and as parts of one that is ours.
pub fn read(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    written(data, &text);
    guests(&text) | files(&text) | outside(&text)
}

/// What we write is read back.
fn written(data: &[u8], text: &str) {
    let mut source = Source(data);
    let uuid = Uuid::from_u128(u128::from(source.number()));
    let action: String = text.chars().take(ACTION).collect();
    assert_eq!(links::read(&links::write(BASE, uuid, "s3cr3t", &action)), Some((uuid, "s3cr3t")));

    let variant = if source.yes() { Variant::Original } else { Variant::Thumbnail };
    let expires_at = Timestamp(source.number().cast_signed());
    let organization = OrgId(source.number().cast_signed());
    let claim = Claim { organization, file: uuid, variant, expires_at };
    let token = FILES.token(&claim);
    assert_eq!(FILES.names(&format!("{BASE}/files/{token}")), Some(claim));
    assert_eq!(
        FILES.check(&token, Timestamp(expires_at.0.saturating_sub(1))).is_ok(),
        expires_at.0 > i64::MIN
    );
    assert!(FILES.check(&token, expires_at).is_err());
    assert_eq!(FILES.names(&format!("https://other.example/files/{token}")), None);
}

/// A guest's link names a guest and a secret, the same in whatever link they stand.
fn guests(text: &str) -> bool {
    let Some((guest, secret)) = links::read(text) else { return false };
    assert!(!secret.contains(['&', '#']));
    if secret.trim() == secret {
        assert_eq!(links::read(&links::write(BASE, guest, secret, "")), Some((guest, secret)));
    }
    true
}

/// The address of a file has one spelling: nobody makes another out of it.
fn files(text: &str) -> bool {
    let Some(claim) = FILES.names(text) else { return false };
    assert_eq!(text, format!("{BASE}/files/{}", FILES.token(&claim)));
    true
}

/// A tenant names public places by HTTPS only, however the address is written.
fn outside(text: &str) -> bool {
    if !TENANT.takes(text) {
        return false;
    }
    assert!(OPERATOR.takes(text));
    let url = Url::parse(text).expect("it was taken");
    assert_eq!(url.scheme(), "https");
    if url.domain().is_none() {
        // A number: this looks nothing up.
        let addresses = url.socket_addrs(|| None).expect("an address");
        assert!(!addresses.is_empty() && addresses.iter().all(|address| is_public(address.ip())), "{url}");
    }
    true
}
