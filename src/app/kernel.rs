//! Everything below the network: foundation, journal, actors, services. The server adds HTTP and sockets; admin
//! commands without a server use it as it is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::runtime::Runtime;

use super::{
    Ports, StartError, doors::Crowd, folder::DataFolder, foundation::Foundation, services,
    system::ActorSystem,
};
use crate::{
    base::{metrics::Metrics, tasks::Tasks},
    bus::relay::Wake,
    config::Config,
    domain::machine::call::Timing,
    journal::{Append, Journal, JournalMetrics, JournalOptions, NodeEpoch, TailOptions, Tails},
    live::{
        Ground, LiveMetrics, Registry, RegistryOptions,
        call_session::{SessionLoader, Sessions},
        conversation::{ConversationLoader, Conversations},
    },
    realtime::{self, Hub},
    service::{Services, unread::Unread},
    store::Db,
};

/// Background work gets so long to end.
const TASK_GRACE: Duration = Duration::from_secs(5);

/// The wired parts. Made, used and closed from a thread that is no runtime's.
pub struct Kernel {
    /// The use cases.
    pub services: Arc<Services>,
    /// The door to the sockets.
    pub hub: Hub,
    pub(super) wired: Wired,
    system: ActorSystem,
    foundation: Foundation,
}

/// What services stand on, and what the server goes on wiring.
pub(super) struct Wired {
    pub journal: Journal,
    /// Newest events of streams that are being caught up on.
    pub tails: Tails,
    pub conversations: Conversations,
    pub sessions: Sessions,
    pub metrics: Metrics,
    /// Wakes the relay.
    pub wake: Wake,
    /// Where numbers of unread messages may have changed.
    pub unread: Unread,
}

impl Kernel {
    /// Opens the foundation under the folder's lock and wires services over it. `address` is where the server
    /// listens, or would.
    pub fn open(config: Config, ports: Ports, address: SocketAddr) -> Result<Self, StartError> {
        let foundation = Foundation::open(config, ports)?;
        let system = ActorSystem::start()?;
        let (hub, wired, services) = foundation.runtime.block_on(async {
            let (hub, wired) = wire(&foundation, &system).await?;
            let public_url = foundation.config.http.public_url(address);
            let services = services::build(&foundation, &wired, &Crowd(hub.clone()), public_url).await?;
            Ok::<_, StartError>((hub, wired, services))
        })?;
        Ok(Self { services: Arc::new(services), hub, wired, system, foundation })
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

    /// The owners of help threads that are live.
    pub fn conversations(&self) -> &Conversations {
        &self.wired.conversations
    }

    /// The owners of sessions that are live.
    pub fn sessions(&self) -> &Sessions {
        &self.wired.sessions
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
        let Self { services, wired, system, foundation, .. } = self;
        let Foundation { db, ids, tasks, runtime, .. } = &foundation;
        runtime.block_on(async {
            // The journal writes in order: what was accepted before this is committed when it is answered.
            if let Err(error) = wired.journal.append(Append::default()).await {
                tracing::warn!(%error, "the last appends may not be stored");
            }
            system.stop();
            drop((services, wired));
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

async fn wire(base: &Foundation, system: &ActorSystem) -> Result<(Hub, Wired), StartError> {
    let Foundation { config, ports: Ports { clock, random }, db, tasks, .. } = base;
    let socket_metrics = realtime::Metrics::default();
    let (metrics, (journal_metrics, live_metrics)) = Metrics::with(|registry| {
        socket_metrics.register(registry.sub_registry_with_prefix("socket"));
        (JournalMetrics::register(registry), LiveMetrics::register(registry))
    });
    let hub = Hub::new((&**config).into(), tasks.clone(), clock.clone(), random.clone(), socket_metrics);
    let (wake, unread) = (Wake::default(), Unread::default());
    let tails = Tails::new(db.clone(), tasks.clone(), TailOptions::default());
    let journal = Journal::start(
        db.clone(),
        NodeEpoch::claim(db).await?,
        JournalOptions { queue: config.journal.queue, batch: config.journal.batch },
        random.clone(),
        vec![
            Arc::new(tails.clone()),
            Arc::new(hub.clone()),
            Arc::new(wake.clone()),
            Arc::new(unread.clone()),
        ],
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
    let mailbox = config.conversations.mailbox;
    let conversations = Registry::new(
        ConversationLoader::new(db.clone()),
        RegistryOptions { mailbox, idle: config.conversations.idle_seconds },
        ground.clone(),
    );
    let calls = &config.calls;
    let timing = Timing { ring: calls.ring_seconds, lease: calls.lease_seconds, empty: calls.empty_seconds };
    let sessions = Registry::new(
        SessionLoader::new(db.clone(), clock.clone(), timing),
        RegistryOptions { mailbox, idle: calls.idle_seconds },
        ground,
    );
    Ok((hub, Wired { journal, tails, conversations, sessions, metrics, wake, unread }))
}
