//! The listening socket. Requests that ask for an upgrade (to a socket) go to the hook with the raw connection; the
//! rest to actix-web: first the hook's own routes, then the dispatcher.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use actix_codec::Framed;
use actix_http::{HttpMessage as _, HttpService, KeepAlive, h1};
use actix_rt::net::TcpStream;
use actix_server::ServerHandle;
use actix_service::{IntoServiceFactory as _, fn_service, map_config};
use actix_web::{App, dev::AppConfig, dev::ServiceRequest, web::ServiceConfig};
use futures_util::future::LocalBoxFuture;
use tokio::net::TcpSocket;

use super::{dispatch::Dispatcher, remote::Remote};
use crate::config;

/// Connections that the kernel holds until a worker takes them.
const BACKLOG: u32 = 8192;

/// A request that asks for an upgrade, with its raw connection. No middleware has seen it: origin, path and limits
/// are the hook's to check.
pub struct Upgrade {
    /// The request's head.
    pub request: actix_http::Request,
    /// The connection, with what was read beyond the head.
    pub connection: Framed<TcpStream, h1::Codec>,
    /// Who sent it.
    pub remote: Remote,
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("path", &self.request.path()).finish_non_exhaustive()
    }
}

/// Takes over connections; runs on the worker thread that accepted them.
pub type OnUpgrade = Arc<dyn Fn(Upgrade) -> LocalBoxFuture<'static, ()> + Send + Sync>;
/// Adds routes of its own, once per worker.
pub type Configure = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// What `realtime` supplies.
#[derive(Clone)]
pub struct Hooks {
    /// For upgrade requests.
    pub upgrade: OnUpgrade,
    /// For the other transports.
    pub configure: Configure,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// A server that listens.
pub struct Running {
    /// Where it listens; the real port where 0 was asked for.
    pub address: SocketAddr,
    handle: ServerHandle,
    server: actix_server::Server,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Running {
    /// For stopping it: `handle().stop(true)` lets requests in work end, within the grace of [`start`].
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Resolves when the server has stopped.
    pub async fn stopped(self) -> io::Result<()> {
        self.server.await
    }
}

/// An address that is ours, with nobody listening yet: what clients are told is known before the first of them comes.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    /// The address; the real port where 0 was asked for.
    pub address: SocketAddr,
}

/// Takes the address of the configuration.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let address = socket.local_addr()?;
    Ok(Bound { socket, address })
}

/// Starts to listen and to answer. Must be called inside a Tokio runtime; the workers run on threads of their own.
/// `grace` is the time that requests in work get at a graceful stop.
pub fn start(
    bound: Bound,
    dispatcher: Arc<Dispatcher>,
    hooks: Hooks,
    config: &config::Http,
    grace: Duration,
) -> io::Result<Running> {
    let Bound { socket, address } = bound;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    let head_timeout = config.head_timeout_seconds;
    let keep_alive = match config.keep_alive_seconds {
        Duration::ZERO => KeepAlive::Disabled,
        time => KeepAlive::Timeout(time),
    };
    let mut builder = actix_server::Server::build()
        .backlog(BACKLOG)
        .max_concurrent_connections(config.max_connections)
        .disable_signals()
        .shutdown_timeout(grace.as_secs());
    if config.workers > 0 {
        builder = builder.workers(config.workers);
    }
    let server = builder
        .listen("http", listener, move || {
            let upgrade = {
                let (dispatcher, hook) = (dispatcher.clone(), hooks.upgrade.clone());
                move |(request, connection): (actix_http::Request, Framed<TcpStream, h1::Codec>)| {
                    let remote = dispatcher.remote(request.peer_addr(), request.headers());
                    let taken = hook(Upgrade { request, connection, remote });
                    async move {
                        taken.await;
                        Ok::<_, actix_web::Error>(())
                    }
                }
            };
            let configure = hooks.configure.clone();
            let dispatcher = dispatcher.clone();
            let app = App::new().configure(move |routes| configure(routes)).default_service(fn_service(
                move |request: ServiceRequest| dispatcher.clone().serve(request),
            ));
            HttpService::build()
                .keep_alive(keep_alive)
                .client_request_timeout(head_timeout)
                .client_disconnect_timeout(Duration::from_secs(2))
                .upgrade(fn_service(upgrade))
                .finish(map_config(app.into_factory(), |()| AppConfig::default()))
                .tcp()
        })?
        .run();
    Ok(Running { address, handle: server.handle(), server })
}
