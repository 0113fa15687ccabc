//! Why a server did not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{domain, store::StoreError};

/// Why a start failed; the text says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("{}: {error}", .0.display(), error = .1)]
    Folder(PathBuf, #[source] io::Error),
    /// Another process works in the data folder.
    #[error("{}: another switchboard works in this folder", .0.display())]
    Running(PathBuf),
    /// The master key cannot be read or made.
    #[error("master key: {0}")]
    MasterKey(#[source] io::Error),
    /// The database cannot be used.
    #[error("database: {0}")]
    Database(#[from] StoreError),
    /// The address is taken or not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The bus cannot be used.
    #[error("bus: {0}")]
    Bus(#[source] io::Error),
    /// Something of ours did not come up.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Anything else, by its text.
    pub(super) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<domain::error::Error> for StartError {
    fn from(error: domain::error::Error) -> Self {
        match error.context() {
            Some(context) => Self::Other(format!("{} ({context})", error.message())),
            None => Self::other(error.message()),
        }
    }
}
