//! Text messages through an HTTP provider: `POST {"to", "text"}` with a bearer token; any 2xx means taken.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Carrier, Refusal};
use crate::{
    base::{
        outbound::{Named, Outbound},
        secret::Secret,
    },
    service::notices::Outgoing,
};

/// The configuration names no usable provider.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SmsError {
    key: &'static str,
    reason: &'static str,
}

/// A provider of text messages. Its address comes from the operator, who may name a private one.
pub struct SmsProvider {
    client: Outbound,
    url: String,
    token: Option<Secret>,
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
        let client = Outbound::new(Named::ByOperator)
            .map_err(|_| SmsError { key: "notices.sms_url", reason: "TLS cannot be set up" })?;
        if !client.takes(url) {
            return Err(SmsError { key: "notices.sms_url", reason: "not an HTTP address" });
        }
        let printable = token.expose().bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !printable {
            return Err(SmsError { key: "notices.sms_token", reason: "not printable ASCII" });
        }
        let token = (!token.expose().is_empty()).then(|| token.clone());
        Ok(Self { client, url: url.to_owned(), token })
    }

    async fn send(&self, notice: &Outgoing) -> Result<(), Refusal> {
        let sms = Sms { to: &notice.recipient, text: &notice.text };
        let body = serde_json::to_vec(&sms).map_err(|error| Refusal::ForGood(error.to_string()))?;
        // The same for every attempt: a provider that knows the header sends it once.
        let key = format!("notice-{}-{}", notice.organization_id, notice.id);
        let answer = self.client.post(&self.url, body, self.token.as_ref(), &key).await;
        match answer.map_err(|error| Refusal::ForNow(error.to_string()))?.status {
            200..=299 => Ok(()),
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
const fn is_for_good(status: u16) -> bool {
    matches!(status, 400 | 410 | 422)
}
