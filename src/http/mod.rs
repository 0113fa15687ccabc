//! The HTTP kit: a table of operations, one dispatcher, arguments and replies as types. Knows no family.
//!
//! A family (`api/<name>`) is a [`Family`]: a base path, tables of [`Op`]s made by [`operations!`](crate::operations),
//! how its requests carry credentials and how it spells errors. Everything else happens here, once for all
//! operations: routing, limits, authentication, permissions, idempotency, CORS, logs, metrics.
//!
//! Promises: a handler runs on the owned runtime, after its caller was verified and the body was read within its
//! limit; a panic in it is logged and answered; every refusal has the family's shape; no log line holds a path,
//! a query or a token.

pub mod args;
pub mod body;
pub mod cors;
pub mod cx;
pub mod dispatch;
pub mod family;
pub mod flexible;
pub mod health;
pub mod idempotency;
pub mod openapi;
pub mod operation;
pub mod query;
pub mod ranges;
pub mod remote;
pub mod reply;
pub mod routes;
pub mod server;
pub mod socket;
pub mod upload;

pub use args::{Arg, Args, Body, Opt, Query, Seg};
pub use cx::Cx;
pub use family::Family;
pub use operation::{Auth, Method, Op, Options};
pub use reply::{Json, Nothing, Render, Reply};
pub use upload::Upload;

pub use crate::domain::{codes::Code, permission::Permissions};
