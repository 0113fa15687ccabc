//! The configuration: typed, bounded, complete. `config/default.toml` (compiled in) is below the file of `--config`,
//! which is below the environment (`SWITCHBOARD__SECTION__KEY`). A wrong key or value is an error that names its
//! file or variable, the key and the reason; nothing starts half-configured.
//!
//! Keys end in their unit and fields are named as their keys: `calls.ring_seconds` is a [`std::time::Duration`].

mod auth;
mod bus;
mod calls;
mod check;
mod database;
mod files;
mod http;
mod notices;
mod read;
mod realtime;
mod retention;
mod server;
mod telemetry;
mod webhooks;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Source,
    error::Kind,
    providers::{Env, Format as _, Toml},
};
use serde::Deserialize;

use self::check::Check;
pub use self::{
    auth::Auth,
    bus::Bus,
    calls::{Calls, Conversations},
    database::{Database, Journal, Synchronous},
    files::Files,
    http::{Http, Networks, Origins},
    notices::Notices,
    realtime::{BackendTokens, Namespace, Realtime, ServerKey},
    retention::Retention,
    server::Server,
    telemetry::Telemetry,
    webhooks::Webhooks,
};
use crate::base::secret::Secret;

/// The defaults with their documentation.
pub const DEFAULT: &str = include_str!("../../config/default.toml");
const ENVIRONMENT: &str = "SWITCHBOARD__";

/// All of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "a field is the section of its name; the types say what they are")]
pub struct Config {
    pub server: Server,
    pub http: Http,
    pub database: Database,
    pub journal: Journal,
    pub bus: Bus,
    pub files: Files,
    pub auth: Auth,
    pub realtime: Realtime,
    pub conversations: Conversations,
    pub calls: Calls,
    pub notices: Notices,
    pub retention: Retention,
    pub webhooks: Webhooks,
    pub telemetry: Telemetry,
}

impl Config {
    /// The defaults, then `file`, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::from(Self::files(file)?.merge(Env::prefixed(ENVIRONMENT).split("__")))
    }

    /// The defaults, then the TOML text `over`: for tests, which must not depend on the environment.
    pub fn with(over: &str) -> Result<Self, ConfigError> {
        Self::from(Figment::from(Toml::string(DEFAULT)).merge(Toml::string(over)))
    }

    fn files(file: Option<&Path>) -> Result<Figment, ConfigError> {
        let figment = Figment::from(Toml::string(DEFAULT));
        let Some(path) = file else { return Ok(figment) };
        // The loader takes a missing file for an empty one.
        std::fs::metadata(path).map_err(|error| ConfigError::Unreadable(path.to_owned(), error))?;
        Ok(figment.merge(Toml::file_exact(path)))
    }

    fn from(figment: Figment) -> Result<Self, ConfigError> {
        let mut config: Self = read::extract(&figment)
            .map_err(|errors| ConfigError::Wrong(errors.into_iter().map(Mistake::from).collect()))?;
        config.resolve();
        let mistakes: Vec<_> = config
            .check()
            .into_iter()
            .map(|(key, reason)| Mistake::of_value(figment.find_metadata(key), key, reason))
            .collect();
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Wrong(mistakes)) }
    }

    /// Fills in what depends on another key.
    fn resolve(&mut self) {
        let data = self.server.data_dir.display();
        if self.database.url.expose().is_empty() {
            self.database.url = Secret::new(format!("sqlite://{data}/switchboard.db"));
        }
        if self.files.url.is_empty() {
            self.files.url = format!("file://{data}/files");
        }
    }

    fn check(&self) -> Vec<(&'static str, String)> {
        let check = &mut Check::default();
        self.server.check(check);
        self.http.check(check);
        self.database.check(check);
        self.journal.check(check);
        self.bus.check(check);
        self.files.check(check);
        self.auth.check(check);
        self.realtime.check(check);
        self.conversations.check(check);
        self.calls.check(check);
        self.notices.check(check);
        self.retention.check(check);
        self.telemetry.check(check);
        let safe = !self.realtime.insecure || self.http.listen.ip().is_loopback();
        check.ensure("realtime.insecure", safe, || "only with http.listen on loopback".to_owned());
        std::mem::take(check).finish()
    }

    /// File of the master key, where the configuration holds none.
    pub fn master_key_file(&self) -> PathBuf {
        self.server.data_dir.join("master.key")
    }
}

/// Why a configuration was refused.
#[derive(Debug)]
pub enum ConfigError {
    /// The file of `--config` cannot be read.
    Unreadable(PathBuf, io::Error),
    /// Wrong keys or values, all that were found.
    Wrong(Vec<Mistake>),
}

/// One wrong key or value.
#[derive(Debug)]
pub struct Mistake {
    source: String,
    key: String,
    reason: String,
}

impl Mistake {
    fn of_value(metadata: Option<&Metadata>, key: &str, reason: String) -> Self {
        let source = name_of(metadata, &key.split('.').map(str::to_owned).collect::<Vec<_>>());
        Self { source, key: key.to_owned(), reason }
    }
}

impl From<figment::Error> for Mistake {
    fn from(error: figment::Error) -> Self {
        let mut path = error.path.clone();
        let reason = match &error.kind {
            Kind::UnknownField(name, known) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                format!("no such key; this section has {}", known.join(", "))
            }
            // What was found may be a secret that stands under the wrong key: say what is needed instead.
            Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("must be {expected}"),
            kind => kind.to_string(),
        };
        Self { source: name_of(error.metadata.as_ref(), &path), key: path.join("."), reason }
    }
}

/// The file or the environment variable that a key came from.
fn name_of(metadata: Option<&Metadata>, path: &[String]) -> String {
    match metadata {
        Some(found) if found.name.contains("environment") => {
            format!("{ENVIRONMENT}{}", path.join("__").to_uppercase())
        }
        Some(found) => found
            .source
            .as_ref()
            .and_then(Source::file_path)
            .map_or_else(|| "config/default.toml".to_owned(), |p| p.display().to_string()),
        None => "configuration".to_owned(),
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.source, self.key, self.reason)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Wrong(mistakes) => {
                let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
