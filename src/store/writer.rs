//! SQLite's one writing connection, handed out in the order of asking.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, OwnedMutexGuard},
};

use super::{Result, StoreError};

/// A lock around the connection. A pool of one would do the same, with a `ping` (a trip to SQLite's thread) after
/// each use that every commit would wait for.
#[derive(Clone)]
pub(super) struct Writer {
    slot: Arc<Mutex<Option<SqliteConnection>>>,
    options: Arc<SqliteConnectOptions>,
    timeout: Duration,
    /// Where abandoned transactions are rolled back.
    runtime: Handle,
    used: Arc<Notify>,
}

/// The connection, held alone; never empty.
pub(super) struct Held {
    slot: OwnedMutexGuard<Option<SqliteConnection>>,
}

impl Writer {
    /// Opens the connection. Call it on the runtime that runs database work.
    pub(super) async fn open(options: SqliteConnectOptions, timeout: Duration) -> Result<Self> {
        let connection = options.connect().await?;
        Ok(Self {
            slot: Arc::new(Mutex::new(Some(connection))),
            options: Arc::new(options),
            timeout,
            runtime: Handle::current(),
            used: Arc::default(),
        })
    }

    /// Waits until somebody uses the connection, or has since this was asked last.
    pub(super) async fn used(&self) {
        self.used.notified().await;
    }

    /// Waits for the connection; opens it anew if it was given up.
    pub(super) async fn lock(&self) -> Result<Held> {
        let Ok(mut slot) = tokio::time::timeout(self.timeout, Arc::clone(&self.slot).lock_owned()).await
        else {
            return Err(StoreError::busy());
        };
        if slot.is_none() {
            *slot = Some(self.options.connect().await?);
        }
        self.used.notify_one();
        Ok(Held { slot })
    }

    /// Starts a transaction that holds the database's write lock from its first moment, so that it cannot fail
    /// half-way for having read before another process wrote.
    pub(super) async fn begin(&self) -> Result<WriterTx> {
        let mut tx = WriterTx { held: Some(self.lock().await?), runtime: self.runtime.clone() };
        match run(tx.connection(), "begin immediate").await {
            Ok(()) => Ok(tx),
            Err(error) if error.is_lost_connection() => {
                // Its thread is gone: once more with a fresh one.
                *tx.connection_slot() = None;
                tx.held = None;
                let mut tx = WriterTx { held: Some(self.lock().await?), runtime: self.runtime.clone() };
                run(tx.connection(), "begin immediate").await?;
                Ok(tx)
            }
            Err(error) => Err(error),
        }
    }

    /// True where nobody holds it.
    pub(super) fn is_idle(&self) -> bool {
        self.slot.try_lock().is_ok()
    }

    /// Closes the connection for good measure; a later use opens it again.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.slot.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = %StoreError::from(error), "closing the database failed");
        }
    }
}

impl Deref for Held {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        self.slot.as_ref().expect("a held slot has a connection")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.slot.as_mut().expect("a held slot has a connection")
    }
}

/// A transaction on the writer. Dropped without commit (a cancelled future too), it is rolled back in the background
/// before anybody else gets the connection.
pub(super) struct WriterTx {
    /// `None` once it ended.
    held: Option<Held>,
    runtime: Handle,
}

impl WriterTx {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        self.held.as_mut().expect("an open transaction holds the connection")
    }

    fn connection_slot(&mut self) -> &mut Option<SqliteConnection> {
        &mut self.held.as_mut().expect("an open transaction holds the connection").slot
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        run(self.connection(), "commit").await?;
        self.held = None;
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> Result<()> {
        run(self.connection(), "rollback").await?;
        self.held = None;
        Ok(())
    }
}

impl Drop for WriterTx {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        if held.slot.is_none() {
            return;
        }
        self.runtime.spawn(async move {
            // The statement that was cancelled may have been the commit: then there is nothing to roll back.
            match run(&mut held, "rollback").await {
                Ok(()) => {}
                Err(error) if error.to_string().contains("no transaction is active") => {}
                Err(error) => {
                    tracing::warn!(%error, "rollback failed, the connection is opened anew");
                    *held.slot = None;
                }
            }
        });
    }
}

/// Runs a statement that is prepared once per connection.
async fn run(connection: &mut SqliteConnection, text: &'static str) -> Result<()> {
    sqlx::query(text).execute(connection).await.map_err(StoreError::from)?;
    Ok(())
}
