//! `[webhooks]`: requests to addresses that tenants name.

use serde::Deserialize;

/// Guard of outgoing requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// Such addresses may lie in private networks.
    pub allow_private_networks: bool,
}
