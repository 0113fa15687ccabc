//! A server with the socket and nothing else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_http::HttpService;
use actix_service::{IntoServiceFactory as _, fn_service, map_config};
use actix_web::{App, dev::AppConfig};
use switchboard::{
    base::{clock::Clock, random::Random, tasks::Tasks},
    http::{
        cors::Cors,
        remote::{Believed, Remote},
        server::{Hooks, Upgrade},
        socket,
    },
    realtime::{Hub, Metrics, Options},
};
use tokio::runtime::Handle;

use super::{Client, Journal, backend::Backing};

/// Time that a body may take.
const BODY: Duration = Duration::from_secs(2);

pub struct Server {
    pub address: SocketAddr,
    pub hub: Hub,
    pub journal: Arc<Journal>,
    handle: actix_server::ServerHandle,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    #[expect(clippy::unused_async, reason = "must be called within a runtime")]
    pub async fn with(options: Options) -> Self {
        let clock = Clock::system();
        let tasks = Tasks::new(Handle::current());
        let hub = Hub::new(options, tasks, clock.clone(), Random::from_os(), Metrics::default());
        let journal = Journal::new(hub.clone(), clock);
        hub.attach(Arc::new(Backing(journal.clone())));
        let cors = Cors::new(serde_json::from_value(serde_json::json!(["*"])).unwrap(), []);
        let hooks = socket::hooks(&hub, Believed::default(), cors, BODY);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = actix_server::Server::build()
            .workers(2)
            .disable_signals()
            .shutdown_timeout(1)
            .listen("socket", listener, move || {
                let Hooks { upgrade, configure } = hooks.clone();
                let upgrade = move |(request, connection): (actix_http::Request, _)| {
                    let address = request.peer_addr().unwrap().ip();
                    let remote = Remote { address, trusted: false };
                    let taken = upgrade(Upgrade { request, connection, remote });
                    async move {
                        taken.await;
                        Ok::<_, actix_web::Error>(())
                    }
                };
                let app = App::new().configure(move |routes| configure(routes));
                HttpService::build()
                    .upgrade(fn_service(upgrade))
                    .finish(map_config(app.into_factory(), |()| AppConfig::default()))
                    .tcp()
            })
            .unwrap()
            .run();
        let handle = server.handle();
        Handle::current().spawn(server);
        Self { address, hub, journal, handle }
    }

    /// A person that is connected.
    pub async fn join(&self, person: i64) -> Client {
        let mut client = Client::open(self.address).await;
        client.connect(&person.to_string()).await;
        client
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not come about");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}
