//! What everything else stands on: time, randomness, secrets, named tasks. Knows nothing of the product.

pub mod clock;
pub mod random;
pub mod secret;
pub mod tasks;
pub mod tls;
