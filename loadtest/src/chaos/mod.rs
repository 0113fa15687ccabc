//! A server of our own, that is treated badly under load.

mod acts;
pub mod server;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};

pub use server::Server;

use crate::{
    cli::{Files, say, to_json, write},
    client::rest::Rest,
    failure::Failure,
    ledger::violation::{Finding, Violation},
    observe::Process,
    report::{Report, html, text},
    run::{self, Options, Shard, world::World},
    scenario::library,
    target::Target,
    verify,
};

/// How long everybody may need to come back.
const BACK: Duration = Duration::from_secs(60);

/// What is done to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// kill -9, then a new start
    Kill,
    /// SIGSTOP for a while
    Pause,
    /// SIGTERM, then a new start
    Drain,
    /// No space on the disk for a while
    Full,
    /// Any of them
    Mix,
}

/// `loadtest chaos`.
#[derive(Args)]
pub struct Chaos {
    /// What is done to the server
    #[arg(value_enum)]
    act: Act,
    /// The switchboard binary
    #[arg(long)]
    binary: PathBuf,
    /// How often
    #[arg(long, default_value_t = 20)]
    cycles: usize,
    /// Milliseconds of load before each, at least and at most
    #[arg(long, value_name = "FROM-TO", value_parser = range, default_value = "300-1500")]
    load_ms: (u64, u64),
    /// Milliseconds of a pause, at least and at most
    #[arg(long, value_name = "FROM-TO", value_parser = range, default_value = "1000-10000")]
    pause_ms: (u64, u64),
    /// A database other than SQLite; an empty one
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// NATS server that the events go to; JetStream is checked, too
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Scenario of the load
    #[arg(long, default_value = "chaos")]
    scenario: String,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the result, its page and the ledger
    #[arg(long, default_value = "loadtest-results")]
    out: PathBuf,
    /// Keep the server's folder, which is this one then
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Show nothing while it runs
    #[arg(long)]
    quiet: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match parsed {
        Some((from, to)) if from <= to => Ok((from, to)),
        _ => Err("written as 300-1500".to_owned()),
    }
}

/// One act of violence and how the server came back from it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Cycle {
    /// What was done.
    pub act: String,
    /// Seconds from the begin of the run.
    pub at: f64,
    /// From the start of the process (or the end of the pause) until it said that it is ready.
    pub ready_ms: f64,
    /// From then until every client was back with everything that had been acknowledged; none when that never happened.
    pub whole_ms: Option<f64>,
    /// What the process left with, where it ended by itself.
    pub exit: Option<i32>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} s  {:<16} ready after {:>5.0} ms, ", self.at, self.act, self.ready_ms)?;
        match self.whole_ms {
            Some(ms) => write!(f, "everybody back and whole {ms:.0} ms later"),
            None => write!(f, "NOT everybody came back"),
        }
    }
}

/// Runs it. False: something was lost, or somebody did not come back.
pub async fn command(chaos: Chaos, stop: watch::Receiver<bool>) -> Result<bool, String> {
    let mut settings = vec![("SWITCHBOARD__SERVER__DRAIN_SECONDS".to_owned(), "1".to_owned())];
    let given = [("SWITCHBOARD__DATABASE__URL", &chaos.database), ("SWITCHBOARD__BUS__URL", &chaos.nats)];
    for (name, value) in given {
        settings.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
    }
    let server = Server::prepare(&chaos.binary, chaos.keep.as_deref(), &settings);
    let mut server = server.map_err(|error| format!("{}: {error}", chaos.binary.display()))?;
    let outcome = violate(&chaos, &mut server, stop).await;
    server.stop().await;
    outcome
}

async fn violate(chaos: &Chaos, server: &mut Server, stop: watch::Receiver<bool>) -> Result<bool, String> {
    let plain = |failure: Failure| failure.to_string();
    let mut scenario = library::find(&chaos.scenario)?;
    scenario.seed = chaos.seed;
    let population = scenario.population.clone();
    let (_, logins) = server.populate(population.count(), population.rooms, population.members)?;
    server.start(None).await?;
    let rest = Rest::new(&server.url, None).map_err(plain)?;
    let cast = run::gather(&population, Target::Switchboard, &rest, logins, &[]).await.map_err(plain)?;
    let world = World::new(scenario, Target::Switchboard, rest.clone(), cast.people, cast.rooms);
    let options = Options {
        target: Target::Switchboard,
        rest: rest.clone(),
        api_key: None,
        server: Process::new(server.pid().into_iter().collect()),
        shard: Shard::default(),
        is_quiet: true,
        is_rough: true,
    };
    let (ended, end) = watch::channel(false);
    let load = tokio::spawn(run::run_in(world.clone(), options, end));
    let cycles = cycles(chaos, server, &world, stop).await;
    let _ = ended.send(true);
    let outcome = load.await.map_err(|error| error.to_string())?;
    let cycles = cycles?;

    let mut report = Report::of(&outcome, Shard::default());
    // The end is where it was meant to be.
    report.interrupted = false;
    let mut verdict = verify::verify(&outcome.book, &rest, chaos.nats.as_deref()).await?;
    verdict.findings.extend(cycles.iter().filter_map(finding));
    let is_sound = verdict.findings.is_empty();
    report.verify = Some(verdict);
    report.chaos = cycles;
    report.judge();
    if !chaos.quiet {
        say(&text::render(&report));
    }
    let name = format!("chaos-{}", format!("{:?}", chaos.act).to_lowercase());
    let files = Files::new(&chaos.out, &name, Shard::default(), report.began_us)?;
    let ledger = files.with("ledger.jsonl");
    outcome.book.write(&ledger).map_err(|error| error.to_string())?;
    write(&files.with("json"), &to_json(&report)?)?;
    write(&files.with("html"), &html::render(&report))?;
    Ok(is_sound)
}

/// A cycle that itself breaks a promise.
fn finding(cycle: &Cycle) -> Option<Finding> {
    let what = match cycle {
        Cycle { whole_ms: None, .. } => "not everybody came back".to_owned(),
        Cycle { act, exit: Some(code), .. } if act.starts_with("drain") && *code != 0 => {
            format!("it left with {code}")
        }
        Cycle { act, exit: None, .. } if act.starts_with("drain") => "it did not leave".to_owned(),
        _ => return None,
    };
    Some((*Violation::new("the server comes back", &cycle.act, what, vec![cycle.to_string()])).into())
}

async fn cycles(
    chaos: &Chaos,
    server: &mut Server,
    world: &Arc<World>,
    stop: watch::Receiver<bool>,
) -> Result<Vec<Cycle>, String> {
    let mut random = SmallRng::seed_from_u64(chaos.seed);
    let mut cycles = Vec::new();
    // Everybody is there before it begins.
    whole(world).await;
    for number in 0..chaos.cycles {
        if *stop.borrow() {
            break;
        }
        sleep(Duration::from_millis(random.random_range(chaos.load_ms.0..=chaos.load_ms.1))).await;
        let act = match chaos.act {
            Act::Mix => [Act::Kill, Act::Pause, Act::Drain, Act::Full][random.random_range(0..4)],
            one => one,
        };
        let mut cycle = Cycle { at: world.seconds(), ..Cycle::default() };
        match act {
            Act::Pause => {
                let time = Duration::from_millis(random.random_range(chaos.pause_ms.0..=chaos.pause_ms.1));
                acts::pause(server, world, &mut cycle, time).await?;
            }
            Act::Drain => acts::drain(server, &mut cycle).await?,
            Act::Full => acts::full(server, &mut cycle).await?,
            Act::Kill | Act::Mix => acts::kill(server, &mut cycle).await?,
        }
        cycle.whole_ms = whole(world).await.map(|took| took.as_secs_f64() * 1000.0);
        if !chaos.quiet {
            eprintln!("{:>4}  {cycle}", number + 1);
        }
        cycles.push(cycle);
    }
    Ok(cycles)
}

/// Waits until every client stands in all of its rooms and has what was acknowledged until now.
async fn whole(world: &Arc<World>) -> Option<Duration> {
    let began = Instant::now();
    let heads: Vec<_> =
        world.rooms.iter().zip(&world.heads).map(|(room, head)| (room.channel.clone(), head)).collect();
    let due: Vec<_> = heads
        .iter()
        .map(|(channel, head)| (channel.clone(), head.load(std::sync::atomic::Ordering::Relaxed)))
        .collect();
    'waiting: while began.elapsed() < BACK {
        let clients = world.all_clients();
        if clients.len() < world.people.len() * world.devices() {
            sleep(Duration::from_millis(10)).await;
            continue;
        }
        for client in clients {
            let places = client.places().await;
            let rooms = &world.rooms_of[client.number / world.devices()];
            let is_whole = rooms.iter().all(|room| {
                let (channel, due) = &due[*room];
                places.iter().any(|place| place.channel == *channel && place.active && place.offset >= *due)
            });
            if !is_whole || !client.is_online() {
                sleep(Duration::from_millis(10)).await;
                continue 'waiting;
            }
        }
        return Some(began.elapsed());
    }
    None
}

/// The database file of a server in this folder.
fn database_file(folder: &Path) -> PathBuf {
    folder.join("data").join("switchboard.db")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_come_back_is_a_finding() {
        let cycle =
            |act: &str, whole_ms, exit| Cycle { act: act.to_owned(), whole_ms, exit, ..Cycle::default() };
        assert!(finding(&cycle("kill", Some(3.0), None)).is_none());
        assert!(finding(&cycle("kill", None, None)).is_some());
        assert!(finding(&cycle("drain", Some(3.0), Some(0))).is_none());
        assert!(finding(&cycle("drain", Some(3.0), Some(1))).is_some());
        assert!(finding(&cycle("drain", Some(3.0), None)).is_some());
        assert_eq!(range("300-1500"), Ok((300, 1500)));
        assert!(range("3-1").is_err());
    }
}
