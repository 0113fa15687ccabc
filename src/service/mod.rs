//! Use cases: what REST, rpc and jobs share. Every state change has its home here.

pub mod messages;
pub mod tools;
pub mod views;

/// All use cases; one per server, shared by every request.
#[derive(Debug, Default)]
pub struct Services {}
