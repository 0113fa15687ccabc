//! `[server]`: the data folder and the drain.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::check::{Check, units};

/// Where things are kept and how the server stops.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Folder of everything that is kept on this machine.
    pub data_dir: PathBuf,
    /// Over how long live sockets are told to reconnect at shutdown.
    #[serde(deserialize_with = "units::seconds")]
    pub drain_seconds: Duration,
}

impl Server {
    pub(super) fn check(&self, check: &mut Check) {
        check.ensure("server.data_dir", !self.data_dir.as_os_str().is_empty(), || {
            "names no folder".to_owned()
        });
        check.seconds("server.drain_seconds", self.drain_seconds, 0..=600);
    }
}
