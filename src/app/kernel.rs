//! Everything below the network: foundation, journal, actors, services. The server adds HTTP and sockets; admin
//! commands without a server use it as it is.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{
    Ports, StartError, doors::Told, folder::DataFolder, foundation::Foundation, system::ActorSystem,
};
use crate::{
    base::{metrics::Metrics, tasks::Tasks},
    config::Config,
    journal::{Append, Journal, JournalMetrics, JournalOptions, NodeEpoch},
    live::{Ground, LiveMetrics},
    realtime::{self, Hub},
    service::{
        Services,
        passwords::Passwords,
        provisioning::{Provisioning, ProvisioningParts},
        sign_in::{SignIn, SignInParts},
        signing_keys::SigningKeys,
        tokens::Tokens,
    },
    store::Db,
};

/// Background work gets so long to end.
const TASK_GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// The wired parts. Made, used and closed from a thread that is no runtime's.
pub struct Kernel {
    /// The use cases.
    pub services: Arc<Services>,
    pub(super) hub: Hub,
    journal: Journal,
    pub(super) metrics: Metrics,
    system: ActorSystem,
    foundation: Foundation,
}

impl Kernel {
    /// Opens the foundation under the folder's lock and wires services over it.
    pub fn open(config: Config, ports: Ports) -> Result<Self, StartError> {
        let foundation = Foundation::open(config, ports)?;
        let system = ActorSystem::start()?;
        let wired = foundation.runtime.block_on(wire(&foundation, &system))?;
        let Wired { services, journal, hub, metrics } = wired;
        Ok(Self { services, hub, journal, metrics, system, foundation })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.foundation.config
    }

    /// Time and randomness.
    pub fn ports(&self) -> &Ports {
        &self.foundation.ports
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.foundation.db
    }

    /// Where work runs.
    pub fn runtime(&self) -> &Runtime {
        &self.foundation.runtime
    }

    /// Background work.
    pub fn tasks(&self) -> &Tasks {
        &self.foundation.tasks
    }

    /// The data folder.
    pub(super) fn folder(&self) -> &DataFolder {
        &self.foundation.folder
    }

    /// Commits what was accepted, ends background work, gives unused ids back and unlocks the folder.
    pub fn close(self) {
        let Self { services, journal, system, foundation, .. } = self;
        let Foundation { db, ids, tasks, runtime, .. } = &foundation;
        runtime.block_on(async {
            // The journal writes in order: what was accepted before this is committed when it is answered.
            if let Err(error) = journal.append(Append::default()).await {
                tracing::warn!(%error, "the last appends may not be stored");
            }
            system.stop();
            drop((services, journal));
            if !tasks.stop(TASK_GRACE).await {
                tracing::warn!("background work did not end in time");
            }
            if let Err(error) = ids.release().await {
                tracing::warn!(%error, "unused ids were not given back");
            }
            db.close().await;
        });
        foundation.close(TASK_GRACE);
    }
}

/// What [`wire`] makes.
struct Wired {
    services: Arc<Services>,
    journal: Journal,
    hub: Hub,
    metrics: Metrics,
}

async fn wire(base: &Foundation, system: &ActorSystem) -> Result<Wired, StartError> {
    let Foundation { config, ports: Ports { clock, random }, sealer, db, ids, tasks, .. } = base;
    let socket_metrics = realtime::Metrics::default();
    let (metrics, (journal_metrics, live_metrics)) = Metrics::with(|registry| {
        socket_metrics.register(registry);
        (JournalMetrics::register(registry), LiveMetrics::register(registry))
    });
    let hub = Hub::new((&**config).into(), tasks.clone(), clock.clone(), random.clone(), socket_metrics);
    let journal = Journal::start(
        db.clone(),
        NodeEpoch::claim(db).await?,
        JournalOptions { queue: config.journal.queue, batch: config.journal.batch },
        random.clone(),
        vec![Arc::new(Told(hub.clone()))],
        journal_metrics,
        tasks,
    );
    let ground = Ground {
        arbiters: Arc::clone(&system.arbiters),
        clock: clock.clone(),
        random: random.clone(),
        journal: journal.clone(),
        tasks: tasks.clone(),
        metrics: live_metrics,
    };
    let keys =
        SigningKeys::open(db.clone(), ids.clone(), clock.clone(), random.clone(), sealer.clone()).await?;
    let tokens = Tokens::new(db.clone(), clock.clone(), random.clone(), config.auth.clone(), keys);
    let passwords = Passwords::new(&config.auth, random.clone(), tasks.clone())?;
    let (db, ids, clock, random) = (db.clone(), ids.clone(), clock.clone(), random.clone());
    let sign_in = SignIn::new(
        db.clone(), ids.clone(), clock.clone(), random.clone(), journal.clone(),
        SignInParts { auth: config.auth.clone(), tokens: tokens.clone(), passwords: passwords.clone() },
    );
    let provisioning = Provisioning::new(
        db.clone(), ids.clone(), clock.clone(), random.clone(), journal.clone(),
        ProvisioningParts { auth: config.auth.clone(), sealer: sealer.clone(), tokens: tokens.clone(), passwords },
    );
    drop(ground);
    let services = Arc::new(Services { tokens, sign_in, provisioning });
    Ok(Wired { services, journal, hub, metrics })
}
