//! Use cases: what REST, rpc and jobs share. Every state change has its home here.

pub mod addresses;
pub mod messages;
pub mod tools;
pub mod passwords;
pub mod rate_limit;
pub mod sign_in;
pub mod signing_keys;
pub mod tokens;
pub mod views;
pub mod workboxes;

/// All use cases; one per server, shared by every request.
#[derive(Debug, Default)]
pub struct Services {}
