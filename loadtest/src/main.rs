//! Load scenarios for Switchboard, and a checker that looks for anything lost.
//!
//! The program speaks only the wire (REST, the Centrifuge client protocol, NATS) and shares no code with the server, so
//! that a mistake of the server's cannot hide in it. `docs/LOADTEST.md` says which question each scenario answers.
//!
//! - [`cli`]: the commands. [`scenario`]: what a scenario file says.
//! - [`client`]: sockets, their wire formats, REST. [`target`]: what differs between the servers that can be driven.
//! - [`people`]: who takes part. [`run`]: connects them, keeps time, does the work.
//! - [`stats`]: histograms and series. [`observe`]: the server and this process, from outside.
//! - [`ledger`]: what was acknowledged and seen. [`verify`]: whether the server still agrees.
//! - [`report`]: results as JSON and as a page. [`chaos`]: a server that is killed under load.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "statistics turn counts and times into floating numbers and back; precision is a per mille"
)]

mod chaos;
mod cli;
mod client;
mod failure;
mod ledger;
mod observe;
mod people;
mod report;
mod run;
mod scenario;
mod stats;
mod target;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The provider is chosen once, for REST and sockets alike.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
