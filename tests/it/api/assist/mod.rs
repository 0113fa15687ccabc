//! The remote assistance family.

mod account;
mod auth;
mod call_threads;
mod calls;
mod enterprise_users;
mod gone;
mod keys;
mod people;
mod registration;
mod shown_files;
mod workboxes;
