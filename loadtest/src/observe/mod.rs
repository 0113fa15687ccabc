//! The server and this process, seen from outside: `/proc` and `/metrics`.

pub mod metrics;
pub mod process;

use serde::{Deserialize, Serialize};

pub use process::Process;

/// One look at the server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub t: f64,
    /// CPU of the server since the last look; 100 is one core.
    pub cpu_percent: Option<f64>,
    /// CPU seconds of the server so far.
    pub cpu_seconds: Option<f64>,
    /// Resident memory of the server.
    pub rss_mb: Option<f64>,
    /// CPU of this process since the last look; 100 is one core.
    pub own_cpu_percent: Option<f64>,
    /// Commits per second.
    pub commits: Option<f64>,
    /// Appends per commit.
    pub appends_per_commit: Option<f64>,
    /// Mean time of a commit.
    pub commit_ms: Option<f64>,
    /// Publications queued to connections, per second.
    pub pushes: Option<f64>,
    /// Open connections.
    pub connections: Option<f64>,
}
