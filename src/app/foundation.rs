//! What stands below the services: data folder, runtime, database, identifiers, keys, metrics. Opened the same way by
//! the server and by commands that work on the database while no server runs.

use std::{io, sync::Arc, time::Duration};

use tokio::runtime::Runtime;

use super::{Ports, StartError, folder::DataFolder};
use crate::{
    base::{master_key::MasterKey, seal::Sealer, tasks::Tasks},
    config::Config,
    store::{Db, generation, ids::Ids},
};

/// The opened foundation. The data folder stays locked as long as it lives.
pub(super) struct Foundation {
    pub config: Arc<Config>,
    pub ports: Ports,
    pub master: MasterKey,
    pub sealer: Sealer,
    pub db: Db,
    pub ids: Ids,
    pub tasks: Tasks,
    pub runtime: Runtime,
    pub folder: DataFolder,
}

impl Foundation {
    /// Locks the folder, opens the database and brings its schema up to date. Not to be called on a runtime's thread.
    pub fn open(config: Config, ports: Ports) -> Result<Self, StartError> {
        let folder = DataFolder::lock(&config.server.data_dir)?;
        let master = master_key(&config, &ports).map_err(StartError::MasterKey)?;
        let sealer = Sealer::new(master.bytes());
        let runtime = runtime().map_err(StartError::other)?;
        let tasks = Tasks::new(runtime.handle().clone());
        let (db, ids) = runtime.block_on(async {
            let db = open_database(&config, &ports, false).await?;
            let ids = Ids::open(db.clone(), tasks.clone()).await?;
            Ok::<_, StartError>((db, ids))
        })?;
        Ok(Self { config: Arc::new(config), ports, master, sealer, db, ids, tasks, runtime, folder })
    }

    /// Ends the runtime, then unlocks the folder.
    pub fn close(self, grace: Duration) {
        let Self { runtime, folder, .. } = self;
        runtime.shutdown_timeout(grace);
        drop(folder);
    }
}

/// The database with its schema up to date, in a new generation where it comes from a backup: one of ours says so
/// itself, of others `restored` tells.
pub(super) async fn open_database(config: &Config, ports: &Ports, restored: bool) -> Result<Db, StartError> {
    let db = Db::open(&(&config.database).into()).await?;
    db.migrate(&ports.clock).await?;
    if generation::begin_if_restored(&db, restored, &ports.random.token::<6>()).await? {
        tracing::warn!("the database comes from a backup: clients load anew what they hold");
    }
    Ok(db)
}

/// Handlers, services, database and background work run here; connections and actors have threads of their own.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().thread_name("switchboard").enable_all().build()
}

fn master_key(config: &Config, ports: &Ports) -> io::Result<MasterKey> {
    let given = config.auth.master_key.expose();
    if given.is_empty() {
        return MasterKey::load_or_create(&config.master_key_file(), &ports.random);
    }
    MasterKey::parse(given)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not 32 bytes as base64"))
}
