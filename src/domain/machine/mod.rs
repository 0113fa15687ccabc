//! Pure, synchronous state machines: the decisions behind the actors.

pub mod conversation;
