//! The remote assistance family.

mod account;
mod auth;
mod calls;
mod enterprise_users;
mod keys;
mod people;
mod workboxes;
