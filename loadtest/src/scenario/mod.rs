//! What a scenario file says: who takes part, what they do and when, and which figures must be reached.

pub mod arrivals;
pub mod file;
pub mod library;

pub use file::{Action, Arrivals, Mix, Scenario, Stage, StageKind, Threshold};
