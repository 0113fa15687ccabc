//! The composition root: builds a server out of all the parts, runs it and stops it. The only place that knows every
//! module, besides the command line.
//!
//! What runs where: handlers, services, the database and background work on one multi-threaded runtime of ours;
//! connections on the HTTP server's workers; actors on arbiters of an actix system in a thread of its own.

pub mod admin;
mod commands;
mod doors;
mod error;
mod folder;
mod foundation;
mod guide;
mod jobs;
mod kernel;
mod ports;
mod ready;
mod services;
mod serving;
mod system;

use std::{net::SocketAddr, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::{
    commands::{backup, migrate},
    error::StartError,
    kernel::Kernel,
    ports::Ports,
};
use self::{ready::Readiness, serving::Serving};
use crate::{config::Config, http::server};

/// A server that runs. Made, used and stopped from a thread that is no runtime's.
pub struct App {
    serving: Serving,
    ready: Arc<Readiness>,
    kernel: Kernel,
}

impl App {
    /// Opens everything and answers requests from then on. It is ready: rings, calls and receipts that were open when
    /// the last process ended have their owners again.
    pub fn start(config: Config, ports: Ports) -> Result<Self, StartError> {
        let listen = config.http.listen;
        let bound = server::bind(listen).map_err(|error| StartError::Listen(listen, error))?;
        let kernel = Kernel::open(config, ports, bound.address)?;
        let ready =
            Readiness::new(kernel.db().clone(), kernel.wired.journal.clone(), kernel.ports().clock.clone());
        let ready = Arc::new(ready);
        let started = kernel.runtime().block_on(Serving::start(&kernel, bound, Arc::clone(&ready)));
        let serving = match started {
            Ok(serving) => serving,
            Err(error) => {
                kernel.close();
                return Err(error);
            }
        };
        ready.up();
        tracing::info!(address = %serving.address, "ready");
        Ok(Self { serving, ready, kernel })
    }

    /// Where it listens: the real port where 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// The parts below HTTP.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Makes the demo organisation unless it is there, and says who can sign in and what to try.
    pub fn demo(&self) -> Result<String, StartError> {
        self.kernel.runtime().block_on(guide::demo(&self.kernel, self.address()))
    }

    /// Runs until SIGTERM or SIGINT, then drains and stops. A second signal ends the process at once. `announce` is
    /// called when signals are heard: who is told that the server is ready may stop it in the next moment.
    pub fn run_until_signal(self, announce: impl FnOnce()) -> Result<(), StartError> {
        let runtime = self.kernel.runtime();
        let mut signals = runtime.block_on(async { Signals::listen() }).map_err(StartError::other)?;
        announce();
        runtime.block_on(signals.next());
        runtime.spawn(async move {
            signals.next().await;
            tracing::warn!("asked twice, stopping at once");
            std::process::exit(1);
        });
        self.stop();
        Ok(())
    }

    /// Drains and stops: readiness goes down, sockets are told to reconnect in waves, requests in work end, what was
    /// accepted is committed.
    pub fn stop(self) {
        tracing::info!("stopping");
        self.ready.down();
        self.kernel.runtime().block_on(self.serving.drain(&self.kernel));
        self.kernel.close();
        tracing::info!("stopped");
    }
}

/// What asks a server to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
