//! What the product is about, without I/O: identifiers, error codes, permissions, callers, events, state machines.

pub mod caller;
pub mod codes;
pub mod custom_field;
pub mod error;
pub mod event;
pub mod ids;
pub mod machine;
pub mod once;
pub mod permission;
pub mod query;
