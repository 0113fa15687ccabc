//! What tests share.

pub mod db;
pub mod nats;
pub mod schema;
