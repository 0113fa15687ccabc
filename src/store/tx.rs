//! A transaction: a value that must be committed.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Postgres, SqliteConnection, Transaction};

use super::{Dialect, Result, StoreError, writer::WriterTx};

/// A transaction on the writer (SQLite: `begin immediate`, so one at a time; PostgreSQL: read committed). Dropping it
/// rolls it back. Hold it for database work only: every other writer of SQLite waits.
///
/// A statement that fails, or whose future is dropped half-way, leaves the transaction aborted on both engines: it
/// takes nothing more, a commit included, until [`Tx::rollback_to`]. (PostgreSQL works like that, and would answer
/// such a commit with a silent rollback; SQLite may have rolled back by itself and would commit what follows alone.)
pub struct Tx {
    inner: Inner,
    aborted: bool,
}

enum Inner {
    Sqlite(WriterTx),
    Postgres(Transaction<'static, Postgres>),
}

pub(super) enum Connection<'t> {
    Sqlite(&'t mut SqliteConnection),
    Postgres(&'t mut PgConnection),
}

impl Tx {
    pub(super) fn sqlite(tx: WriterTx) -> Self {
        Self { inner: Inner::Sqlite(tx), aborted: false }
    }

    pub(super) fn postgres(tx: Transaction<'static, Postgres>) -> Self {
        Self { inner: Inner::Postgres(tx), aborted: false }
    }

    /// Which engine it runs on.
    pub fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// To be called before a statement; aborted until [`Tx::leave`] follows.
    pub(super) fn enter(&mut self) -> Result<()> {
        if self.aborted {
            return Err(StoreError::aborted());
        }
        self.aborted = true;
        Ok(())
    }

    /// To be called after a statement that succeeded.
    pub(super) fn leave(&mut self) {
        self.aborted = false;
    }

    pub(super) fn connection(&mut self) -> Connection<'_> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Connection::Sqlite(tx.connection()),
            Inner::Postgres(tx) => Connection::Postgres(&mut *tx),
        }
    }

    /// Makes it last. When this fails, or is cancelled, it is open whether the commit happened.
    pub async fn commit(self) -> Result<()> {
        if self.aborted {
            return Err(StoreError::aborted());
        }
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => Ok(tx.commit().await?),
        }
    }

    /// Undoes it and waits until that is done; dropping does the same in the background.
    pub async fn rollback(self) -> Result<()> {
        match self.inner {
            Inner::Sqlite(tx) => tx.rollback().await,
            Inner::Postgres(tx) => Ok(tx.rollback().await?),
        }
    }

    /// Marks a point to return to.
    pub async fn savepoint(&mut self, name: &'static str) -> Result<()> {
        self.script(format!("savepoint {name}")).await
    }

    /// Undoes what was done since the savepoint, which stays. An aborted transaction is usable again.
    pub async fn rollback_to(&mut self, name: &'static str) -> Result<()> {
        self.aborted = false;
        self.script(format!("rollback to savepoint {name}")).await
    }

    /// Forgets a savepoint, keeping what was done since.
    pub async fn release(&mut self, name: &'static str) -> Result<()> {
        self.script(format!("release savepoint {name}")).await
    }

    /// Runs one or more statements without values. The text is this program's own.
    pub(super) async fn script(&mut self, text: impl Into<String>) -> Result<()> {
        self.enter()?;
        let script = sqlx::raw_sql(AssertSqlSafe(text.into()));
        match self.connection() {
            Connection::Sqlite(connection) => connection.execute(script).await.map(drop)?,
            Connection::Postgres(connection) => connection.execute(script).await.map(drop)?,
        }
        self.leave();
        Ok(())
    }
}
