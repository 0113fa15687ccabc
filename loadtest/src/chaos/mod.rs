//! A server of our own, that is treated badly under load.

pub mod server;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use server::Server;

/// One act of violence and how the server came back from it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Cycle {
    /// What was done.
    pub act: String,
    /// Seconds from the begin of the run.
    pub at: f64,
    /// From the start of the process (or the end of the stop) until it said that it is ready.
    pub ready_ms: f64,
    /// From then until every client was back with everything; none when that never happened.
    pub whole_ms: Option<f64>,
    /// What the process left with, where it ended by itself.
    pub exit: Option<i32>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} s  {}: ready after {:.0} ms, ", self.at, self.act, self.ready_ms)?;
        match self.whole_ms {
            Some(ms) => write!(f, "everybody back and whole after another {ms:.0} ms"),
            None => write!(f, "NOT everybody came back"),
        }
    }
}
#[derive(clap::Args)]
pub struct Chaos {
    #[arg(long)]
    binary: Option<std::path::PathBuf>,
}
pub async fn command(_: Chaos, _: tokio::sync::watch::Receiver<bool>) -> Result<bool, String> {
    Ok(true)
}
