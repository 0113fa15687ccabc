//! Admin commands: run by the server of the data folder while there is one (so that its caches and live connections
//! notice), directly under the folder's lock otherwise. Either way it is the same code over the same services.

mod execute;
mod socket;

use std::{io, io::Write};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(super) use self::socket::listen;
use super::{Kernel, Ports, StartError, folder::DataFolder};
use crate::{base::secret::Secret, config::Config, domain};

/// What an operator may ask for.
#[derive(Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Make an organisation with an API key and an administrator.
    CreateOrganization {
        /// Its name.
        #[arg(long)]
        name: String,
        /// The administrator's e-mail address.
        #[arg(long)]
        admin_email: String,
        /// The administrator's name; default: what stands before the `@`.
        #[arg(long)]
        admin_name: Option<String>,
        /// The administrator's password; without one there is only the printed token.
        #[arg(long, value_parser = password)]
        admin_password: Option<Password>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Make many people at once, with tokens: for load tests and trials.
    CreateUsers {
        /// Their organisation's id.
        #[arg(long)]
        organization: i64,
        /// How many (at most 1,000,000).
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        count: u32,
        /// Help threads to make for them.
        #[arg(long, default_value_t = 0)]
        workboxes: u32,
        /// People in each help thread, taken in turn.
        #[arg(long, default_value_t = 2)]
        members: u32,
        /// Seconds that the tokens live; default: auth.admin_token_seconds.
        #[arg(long)]
        ttl: Option<u32>,
        /// One JSON object per person.
        #[arg(long)]
        json_lines: bool,
    },
    /// Say how calls of an organisation are recorded, from the next one on.
    SetRecordingPolicy {
        /// The organisation's id.
        #[arg(long)]
        organization: i64,
        /// opt_in (off until the owner turns it on), opt_out (on until the owner turns it off) or always_on.
        #[arg(long, value_parser = ["opt_in", "opt_out", "always_on"])]
        policy: String,
    },
    /// Say with which sentence an organisation invites guests and users.
    SetInvitationText {
        /// The organisation's id.
        #[arg(long)]
        organization: i64,
        /// One sentence; {inviter}, {organization} and {thread} are replaced. Empty: ours.
        #[arg(long)]
        text: String,
    },
    /// Show e-mails and text messages, newest first: those that wait, were sent or failed.
    Outbox {
        /// Only this organisation's.
        #[arg(long)]
        organization: Option<i64>,
        /// How many at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// One JSON object per notice.
        #[arg(long)]
        json_lines: bool,
    },
    /// Make a new key that signs tokens; the one before goes on verifying.
    RotateSigningKey,
}

/// A password on its way to the server: over a socket that only the owner of the data folder reaches.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Password(Secret);

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

fn password(text: &str) -> Result<Password, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Password(Secret::new(text))) }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It could not be run.
    #[error("{0}")]
    Start(#[from] StartError),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
    /// The server or the output went away.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<domain::error::Error> for AdminError {
    fn from(error: domain::error::Error) -> Self {
        Self::Refused(match error.context() {
            Some(context) => format!("{} ({context})", error.message()),
            None => error.message().to_owned(),
        })
    }
}

/// Lines of output that may wait for whoever reads them.
const LINES: usize = 256;

/// Runs a command where it belongs and writes its lines to `out`.
pub fn run(config: Config, command: Command, out: &mut impl Write) -> Result<(), AdminError> {
    if let Some(stream) = socket::connect(&DataFolder::socket(&config.server.data_dir))? {
        return socket::ask(stream, &command, out);
    }
    let address = config.http.listen;
    let kernel = Kernel::open(config, Ports::system(), address)?;
    let (lines, mut printed) = mpsc::channel(LINES);
    let services = kernel.services.clone();
    let tasks = kernel.tasks();
    let running = tasks.spawn("admin", async move { execute::execute(&services, command, &lines).await });
    let mut failed = None;
    while let Some(line) = printed.blocking_recv() {
        if let Err(error) = writeln!(out, "{line}") {
            failed = Some(error);
            break;
        }
    }
    drop(printed);
    let outcome = kernel.runtime().block_on(running);
    kernel.close();
    match (failed, outcome) {
        (Some(error), _) => Err(error.into()),
        (None, Ok(Some(outcome))) => Ok(outcome?),
        (None, _) => Err(AdminError::Refused("the command failed; see the log".to_owned())),
    }
}
