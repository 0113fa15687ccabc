//! The one integration test binary: a module per area, a harness for all.
//!
//! Tests of the database run on both engines. PostgreSQL's are skipped unless `SWITCHBOARD_TEST_POSTGRES` names a
//! server that may be littered: `export SWITCHBOARD_TEST_POSTGRES=$(scripts/postgres-private)`. Tests of the bus start a
//! nats-server of their own (`SWITCHBOARD_TEST_NATS_BIN`, else the PATH); without one they are skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests run tasks on their own runtime")]
#![expect(clippy::format_push_string, clippy::cast_possible_wrap, reason = "small and known values")]

mod api;
mod architecture;
mod attachments;
mod bus;
mod calls;
mod cli;
mod contract;
mod delivery;
mod faults;
mod fuzz;
mod harness;
mod http;
mod identity;
mod realtime;
mod rpc;
mod secrets;
mod store;
mod story;
mod threads;
mod walls;
