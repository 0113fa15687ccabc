//! `success`: what the newer version answers where there is nothing to show.

use serde::Serialize;

/// It worked.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Success {
    status: bool,
    message: &'static str,
}

impl Success {
    /// With a text for people.
    pub const fn new(message: &'static str) -> Self {
        Self { status: true, message }
    }
}
