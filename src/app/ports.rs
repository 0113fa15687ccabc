//! What a server takes from outside and a test replaces.

use crate::base::{clock::Clock, random::Random};

/// Time and randomness.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
}

impl Ports {
    /// The machine's.
    pub fn system() -> Self {
        Self { clock: Clock::system(), random: Random::from_os() }
    }
}
