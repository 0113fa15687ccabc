//! `[retention]`: how long things are kept that are not kept for good.

use std::time::Duration;

use serde::Deserialize;

use super::check::{Check, units};

/// Ages after which the clean-up removes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Events of people's inboxes.
    #[serde(deserialize_with = "units::days")]
    pub user_days: Duration,
    /// Events of organisations.
    #[serde(deserialize_with = "units::days")]
    pub org_days: Duration,
    /// Visitors without an account who were let in nowhere.
    #[serde(deserialize_with = "units::days")]
    pub visitor_days: Duration,
    /// Results of requests with an idempotency key.
    #[serde(deserialize_with = "units::hours")]
    pub idempotency_hours: Duration,
    /// Between two runs.
    #[serde(deserialize_with = "units::seconds")]
    pub sweep_seconds: Duration,
}

impl Retention {
    pub(super) fn check(&self, check: &mut Check) {
        check.seconds("retention.user_days", self.user_days, 86_400..=3_650 * 86_400);
        check.seconds("retention.org_days", self.org_days, 86_400..=3_650 * 86_400);
        check.seconds("retention.visitor_days", self.visitor_days, 86_400..=3_650 * 86_400);
        check.seconds("retention.idempotency_hours", self.idempotency_hours, 3_600..=720 * 3_600);
        check.seconds("retention.sweep_seconds", self.sweep_seconds, 1..=86_400);
    }
}
