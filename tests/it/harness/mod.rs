//! What tests share.

pub mod app;
pub mod db;
pub mod device;
pub mod log;
pub mod nats;
pub mod notes;
pub mod office;
pub mod postgres;
pub mod process;
pub mod schema;
pub mod smtp;
