//! Moves SQLite's write-ahead log into the database file, beside the writer.
//!
//! Left to itself, SQLite does that inside a commit, which then takes ten times as long and holds all others up. Here a
//! connection of its own copies what the log holds while the writer goes on, and the writer copies the little that is left,
//! between two transactions: only a log that was copied whole is written from its start again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, ErrorKind},
    runtime::Handle,
    sync::Mutex,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Result, StoreError, writer::Writer};

/// Pages in the log from which it is worth the while: 64 MiB. A busy room's page is written to the file once for many
/// commits, and to read the log again after a crash takes some 0.1 s.
const WORTHWHILE: u32 = 16_384;
/// Pages that the writer is held up for: a few milliseconds.
const LITTLE: u32 = 4_096;
/// Copies beside the writer before it is held up whatever is left.
const PASSES: u32 = 4;
/// Between looks at the log.
const PAUSE: Duration = Duration::from_millis(100);
/// Copies as much as can be copied without waiting for anybody.
const COPY: &str = "pragma wal_checkpoint(passive)";

/// The task that does it.
pub(super) struct Checkpoints {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpoints {
    /// Begins; call it on the runtime that runs database work.
    pub(super) fn start(database: &Path, writer: Writer, options: SqliteConnectOptions) -> Self {
        let stop = CancellationToken::new();
        let mut index = database.as_os_str().to_owned();
        index.push("-shm");
        let copier = Copier { index: index.into(), writer, options: Arc::new(options), connection: None };
        let task = Handle::current().spawn(copier.run(stop.clone()));
        Self { stop, task: Mutex::new(Some(task)) }
    }

    /// Ends it and closes its connection.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            // A panic is in the log.
            let _ = task.await;
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Copier {
    /// The log's index, which every connection maps.
    index: PathBuf,
    writer: Writer,
    options: Arc<SqliteConnectOptions>,
    connection: Option<SqliteConnection>,
}

impl Copier {
    async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.something_written()).await.is_some() {
            if let Err(error) = self.copy().await {
                tracing::warn!(%error, "the log could not be moved into the database");
                self.connection = None;
            }
        }
        if let Some(connection) = self.connection {
            // The last one to close moves the log.
            let _ = connection.close().await;
        }
    }

    async fn something_written(&self) {
        self.writer.used().await;
        sleep(PAUSE).await;
    }

    async fn copy(&mut self) -> Result<()> {
        if self.left().await? < WORTHWHILE {
            return Ok(());
        }
        for _ in 0..PASSES {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert(self.options.connect().await?),
            };
            sqlx::query(COPY).execute(connection).await?;
            if self.left().await? < LITTLE {
                break;
            }
        }
        let mut writer = self.writer.lock().await?;
        sqlx::query(COPY).execute(&mut *writer).await?;
        Ok(())
    }

    /// Pages of the log that are not in the database file yet. The index begins with two copies of a header of 48 bytes,
    /// with the number of pages at 16, and then says how many of them were moved; all in the machine's byte order
    /// (<https://www.sqlite.org/walformat.html>, 2.1.1).
    async fn left(&self) -> Result<u32> {
        let mut header = [0; 100];
        let read = async { File::open(&self.index).await?.read_exact(&mut header).await };
        match read.await {
            Ok(_) => {}
            // Nothing was written yet.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
                return Ok(0);
            }
            Err(error) => return Err(StoreError::from(sqlx::Error::Io(error))),
        }
        let number = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        Ok(number(16).saturating_sub(number(96)))
    }
}
