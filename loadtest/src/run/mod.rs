//! A run: people are made, clients connect, stages go by, figures are read.

mod actions;
pub mod live;
mod plan;
mod rings;
mod setup;
mod stages;
mod storm;
pub mod world;

pub use actions::path_of;
pub use plan::{Options, Outcome, Shard, run, run_in};
pub use setup::gather;
