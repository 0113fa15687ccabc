//! One run from begin to end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{
    live::{Live, Moment},
    setup::Cast,
    stages,
    world::World,
};
use crate::{
    client::{rest::Rest, socket::Client},
    ledger::{Book, Head, SCHEMA},
    observe::{Process, Sample, metrics::Scrape},
    scenario::Scenario,
    target::Target,
};

/// Which part of a run this process does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

/// How to run.
pub struct Options {
    /// The kind of server.
    pub target: Target,
    /// Its REST side.
    pub rest: Rest,
    /// Its API key.
    pub api_key: Option<String>,
    /// Its processes, when they are on this machine.
    pub server: Process,
    /// Our part.
    pub shard: Shard,
    /// Show nothing while it runs.
    pub is_quiet: bool,
    /// Connections are expected to break.
    pub is_rough: bool,
}

/// What a run leaves.
pub struct Outcome {
    /// The world as it was at the end.
    pub world: Arc<World>,
    /// Looks at the server, one a second.
    pub samples: Vec<Sample>,
    /// The server at the borders: before anybody connected, when all had, at the end of each stage.
    pub marks: Vec<Mark>,
    /// What was acknowledged and seen.
    pub book: Book,
    /// It was ended early.
    pub interrupted: bool,
    /// Connections that were open after the connect phase.
    pub connections: usize,
}

/// The server at the border of two stages.
#[derive(Clone, Debug)]
pub struct Mark {
    /// CPU seconds so far.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub rss_mb: Option<f64>,
}

/// Grace for what is under way at the end.
const GRACE: Duration = Duration::from_secs(20);

struct Shared {
    stage: Mutex<String>,
    samples: Mutex<Vec<Sample>>,
}

/// Runs a scenario.
pub async fn run(scenario: Scenario, cast: Cast, options: Options, stop: watch::Receiver<bool>) -> Outcome {
    let Cast { people, rooms } = cast;
    let world = World::new(scenario, options.target, options.rest.clone(), people, rooms);
    run_in(world, options, stop).await
}

/// Runs the scenario of a world that others look at meanwhile.
pub async fn run_in(world: Arc<World>, options: Options, stop: watch::Receiver<bool>) -> Outcome {
    let server = options.server.clone();
    world.rough.store(options.is_rough, Ordering::Relaxed);
    let shared = Arc::new(Shared { stage: Mutex::new("connect".to_owned()), samples: Mutex::default() });
    let mark = || Mark { cpu_seconds: server.cpu_seconds(), rss_mb: server.rss_mb() };
    let mut marks = vec![mark()];
    let (ended, end) = watch::channel(false);
    let ticker =
        tokio::spawn(tick(world.clone(), shared.clone(), options.server.clone(), options.is_quiet, end));

    let tasks = connect(&world, &options, &stop).await;
    settle(&world, &stop).await;
    world.stats.end_stage("connect", world.seconds());
    marks.push(mark());
    let connections = world.all_clients().iter().filter(|client| client.is_online()).count();

    let planned = world.scenario.stages.clone();
    for (number, stage) in planned.iter().enumerate() {
        if *stop.borrow() {
            break;
        }
        shared.stage.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&stage.name);
        stages::run(&world, stage, options.shard, number, &stop).await;
        if number + 1 == planned.len() || *stop.borrow() {
            drain(&world).await;
        }
        world.stats.end_stage(&stage.name, world.seconds());
        marks.push(mark());
    }
    let interrupted = *stop.borrow();
    quiet(&world).await;
    world.closing.store(true, Ordering::Relaxed);
    for client in world.all_clients() {
        client.close();
    }
    for task in tasks {
        let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
    }
    let _ = ended.send(true);
    let _ = ticker.await;
    let book = close_book(&world);
    let samples = std::mem::take(&mut *shared.samples.lock().unwrap_or_else(PoisonError::into_inner));
    Outcome { world, samples, marks, book, interrupted, connections }
}

async fn connect(world: &Arc<World>, options: &Options, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let population = &world.scenario.population;
    let format = population.format;
    let endpoint = Arc::new(options.target.endpoint(options.rest.base(), format, options.api_key.as_deref()));
    let total = world.people.len() * population.devices;
    let slot = |lock: &std::sync::RwLock<Vec<Option<Arc<Client>>>>, client: Option<Arc<Client>>| {
        lock.write().unwrap_or_else(PoisonError::into_inner).push(client);
    };
    let pace = Duration::from_secs_f64(options.shard.of as f64 / population.connect_rate);
    let (mut tasks, began, mut due) = (Vec::new(), tokio::time::Instant::now(), Duration::ZERO);
    for number in 0..total {
        if *stop.borrow() {
            break;
        }
        if number % options.shard.of != options.shard.index {
            slot(&world.clients, None);
            continue;
        }
        let person = number / population.devices;
        let (client, task) =
            Client::start(number, world.people[person].clone(), endpoint.clone(), world.clone());
        if population.subscribe {
            for room in &world.rooms_of[person] {
                let (client, channel) = (client.clone(), world.rooms[*room].channel.clone());
                tokio::spawn(async move {
                    // Remembered for when it is connected; the listener counts what fails then.
                    let _ = client.subscribe(&channel).await;
                });
            }
        }
        slot(&world.clients, Some(client));
        tasks.push(task);
        due += pace;
        if began.elapsed() + Duration::from_millis(2) < due {
            tokio::time::sleep_until(began + due).await;
        }
    }
    tasks
}

/// Waits until everybody is connected, or nobody more comes.
async fn settle(world: &Arc<World>, stop: &watch::Receiver<bool>) {
    let (mut best, mut since) = (0, tokio::time::Instant::now());
    loop {
        let clients = world.all_clients();
        let online = clients.iter().filter(|client| client.is_online()).count();
        if online > best {
            (best, since) = (online, tokio::time::Instant::now());
        }
        if online == clients.len() || since.elapsed() > Duration::from_secs(10) || *stop.borrow() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    // Their subscriptions follow at once.
    sleep(Duration::from_millis(300)).await;
}

/// Waits for what is under way.
async fn drain(world: &Arc<World>) {
    let began = tokio::time::Instant::now();
    while world.in_flight.load(Ordering::Relaxed) > 0 && began.elapsed() < GRACE {
        sleep(Duration::from_millis(20)).await;
    }
    // Nobody stays in a call.
    let calls = std::mem::take(&mut *world.calls.lock().unwrap_or_else(PoisonError::into_inner));
    for (person, call) in calls {
        if let Some(client) = world.client_of(person) {
            let _ = client.rpc("call.leave", serde_json::json!({ "call_id": call })).await;
        }
    }
}

/// What was sent last is still on its way to the last subscriber: waits until nothing comes any more.
async fn quiet(world: &Arc<World>) {
    let (began, mut last, mut since) = (tokio::time::Instant::now(), 0, tokio::time::Instant::now());
    while since.elapsed() < Duration::from_millis(700) && began.elapsed() < GRACE {
        let now = world.arrivals.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, tokio::time::Instant::now());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Once a second: a point of each metric, a look at the server, the view.
async fn tick(
    world: Arc<World>,
    shared: Arc<Shared>,
    server: Process,
    is_quiet: bool,
    mut end: watch::Receiver<bool>,
) {
    let total: f64 = world.scenario.stages.iter().map(|stage| stage.seconds).sum();
    let mut view = Live::new(total, is_quiet);
    let own = Process::own();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    every.tick().await;
    let (mut before, mut scraped) = (None::<(f64, Option<f64>, Option<f64>)>, None::<Scrape>);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = end.wait_for(|end| *end) => break,
        }
        let t = world.seconds();
        let (cpu, own_cpu) = (server.cpu_seconds(), own.cpu_seconds());
        let mut sample = Sample { t, cpu_seconds: cpu, rss_mb: server.rss_mb(), ..Sample::default() };
        let length = before.map_or(1.0, |(then, _, _)| (t - then).max(0.001));
        let percent = |now: Option<f64>, then: Option<f64>| Some((now? - then?) / length * 100.0);
        if let Some((_, then, own_then)) = before {
            sample.cpu_percent = percent(cpu, then);
            sample.own_cpu_percent = percent(own_cpu, own_then);
        }
        before = Some((t, cpu, own_cpu));
        if world.target.is_ours() {
            let limit = Duration::from_millis(900);
            if let Ok(Ok(text)) = tokio::time::timeout(limit, world.rest.content("/metrics")).await {
                let scrape = Scrape::parse(&String::from_utf8_lossy(&text));
                if let Some(last) = &scraped {
                    scrape.explain(last, length, &mut sample);
                }
                scraped = Some(scrape);
            }
        } else {
            // Only our own server tells how many it has.
            let online = world.all_clients().iter().filter(|client| client.is_online()).count();
            sample.connections = Some(online as f64);
        }
        let points = world.stats.tick(t);
        let stage = shared.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let online = world.all_clients().iter().filter(|client| client.is_online()).count();
        let wrongs = world.ledger.wrongs();
        view.show(&Moment { stage: &stage, seconds: t, points: &points, online, wrongs, server: &sample });
        shared.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

fn close_book(world: &World) -> Book {
    let head = Head {
        schema: SCHEMA.to_owned(),
        target: world.rest.base().to_owned(),
        scenario: world.scenario.name.clone(),
        organization: 0,
    };
    let mut workboxes = BTreeMap::<i64, Vec<i64>>::new();
    for room in &world.rooms {
        workboxes.insert(room.id, room.members.iter().map(|person| world.people[*person].id).collect());
    }
    let mut book = Book {
        head,
        people: world.people.iter().map(|person| person.login()).collect(),
        rooms: workboxes.into_iter().collect(),
        seen: world.seen(),
        ..Book::default()
    };
    world.ledger.close(&mut book);
    book
}
