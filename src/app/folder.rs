//! The data folder: private to its owner, and one process's at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use super::StartError;

/// The data folder, locked as long as this lives.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where there is none, and takes its lock. [`StartError::Running`] when another process has it.
    pub fn lock(path: &Path) -> Result<Self, StartError> {
        let failed = |error| StartError::Folder(path.to_owned(), error);
        make_private(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = options.open(path.join("switchboard.lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StartError::Running(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where the admin socket of the folder's owner is.
    pub fn socket(path: &Path) -> PathBuf {
        path.join("admin.sock")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataFolder::lock(&path).unwrap();
        assert_eq!(first.path(), path);
        assert!(matches!(DataFolder::lock(&path), Err(StartError::Running(_))));
        drop(first);
        DataFolder::lock(&path).unwrap();
    }
}
