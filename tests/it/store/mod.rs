//! The store on both engines: values and statements, transactions, ids, and what its tables and texts promise.

mod bulk;
mod ids;
mod journal;
pub mod plans;
mod readers;
mod schema;
mod tails;
mod transactions;
mod upkeep;
mod values;
