//! What the server adds to the kernel: HTTP, sockets, the admin socket, background jobs; and how all that ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_server::ServerHandle;

use super::{
    Kernel, StartError, admin,
    doors::{Door, Memory},
    folder::DataFolder,
    jobs,
    ready::Readiness,
};
use crate::{
    api,
    http::{
        dispatch::{Dispatcher, Parts},
        server,
    },
    realtime::transport,
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
    pub async fn start(kernel: &Kernel, ready: Arc<Readiness>) -> Result<Self, StartError> {
        let config = kernel.config();
        let dispatcher = Dispatcher::new(Parts {
            families: api::FAMILIES.to_vec(),
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
            metrics: kernel.metrics.clone(),
            http: config.http.clone(),
            upload_limit: config.files.max_bytes,
        })
        .map_err(StartError::Other)?;
        let running = server::start(dispatcher, transport::hooks(&kernel.hub), &config.http, REQUEST_GRACE)
            .map_err(|error| StartError::Listen(config.http.listen, error))?;
        let (address, http) = (running.address, running.handle());
        kernel.tasks().spawn("http", running.stopped());
        let socket = DataFolder::socket(kernel.folder().path());
        admin::listen(&socket, Arc::clone(&kernel.services), kernel.tasks())
            .map_err(|error| StartError::Folder(socket, error))?;
        jobs::start(kernel);
        Ok(Self { address, http })
    }

    /// Tells sockets to reconnect, in waves; lets requests in work end and takes no new ones.
    pub async fn drain(self, kernel: &Kernel) {
        kernel.hub.drain(kernel.config().server.drain_seconds).await;
        self.http.stop(true).await;
    }
}
