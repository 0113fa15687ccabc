//! A server of our own, that is treated badly under load.

mod acts;
mod options;
mod proxy;
pub mod server;
mod summary;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};

pub use options::Chaos;
pub use server::{Handicap, Server};

use acts::Scene;
use options::Act;
use proxy::Proxy;
use summary::Summary;

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

impl Cycle {
    /// What was done, without how long it took.
    pub fn name(&self) -> &str {
        self.act.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().trim_end()
    }
}

/// Runs it. False: something was lost, or somebody did not come back.
pub async fn command(chaos: Chaos, stop: watch::Receiver<bool>) -> Result<bool, String> {
    let proxy = match &chaos.database {
        Some(url) => Some(Proxy::open(url).await?),
        None => None,
    };
    let mut settings = vec![("SWITCHBOARD__SERVER__DRAIN_SECONDS".to_owned(), "1".to_owned())];
    let database = proxy.as_ref().map(|proxy| &proxy.url);
    let given = [("SWITCHBOARD__DATABASE__URL", database), ("SWITCHBOARD__BUS__URL", chaos.nats.as_ref())];
    for (name, value) in given {
        settings.extend(value.iter().map(|value| (name.to_owned(), (*value).clone())));
    }
    let server = Server::prepare(&chaos.binary, chaos.keep.as_deref(), &settings);
    let mut server = server.map_err(|error| format!("{}: {error}", chaos.binary.display()))?;
    let outcome = violate(&chaos, &mut server, proxy.as_ref(), stop).await;
    // Through the proxy it still stores what is left.
    server.stop().await;
    outcome
}

async fn violate(
    chaos: &Chaos,
    server: &mut Server,
    proxy: Option<&Proxy>,
    stop: watch::Receiver<bool>,
) -> Result<bool, String> {
    let plain = |failure: Failure| failure.to_string();
    let acts = chaos.acts(server.has_failpoints()?)?;
    let mut scenario = library::find(&chaos.scenario)?;
    scenario.seed = chaos.seed;
    let population = scenario.population.clone();
    let (_, logins) = server.populate(population.count(), population.rooms, population.members)?;
    server.start(Handicap::None).await?;
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
    let mut scene = Scene { chaos, server, world, proxy };
    let cycles = cycles(&mut scene, &acts, stop).await;
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
    let files =
        Files::new(&chaos.out, &format!("chaos-{}", chaos.act.name()), Shard::default(), report.began_us)?;
    let ledger = files.with("ledger.jsonl");
    outcome.book.write(&ledger).map_err(|error| error.to_string())?;
    write(&files.with("json"), &to_json(&report)?)?;
    write(&files.with("html"), &html::render(&report))?;
    if let Some(path) = &chaos.summary {
        let (database, bus) = (chaos.database.as_deref(), chaos.nats.is_some());
        let summary = Summary::of(&report, chaos.act.name(), database, bus, scene.server.version()?);
        let text = serde_json::to_string_pretty(&summary).map_err(|error| error.to_string())?;
        write(path, &(text + "\n"))?;
    }
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
    scene: &mut Scene<'_>,
    acts: &[Act],
    stop: watch::Receiver<bool>,
) -> Result<Vec<Cycle>, String> {
    let chaos = scene.chaos;
    let mut random = SmallRng::seed_from_u64(chaos.seed);
    let mut cycles = Vec::new();
    // Everybody is there before it begins.
    whole(&scene.world).await;
    for number in 0..chaos.cycles {
        if *stop.borrow() {
            break;
        }
        sleep(Duration::from_millis(random.random_range(chaos.load_ms.0..=chaos.load_ms.1))).await;
        let act = acts[random.random_range(0..acts.len())];
        let mut cycle = Cycle { at: scene.world.seconds(), ..Cycle::default() };
        scene.act(act, &mut random, &mut cycle).await?;
        cycle.whole_ms = whole(&scene.world).await.map(|took| took.as_secs_f64() * 1000.0);
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
    }
}
