//! Use cases: what REST, rpc and jobs share. Every state change has its home here.

pub mod messages;
pub mod views;
