//! Outgoing e-mails and text messages: rows that are written with the data they tell of, and sent afterwards.

use super::{Db, Result, Stmt, sql, statements::statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{NoticeId, OrgId},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select n.id, n.organization_id, o.name as organization_name, n.kind, n.channel, n.recipient, n.subject, \
             n.body_text, n.body_html, n.sealed_link, n.state, n.attempts, n.next_attempt_at, n.last_error, \
             n.created_at, n.sent_at from notice n join organization o on o.id = n.organization_id ",
            $rest
        )
    };
}

statements! {
    INSERT = "insert into notice (id, organization_id, kind, channel, recipient, subject, body_text, body_html, \
        sealed_link, state, attempts, next_attempt_at, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', 0, $10, $10)";
    DUE = select!("where n.state = 'pending' and n.channel = $1 and n.next_attempt_at <= $2 \
        order by n.next_attempt_at limit $3");
    NEXT_DUE = "select next_attempt_at from notice where state = 'pending' and channel = $1 \
        order by next_attempt_at limit 1";
    /// The link has served: it is not kept.
    SENT = "update notice set state = 'sent', attempts = attempts + 1, sent_at = $2, last_error = null, \
        sealed_link = null where id = $1 and state = 'pending'";
    RETRY = "update notice set attempts = attempts + 1, next_attempt_at = $2, last_error = $3 \
        where id = $1 and state = 'pending'";
    FAILED = "update notice set state = 'failed', attempts = attempts + 1, last_error = $2 \
        where id = $1 and state = 'pending'";
    OF_ORGANIZATION = select!("where n.organization_id = $1 order by n.id desc limit $2");
    NEWEST = select!("where n.id > $1 order by n.id desc limit $2");
}

/// A notice.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct NoticeRow {
    /// Its number.
    pub id: NoticeId,
    /// In whose name it is sent.
    pub organization_id: OrgId,
    /// That organisation's name.
    pub organization_name: String,
    /// `guest_link`, `user_invitation` ...
    pub kind: String,
    /// email, sms.
    pub channel: String,
    /// Address or number.
    pub recipient: String,
    /// Subject; empty for text messages.
    pub subject: String,
    /// Plain text, with a place for the link.
    pub body_text: String,
    /// HTML, with a place for the link; empty for text messages.
    pub body_html: String,
    /// The link, encrypted; null once it was sent.
    pub sealed_link: Option<Vec<u8>>,
    /// pending, sent, failed.
    pub state: String,
    /// Attempts so far.
    pub attempts: i64,
    /// When it is tried (again).
    pub next_attempt_at: Timestamp,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

/// A notice that is to be sent.
#[derive(Clone, Debug)]
pub struct NewNotice<'a> {
    /// Its number.
    pub id: NoticeId,
    /// In whose name.
    pub organization: OrgId,
    /// `guest_link`, `user_invitation` ...
    pub kind: &'static str,
    /// email, sms.
    pub channel: &'static str,
    /// Address or number.
    pub recipient: &'a str,
    /// Subject; empty for text messages.
    pub subject: &'a str,
    /// Plain text, with a place for the link.
    pub body_text: &'a str,
    /// HTML, with a place for the link; empty for text messages.
    pub body_html: &'a str,
    /// The link, encrypted.
    pub sealed_link: Option<Vec<u8>>,
    /// When it is written; it is due at once.
    pub now: Timestamp,
}

/// The row of a notice.
pub fn insert(new: NewNotice<'_>) -> Stmt {
    sql(INSERT)
        .bind(new.id)
        .bind(new.organization)
        .bind(new.kind)
        .bind(new.channel)
        .bind(new.recipient)
        .bind(new.subject)
        .bind(new.body_text)
        .bind(new.body_html)
        .bind(new.sealed_link)
        .bind(new.now)
}

/// Up to `limit` notices of a channel that are due at `now`, the longest waiting first.
pub async fn due(db: &Db, channel: &str, now: Timestamp, limit: i64) -> Result<Vec<NoticeRow>> {
    sql(DUE).bind(channel).bind(now).bind(limit).all(db).await
}

/// When the next notice of a channel is due; `None` when none waits.
pub async fn next_due(db: &Db, channel: &str) -> Result<Option<Timestamp>> {
    let row: Option<(Timestamp,)> = sql(NEXT_DUE).bind(channel).optional(db).await?;
    Ok(row.map(|(at,)| at))
}

/// Remembers that it was sent, and forgets its link.
pub async fn sent(db: &Db, id: NoticeId, now: Timestamp) -> Result<()> {
    sql(SENT).bind(id).bind(now).execute(db).await.map(drop)
}

/// Remembers a failed attempt and when the next one is.
pub async fn retry(db: &Db, id: NoticeId, at: Timestamp, error: &str) -> Result<()> {
    sql(RETRY).bind(id).bind(at).bind(error).execute(db).await.map(drop)
}

/// Gives it up.
pub async fn failed(db: &Db, id: NoticeId, error: &str) -> Result<()> {
    sql(FAILED).bind(id).bind(error).execute(db).await.map(drop)
}

/// The newest notices, of one organisation or of all, newest first: for operators.
pub async fn list(db: &Db, organization: Option<OrgId>, limit: i64) -> Result<Vec<NoticeRow>> {
    match organization {
        Some(id) => sql(OF_ORGANIZATION).bind(id).bind(limit).all(db).await,
        None => sql(NEWEST).bind(NoticeId(0)).bind(limit).all(db).await,
    }
}
