//! What everything else stands on: time, randomness, secrets, named tasks. Knows nothing of the product.

pub mod cache;
pub mod clock;
pub mod random;
pub mod seal;
pub mod secret;
pub mod tasks;
