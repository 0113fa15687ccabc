//! Connections for single statements, handed out again in the moment in which a statement is through.
//!
//! A pool of sqlx asks each connection how it is when it comes back, in a task of its own, since something may have been
//! left open on it. That costs as much as many a read: another trip to the thread of a SQLite connection, or over the
//! network to PostgreSQL. Here each statement stands alone, and a connection is given up where its statement did not end,
//! or lost it. Whichever was used last is used next: its pages are in memory.

use std::time::Duration;

use deadpool::{
    Runtime, Status,
    managed::{Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{ConnectOptions as _, Connection, PgConnection, SqliteConnection};

use super::{Dialect, Result, StoreError};

/// A number of connections to one database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers<C: Connection>(Pool<Opener<C>>);

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
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .recycle_timeout(Some(patience))
            .build()
            .map_err(|error| StoreError::setup(error.to_string()))?;
        let readers = Self(pool);
        drop(readers.get().await?);
        Ok(readers)
    }

    /// Waits for a connection.
    pub(super) async fn get(&self) -> Result<Object<Opener<C>>> {
        // Boxed: the future of opening a connection takes kilobytes, and each request's future holds some of these.
        Box::pin(self.0.get()).await.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Closed => sqlx::Error::PoolClosed.into(),
            // A hook or a runtime that was not given: there is none of the first, and one of the second.
            PoolError::Timeout(_) | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                StoreError::busy()
            }
        })
    }

    /// How many there are, and how many of them nobody uses.
    pub(super) fn numbers(&self) -> (u32, u32) {
        let Status { size, available, .. } = self.0.status();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(size), number(available))
    }

    /// Closes those that nobody has used for `idle`, and those that nobody uses at the moment and that are of `age`.
    pub(super) async fn close_old(&self, idle: Duration, age: Duration) {
        close(self.0.retain(|_, metrics| metrics.last_used() < idle && metrics.age() < age).removed).await;
    }

    /// Closes those that nobody uses; the others follow when they come back.
    pub(super) async fn close(&self) {
        let idle = self.0.retain(|_, _| false).removed;
        self.0.close();
        close(idle).await;
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
        Ok(Kept { connection: self.options.connect().await?, sound: true })
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
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn old_connections_are_closed_and_others_follow() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("file.db")).create_if_missing(true);
        let readers: Readers<SqliteConnection> = Readers::open(options, 3, HOUR, HOUR).await.unwrap();
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
}
