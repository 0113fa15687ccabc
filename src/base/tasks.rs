//! Named, counted background tasks on the one owned multi-threaded runtime, with a soft and a hard stop.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, time::Duration};

use futures_util::FutureExt as _;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Spawns tasks on the owned runtime and stops them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Tasks on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Runs `future` until it ends. Long-running loops select over [`Tasks::stopping`]. A panic is logged with `name`.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_boxed(name, Box::pin(future))
    }

    /// The runtime's part of a task, compiled once per kind of result and not once per future.
    fn spawn_boxed<T: Send + 'static>(&self, name: &'static str, future: Boxed<T>) -> JoinHandle<Option<T>> {
        let guarded = async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            outcome.inspect_err(|_| tracing::error!(task = name, "background task panicked")).ok()
        };
        self.runtime.spawn(self.tracker.track_future(guarded))
    }

    /// The runtime that database and background work runs on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Resolves when the server begins to stop.
    pub fn stopping(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.stop.clone().cancelled_owned()
    }

    /// True once the server begins to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Asks every loop to end and waits up to `grace`; true when all ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
