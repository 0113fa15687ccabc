//! The command line: what scripts rely on. Results go to standard output, the log and errors to standard error.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    api,
    app::{self, App, Ports, StartError, admin},
    base::telemetry,
    config::Config,
    http::openapi,
};

/// A self-hosted, real-time backend for people who help each other by chat and video.
#[derive(Parser)]
#[command(name = "switchboard", version, arg_required_else_help = true)]
struct Cli {
    /// Configuration file (TOML); what it leaves out has the defaults of config/default.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve {
        /// Make a demo organisation once, and print who can sign in and commands to try.
        #[arg(long)]
        demo: bool,
    },
    /// Bring the database's schema up to date and end.
    Migrate {
        /// The database comes from a backup that `switchboard backup` did not make (pg_dump): clients must not take new
        /// events for those that they saw before.
        #[arg(long)]
        restored: bool,
    },
    /// Check the configuration and end.
    CheckConfig,
    /// List the REST operations.
    Operations {
        /// One JSON array of {method, path, family, auth, id}.
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document of a family.
    Openapi {
        /// Which family.
        #[arg(long, default_value = "assist")]
        family: String,
    },
    /// Print the `AsyncAPI` document of the socket.
    Asyncapi,
    /// Write a consistent copy of the SQLite database while the server may run (PostgreSQL: use `pg_dump`).
    Backup {
        /// File to write; must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Administer; works while the server runs.
    #[command(subcommand)]
    Admin(admin::Command),
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output went away (`switchboard operations | head`).
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("switchboard: {failure}");
            if matches!(failure, Failure::Config(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Admin(#[from] admin::AdminError),
    #[error("{0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
}

impl Cli {
    fn run(self) -> Result<(), Failure> {
        let out = &mut io::stdout().lock();
        match self.command {
            Command::Operations { json } => return Ok(list_operations(out, json)?),
            Command::Openapi { family } => {
                let known = api::contract(&family)
                    .ok_or_else(|| Failure::Usage(format!("there is no family {family:?}")))?;
                let document = openapi::document(known).map_err(|error| Failure::Usage(error.to_string()))?;
                out.write_all(&document)?;
                return Ok(writeln!(out)?);
            }
            Command::Asyncapi => return Ok(writeln!(out, "{}", crate::realtime::asyncapi::document())?),
            _ => {}
        }
        let config = Config::load(self.config.as_deref())?;
        telemetry::start(&config.telemetry.log, config.telemetry.format);
        #[cfg(feature = "failpoints")]
        crate::base::failpoint::plant();
        match self.command {
            Command::Serve { demo } => serve(config, demo)?,
            Command::Migrate { restored } => app::migrate(&config, restored)?,
            Command::CheckConfig => writeln!(out, "the configuration is right")?,
            Command::Backup { to } => app::backup(&config, &to)?,
            Command::Admin(command) => admin::run(config, command, out)?,
            Command::Operations { .. } | Command::Openapi { .. } | Command::Asyncapi => {}
        }
        Ok(())
    }
}

fn serve(config: Config, demo: bool) -> Result<(), Failure> {
    if demo && !config.http.listen.ip().is_loopback() {
        let told = format!("--demo is for this machine only, and http.listen is {}", config.http.listen);
        return Err(Failure::Usage(told));
    }
    let app = App::start(config, Ports::system())?;
    let guide = if demo { app.demo()? } else { String::new() };
    let address = app.address();
    let announce = move || {
        let mut out = io::stdout();
        // Whoever started it may be gone by now; that is no reason to stop.
        let told = writeln!(out, "switchboard is ready on http://{address}")
            .and_then(|()| if demo { writeln!(out, "\n{guide}") } else { Ok(()) })
            .and_then(|()| out.flush());
        if let Err(error) = told {
            tracing::warn!(%error, "standard output is closed");
        }
    };
    Ok(app.run_until_signal(announce)?)
}

fn list_operations(out: &mut impl io::Write, json: bool) -> io::Result<()> {
    let operations = api::operations();
    if json {
        return writeln!(out, "{}", serde_json::to_string(&operations)?);
    }
    for operation in operations {
        writeln!(
            out,
            "{:<7} {:<60} {:<12} {:<20} {}",
            operation.method, operation.path, operation.family, operation.auth, operation.id
        )?;
    }
    Ok(())
}
