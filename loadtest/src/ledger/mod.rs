//! What the server acknowledged and what subscribers saw, kept to be compared with the truth later.

pub mod entry;
pub mod file;
pub mod stream;
pub mod violation;

pub use entry::Entry;
pub use file::{Book, Head, Ledger, SCHEMA, Watcher};
