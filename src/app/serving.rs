//! What the server adds to the kernel: HTTP, sockets, the admin socket, background jobs; and how all that ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_server::ServerHandle;

use super::{
    Kernel, Ports, StartError, admin,
    doors::{Door, Memory},
    folder::DataFolder,
    jobs,
    ready::Readiness,
};
use crate::{
    api,
    bus::{
        Bus,
        nats::NatsBus,
        relay::{self, Relay},
    },
    delivery::{Carrier, Courier, email::Smtp, sms::SmsProvider},
    http::{
        dispatch::{Dispatcher, Parts},
        server::{self, Bound},
        socket,
    },
    realtime::gateway::{self, Gateway, Inboxes, Limits, Teller},
    service::messages::METADATA_LIMIT,
    store,
};

/// Requests in work get so long to end once no new ones are taken.
const REQUEST_GRACE: Duration = Duration::from_secs(10);

/// The listening parts.
pub(super) struct Serving {
    pub address: SocketAddr,
    http: ServerHandle,
}

impl Serving {
    /// Brings back what was open, starts background jobs, listens.
    pub async fn start(kernel: &Kernel, bound: Bound, ready: Arc<Readiness>) -> Result<Self, StartError> {
        let config = kernel.config();
        let bus = start_relay(kernel).await?;
        let Ports { clock, random } = kernel.ports();
        let teller = Teller::new(kernel.hub.clone(), bus, clock.clone(), random.clone());
        kernel.hub.attach(Arc::new(gateway(kernel, teller.clone())));
        kernel.wired.sessions.wake_unfinished(kernel.db()).await?;
        kernel.wired.conversations.wake_unannounced(kernel.db()).await?;
        let services = Arc::clone(&kernel.services);
        Inboxes { db: kernel.db().clone(), services, clock: clock.clone(), teller }.start(kernel.tasks());
        start_couriers(kernel)?;
        jobs::start(kernel);
        let dispatcher = Dispatcher::new(Parts {
            families: api::FAMILIES.to_vec(),
            contracts: api::CONTRACTS,
            services: Arc::clone(&kernel.services),
            authenticate: Arc::new(Door(Arc::clone(&kernel.services))),
            outcomes: Arc::new(Memory {
                db: kernel.db().clone(),
                clock: kernel.ports().clock.clone(),
                keep: config.retention.idempotency_hours,
            }),
            ready,
            tasks: kernel.tasks().clone(),
            random: kernel.ports().random.clone(),
            metrics: kernel.wired.metrics.clone(),
            http: config.http.clone(),
            upload_limit: config.files.max_bytes,
        })
        .map_err(StartError::Other)?;
        let (believed, cors) = (dispatcher.believed().clone(), dispatcher.cors().clone());
        let hooks = socket::hooks(&kernel.hub, believed, cors, config.http.body_timeout_seconds);
        let running = server::start(bound, dispatcher, hooks, &config.http, REQUEST_GRACE)
            .map_err(|error| StartError::Listen(config.http.listen, error))?;
        let (address, http) = (running.address, running.handle());
        kernel.tasks().spawn("http", running.stopped());
        let socket = DataFolder::socket(kernel.folder().path());
        admin::listen(&socket, Arc::clone(&kernel.services), kernel.tasks())
            .map_err(|error| StartError::Folder(socket, error))?;
        Ok(Self { address, http })
    }

    /// Tells sockets to reconnect, in waves; lets requests in work end and takes no new ones.
    pub async fn drain(self, kernel: &Kernel) {
        kernel.hub.drain(kernel.config().server.drain_seconds).await;
        self.http.stop(true).await;
    }
}

fn gateway(kernel: &Kernel, teller: Teller) -> Gateway {
    let (config, ports) = (kernel.config(), kernel.ports());
    let limits = Limits {
        frame_bytes: config.realtime.frame_limit,
        subscriptions: config.realtime.max_subscriptions,
        recovery_page: config.realtime.recovery_page as usize,
        metadata_bytes: METADATA_LIMIT,
        remember: config.retention.idempotency_hours,
    };
    Gateway::new(gateway::Parts {
        db: kernel.db().clone(),
        tails: kernel.wired.tails.clone(),
        services: Arc::clone(&kernel.services),
        clock: ports.clock.clone(),
        random: ports.random.clone(),
        hub: kernel.hub.clone(),
        teller,
        limits,
    })
}

/// Those who take notices away, for the channels that are configured.
fn start_couriers(kernel: &Kernel) -> Result<(), StartError> {
    let config = &kernel.config().notices;
    let mut carriers: Vec<Arc<dyn Carrier>> = Vec::new();
    if !config.smtp_url.expose().is_empty() {
        carriers.push(Arc::new(Smtp::new(&config.smtp_url, &config.from).map_err(StartError::other)?));
    }
    if !config.sms_url.is_empty() {
        let provider = SmsProvider::new(&config.sms_url, &config.sms_token).map_err(StartError::other)?;
        carriers.push(Arc::new(provider));
    }
    for carrier in carriers {
        let courier = Courier::new(
            kernel.db().clone(),
            kernel.services.notices.clone(),
            kernel.ports().clock.clone(),
            kernel.ports().random.clone(),
            config.attempts,
            carrier,
        );
        kernel.tasks().spawn("courier", courier.run(kernel.tasks().clone()));
    }
    Ok(())
}

/// The relay from the event log to NATS, where one is configured.
async fn start_relay(kernel: &Kernel) -> Result<Option<Arc<dyn Bus>>, StartError> {
    let config = &kernel.config().bus;
    if config.is_on() {
        let bus = NatsBus::connect(config, kernel.tasks()).await.map_err(StartError::Bus)?;
        let bus: Arc<dyn Bus> = Arc::new(bus);
        let relay = Relay::new(
            kernel.db().clone(),
            Arc::clone(&bus),
            config.batch,
            kernel.wired.wake.clone(),
            kernel.ports().clock.clone(),
            kernel.wired.metrics.relay.clone(),
        );
        kernel.tasks().spawn("relay", relay.run(kernel.tasks().clone()));
        Ok(Some(bus))
    } else {
        // A position from times with a bus would hold up retention for good.
        store::relay::forget(kernel.db(), relay::POSITION).await?;
        Ok(None)
    }
}
