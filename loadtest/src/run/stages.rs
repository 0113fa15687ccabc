//! Keeping time: open-loop arrivals that wait for nobody, closed windows, fills.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{runtime::Handle, sync::watch};

use super::{actions, plan::Shard, storm, world::World};
use crate::{
    failure::Failure,
    scenario::{Mix, Stage, StageKind, arrivals::Schedule},
};

/// Actions of this process that may be under way: beyond that, arrivals are counted as lost.
const AT_ONCE: usize = 50_000;

/// Runs a stage; ends early when `stop` says so.
pub async fn run(
    world: &Arc<World>,
    stage: &Stage,
    shard: Shard,
    number: usize,
    stop: &watch::Receiver<bool>,
) {
    let seed = world.scenario.seed.wrapping_mul(1_000_003) + number as u64 * 997 + shard.index as u64;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut stopped = stop.clone();
    let work = async {
        match stage.kind {
            StageKind::Fill => {
                let window = stage.window.unwrap_or(32);
                let limit = Duration::from_secs_f64(stage.seconds);
                let _ =
                    tokio::time::timeout(limit, fill(world, stage.messages / shard.of, window, true)).await;
            }
            StageKind::Storm => storm::run(world, stage, &mut random).await,
            StageKind::Work => steady(world, stage, shard, random, stop).await,
        }
    };
    tokio::select! {
        () = work => {}
        _ = stopped.wait_for(|stop| *stop) => world.stopping.store(true, Ordering::Relaxed),
    }
}

async fn steady(
    world: &Arc<World>,
    stage: &Stage,
    shard: Shard,
    mut random: SmallRng,
    stop: &watch::Receiver<bool>,
) {
    let length = Duration::from_secs_f64(stage.seconds);
    if stage.stall_ms > 0 {
        stall(world, stage, &mut random);
    }
    let mix = stage.mix.clone().unwrap_or_else(|| world.scenario.mix.clone());
    if let Some((from, to)) = stage.ramp() {
        let ramp = (from / shard.of as f64, to / shard.of as f64);
        let schedule = Schedule::new(ramp, length, stage.arrivals);
        open_loop(world, schedule, mix, random, stop.clone(), length).await;
    } else if let (Some(window), 1..) = (stage.window, stage.talkers) {
        talk(world, stage.talkers, window, length).await;
    } else if let Some(window) = stage.window {
        let window = window.div_ceil(shard.of);
        closed_window(world, window, Duration::from_millis(stage.think_ms), &mix, random, length).await;
    } else {
        tokio::time::sleep(length).await;
    }
    if stage.stall_ms > 0 {
        world.stalled.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A share of the clients stops reading.
fn stall(world: &Arc<World>, stage: &Stage, random: &mut SmallRng) {
    let clients = world.all_clients();
    let wanted = ((clients.len() as f64 * stage.share).ceil() as usize).min(clients.len());
    let mut chosen = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        let client = &clients[random.random_range(0..clients.len())];
        if !chosen.contains(&client.number) {
            chosen.push(client.number);
            client.stall(Duration::from_millis(stage.stall_ms));
        }
    }
    *world.stalled.write().unwrap_or_else(PoisonError::into_inner) = chosen;
}

/// A thread of its own keeps time: the runtime's timers are too coarse, and a busy runtime must not move arrivals.
async fn open_loop(
    world: &Arc<World>,
    mut schedule: Schedule,
    mix: Mix,
    mut random: SmallRng,
    stop: watch::Receiver<bool>,
    length: Duration,
) {
    let (world, runtime) = (world.clone(), Handle::current());
    let lag = world.stats.metric("generator_lag");
    let keeper = move || {
        let (began, began_us) = (Instant::now(), world.watch.now_us());
        while let Some(at) = schedule.next(&mut random) {
            if *stop.borrow() {
                return;
            }
            let due = began + at;
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            lag.record(due.elapsed().as_micros() as u64);
            if world.in_flight.load(Ordering::Relaxed) >= AT_ONCE {
                world.stats.fail("generator_lag", &Failure::Refused(0, "too much under way".to_owned()));
                continue;
            }
            let at_us = began_us + at.as_micros() as u64;
            if let Some(due) = actions::due(&mix, at_us, &mut random) {
                let world = world.clone();
                runtime.spawn(async move { actions::perform(&world, due).await });
            }
        }
        std::thread::sleep(length.saturating_sub(began.elapsed()));
    };
    // The thread ends with the schedule or with `stop`.
    let _ = tokio::task::spawn_blocking(keeper).await;
}

async fn closed_window(
    world: &Arc<World>,
    window: usize,
    think: Duration,
    mix: &Mix,
    mut random: SmallRng,
    length: Duration,
) {
    let until = Instant::now() + length;
    let workers = (0..window).map(|_| {
        let (world, mix) = (world.clone(), mix.clone());
        let mut random = SmallRng::seed_from_u64(random.random());
        tokio::spawn(async move {
            while Instant::now() < until && !world.stopping.load(Ordering::Relaxed) {
                let Some(due) = actions::due(&mix, world.watch.now_us(), &mut random) else { break };
                let before = world.watch.now_us();
                actions::perform(&world, due).await;
                let pause = if think.is_zero() && world.watch.now_us() - before < 200 {
                    // Nothing could be done, or it failed at once: do not spin.
                    Duration::from_millis(2)
                } else {
                    think
                };
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        })
    });
    join_all(workers.collect::<Vec<_>>()).await;
}

/// The first people of each room write; each keeps a window of messages under way. As their answers come together, so
/// do their next messages: what people who paste and programs do.
async fn talk(world: &Arc<World>, talkers: usize, window: usize, length: Duration) {
    let until = Instant::now() + length;
    let mut workers = Vec::new();
    for (room, place) in world.rooms.iter().enumerate() {
        for &person in place.members.iter().take(talkers) {
            let world = world.clone();
            // One task for the whole window: its answers come together.
            workers.push(tokio::spawn(async move {
                let places = (0..window).map(|_| async {
                    while Instant::now() < until && !world.stopping.load(Ordering::Relaxed) {
                        if !actions::say(&world, person, room).await {
                            // Away, refused, or a person of another process: do not spin.
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                });
                join_all(places).await;
            }));
        }
    }
    join_all(workers).await;
}

/// Sends messages evenly into all rooms, so many at a time; gives the last offset of each room. Over REST when nobody is
/// connected.
pub async fn fill(
    world: &Arc<World>,
    messages: usize,
    window: usize,
    over_socket: bool,
) -> HashMap<usize, u64> {
    let rooms = world.rooms.len();
    let next = Arc::new(AtomicUsize::new(0));
    let heads: Arc<Vec<AtomicU64>> = Arc::new((0..rooms).map(|_| AtomicU64::new(0)).collect());
    let workers = (0..window).map(|_| {
        let (world, next, heads) = (world.clone(), next.clone(), heads.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages || world.stopping.load(Ordering::Relaxed) {
                    break;
                }
                let room = number % rooms;
                let members = &world.rooms[room].members;
                let person = members[number / rooms % members.len()];
                let sent = if over_socket {
                    send_in(&world, person, room).await
                } else {
                    actions::send_by_rest(&world, person, room, world.watch.now_us()).await
                };
                match sent {
                    Ok(offset) => {
                        heads[room].fetch_max(offset, Ordering::Relaxed);
                    }
                    Err(failure) => world.count_failure("fill", &failure),
                }
            }
        })
    });
    join_all(workers.collect::<Vec<_>>()).await;
    let heads = heads.iter().map(|head| head.load(Ordering::Relaxed)).enumerate();
    heads.filter(|(_, head)| *head > 0).collect()
}

/// A message of a fill goes by socket where its author has one open.
async fn send_in(world: &Arc<World>, person: usize, room: usize) -> crate::failure::Outcome<u64> {
    match world.client_of(person) {
        Some(client) => actions::send_by_socket(world, &client, person, room, world.watch.now_us()).await,
        None => actions::send_by_rest(world, person, room, world.watch.now_us()).await,
    }
}
