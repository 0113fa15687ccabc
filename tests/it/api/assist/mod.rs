//! The remote assistance family.

mod account;
mod auth;
mod enterprise_users;
mod keys;
mod people;
mod workboxes;
