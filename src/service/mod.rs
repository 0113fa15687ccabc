//! Use cases: what REST, rpc and jobs share. Every state change has its home here.

pub mod access_tokens;
pub mod acting;
pub mod addresses;
pub mod attachments;
pub mod attendance;
pub mod call_records;
pub mod call_replies;
pub mod calls;
pub mod ice;
pub mod keys;
pub mod letters;
pub mod messages;
pub mod notices;
pub mod passwords;
pub mod people;
pub mod person_views;
pub mod provisioning;
pub mod rate_limit;
pub mod reachability;
pub mod session_messages;
pub mod session_views;
pub mod sessions;
pub mod sign_in;
pub mod signing_keys;
pub mod tokens;
pub mod tools;
pub mod unread;
pub mod views;
pub mod workboxes;

use std::sync::Arc;

use crate::{base::clock::Clock, store::Db};

/// All use cases; one per server, shared by every request. Built in `app`.
pub struct Services {
    /// For reads: lists and lookups need no use case.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// Who can be reached.
    pub reachability: reachability::Reachability,
    /// Makes and checks tokens.
    pub tokens: tokens::Tokens,
    /// Getting in and out.
    pub sign_in: Arc<sign_in::SignIn>,
    /// Accounts of people.
    pub people: people::People,
    /// API keys and partner keys.
    pub keys: keys::Keys,
    /// Personal access tokens.
    pub access_tokens: access_tokens::AccessTokens,
    /// Tokens that act for somebody else.
    pub acting: acting::Acting,
    /// Messages and receipts of help threads.
    pub messages: messages::Messages,
    /// What is unread, for those who look.
    pub unread: unread::Unread,
    /// Help threads.
    pub workboxes: workboxes::Workboxes,
    /// Sessions: people who can talk.
    pub sessions: sessions::Sessions,
    /// Messages of sessions.
    pub session_messages: session_messages::SessionMessages,
    /// Rings and calls.
    pub calls: calls::Calls,
    /// Calls that were.
    pub call_records: call_records::CallRecords,
    /// Files of calls and help threads.
    pub attachments: attachments::Attachments,
    /// E-mails and text messages on their way.
    pub notices: notices::Notices,
    /// What operators make.
    pub provisioning: provisioning::Provisioning,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Services")
    }
}
