//! The HTTP kit with a family of its own: what every operation gets without asking.

pub mod client;
mod dispatch;
mod family;
mod walled;
