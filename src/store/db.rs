//! One database: its connections, readiness, upkeep.

use std::{path::Path, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool, SqliteConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use tokio::runtime::Handle;

use super::{
    DatabaseOptions, Dialect, Result, StoreError, Synchronous, Tx,
    checkpoints::Checkpoints,
    gather::Gathers,
    generation, migrate,
    readers::{Reader, Readers},
    sql,
    writer::Writer,
};
use crate::base::clock::Clock;

/// Prepared statements kept per connection: all texts of the product, the sizes of its bulk statements and the common
/// shapes of filtered lists.
const PREPARED: usize = 768;

/// A connection that was idle for longer is tried before it is used, so that a restarted server costs no request.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// A connection to PostgreSQL that was idle for so long is closed; the next rush opens others.
const LONGEST_IDLE: Duration = Duration::from_mins(10);
/// So is one of this age, the next time that it is idle: what a server's process remembers of its statements grows.
const LIFETIME: Duration = Duration::from_mins(30);

/// Connections to PostgreSQL that are kept for transactions, at most: the journal's, and a few for others.
const TRANSACTIONS: u32 = 4;

/// A database. Cheap to clone. Every method needs the tokio runtime that it was opened on.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    engine: Engine,
    gathers: Gathers,
    runtime: Handle,
}

pub(super) enum Engine {
    Sqlite {
        writer: Writer,
        readers: Readers<SqliteConnection>,
        /// Alone: what waits for it is gathered meanwhile, and the pages of what is asked at each connect stay with it.
        gatherer: Readers<SqliteConnection>,
        base: Box<SqliteConnectOptions>,
        checkpoints: Checkpoints,
    },
    /// Transactions have a few connections of their own: what the journal runs over and over stays prepared and warm, and
    /// never waits behind reads.
    Postgres { writers: PgPool, readers: Readers<PgConnection> },
}

/// Connections for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolNumbers {
    /// Open connections.
    pub size: u32,
    /// Those that nobody uses.
    pub idle: u32,
}

impl Db {
    /// Connects; a SQLite file (and its folder) is made where there is none, readable by its owner only. The schema is
    /// left alone: see [`Db::migrate`].
    pub async fn open(options: &DatabaseOptions) -> Result<Self> {
        if let Some(path) = options.url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return open_sqlite(Path::new(path), options).await;
        }
        if options.url.starts_with("postgres://") || options.url.starts_with("postgresql://") {
            return open_postgres(options).await;
        }
        Err(StoreError::setup("the database address must start with sqlite:// or postgres://"))
    }

    /// Which engine it is.
    pub fn dialect(&self) -> Dialect {
        match self.engine() {
            Engine::Sqlite { .. } => Dialect::Sqlite,
            Engine::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// On the present runtime.
    fn new(engine: Engine) -> Self {
        Self(Arc::new(Inner { engine, gathers: Gathers::default(), runtime: Handle::current() }))
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(super) fn gathers(&self) -> &Gathers {
        &self.0.gathers
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// A connection for reads; on PostgreSQL for any statement that stands alone.
    pub(super) async fn reader(&self) -> Result<Reader> {
        match self.engine() {
            Engine::Sqlite { readers, .. } => readers.get().await.map(Reader::Sqlite),
            Engine::Postgres { readers, .. } => readers.get().await.map(Reader::Postgres),
        }
    }

    /// A connection for what many ask for at once.
    pub(super) async fn gatherer(&self) -> Result<Reader> {
        match self.engine() {
            Engine::Sqlite { gatherer, .. } => gatherer.get().await.map(Reader::Sqlite),
            Engine::Postgres { .. } => self.reader().await,
        }
    }

    /// Starts a transaction that may write.
    pub async fn begin(&self) -> Result<Tx> {
        match self.engine() {
            Engine::Sqlite { writer, .. } => Ok(Tx::sqlite(writer.begin().await?)),
            Engine::Postgres { writers, .. } => {
                // After the database went, all connections that are idle are dead. Nothing has begun on them.
                for _ in 0..TRANSACTIONS {
                    match Box::pin(writers.begin()).await.map_err(StoreError::from) {
                        Err(error) if error.is_lost_connection() => {}
                        begun => return begun.map(Tx::postgres),
                    }
                }
                Ok(Tx::postgres(Box::pin(writers.begin()).await?))
            }
        }
    }

    /// Brings the schema up to date; fails where the database was made by a newer program.
    pub async fn migrate(&self, clock: &Clock) -> Result<()> {
        migrate::run(self, clock).await
    }

    /// One small read: is the database there?
    pub async fn ping(&self) -> Result<()> {
        sql("select 1").execute(self).await.map(drop)
    }

    /// Closes connections to PostgreSQL that have been idle for long, or are old; nothing on SQLite.
    pub async fn close_old_connections(&self) {
        if let Engine::Postgres { readers, .. } = self.engine() {
            readers.close_old(LONGEST_IDLE, LIFETIME).await;
        }
    }

    /// Connections as they are now.
    pub fn pool(&self) -> PoolNumbers {
        let (others, readers) = match self.engine() {
            Engine::Sqlite { writer, readers, gatherer, .. } => {
                let ((size, idle), readers) = (gatherer.numbers(), readers.numbers());
                ((size + 1, idle + u32::from(writer.is_idle())), readers)
            }
            Engine::Postgres { writers, readers } => {
                let idle = u32::try_from(writers.num_idle()).unwrap_or(u32::MAX);
                ((writers.size(), idle), readers.numbers())
            }
        };
        PoolNumbers { size: others.0 + readers.0, idle: others.1 + readers.1 }
    }

    /// Moves SQLite's write-ahead log into the database file as far as readers allow; nothing on PostgreSQL.
    pub async fn checkpoint(&self) -> Result<()> {
        match self.engine() {
            Engine::Sqlite { .. } => sql("pragma wal_checkpoint(passive)").execute(self).await.map(drop),
            Engine::Postgres { .. } => Ok(()),
        }
    }

    /// Writes a consistent copy of a SQLite database to `path`, which must not exist, while others go on working. The copy
    /// begins a new [`generation`] when it is put to use.
    /// PostgreSQL has its own tools (`pg_dump`) and is refused.
    pub async fn backup_to(&self, path: &Path) -> Result<()> {
        let Engine::Sqlite { base, .. } = self.engine() else {
            return Err(StoreError::setup("backup is for SQLite; use pg_dump for PostgreSQL"));
        };
        let Some(path) = path.to_str() else {
            return Err(StoreError::setup("the backup's path must be UTF-8"));
        };
        // A connection of its own: neither the writer nor a reader is held for the time of the copy.
        let mut connection = base.connect().await?;
        sqlx::query("vacuum into $1").bind(path).execute(&mut connection).await?;
        connection.close().await?;
        let mut copy =
            SqliteConnectOptions::new().filename(path).disable_statement_logging().connect().await?;
        sqlx::query(generation::MARK_COPY).execute(&mut copy).await?;
        copy.close().await?;
        Ok(())
    }

    /// Closes all connections; SQLite's log is moved into the file when the last one goes.
    pub async fn close(&self) {
        match self.engine() {
            Engine::Sqlite { writer, readers, gatherer, checkpoints, .. } => {
                checkpoints.stop().await;
                gatherer.close().await;
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres { writers, readers } => {
                readers.close().await;
                writers.close().await;
            }
        }
    }
}

async fn open_sqlite(path: &Path, options: &DatabaseOptions) -> Result<Db> {
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return Err(StoreError::setup("sqlite:// needs the path of a file"));
    }
    make_private_file(path).await.map_err(sqlx::Error::Io)?;
    let base = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_timeout)
        .foreign_keys(false)
        .statement_cache_capacity(PREPARED)
        .row_buffer_size(256)
        .pragma("temp_store", "memory")
        // 4 MiB of pages for a reader (16 for the one that gathers): the upper levels of all trees; the kernel caches the
        // rest. The file is not mapped: a mapped page that cannot be read kills the process, and each connection's mapping
        // counts as memory.
        .pragma("cache_size", "-4096")
        .disable_statement_logging();
    let writer = base
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match options.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        })
        // A commit of many rooms changes a page or more for each, and reads them again the next time: what it takes stays in
        // memory, as far as it is used.
        .pragma("cache_size", "-65536")
        // Only where `checkpoints` cannot follow: 256 MiB.
        .pragma("wal_autocheckpoint", "65536")
        .pragma("journal_size_limit", "134217728");
    let writer = Writer::open(writer, options.acquire_timeout).await?;
    let reading = base.clone().pragma("query_only", "on");
    // A file needs no trial however long it was left alone.
    let patience = options.acquire_timeout;
    let readers = Readers::open(reading.clone(), options.readers, patience, Duration::MAX).await?;
    let gatherer = Readers::open(reading.pragma("cache_size", "-16384"), 1, patience, Duration::MAX).await?;
    // SQLite names its log after the file itself, whatever links lead to it.
    let file = tokio::fs::canonicalize(path).await.map_err(sqlx::Error::Io)?;
    let checkpoints = Checkpoints::start(&file, writer.clone(), base.clone());
    Ok(Db::new(Engine::Sqlite { writer, readers, gatherer, base: Box::new(base), checkpoints }))
}

/// SQLite gives its log files the mode of the database file.
async fn make_private_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut file = tokio::fs::OpenOptions::new();
    file.append(true).create(true);
    #[cfg(unix)]
    file.mode(0o600);
    file.open(path).await.map(drop)
}

async fn open_postgres(options: &DatabaseOptions) -> Result<Db> {
    let connect = PgConnectOptions::from_str(&options.url)
        // The driver's text repeats parts of the address.
        .map_err(|_| StoreError::setup("the postgres:// address cannot be read"))?
        .application_name("switchboard")
        .statement_cache_capacity(PREPARED)
        .options([
            // Nobody waits longer, and a stuck client must not hold locks.
            ("statement_timeout", "30s"),
            ("idle_in_transaction_session_timeout", "60s"),
            // Short queries gain nothing from jit.
            ("jit", "off"),
            // Every query has its index, and takes it from the first row on. Left alone, PostgreSQL plans for the sizes that it
            // knows of: those of empty tables on a fresh server, whose rows it then looks through with each commit.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ])
        .disable_statement_logging();
    let most = options.max_connections.max(2);
    let transactions = (most / 4).clamp(1, TRANSACTIONS);
    let patience = options.acquire_timeout;
    let readers = Readers::open(connect.clone(), most - transactions, patience, TRUSTED_IDLE).await?;
    let writers = PgPoolOptions::new()
        .max_connections(transactions)
        .acquire_timeout(patience)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(connect);
    Ok(Db::new(Engine::Postgres { writers, readers }))
}
