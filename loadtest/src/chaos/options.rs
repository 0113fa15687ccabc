//! What `loadtest chaos` is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What is done to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// kill -9, then a new start
    Kill,
    /// SIGSTOP for a while
    Pause,
    /// SIGTERM, then a new start
    Drain,
    /// No space on the disk for a while (SQLite)
    Full,
    /// All connections to the database break, and no new one succeeds for a while (--database)
    Cut,
    /// The database is restarted (--restart-database)
    RestartDatabase,
    /// Some commits fail (a binary with the feature `failpoints`, as for all that follow)
    CommitError,
    /// Some commits succeed, but the database's answer is lost
    UnknownCommit,
    /// Some commits take 200 ms longer
    SlowCommit,
    /// The process dies between the statements of a commit (PostgreSQL: before its end)
    TornBatch,
    /// Any of them that is possible
    Mix,
}

impl Act {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What must be planted in the server for it.
    pub fn faults(self) -> Option<&'static str> {
        // Each ends by itself: the server must come round without help.
        match self {
            Self::CommitError => Some("journal.commit-error=30%12*return"),
            Self::UnknownCommit => Some("journal.unknown-commit=30%12*return"),
            Self::SlowCommit => Some("journal.slow-commit=30%8*return(200)"),
            Self::TornBatch => Some("journal.torn-batch=40*off->1*return"),
            _ => None,
        }
    }
}

/// `loadtest chaos`.
#[derive(Args)]
pub struct Chaos {
    /// What is done to the server
    #[arg(value_enum)]
    pub act: Act,
    /// The switchboard binary
    #[arg(long)]
    pub binary: PathBuf,
    /// How often
    #[arg(long, default_value_t = 20)]
    pub cycles: usize,
    /// Milliseconds of load before each, at least and at most
    #[arg(long, value_name = "FROM-TO", value_parser = range, default_value = "300-1500")]
    pub load_ms: (u64, u64),
    /// Milliseconds of a pause, at least and at most
    #[arg(long, value_name = "FROM-TO", value_parser = range, default_value = "1000-10000")]
    pub pause_ms: (u64, u64),
    /// Milliseconds for which the database cannot be reached, at least and at most
    #[arg(long, value_name = "FROM-TO", value_parser = range, default_value = "0-2000")]
    pub cut_ms: (u64, u64),
    /// A database other than SQLite; an empty one
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Shell command that restarts that database
    #[arg(long, value_name = "COMMAND", requires = "database")]
    pub restart_database: Option<String>,
    /// NATS server that the events go to, with an empty JetStream, which is checked, too
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Scenario of the load
    #[arg(long, default_value = "chaos")]
    pub scenario: String,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for the result, its page and the ledger
    #[arg(long, default_value = "loadtest-results")]
    pub out: PathBuf,
    /// Also write what it came to into this small file
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Keep the server's folder, which is this one then
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Show nothing while it runs
    #[arg(long)]
    pub quiet: bool,
}

impl Chaos {
    /// What can be done, and is asked for.
    pub fn acts(&self, has_failpoints: bool) -> Result<Vec<Act>, String> {
        let refusal = |act: Act| match act {
            Act::Full if self.database.is_some() => Some("only SQLite's disk can be made full"),
            Act::Cut if self.database.is_none() => Some("--database is missing"),
            Act::RestartDatabase if self.restart_database.is_none() => Some("--restart-database is missing"),
            _ if act.faults().is_some() && !has_failpoints => {
                Some("the binary was built without the feature `failpoints`")
            }
            _ => None,
        };
        match (self.act, refusal(self.act)) {
            (_, Some(why)) => Err(format!("{}: {why}", self.act.name())),
            (Act::Mix, None) => {
                let all = Act::value_variants().iter().copied();
                Ok(all.filter(|act| *act != Act::Mix && refusal(*act).is_none()).collect())
            }
            (one, None) => Ok(vec![one]),
        }
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match parsed {
        Some((from, to)) if from <= to => Ok((from, to)),
        _ => Err("written as 300-1500".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        chaos: Chaos,
    }

    fn acts(line: &str, has_failpoints: bool) -> Result<Vec<Act>, String> {
        Line::parse_from(line.split(' ')).chaos.acts(has_failpoints)
    }

    #[test]
    fn only_what_is_possible_is_done() {
        assert_eq!(acts("chaos kill --binary x", false), Ok(vec![Act::Kill]));
        assert!(acts("chaos cut --binary x", false).is_err());
        assert!(acts("chaos restart-database --binary x --database u", false).is_err());
        assert!(acts("chaos full --binary x --database u", false).is_err());
        assert!(acts("chaos commit-error --binary x", false).is_err());
        assert_eq!(acts("chaos commit-error --binary x", true), Ok(vec![Act::CommitError]));
        let plain = [Act::Kill, Act::Pause, Act::Drain];
        let faults = [Act::CommitError, Act::UnknownCommit, Act::SlowCommit, Act::TornBatch];
        let mix = acts("chaos mix --binary x", false);
        assert_eq!(mix, Ok([&plain[..], &[Act::Full]].concat()));
        let mix = acts("chaos mix --binary x --database u --restart-database r", true);
        assert_eq!(mix, Ok([&plain[..], &[Act::Cut, Act::RestartDatabase], &faults].concat()));
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("300-1500"), Ok((300, 1500)));
        assert!(range("3-1").is_err());
    }
}
