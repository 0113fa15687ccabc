//! A whole server for a test: real HTTP, its own database and folder, a clock that the test moves.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use switchboard::{
    app::{App, Kernel, Ports},
    base::{clock::Clock, random::Random, secret::Secret},
    config::Config,
    service::provisioning::Provisioned,
};
use tempfile::TempDir;

use super::{
    db::{START, TestDb},
    log,
};
use crate::http::client::{self, Response};

/// Everybody's password.
pub const PASSWORD: &str = "correct horse";

/// Short timers: nobody wants to wait for a lost connection.
pub const IMPATIENT: &str = "
    [server]
    drain_seconds = 0
    [calls]
    lease_seconds = 5
    ping_seconds = 1
    empty_seconds = 1
";

/// A server with two organisations: Acme (administrator Ada) and Other (administrator Otto).
pub struct Server {
    app: Option<App>,
    config: Config,
    pub address: SocketAddr,
    pub clock: Clock,
    pub acme: Provisioned,
    pub other: Provisioned,
    pub db: TestDb,
    folder: TempDir,
}

/// A request that is being put together.
pub struct Call<'a> {
    server: &'a Server,
    method: &'static str,
    path: String,
    headers: String,
    body: Option<Value>,
}

/// What came back; it fits the contract.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub response: Response,
}

impl Server {
    pub async fn start(db: TestDb) -> Self {
        Self::start_with(db, "").await
    }

    /// With more settings, as TOML.
    pub async fn start_with(db: TestDb, settings: &str) -> Self {
        Self::open(db, settings, Clock::manual(START)).await
    }

    /// On the machine's clock: for timers that run by themselves.
    pub async fn start_live(db: TestDb, settings: &str) -> Self {
        Self::open(db, settings, Clock::system()).await
    }

    async fn open(db: TestDb, settings: &str, clock: Clock) -> Self {
        log::listen();
        let folder = tempfile::tempdir().unwrap();
        let quick = "[auth]\nargon2_memory_kib = 64\nargon2_passes = 1\n";
        let auth = if settings.contains("[auth]") { "" } else { quick };
        let mut config = Config::with(&format!("{settings}\n{auth}")).unwrap();
        config.database.url = Secret::new(db.options().url.clone());
        config.server.data_dir = folder.path().to_owned();
        config.files.url = format!("file://{}", folder.path().join("files").display());
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        config.http.workers = 1;
        let app = launch(&config, &clock).await;
        let password = Secret::new(PASSWORD);
        let services = app.kernel().services.clone();
        let (acme, other) = app
            .kernel()
            .runtime()
            .spawn(async move {
                let make = &services.provisioning;
                let acme = make
                    .create_organization("Acme", ("Ada", "ada@acme.test"), Some(&password))
                    .await
                    .unwrap();
                let other = make
                    .create_organization("Other", ("Otto", "otto@other.test"), Some(&password))
                    .await
                    .unwrap();
                (acme, other)
            })
            .await
            .unwrap();
        Self { address: app.address(), app: Some(app), config, clock, acme, other, db, folder }
    }

    /// Stops the server and starts it again over the same data, at another address.
    pub async fn restart(&mut self) {
        let app = self.app.take().unwrap();
        apart(|| app.stop()).await;
        let app = launch(&self.config, &self.clock).await;
        self.address = app.address();
        self.app = Some(app);
    }

    /// The parts below HTTP.
    pub fn kernel(&self) -> &Kernel {
        self.app.as_ref().unwrap().kernel()
    }

    /// E-mails and text messages as an operator sees them, newest first.
    pub fn outbox(&self) -> Vec<switchboard::service::notices::Outgoing> {
        let kernel = self.app.as_ref().unwrap().kernel();
        let (services, runtime) = (kernel.services.clone(), kernel.runtime().handle().clone());
        let newest = async move { services.notices.newest(None, 10).await.unwrap() };
        std::thread::spawn(move || runtime.block_on(newest)).join().unwrap()
    }

    /// Where uploads are kept.
    pub fn files(&self) -> std::path::PathBuf {
        self.folder.path().join("files")
    }

    /// Time goes by.
    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call<'_> {
        Call { body: Some(body), ..self.call("POST", path) }
    }

    pub fn put(&self, path: &str, body: Value) -> Call<'_> {
        Call { body: Some(body), ..self.call("PUT", path) }
    }

    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call("DELETE", path)
    }

    /// Any request, with more headers, each after a line break; the response comes with what the contract says to it.
    pub async fn exchange(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> (Response, Result<(), String>) {
        client::exchange(self.address, &format!("{method} {target}{headers}"), body).await
    }

    /// Any method.
    pub fn call(&self, method: &'static str, path: &str) -> Call<'_> {
        Call { server: self, method, path: path.to_owned(), headers: String::new(), body: None }
    }

    /// A fresh user token.
    pub async fn sign_in(&self, login: &str) -> String {
        let pair = self.post("/api/v1/auth", json!({ "email": login, "password": PASSWORD })).ok().await;
        pair["token"].as_str().unwrap().to_owned()
    }

    /// A fresh enterprise token.
    pub async fn administer(&self, login: &str) -> String {
        let body = json!({ "email": login, "password": PASSWORD });
        self.post("/api/v1/enterprise/auth", body).ok().await.as_str().unwrap().to_owned()
    }

    /// Makes a member of Acme with the address `<name>@acme.test`; its number.
    pub async fn hire(&self, name: &str) -> i64 {
        switchboard::store::sql("update organization set domains = $1")
            .bind("[\"acme.test\"]")
            .execute(&self.db.db)
            .await
            .unwrap();
        let admin = self.administer("ada@acme.test").await;
        let email = format!("{}@acme.test", name.to_lowercase());
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        let made = self.post("/api/v1r1/enterprise/users", body).with(&admin).ok().await;
        made["id"].as_i64().unwrap()
    }
}

impl From<&Server> for SocketAddr {
    fn from(server: &Server) -> Self {
        server.address
    }
}

async fn launch(config: &Config, clock: &Clock) -> App {
    let (config, ports) = (config.clone(), Ports { clock: clock.clone(), random: Random::from_os() });
    apart(|| App::start(config, ports).unwrap()).await
}

/// Servers are started and stopped on threads that are no runtime's.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| std::thread::spawn(work).join().unwrap()).await.unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            let _ = std::thread::spawn(|| app.stop()).join();
        }
    }
}

impl Call<'_> {
    /// With a token.
    pub fn with(self, token: &str) -> Self {
        self.header("authorization", token)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("\n{name}: {value}"));
        self
    }

    /// Sends it; what comes back must fit the contract.
    pub async fn send(self) -> Answer {
        let body = self.body.map(|body| body.to_string()).unwrap_or_default();
        let (response, judgement) =
            self.server.exchange(self.method, &self.path, &self.headers, body.as_bytes()).await;
        judgement.unwrap_or_else(|fault| panic!("{fault}"));
        let body = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        Answer { status: response.status, body, response }
    }

    /// The body of a success.
    pub async fn ok(self) -> Value {
        let what = format!("{} {}", self.method, self.path);
        let answer = self.send().await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
        answer.body
    }

    /// Status and name (or text) of a refusal.
    pub async fn refused(self) -> (u16, String) {
        let answer = self.send().await;
        let body = answer.body;
        let text = ["name", "message"].iter().find_map(|key| body.get(*key).and_then(Value::as_str));
        (answer.status, text.or(body.as_str()).unwrap_or_default().to_owned())
    }
}
