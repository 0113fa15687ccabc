//! The HTTP kit with a family of its own: what every operation gets without asking.

mod client;
mod dispatch;
mod family;
mod walled;
