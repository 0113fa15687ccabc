//! `[notices]`: how e-mails and text messages leave.

use serde::Deserialize;

use super::check::Check;
use crate::base::secret::Secret;

/// Outgoing e-mails and text messages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notices {
    /// `smtp://…` or `smtps://…`; empty = none are sent. A secret, since it may hold a password.
    pub smtp_url: Secret,
    /// Sender of e-mails.
    pub from: String,
    /// Address of the text message provider; empty = none are sent.
    pub sms_url: String,
    /// Its bearer token; empty = none.
    pub sms_token: Secret,
    /// Attempts before a notice counts as failed.
    pub attempts: u32,
}

impl Notices {
    pub(super) fn check(&self, check: &mut Check) {
        let smtp = self.smtp_url.expose();
        let known = smtp.is_empty() || smtp.starts_with("smtp://") || smtp.starts_with("smtps://");
        check.ensure("notices.smtp_url", known, || "must begin with smtp:// or smtps://".to_owned());
        check.ensure("notices.from", self.from.contains('@'), || "is not an e-mail address".to_owned());
        let sms = &self.sms_url;
        let known = sms.is_empty() || sms.starts_with("https://") || sms.starts_with("http://");
        check.ensure("notices.sms_url", known, || "must begin with https:// or http://".to_owned());
        check.range("notices.attempts", self.attempts, 1..=100);
    }
}
