//! The server's own endpoints: `/livez`, `/readyz`, `/metrics`, `/openapi/<family>.json`, `/asyncapi.json`.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{
    Reply,
    openapi::{self, Contract},
    remote::Remote,
};
use crate::{
    base::metrics::Metrics,
    domain::error::{Error, Result},
    realtime::asyncapi,
};

/// Says whether the server can do its work.
pub trait Ready: Send + Sync + 'static {
    /// What keeps it from that, in words for an operator; empty = ready.
    fn problems(&self) -> BoxFuture<'_, Vec<String>>;
}

/// One of the server's own endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// The process runs.
    Live,
    /// The server takes work.
    Ready,
    /// Figures for Prometheus.
    Metrics,
    /// A family's contract.
    OpenApi(Contract),
    /// The socket's contract.
    AsyncApi,
}

#[derive(Serialize)]
struct State {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<String>>,
}

impl Own {
    /// The endpoint at `path`.
    pub fn at(path: &str, contract: impl FnOnce(&str) -> Option<Contract>) -> Option<Self> {
        Some(match path {
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/asyncapi.json" => Self::AsyncApi,
            _ => {
                let name = path.strip_prefix("/openapi/")?.strip_suffix(".json")?;
                Self::OpenApi(contract(name)?)
            }
        })
    }

    /// Name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Metrics => "metrics",
            Self::OpenApi(_) => "openapi",
            Self::AsyncApi => "asyncapi",
        }
    }

    /// Answers. Metrics and reasons are for loopback and trusted networks only.
    pub async fn answer(self, remote: Remote, ready: &dyn Ready, metrics: &Metrics) -> Result<Reply> {
        match self {
            Self::Live => Ok(Reply::bytes(200, "text/plain; charset=utf-8", "alive\n".into())),
            Self::Ready => {
                let problems = ready.problems().await;
                let state = State {
                    ready: problems.is_empty(),
                    reasons: (remote.trusted && !problems.is_empty()).then_some(problems),
                };
                Reply::json(if state.ready { 200 } else { 503 }, &state)
            }
            Self::Metrics if !remote.trusted => Ok(Reply::empty(403)),
            Self::Metrics => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                Ok(Reply::bytes(200, kind, metrics.text().into()))
            }
            Self::AsyncApi => Ok(Reply::bytes(200, "application/json", asyncapi::document().into())),
            Self::OpenApi(contract) => {
                // Converting takes a good part of a second, once.
                let document = tokio::task::spawn_blocking(move || openapi::document(contract));
                let document = document.await.map_err(Error::unavailable)??;
                Ok(Reply::bytes(200, "application/json", document))
            }
        }
    }
}
