//! The one integration test binary: a module per area, a harness for all.
//!
//! Tests of the database run on both engines. PostgreSQL's are skipped unless `SWITCHBOARD_TEST_POSTGRES` names a
//! server that may be littered: `export SWITCHBOARD_TEST_POSTGRES=$(scripts/postgres-private)`.

mod harness;
mod store;
