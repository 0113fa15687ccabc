//! What tests share.

pub mod app;
pub mod db;
pub mod device;
pub mod log;
pub mod nats;
pub mod notes;
pub mod schema;
pub mod smtp;
