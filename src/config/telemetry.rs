//! `[telemetry]`: what is logged and how.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::check::Check;
use crate::base::telemetry::Format;

/// The log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A level, or targets with levels.
    pub log: String,
    /// How a line looks.
    pub format: Format,
}

impl Telemetry {
    pub(super) fn check(&self, check: &mut Check) {
        if let Err(error) = EnvFilter::try_new(&self.log) {
            check.ensure("telemetry.log", false, || error.to_string());
        }
    }
}
