//! Commands that need the database and nothing else.

use std::path::Path;

use super::{Ports, StartError, folder::DataFolder, foundation};
use crate::{config::Config, store::Db};

/// Brings the database's schema up to date. Under the folder's lock: a running server has done it already. `restored`:
/// the database comes from a backup that was not made by [`backup`].
pub fn migrate(config: &Config, restored: bool) -> Result<(), StartError> {
    let _folder = DataFolder::lock(&config.server.data_dir)?;
    let runtime = foundation::runtime().map_err(StartError::other)?;
    runtime.block_on(async {
        foundation::open_database(config, &Ports::system(), restored).await?.close().await;
        Ok(())
    })
}

/// Writes a consistent copy of the SQLite database to `to`, which must not exist, while a server may run.
pub fn backup(config: &Config, to: &Path) -> Result<(), StartError> {
    // Opening would make a file where there is none.
    if let Some(path) = config.database.sqlite_path()
        && let Err(error) = std::fs::metadata(path)
    {
        return Err(StartError::Folder(path.to_owned(), error));
    }
    let runtime = foundation::runtime().map_err(StartError::other)?;
    runtime.block_on(async {
        let db = Db::open(&(&config.database).into()).await?;
        let copied = db.backup_to(to).await;
        db.close().await;
        Ok(copied?)
    })
}
