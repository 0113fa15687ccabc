//! E-mail by SMTP: plain text and HTML in one message, in the organisation's name.

use futures_util::future::BoxFuture;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::Error as SmtpError,
};

use super::{Carrier, Refusal};
use crate::{base::secret::Secret, service::notices::Outgoing};

/// The configuration names no usable server or sender.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct EmailError {
    key: &'static str,
    reason: String,
}

/// An SMTP server. Connections are kept and used again.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Smtp {
    /// `url` is `notices.smtp_url`: `smtps://` speaks TLS from the start, `smtp://` needs STARTTLS unless it ends in
    /// `?tls=none`. `from` is `notices.from`.
    pub fn new(url: &Secret, from: &str) -> Result<Self, EmailError> {
        // The parser's error may repeat the address, which may hold a password.
        let refuse =
            || EmailError { key: "notices.smtp_url", reason: "not an address of an SMTP server".to_owned() };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&transport_url(url.expose()))
            .map_err(|_| refuse())?
            .build();
        let from =
            from.parse().map_err(|error| EmailError { key: "notices.from", reason: format!("{error}") })?;
        Ok(Self { transport, from })
    }

    fn message(&self, sender: &str, notice: &Outgoing) -> Result<Message, Refusal> {
        let wrong = |error: &dyn std::fmt::Display| Refusal::ForGood(error.to_string());
        let to: Address = notice.recipient.parse().map_err(|error| wrong(&error))?;
        let name = if sender.is_empty() { self.from.name.clone() } else { Some(sender.to_owned()) };
        let parts = MultiPart::alternative_plain_html(notice.text.clone(), notice.html.clone());
        Message::builder()
            .from(Mailbox::new(name, self.from.email.clone()))
            .to(Mailbox::new(None, to))
            .subject(&notice.subject)
            // The same for every attempt: a mailbox that got it twice can tell.
            .message_id(Some(format!(
                "<notice-{}-{}@{}>",
                notice.organization_id,
                notice.id,
                self.from.email.domain()
            )))
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(parts)
            .map_err(|error| wrong(&error))
    }

    async fn send(&self, sender: &str, notice: &Outgoing) -> Result<(), Refusal> {
        let message = self.message(sender, notice)?;
        self.transport.send(message).await.map(drop).map_err(|error| refusal(&error))
    }
}

impl Carrier for Smtp {
    fn channel(&self) -> &'static str {
        "email"
    }

    fn carry<'a>(&'a self, sender: &'a str, notice: &'a Outgoing) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.send(sender, notice))
    }
}

/// The transport takes plain text unless told otherwise; we the other way round.
fn transport_url(url: &str) -> String {
    if let Some(plain) = url.strip_suffix("?tls=none") {
        plain.to_owned()
    } else if url.starts_with("smtp://") && !url.contains("tls=") {
        format!("{url}{}tls=required", if url.contains('?') { '&' } else { '?' })
    } else {
        url.to_owned()
    }
}

/// A refused log-in (53x) is our fault, not the recipient's: it can be put right.
fn refusal(error: &SmtpError) -> Refusal {
    let ours = error.status().is_some_and(|code| code.to_string().starts_with("53"));
    if error.is_permanent() && !ours {
        Refusal::ForGood(error.to_string())
    } else {
        Refusal::ForNow(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_travels_in_plain_text_unless_it_is_asked_for() {
        assert_eq!(transport_url("smtp://u:p@h:587"), "smtp://u:p@h:587?tls=required");
        assert_eq!(transport_url("smtp://h:25?tls=none"), "smtp://h:25");
        assert_eq!(transport_url("smtps://h"), "smtps://h");
        assert!(Smtp::new(&Secret::new("smtp://h:25?tls=none"), "Switchboard <a@example.org>").is_ok());
        assert!(Smtp::new(&Secret::new("smtp://h:25?tls=none"), "nobody").is_err());
        let error = Smtp::new(&Secret::new("ftp://u:hush@h"), "a@example.org").unwrap_err();
        assert!(!error.to_string().contains("hush"));
    }
}
