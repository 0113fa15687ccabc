//! Everybody goes away, misses something, comes back: how long until each has everything.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::SmallRng};
use tokio::time::sleep;

use super::{stages::fill, world::World};
use crate::{client::socket::Listener as _, failure::Failure, scenario::Stage};

/// Clients that have yet to catch up: channels left, and since when.
#[derive(Debug, Default)]
pub struct Storm(Mutex<HashMap<usize, (usize, Instant)>>);

impl Storm {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<usize, (usize, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel of a client is whole.
    pub fn reached(&self, world: &World, client: usize) {
        let mut waiting = self.waiting();
        let Some((left, since)) = waiting.get_mut(&client) else { return };
        *left -= 1;
        if *left == 0 {
            let took = since.elapsed();
            waiting.remove(&client);
            world.stats.metric("whole").record(took.as_micros() as u64);
        }
    }
}

/// Runs the stage. Figures: `whole` (from "come back" to "has everything", per client) and `storm` (the same for all).
pub async fn run(world: &Arc<World>, stage: &Stage, random: &mut SmallRng) {
    let clients = world.all_clients();
    let away: Vec<_> = clients.iter().filter(|_| random.random::<f64>() < stage.share).cloned().collect();
    for client in &away {
        client.go_away();
    }
    while away.iter().any(|client| client.is_online()) {
        sleep(Duration::from_millis(20)).await;
    }
    // What is missed is sent by REST, since nobody may be connected.
    let heads = fill(world, stage.messages * world.rooms.len(), stage.window.unwrap_or(32), false).await;
    for (room, head) in &heads {
        world.log(&world.rooms[*room].channel).expect(*head);
    }
    let began = Instant::now();
    let spread = Duration::from_millis(stage.within_ms);
    let mut expected = 0;
    {
        let mut waiting = world.storm.waiting();
        waiting.clear();
        for client in &away {
            let rooms = &world.rooms_of[client.number / world.devices()];
            let channels = rooms.iter().filter(|room| heads.contains_key(room)).count();
            if channels > 0 {
                waiting.insert(client.number, (channels, began));
                expected += 1;
            }
        }
    }
    for (number, client) in away.iter().enumerate() {
        client.come_back();
        if !spread.is_zero() && number % 64 == 63 {
            sleep(spread / (away.len() / 64 + 1) as u32).await;
        }
    }
    let limit = Duration::from_secs_f64(stage.seconds);
    while began.elapsed() < limit && !world.storm.waiting().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    let missing = world.storm.waiting().len();
    if missing == 0 && expected > 0 {
        world.stats.metric("storm").record(began.elapsed().as_micros() as u64);
    }
    for _ in 0..missing {
        world.stats.fail("whole", &Failure::TimedOut);
    }
}
