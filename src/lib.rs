//! Switchboard: a self-hosted, real-time backend for people who help each other by chat and video.
//!
//! The modules are layers; each may import only what stands above it (`tests/it/architecture.rs` checks this).

pub mod base;
pub mod config;
pub mod domain;
pub mod store;

pub mod bus;
pub mod files;
pub mod journal;

pub mod live;
pub mod service;

pub mod delivery;
pub mod realtime;

pub mod api;
pub mod http;

pub mod app;
pub mod cli;
