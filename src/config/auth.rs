//! `[auth]`: keys, lifetimes of tokens, limits of sign-in, cost of a password's hash.

use std::time::Duration;

use serde::Deserialize;

use super::check::{Check, units};
use crate::base::{master_key::MasterKey, secret::Secret};

/// Who gets in, for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The assist family's calls need an API key.
    pub require_api_key: bool,
    /// The master key as base64; empty = kept in the data folder.
    pub master_key: Secret,
    /// Life of a user or enterprise token.
    #[serde(deserialize_with = "units::seconds")]
    pub user_token_seconds: Duration,
    /// Life of a token that acts for another person.
    #[serde(deserialize_with = "units::seconds")]
    pub acting_token_seconds: Duration,
    /// Life of the admin command's tokens.
    #[serde(deserialize_with = "units::seconds")]
    pub admin_token_seconds: Duration,
    /// Life of a workbox token.
    #[serde(deserialize_with = "units::seconds")]
    pub workbox_token_seconds: Duration,
    /// Life of a search result's public token.
    #[serde(deserialize_with = "units::seconds")]
    pub public_token_seconds: Duration,
    /// Life of a session token.
    #[serde(deserialize_with = "units::seconds")]
    pub session_token_seconds: Duration,
    /// Life of a refresh token.
    #[serde(deserialize_with = "units::days")]
    pub refresh_days: Duration,
    /// How long a replaced refresh token still answers.
    #[serde(deserialize_with = "units::seconds")]
    pub refresh_grace_seconds: Duration,
    /// How long a guest's link works.
    #[serde(deserialize_with = "units::days")]
    pub guest_link_days: Duration,
    /// Invitation of a user.
    #[serde(deserialize_with = "units::days")]
    pub invitation_days: Duration,
    /// How long a verified token is believed.
    #[serde(deserialize_with = "units::seconds")]
    pub cache_seconds: Duration,
    /// Failed sign-ins per account and window.
    pub sign_in_attempts: u32,
    /// Failed sign-ins and tried links per address and window.
    pub sign_in_attempts_address: u32,
    /// The window of both limits.
    #[serde(deserialize_with = "units::seconds")]
    pub sign_in_window_seconds: Duration,
    /// Password hashes that may wait.
    pub hash_queue: usize,
    /// argon2id: memory, KiB.
    pub argon2_memory_kib: u32,
    /// argon2id: passes.
    pub argon2_passes: u32,
    /// argon2id: lanes.
    pub argon2_lanes: u32,
    /// Characters that a password needs.
    pub password_min_length: usize,
    /// Search finds people of all organisations.
    pub search_all_organizations: bool,
}

impl Auth {
    pub(super) fn check(&self, check: &mut Check) {
        let key = self.master_key.expose();
        check.ensure("auth.master_key", key.is_empty() || MasterKey::parse(key).is_some(), || {
            "is not 32 bytes as base64".to_owned()
        });
        check.seconds("auth.user_token_seconds", self.user_token_seconds, 60..=86_400);
        check.seconds("auth.acting_token_seconds", self.acting_token_seconds, 60..=86_400);
        check.seconds("auth.admin_token_seconds", self.admin_token_seconds, 60..=31_536_000);
        check.seconds("auth.workbox_token_seconds", self.workbox_token_seconds, 60..=86_400);
        check.seconds("auth.public_token_seconds", self.public_token_seconds, 60..=86_400);
        check.seconds("auth.session_token_seconds", self.session_token_seconds, 60..=604_800);
        check.seconds("auth.refresh_days", self.refresh_days, 86_400..=3_650 * 86_400);
        check.seconds("auth.refresh_grace_seconds", self.refresh_grace_seconds, 0..=300);
        check.seconds("auth.guest_link_days", self.guest_link_days, 86_400..=365 * 86_400);
        check.seconds("auth.invitation_days", self.invitation_days, 86_400..=365 * 86_400);
        check.seconds("auth.cache_seconds", self.cache_seconds, 1..=5);
        check.range("auth.sign_in_attempts", self.sign_in_attempts, 1..=10_000);
        check.range("auth.sign_in_attempts_address", self.sign_in_attempts_address, 1..=100_000);
        check.seconds("auth.sign_in_window_seconds", self.sign_in_window_seconds, 1..=86_400);
        check.range("auth.hash_queue", self.hash_queue, 1..=10_000);
        check.range("auth.argon2_memory_kib", self.argon2_memory_kib, 8..=1_048_576);
        check.range("auth.argon2_passes", self.argon2_passes, 1..=20);
        check.range("auth.argon2_lanes", self.argon2_lanes, 1..=16);
        let enough = self.argon2_memory_kib >= 8 * self.argon2_lanes;
        check.ensure("auth.argon2_memory_kib", enough, || "must be at least 8 per lane".to_owned());
        check.range("auth.password_min_length", self.password_min_length, 1..=128);
    }
}
