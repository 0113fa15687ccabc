//! E-mails and text messages that are written with the data they tell of. Their links are secrets: the texts hold a
//! place for the link, the link itself is sealed beside it and put in when the notice is sent or shown to an operator.

use std::fmt;

use futures_util::{FutureExt as _, future::BoxFuture};
use serde::Serialize;

pub use super::letters::LINK;
use super::{
    letters::{AccountLetter, Letter},
    people::escaped,
    workboxes::{GuestNotice, GuestNotices},
};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        seal::Sealer,
    },
    domain::{
        error::{Error, Result},
        ids::{NoticeId, OrgId},
    },
    store::{
        Db, Stmt,
        ids::Ids,
        notices::{self, NewNotice, NoticeRow},
        organizations::{self, OrganizationRow},
    },
};

/// What links are sealed for.
const PURPOSE: &str = "notice.sealed_link";

/// Writes notices and shows them. Cheap to clone.
#[derive(Clone)]
pub struct Notices {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    sealer: Sealer,
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}

/// A notice as an operator sees it: whole, with its link while it is not sent.
#[derive(Serialize)]
pub struct Outgoing {
    /// Its number.
    pub id: NoticeId,
    /// In whose name.
    pub organization_id: OrgId,
    /// What it is about.
    pub kind: String,
    /// email, sms.
    pub channel: String,
    /// Address or number.
    pub recipient: String,
    /// Subject; empty for text messages.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML; empty for text messages.
    pub html: String,
    /// pending, sent, failed.
    pub state: String,
    /// Attempts so far.
    pub attempts: i64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Notices {
    /// Wires it.
    pub fn new(db: Db, ids: Ids, clock: Clock, random: Random, sealer: Sealer) -> Self {
        Self { db, ids, clock, random, sealer }
    }

    /// The newest notices, of one organisation or of all.
    pub async fn newest(&self, organization: Option<OrgId>, limit: u32) -> Result<Vec<Outgoing>> {
        let limit = i64::from(limit);
        let rows = notices::list(&self.db, organization, limit).await?;
        Ok(rows.into_iter().map(|row| self.whole(row)).collect())
    }

    /// A notice with its link in place.
    pub fn whole(&self, row: NoticeRow) -> Outgoing {
        let sealed = row.sealed_link.as_deref();
        let link = sealed.and_then(|sealed| self.sealer.open_text(PURPOSE, sealed)).unwrap_or_default();
        Outgoing {
            id: row.id,
            organization_id: row.organization_id,
            kind: row.kind,
            channel: row.channel,
            recipient: row.recipient,
            subject: row.subject,
            text: row.body_text.replace(LINK, &link),
            html: row.body_html.replace(LINK, &escaped(&link)),
            state: row.state,
            attempts: row.attempts,
            last_error: row.last_error,
            created_at: row.created_at,
            sent_at: row.sent_at,
        }
    }

    /// The row of a notice about an account; `link` is a secret by which the person chooses a password.
    pub fn account_row(
        &self,
        letter: &AccountLetter<'_>,
        organization: &OrganizationRow,
        link: Option<&str>,
    ) -> Result<Stmt> {
        let texts = Letter::of_account(letter, organization);
        Ok(notices::insert(NewNotice {
            id: self.ids.next()?,
            organization: organization.id,
            kind: if letter.invited { "user_invitation" } else { "welcome" },
            channel: "email",
            recipient: letter.email,
            subject: &texts.subject,
            body_text: &texts.text,
            body_html: &texts.html,
            sealed_link: link.map(|link| self.sealer.seal(PURPOSE, link.as_bytes(), &self.random)),
            now: self.clock.now(),
        }))
    }

    async fn guest_rows(&self, notice: GuestNotice<'_>) -> Result<Vec<Stmt>> {
        let organization = organizations::by_id(&self.db, notice.organization).await?;
        let organization = organization.ok_or_else(|| Error::not_found("organisation"))?;
        let letter = Letter::to_guest(&notice, &organization);
        let mut rows = Vec::new();
        let now = self.clock.now();
        let mut add = |channel, recipient: &str, (subject, text, html): (&str, &str, &str)| -> Result<()> {
            rows.push(notices::insert(NewNotice {
                id: self.ids.next()?,
                organization: notice.organization,
                kind: "guest_link",
                channel,
                recipient,
                subject,
                body_text: text,
                body_html: html,
                sealed_link: Some(self.sealer.seal(PURPOSE, notice.link.as_bytes(), &self.random)),
                now,
            }));
            Ok(())
        };
        if let Some(email) = notice.email {
            add("email", email, (&letter.subject, &letter.text, &letter.html))?;
        }
        if let Some(phone) = notice.phone {
            add("sms", phone, ("", &letter.short, ""))?;
        }
        Ok(rows)
    }
}

impl GuestNotices for Notices {
    fn rows<'a>(&'a self, notice: GuestNotice<'a>) -> BoxFuture<'a, Result<Vec<Stmt>>> {
        self.guest_rows(notice).boxed()
    }
}
