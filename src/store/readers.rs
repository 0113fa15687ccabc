//! Connections for single statements, handed out again in the moment in which a statement is through.
//!
//! A pool of sqlx asks each connection how it is when it comes back, in a task of its own, since something may have been
//! left open on it. That costs as much as many a read: another trip to the thread of a SQLite connection, or over the
//! network to PostgreSQL. Here each statement stands alone, and a connection is given up where its statement did not end,
//! or lost it. A statement that was dropped may go on in the database for a while, beside those of the connection that
//! takes the place. Whichever was used last is used next: its pages are in memory.

use std::{
    io,
    time::{Duration, Instant},
};

use deadpool::{
    Status,
    managed::{Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{ConnectOptions as _, Connection, PgConnection, SqliteConnection};
use tokio::time::{sleep, timeout};

use super::{Dialect, Result, StoreError, stmt::SLOW};

/// Before a server that is not there yet is tried again; twice as long each time, up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections to one database.
pub(super) struct Readers<C: Connection> {
    pool: Pool<Opener<C>>,
    /// How long whoever asks waits, all in all.
    patience: Duration,
}

/// How connections of [`Readers`] are made, and whether one is used again.
pub struct Opener<C: Connection> {
    options: C::Options,
    /// A connection that was idle for longer is tried first.
    trusted: Duration,
}

/// A connection, and whether its last statement came to an end that leaves it usable.
pub struct Kept<C> {
    connection: C,
    sound: bool,
}

impl<C: Connection> Readers<C> {
    /// Opens the first of `count` connections; the others follow when they are needed. Whoever gets none within `patience`
    /// is told that the database is busy.
    pub(super) async fn open(
        options: C::Options,
        count: u32,
        patience: Duration,
        trusted: Duration,
    ) -> Result<Self> {
        let pool = Pool::builder(Opener { options, trusted })
            .max_size(usize::try_from(count.max(1)).unwrap_or(usize::MAX))
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| StoreError::setup(error.to_string()))?;
        let readers = Self { pool, patience };
        drop(readers.get().await?);
        Ok(readers)
    }

    /// Waits for a connection.
    pub(super) async fn get(&self) -> Result<Object<Opener<C>>> {
        let began = Instant::now();
        // Boxed: the future of opening a connection takes kilobytes, and each request's future holds some of these.
        let connection = match timeout(self.patience, Box::pin(self.pool.get())).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(PoolError::Backend(error))) => Err(error.into()),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed.into()),
            // The others are of timeouts and hooks that the pool was not given.
            Ok(Err(_)) | Err(_) => Err(StoreError::busy()),
        };
        let took = began.elapsed();
        if took >= SLOW {
            tracing::warn!(took_ms = took.as_millis(), "waited long for a database connection");
        }
        connection
    }

    /// How many there are, and how many of them nobody uses.
    pub(super) fn numbers(&self) -> (u32, u32) {
        let Status { size, available, .. } = self.pool.status();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(size), number(available))
    }

    /// Closes those that nobody has used for `idle`, and those that nobody uses at the moment and that are of `age`.
    pub(super) async fn close_old(&self, idle: Duration, age: Duration) {
        let young = |metrics: Metrics| metrics.last_used() < idle && metrics.age() < age;
        let old = close(self.pool.retain(|_, metrics| young(metrics)).removed);
        if timeout(self.patience, old).await.is_err() {
            tracing::debug!("old database connections were dropped instead of closed");
        }
    }

    /// Closes them all, and waits for those that are used.
    pub(super) async fn close(&self) {
        let all = async {
            while self.pool.status().size > 0 {
                close(self.pool.retain(|_, _| false).removed).await;
                sleep(FIRST_PAUSE).await;
            }
        };
        if timeout(self.patience, all).await.is_err() {
            tracing::warn!("a database connection is still used at the end");
        }
        self.pool.close();
    }
}

async fn close<C: Connection>(all: Vec<Kept<C>>) {
    for kept in all {
        if let Err(error) = kept.connection.close().await {
            tracing::debug!(error = %StoreError::from(error), "closing a connection failed");
        }
    }
}

impl<C: Connection> Manager for Opener<C> {
    type Type = Kept<C>;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Kept<C>, sqlx::Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.options.connect().await {
                Err(error) if will_come(&error) => sleep(pause).await,
                made => return made.map(|connection| Kept { connection, sound: true }),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn recycle(&self, kept: &mut Kept<C>, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if !kept.sound {
            return Err(RecycleError::message("its last statement did not end"));
        }
        if metrics.last_used() > self.trusted {
            kept.connection.ping().await?;
        }
        Ok(())
    }
}

/// A server that starts, or has no room for one more: it is waited for.
fn will_come(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("53300" | "57P03")),
        _ => false,
    }
}

/// The connection for a statement. Unless [`end`] follows, it is not used again.
pub(super) fn begin<C: Connection>(kept: &mut Object<Opener<C>>) -> &mut C {
    kept.sound = false;
    &mut kept.connection
}

/// The statement has ended. Where its connection was lost, so are those that nobody uses, most likely: the next ones to ask
/// get new ones.
pub(super) fn end<C: Connection, T>(kept: &mut Object<Opener<C>>, outcome: &Result<T>) {
    kept.sound = !matches!(outcome, Err(error) if error.is_lost_connection());
    if !kept.sound
        && let Some(pool) = Object::pool(kept)
    {
        pool.retain(|_, _| false);
    }
}

/// A connection that is held for some statements, each of which stands alone.
pub enum Reader {
    #[doc(hidden)]
    Sqlite(Object<Opener<SqliteConnection>>),
    #[doc(hidden)]
    Postgres(Object<Opener<PgConnection>>),
}

impl Reader {
    /// Which engine it is connected to.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
    use tokio::net::TcpListener;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    async fn readers_in(folder: &tempfile::TempDir) -> Readers<SqliteConnection> {
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("file.db")).create_if_missing(true);
        Readers::open(options, 3, HOUR, HOUR).await.unwrap()
    }

    #[tokio::test]
    async fn old_connections_are_closed_and_others_follow() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers_in(&folder).await;
        let all = [readers.get().await.unwrap(), readers.get().await.unwrap(), readers.get().await.unwrap()];
        assert_eq!(readers.numbers(), (3, 0));
        drop(all);
        readers.close_old(HOUR, HOUR).await;
        assert_eq!(readers.numbers(), (3, 3));
        let held = readers.get().await.unwrap();
        readers.close_old(HOUR, Duration::ZERO).await;
        assert_eq!(readers.numbers(), (1, 0), "one that is used is left alone");
        drop(held);
        readers.close_old(Duration::ZERO, HOUR).await;
        assert_eq!(readers.numbers(), (0, 0));
        drop(readers.get().await.unwrap());
        assert_eq!(readers.numbers(), (1, 1));
    }

    #[tokio::test]
    async fn a_connection_whose_statement_did_not_end_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers_in(&folder).await;
        let mut held = readers.get().await.unwrap();
        let first = Object::id(&held);
        begin(&mut held);
        end(&mut held, &Ok(()));
        drop(held);
        let mut held = readers.get().await.unwrap();
        assert_eq!(Object::id(&held), first);
        begin(&mut held);
        drop(held);
        assert_ne!(Object::id(&readers.get().await.unwrap()), first);
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_that_the_database_is_busy() {
        let folder = tempfile::tempdir().unwrap();
        let readers = Readers { patience: Duration::from_millis(20), ..readers_in(&folder).await };
        let _all = [readers.get().await.unwrap(), readers.get().await.unwrap(), readers.get().await.unwrap()];
        let Err(error) = readers.get().await else { panic!("a fourth of three") };
        assert!(error.is_unavailable(), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_yet_is_waited_for() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(free.port());
        let mut opening = std::pin::pin!(Readers::<PgConnection>::open(options, 1, HOUR, HOUR));
        assert!(timeout(FIRST_PAUSE * 3, &mut opening).await.is_err(), "it gave up at once");
        let server = TcpListener::bind(free).await.unwrap();
        // Comes, and is sent away: that is an answer.
        let (came, opened) = tokio::join!(async { server.accept().await.map(drop) }, opening);
        came.unwrap();
        assert!(opened.is_err());
    }

    #[tokio::test]
    async fn closing_waits_for_those_that_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers_in(&folder).await;
        let held = readers.get().await.unwrap();
        let mut closing = std::pin::pin!(readers.close());
        assert!(timeout(FIRST_PAUSE * 3, &mut closing).await.is_err());
        drop(held);
        closing.await;
        assert!(readers.get().await.is_err());
    }
}
