//! Text messages through an HTTP provider: `POST {"to", "text"}` with a bearer token; any 2xx means taken.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{
    Client, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use serde::Serialize;

use super::{Carrier, Refusal};
use crate::{
    base::{secret::Secret, tls},
    service::notices::Outgoing,
};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// The configuration names no usable provider.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SmsError {
    key: &'static str,
    reason: &'static str,
}

/// A provider of text messages. Its address comes from the operator, who may name a private one; no proxy of the
/// environment and no redirect can lead a message elsewhere.
pub struct SmsProvider {
    client: Client,
    url: Url,
    token: Option<HeaderValue>,
}

impl std::fmt::Debug for SmsProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SmsProvider")
    }
}

#[derive(Serialize)]
struct Sms<'a> {
    to: &'a str,
    text: &'a str,
}

impl SmsProvider {
    /// `url` is `notices.sms_url`, `token` is `notices.sms_token` (empty = none).
    pub fn new(url: &str, token: &Secret) -> Result<Self, SmsError> {
        let url = Url::parse(url)
            .map_err(|_| SmsError { key: "notices.sms_url", reason: "not an HTTP address" })?;
        let token = if token.expose().is_empty() {
            None
        } else {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| SmsError { key: "notices.sms_token", reason: "not printable ASCII" })?;
            value.set_sensitive(true);
            Some(value)
        };
        tls::install_provider();
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent("switchboard")
            .build()
            .map_err(|_| SmsError { key: "notices.sms_url", reason: "TLS cannot be set up" })?;
        Ok(Self { client, url, token })
    }

    async fn send(&self, notice: &Outgoing) -> Result<(), Refusal> {
        let sms = Sms { to: &notice.recipient, text: &notice.text };
        let body = serde_json::to_vec(&sms).map_err(|error| Refusal::ForGood(error.to_string()))?;
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            // The same for every attempt: a provider that knows the header sends it once.
            .header("Idempotency-Key", format!("notice-{}-{}", notice.organization_id, notice.id))
            .body(body);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        // Errors would show the address, which may hold a key.
        let answer =
            request.send().await.map_err(|error| Refusal::ForNow(error.without_url().to_string()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status if is_for_good(status) => Err(Refusal::ForGood(format!("the provider answered {status}"))),
            status => Err(Refusal::ForNow(format!("the provider answered {status}"))),
        }
    }
}

impl Carrier for SmsProvider {
    fn channel(&self) -> &'static str {
        "sms"
    }

    fn carry<'a>(&'a self, _: &'a str, notice: &'a Outgoing) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.send(notice))
    }
}

/// What says that this message will never be taken. A refused token or a wrong path can be put right.
fn is_for_good(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::GONE)
}
