//! `[conversations]` and `[calls]`: timers and bounds of what actors own, and media servers.

use std::time::Duration;

use serde::Deserialize;

use super::check::{Check, units};
use crate::base::secret::Secret;

/// Help threads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// After which a quiet thread's owner stops.
    #[serde(deserialize_with = "units::seconds")]
    pub idle_seconds: Duration,
    /// Requests that may wait for one thread or session.
    pub mailbox: usize,
}

impl Conversations {
    pub(super) fn check(&self, check: &mut Check) {
        check.seconds("conversations.idle_seconds", self.idle_seconds, 1..=86_400);
        check.range("conversations.mailbox", self.mailbox, 1..=100_000);
    }
}

/// Rings and calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// How long a ring rings.
    #[serde(deserialize_with = "units::seconds")]
    pub ring_seconds: Duration,
    /// How long a participant's connection may be away.
    #[serde(deserialize_with = "units::seconds")]
    pub lease_seconds: Duration,
    /// Between pings of a connection that is in a call.
    #[serde(deserialize_with = "units::seconds")]
    pub ping_seconds: Duration,
    /// With fewer than two participants, until the call ends.
    #[serde(deserialize_with = "units::seconds")]
    pub empty_seconds: Duration,
    /// People in one session.
    pub max_members: usize,
    /// After which a quiet session's owner stops.
    #[serde(deserialize_with = "units::seconds")]
    pub idle_seconds: Duration,
    /// STUN servers.
    pub stun_urls: Vec<String>,
    /// TURN servers.
    pub turn_urls: Vec<String>,
    /// Shared with them; empty = none.
    pub turn_secret: Secret,
    /// Life of TURN credentials.
    #[serde(deserialize_with = "units::seconds")]
    pub turn_ttl_seconds: Duration,
}

impl Calls {
    pub(super) fn check(&self, check: &mut Check) {
        check.seconds("calls.ring_seconds", self.ring_seconds, 5..=600);
        check.seconds("calls.lease_seconds", self.lease_seconds, 2..=60);
        check.seconds("calls.ping_seconds", self.ping_seconds, 1..=60);
        check.ensure("calls.ping_seconds", self.ping_seconds < self.lease_seconds, || {
            "must be below calls.lease_seconds".to_owned()
        });
        check.seconds("calls.empty_seconds", self.empty_seconds, 1..=600);
        check.range("calls.max_members", self.max_members, 2..=1_000);
        check.seconds("calls.idle_seconds", self.idle_seconds, 1..=86_400);
        let begin = |urls: &[String], schemes: [&str; 2]| {
            urls.iter().all(|url| schemes.iter().any(|scheme| url.starts_with(scheme)))
        };
        check.ensure("calls.stun_urls", begin(&self.stun_urls, ["stun:", "stuns:"]), || {
            "each must begin with stun: or stuns:".to_owned()
        });
        check.ensure("calls.turn_urls", begin(&self.turn_urls, ["turn:", "turns:"]), || {
            "each must begin with turn: or turns:".to_owned()
        });
        check.ensure(
            "calls.turn_secret",
            self.turn_urls.is_empty() || !self.turn_secret.expose().is_empty(),
            || "calls.turn_urls need it".to_owned(),
        );
        check.seconds("calls.turn_ttl_seconds", self.turn_ttl_seconds, 60..=604_800);
    }
}
