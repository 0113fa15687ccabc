//! The commands.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tokio::sync::watch;

use crate::{
    chaos::{Handicap, Server},
    client::{rest::Rest, wire::Format},
    failure::Failure,
    ledger::Book,
    observe::Process,
    people::{self, Administrator, Login},
    report::{self, Report, compare, html, merge, result::Verdict, text},
    run::{self, Options, Shard},
    scenario::{Scenario, library},
    target::Target,
    verify,
};

#[derive(Parser)]
#[command(
    name = "loadtest",
    version,
    about = "Load scenarios for Switchboard, and a checker that looks for losses"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario
    Run(Box<Run>),
    /// List the scenarios that come with the program
    List,
    /// Compare two results
    Compare {
        /// The earlier result
        before: PathBuf,
        /// The later result
        after: PathBuf,
    },
    /// Show a result; several (shards) are added up first
    Report {
        /// Result files
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// Write a page with plots beside the first result (or to --out)
        #[arg(long)]
        html: bool,
        /// Where to write the page, or the merged result without --html
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Compare ledgers with what the server holds now
    Verify {
        /// Ledger files of one run
        #[arg(required = true)]
        ledgers: Vec<PathBuf>,
        /// The server, when it has moved
        #[arg(long)]
        target: Option<String>,
        /// NATS server whose JetStream must hold every event once
        #[arg(long)]
        nats: Option<String>,
        /// The target is not on this machine, and you may load it
        #[arg(long)]
        yes_this_is_mine: bool,
    },
    /// Start a server, treat it badly under load, and check that nothing is lost
    Chaos(Box<crate::chaos::Chaos>),
}

#[derive(Args)]
struct Run {
    /// A scenario's name (see `list`) or a file
    scenario: String,
    /// The server, such as http://127.0.0.1:8080
    #[arg(long, required_unless_present = "serve")]
    target: Option<String>,
    /// Start this switchboard binary for the run, in a folder that is removed afterwards
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["target", "users", "admin_key", "admin", "demo"])]
    serve: Option<PathBuf>,
    /// With `--serve`: an empty PostgreSQL database, instead of SQLite
    #[arg(long, value_name = "URL", requires = "serve")]
    database: Option<String>,
    /// Kind of server
    #[arg(long, value_enum, default_value_t)]
    kind: Target,
    /// People with tokens: JSON lines of `switchboard admin create-users`
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Make people with this administrator's token
    #[arg(long, value_name = "TOKEN")]
    admin_key: Option<String>,
    /// Make people as this administrator
    #[arg(long, value_name = "EMAIL:PASSWORD")]
    admin: Option<String>,
    /// Make people as the administrator of `serve --demo`: its demo.json
    #[arg(long, value_name = "FILE")]
    demo: Option<PathBuf>,
    /// Channels or topics of another kind of server, one per room
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    topics: Vec<String>,
    /// API key that the server asks every client for
    #[arg(long)]
    api_key: Option<String>,
    /// Process of the server (and of its database), its children included: CPU and memory stand in the result then
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// Do a part of the run: 1/4 to 4/4 (needs --users with rooms)
    #[arg(long, value_parser = shard, default_value = "1/1")]
    shard: Shard,
    /// Wire format, instead of the scenario's
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// Multiply all rates and windows
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// Multiply the length of all stages
    #[arg(long, default_value_t = 1.0)]
    time: f64,
    /// Seed, instead of the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the result, its page and the ledger
    #[arg(long, default_value = "loadtest-results")]
    out: PathBuf,
    /// Do not check afterwards that nothing was lost
    #[arg(long)]
    no_verify: bool,
    /// NATS server whose JetStream must hold every event once
    #[arg(long)]
    nats: Option<String>,
    /// The target is not on this machine, and you may load it
    #[arg(long)]
    yes_this_is_mine: bool,
    /// Show nothing while it runs
    #[arg(long)]
    quiet: bool,
}

fn shard(text: &str) -> Result<Shard, String> {
    let parsed = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    match parsed {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index: index - 1, of }),
        _ => Err("a part is written as 1/4".to_owned()),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "protobuf" => Ok(Format::Protobuf),
        _ => Err("json or protobuf".to_owned()),
    }
}

/// Parses the arguments and does what they say. 0: all thresholds hold; 1: some do not; 2: it could not be done.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    raise_file_limit();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.to_string()),
    };
    match runtime.block_on(perform(cli.command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => complain(&error),
    }
}

fn complain(error: &str) -> ExitCode {
    eprintln!("loadtest: {error}");
    ExitCode::from(2)
}

/// Every socket is a file.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer, connections fail with an error of their own.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// False: something was measured or found that must not be.
async fn perform(command: Command) -> Result<bool, String> {
    match command {
        Command::Run(run) => run_scenario(*run).await,
        Command::List => {
            for (name, _) in library::ALL {
                say(&format!("{name:<18}{}\n", library::find(name)?.question));
            }
            Ok(true)
        }
        Command::Compare { before, after } => {
            say(&compare::render(&read(&before)?, &read(&after)?));
            Ok(true)
        }
        Command::Report { results, html: page, out } => {
            let reports = results.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
            let is_one = reports.len() == 1;
            let report = merge::merge(reports)?;
            say(&text::render(&report));
            let default = results[0].with_extension(if page { "html" } else { "merged.json" });
            if page {
                write(&out.unwrap_or(default), &html::render(&report))?;
            } else if !is_one || out.is_some() {
                write(&out.unwrap_or(default), &to_json(&report)?)?;
            }
            Ok(report.thresholds.iter().all(|one| one.holds))
        }
        Command::Verify { ledgers, target, nats, yes_this_is_mine } => {
            let mut book = Book::default();
            ledgers.iter().try_for_each(|path| book.read(path))?;
            let target = target.unwrap_or_else(|| book.head.target.clone());
            allow(&target, yes_this_is_mine)?;
            let rest = Rest::new(&target, None).map_err(|error| error.to_string())?;
            let verdict = verify::verify(&book, &rest, nats.as_deref()).await?;
            print_verdict(&verdict);
            Ok(verdict.findings.is_empty())
        }
        Command::Chaos(chaos) => crate::chaos::command(*chaos, stop_signal()).await,
    }
}

fn print_verdict(verdict: &Verdict) {
    for (what, count) in &verdict.checked {
        say(&format!("{count:>10} {what}\n"));
    }
    match verdict.findings.first() {
        None => say("nothing lost, nothing twice, one order, no gap\n"),
        Some(first) => say(&format!("{} violations; the first:\n{first}\n", verdict.findings.len())),
    }
}

fn read(path: &Path) -> Result<Report, String> {
    let fail = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    if report.schema != report::result::SCHEMA {
        return Err(fail(format!("its format is {}, not {}", report.schema, report::result::SCHEMA)));
    }
    Ok(report)
}

/// Prints; a reader that went away is no reason to fail.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a file and says so.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    say(&format!("{}\n", path.display()));
    Ok(())
}

/// A result as its file holds it.
pub fn to_json(report: &Report) -> Result<String, String> {
    serde_json::to_string(report).map_err(|error| error.to_string())
}

/// Loading somebody else's server is an attack: whoever means one that is not here must say so.
fn allow(target: &str, is_mine: bool) -> Result<(), String> {
    let rest =
        target.split_once("://").map(|(_, rest)| rest).ok_or("--target is written as http://host:port")?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    if authority.contains('@') {
        return Err("no names and passwords in addresses".to_owned());
    }
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_here || is_mine {
        return Ok(());
    }
    Err(format!("{host} is not this machine. If you may load it, say --yes-this-is-mine"))
}

/// Turns to true at Ctrl-C or SIGTERM.
pub fn stop_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        let Ok(mut term) = term else { return };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
        eprintln!("\nending; once more to stop at once");
        let _ = sender.send(true);
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(130);
    });
    receiver
}

fn adjust(scenario: &mut Scenario, run: &Run) {
    if let Some(seed) = run.seed {
        scenario.seed = seed;
    }
    if let Some(format) = run.format {
        scenario.population.format = format;
    }
    for stage in &mut scenario.stages {
        stage.seconds *= run.time;
        stage.stall_ms = (stage.stall_ms as f64 * run.time) as u64;
        stage.rate = stage.rate.map(|rate| rate * run.load);
        stage.to = stage.to.map(|rate| rate * run.load);
        stage.window = stage.window.map(|window| ((window as f64 * run.load) as usize).max(1));
    }
}

async fn run_scenario(run: Run) -> Result<bool, String> {
    let mut scenario = library::find(&run.scenario)?;
    adjust(&mut scenario, &run);
    // A few people who do the work of thousands are no flood here.
    let mut settings = vec![("SWITCHBOARD__REALTIME__COMMANDS_PER_SECOND".to_owned(), "100000".to_owned())];
    settings.extend(run.database.iter().map(|url| ("SWITCHBOARD__DATABASE__URL".to_owned(), url.clone())));
    let mut served = match &run.serve {
        Some(binary) => Some(Server::prepare(binary, None, &settings).map_err(|error| error.to_string())?),
        None => None,
    };
    let outcome = run_against(&run, scenario, &mut served).await;
    if let Some(server) = served {
        server.stop().await;
    }
    outcome
}

async fn run_against(run: &Run, scenario: Scenario, served: &mut Option<Server>) -> Result<bool, String> {
    let plain = |error: Failure| error.to_string();
    let population = &scenario.population;
    let mut pids = run.server_pid.clone();
    let (url, logins) = match served {
        Some(server) => {
            let people = server.populate(population.count(), population.rooms, population.members)?;
            server.start(Handicap::None).await?;
            pids.extend(server.pid());
            (server.url.clone(), people.1)
        }
        None => {
            let url = run.target.clone().ok_or("--target is missing")?;
            allow(&url, run.yes_this_is_mine)?;
            let logins = logins(run, &url, population.count()).await?;
            (url, logins)
        }
    };
    if run.shard.of > 1 && run.users.is_none() {
        return Err(
            "shards share people and rooms: give all of them the same --users FILE with rooms".to_owned()
        );
    }
    let rest = Rest::new(&url, run.api_key.clone()).map_err(plain)?;
    let cast = run::gather(population, run.kind, &rest, logins, &run.topics).await.map_err(plain)?;
    let options = Options {
        target: run.kind,
        rest: rest.clone(),
        api_key: run.api_key.clone(),
        server: Process::new(pids),
        shard: run.shard,
        is_quiet: run.quiet,
        is_rough: false,
    };
    let name = scenario.name.clone();
    let outcome = run::run(scenario, cast, options, stop_signal()).await;
    let mut report = Report::of(&outcome, run.shard);
    let files = Files::new(&run.out, &name, run.shard, report.began_us)?;
    if run.kind.is_ours() {
        let path = files.with("ledger.jsonl");
        outcome.book.write(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !run.no_verify && run.shard.of == 1 {
            report.verify = Some(verify::verify(&outcome.book, &rest, run.nats.as_deref()).await?);
        }
    }
    let holds = report.judge();
    say(&text::render(&report));
    write(&files.with("json"), &to_json(&report)?)?;
    write(&files.with("html"), &html::render(&report))?;
    Ok(holds && report.verify.is_none_or(|verdict| verdict.findings.is_empty()))
}

/// Names of the files of one run.
pub struct Files(PathBuf);

impl Files {
    /// Makes the folder.
    pub fn new(folder: &Path, scenario: &str, shard: Shard, began_us: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let part = if shard.of > 1 { format!("-{}of{}", shard.index + 1, shard.of) } else { String::new() };
        Ok(Self(folder.join(format!("{scenario}-{}{part}", began_us / 1_000_000))))
    }

    /// The file of this kind.
    pub fn with(&self, extension: &str) -> PathBuf {
        self.0.with_extension(extension)
    }
}

async fn logins(run: &Run, url: &str, count: usize) -> Result<Vec<Login>, String> {
    if let Some(file) = &run.users {
        return people::read(file);
    }
    let administrator = if let Some(key) = &run.admin_key {
        Administrator::Key(key.clone())
    } else if let Some(pair) = &run.admin {
        let (email, password) = pair.split_once(':').ok_or("--admin is written as EMAIL:PASSWORD")?;
        Administrator::Password(email.to_owned(), password.to_owned())
    } else if let Some(file) = &run.demo {
        Administrator::from_demo(file)?
    } else if !run.kind.is_ours() {
        // Centrifugo in insecure mode asks nobody who they are.
        let nobody = |number| Login { id: number, ..Login::default() };
        return Ok((1..).map(nobody).take(count).collect());
    } else {
        return Err(
            "who takes part? Give --users, --admin-key, --admin or --demo (see docs/LOADTEST.md)".to_owned()
        );
    };
    if !run.quiet {
        eprintln!("making {count} people");
    }
    let name = format!("{:x}", crate::stats::Stopwatch::start().began_us() / 1000);
    let rest = Rest::new(url, run.api_key.clone()).map_err(|error| error.to_string())?;
    let made =
        tokio::time::timeout(Duration::from_secs(600), people::make(&rest, &administrator, count, &name));
    made.await.map_err(|_| "making people took too long".to_owned())?.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
        assert_eq!(shard("2/4"), Ok(Shard { index: 1, of: 4 }));
        assert!(shard("5/4").is_err() && shard("0/4").is_err() && shard("x").is_err());
    }

    #[test]
    fn only_this_machine_is_loaded_without_a_word() {
        for url in ["http://127.0.0.1:80", "http://localhost", "http://[::1]:9/x", "https://127.1.2.3"] {
            assert_eq!(allow(url, false), Ok(()), "{url}");
        }
        for url in [
            "http://example.org:80",
            "http://10.0.0.1",
            "http://127.0.0.1.example.org",
            "https://[2001:db8::1]",
        ] {
            assert!(allow(url, false).is_err(), "{url}");
            assert_eq!(allow(url, true), Ok(()));
        }
        assert!(allow("127.0.0.1:80", true).is_err());
        assert!(allow("http://127.0.0.1:80@example.org", false).is_err());
    }
}
