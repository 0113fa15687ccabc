//! `[bus]`: NATS, where one is used.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::check::{Check, units};
use crate::base::secret::Secret;

/// The bus that events leave on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// `nats://…` or `tls://…`; empty = none. A secret, since it may hold a password.
    pub url: Secret,
    /// File with NATS credentials; empty = none.
    pub credentials: PathBuf,
    /// How long JetStream keeps events.
    #[serde(deserialize_with = "units::hours")]
    pub max_age_hours: Duration,
    /// Bytes that JetStream keeps.
    pub max_bytes: i64,
    /// JetStream replicas.
    pub replicas: usize,
    /// Events that the relay reads at once.
    pub batch: u32,
}

impl Bus {
    /// True when events go to NATS.
    pub fn is_on(&self) -> bool {
        !self.url.expose().is_empty()
    }

    pub(super) fn check(&self, check: &mut Check) {
        if self.is_on() {
            // The client takes a list of servers here.
            for url in self.url.expose().split(',') {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                check.ensure("bus.url", matches!(scheme, "nats" | "tls"), || {
                    "must begin with nats:// or tls://".to_owned()
                });
                let proven = rest.contains('@') || !self.credentials.as_os_str().is_empty();
                check.ensure("bus.url", is_loopback(rest) || (scheme == "tls" && proven), || {
                    "a host that is not loopback needs tls:// and credentials".to_owned()
                });
            }
        }
        check.seconds("bus.max_age_hours", self.max_age_hours, 3_600..=87_600 * 3_600);
        check.range("bus.max_bytes", self.max_bytes, 1_048_576..=i64::MAX);
        check.range("bus.replicas", self.replicas, 1..=5);
        check.range("bus.batch", self.batch, 1..=10_000);
    }
}

/// True for `localhost` and loopback addresses to the letter: `127.example.org` is somebody else's.
fn is_loopback(rest: &str) -> bool {
    let host = rest.rsplit('@').next().unwrap_or(rest).split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
