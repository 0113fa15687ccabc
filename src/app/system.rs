//! The actix system that actors live in: a thread of its own, with arbiters for the actors.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use actix::System;

use super::StartError;
use crate::live::Arbiters;

/// A running actix system.
pub(super) struct ActorSystem {
    pub arbiters: Arc<Arbiters>,
    system: System,
    thread: JoinHandle<()>,
}

impl ActorSystem {
    /// Starts the system, with one arbiter per core.
    pub fn start() -> Result<Self, StartError> {
        let (sender, receiver) = mpsc::channel();
        let run = move || {
            let runner = System::new();
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let arbiters = runner.block_on(async move { Arc::new(Arbiters::start(cores)) });
            if sender.send((arbiters, System::current())).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "the actor system ended");
            }
        };
        let thread =
            thread::Builder::new().name("actors".to_owned()).spawn(run).map_err(StartError::other)?;
        let (arbiters, system) = receiver.recv().map_err(StartError::other)?;
        Ok(Self { arbiters, system, thread })
    }

    /// Stops all actors and the system.
    pub fn stop(self) {
        self.arbiters.stop();
        self.system.stop();
        if self.thread.join().is_err() {
            tracing::error!("the actor system panicked");
        }
    }
}
