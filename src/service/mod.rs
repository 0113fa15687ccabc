//! Use cases: what REST, rpc and jobs share. Every state change has its home here.

pub mod access_tokens;
pub mod acting;
pub mod addresses;
pub mod attachments;
pub mod call_records;
pub mod calls;
pub mod ice;
pub mod keys;
pub mod messages;
pub mod passwords;
pub mod people;
pub mod person_views;
pub mod provisioning;
pub mod rate_limit;
pub mod reachability;
pub mod sessions;
pub mod sign_in;
pub mod signing_keys;
pub mod tokens;
pub mod tools;
pub mod views;

/// All use cases; one per server, shared by every request.
#[derive(Debug)]
pub struct Services {
    /// Files of calls and help threads.
    pub attachments: attachments::Attachments,
    /// Records of calls, and what people say about them.
    pub call_records: call_records::CallRecords,
    /// Rings and calls.
    pub calls: calls::Calls,
    /// Sessions.
    pub sessions: sessions::Sessions,
    /// Tokens of all kinds.
    pub tokens: tokens::Tokens,
}
