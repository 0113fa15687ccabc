//! What everything else stands on: time, randomness, secrets, named tasks, log and metrics. Knows nothing of the
//! product.

pub mod cache;
pub mod changes;
pub mod clock;
pub mod failpoint;
pub mod master_key;
pub mod metrics;
pub mod objects;
pub mod outbound;
pub mod random;
pub mod seal;
pub mod secret;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod trace;
