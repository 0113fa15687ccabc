//! A migrated, empty database for each test, copied from a template that is made once.

use std::{fmt::Write as _, future::Future, ops::Deref, str::FromStr as _};

use sha2::{Digest as _, Sha256};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
    postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use switchboard::{
    base::{
        clock::{Clock, Timestamp},
        tasks::Tasks,
    },
    store::{DatabaseOptions, Db, Dialect},
};
use tempfile::TempDir;
use tokio::{runtime::Handle, sync::OnceCell};
use uuid::Uuid;

use super::{log, notes};
use crate::store::plans;

/// The variable that names a PostgreSQL server for tests; its role must be allowed to make databases.
const POSTGRES: &str = "SWITCHBOARD_TEST_POSTGRES";

/// The start of time in tests: 2026-01-01.
pub const START: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

/// A database of its own, which goes with it. Derefs to its [`Db`].
pub struct TestDb {
    pub db: Db,
    options: DatabaseOptions,
    home: Home,
    runtime: Handle,
}

/// Where it lives.
enum Home {
    Folder(#[expect(dead_code, reason = "removes the folder when dropped")] TempDir),
    Server(Box<PgConnectOptions>, String),
}

impl Deref for TestDb {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

impl TestDb {
    /// A file in a folder of its own.
    pub async fn sqlite() -> Self {
        static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("template.db");
                let db =
                    Db::open(&DatabaseOptions::new(format!("sqlite://{}", path.display()))).await.unwrap();
                db.migrate(&Clock::manual(START)).await.unwrap();
                db.close().await;
                std::fs::read(path).unwrap()
            })
            .await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("switchboard.db");
        std::fs::write(&path, template).unwrap();
        let options = DatabaseOptions::new(format!("sqlite://{}", path.display()));
        Self {
            db: Db::open(&options).await.unwrap(),
            options,
            home: Home::Folder(folder),
            runtime: Handle::current(),
        }
    }

    /// A database of the test server; `None`, noted, where there is no server.
    pub async fn postgres() -> Option<Self> {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let Ok(url) = std::env::var(POSTGRES) else {
            notes::left_out(&format!("PostgreSQL ({POSTGRES} is not set)"));
            return None;
        };
        let server = PgConnectOptions::from_str(&url).unwrap();
        let template = TEMPLATE.get_or_init(|| make_postgres_template(&url, &server)).await;
        let name = format!("switchboard_test_{}", unique());
        let mut admin = server.connect().await.unwrap();
        run(&mut admin, format!("create database {name} template {template}")).await;
        let options = DatabaseOptions {
            max_connections: 8,
            ..DatabaseOptions::new(with_database(&url, &server, &name))
        };
        Some(Self {
            db: Db::open(&options).await.unwrap(),
            options,
            home: Home::Server(Box::new(server), name),
            runtime: Handle::current(),
        })
    }

    /// How it was opened.
    pub fn options(&self) -> &DatabaseOptions {
        &self.options
    }

    /// A second set of connections to the same data: another node, or the same one after a restart.
    pub async fn reopen(&self) -> Db {
        Db::open(&self.options).await.unwrap()
    }

    /// Tasks on the test's runtime.
    pub fn tasks(&self) -> Tasks {
        Tasks::new(self.runtime.clone())
    }

    /// A connection past the store, to look at the database itself.
    pub async fn raw(&self) -> Raw {
        match self.db.dialect() {
            Dialect::Sqlite => Raw::Sqlite(
                SqliteConnectOptions::from_str(&self.options.url).unwrap().connect().await.unwrap(),
            ),
            Dialect::Postgres => {
                Raw::Postgres(PgConnectOptions::from_str(&self.options.url).unwrap().connect().await.unwrap())
            }
        }
    }
}

/// A driver's own connection.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let Home::Server(server, name) = &self.home else { return };
        let (server, drop_it) = (server.clone(), format!("drop database if exists {name} with (force)"));
        // Dropping cannot wait on the test's runtime, whose threads it may stand on.
        let done = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
                async move {
                    run(&mut server.connect().await.unwrap(), drop_it).await;
                },
            );
        });
        let dropped = done.join().is_ok();
        assert!(dropped || std::thread::panicking(), "the test database could not be dropped");
    }
}

/// A connection to a database with rows in every table, which is only looked at: PostgreSQL plans by how many there
/// are. It stays on the server, as the template does.
async fn full_postgres() -> Raw {
    static FULL: OnceCell<PgConnectOptions> = OnceCell::const_new();
    let make = || async {
        let url = std::env::var(POSTGRES).expect("it was there before");
        let server = PgConnectOptions::from_str(&url).unwrap();
        let template = make_postgres_template(&url, &server).await;
        let name = format!("{template}_full");
        let mut admin = server.connect().await.unwrap();
        run(&mut admin, "select pg_advisory_lock(1937203814)".into()).await;
        if !exists(&mut admin, &name).await {
            let making = format!("{name}_{}", unique());
            run(&mut admin, format!("create database {making} template {template}")).await;
            let mut raw = Raw::Postgres(server.clone().database(&making).connect().await.unwrap());
            plans::fill(&mut raw).await;
            if let Raw::Postgres(connection) = raw {
                connection.close().await.unwrap();
            }
            run(&mut admin, format!("alter database {making} rename to {name}")).await;
        }
        server.database(&name)
    };
    Raw::Postgres(FULL.get_or_init(make).await.connect().await.unwrap())
}

async fn exists(admin: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(admin)
        .await
        .unwrap()
}

/// Names the template by its migrations, so that runs share it on a server that stays.
async fn make_postgres_template(url: &str, server: &PgConnectOptions) -> String {
    let mut hash = Sha256::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        hash.update(file.file_name().unwrap().to_str().unwrap());
        hash.update(std::fs::read(file).unwrap());
    }
    let name = format!("switchboard_template_{}", &hex::encode(hash.finalize())[..16]);
    let mut admin = server.connect().await.unwrap();
    // Another process may be at it: the lock goes with the connection.
    run(&mut admin, "select pg_advisory_lock(1937203813)".into()).await;
    if !exists(&mut admin, &name).await {
        let making = format!("{name}_{}", unique());
        run(&mut admin, format!("create database {making}")).await;
        let db = Db::open(&DatabaseOptions::new(with_database(url, server, &making))).await.unwrap();
        db.migrate(&Clock::manual(START)).await.unwrap();
        db.close().await;
        run(&mut admin, format!("alter database {making} rename to {name}")).await;
    }
    name
}

/// The server's address with another database in it.
fn with_database(url: &str, server: &PgConnectOptions, name: &str) -> String {
    let old = format!("/{}", server.get_database().expect("the test server's address names a database"));
    let (base, parameters) = url.split_once('?').map_or((url, None), |(base, rest)| (base, Some(rest)));
    let mut url = format!("{}/{name}", base.strip_suffix(&old).expect("the address ends in the database"));
    if let Some(parameters) = parameters {
        write!(url, "?{parameters}").unwrap();
    }
    url
}

#[expect(clippy::disallowed_methods, reason = "names of databases of parallel test runs must differ")]
fn unique() -> String {
    Uuid::new_v4().simple().to_string()
}

async fn run(connection: &mut PgConnection, text: String) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await.unwrap();
}

/// Runs a test on a runtime like the server's.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Runs a test on SQLite.
pub fn run_on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(TestDb) -> F) {
    log::listen();
    block_on(async {
        test(TestDb::sqlite().await).await;
        let connect = async || {
            let db = TestDb::sqlite().await;
            (db.raw().await, Some(db))
        };
        plans::explain_what_ran(Dialect::Sqlite, connect).await;
    });
}

/// Runs a test on PostgreSQL, if there is one.
pub fn run_on_postgres<F: Future<Output = ()>>(test: impl FnOnce(TestDb) -> F) {
    log::listen();
    block_on(async {
        if let Some(db) = TestDb::postgres().await {
            test(db).await;
            plans::explain_what_ran(Dialect::Postgres, async || (full_postgres().await, None)).await;
        }
    });
}

/// Makes `name::sqlite` and `name::postgres` of each `async fn name(db: TestDb) { .. }`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: TestDb) $body:block)+) => {$(
        $(#[$meta])*
        async fn $name($db: $crate::harness::db::TestDb) $body

        mod $name {
            #[test]
            fn sqlite() {
                $crate::harness::db::run_on_sqlite(super::$name);
            }

            #[test]
            fn postgres() {
                $crate::harness::db::run_on_postgres(super::$name);
            }
        }
    )+};
}
pub(crate) use on_both;
