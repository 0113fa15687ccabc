//! What people do. Each action is one function; whoever calls it measures.

mod calls;
mod files;
mod messages;
mod reads;
mod ring;

use std::sync::{Arc, atomic::Ordering};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

pub use files::path_of;
pub use messages::{send_by_rest, send_by_socket};

use super::world::World;
use crate::{
    failure::{Failure, Outcome},
    scenario::{Action, Mix},
};

/// One action that is due.
pub struct Due {
    /// What.
    pub action: Action,
    /// When, in microseconds since the epoch.
    pub at_us: u64,
    /// Its own chance, so that what it does hangs on the seed and not on the order of answers.
    pub random: SmallRng,
}

impl Action {
    /// The metric of its latency.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Received => "received",
            Self::Typing => "typing",
            Self::List => "list",
            Self::Open => "open",
            Self::History => "history",
            Self::Profile => "profile",
            Self::Colleagues => "colleagues",
            Self::Unread => "unread",
            Self::Attach => "attach",
            Self::Ring => "ring",
            Self::CallRoom => "call_room",
            Self::Signal => "signal",
            Self::Reconnect => "leave_network",
        }
    }
}

/// Draws an action by weight.
pub fn draw(mix: &Mix, random: &mut SmallRng) -> Option<Action> {
    let total: f64 = mix.values().sum();
    let mut at = random.random::<f64>() * total;
    for (action, weight) in mix {
        at -= weight;
        if at < 0.0 {
            return Some(*action);
        }
    }
    mix.keys().next_back().copied()
}

/// Draws an action that is due at a time.
pub fn due(mix: &Mix, at_us: u64, random: &mut SmallRng) -> Option<Due> {
    let action = draw(mix, random)?;
    Some(Due { action, at_us, random: SmallRng::seed_from_u64(random.random()) })
}

/// Does it and records how long that took since it was due.
pub async fn perform(world: &Arc<World>, mut due: Due) {
    let (action, at_us) = (due.action, due.at_us);
    record(world, action, at_us, act(world, &mut due)).await;
}

/// Sends a text of that person into that room now; false when that was not possible.
pub async fn say(world: &Arc<World>, person: usize, room: usize) -> bool {
    let Some(client) = world.client_of(person) else { return false };
    let at_us = world.watch.now_us();
    let sent = async { send_by_socket(world, &client, person, room, at_us).await.map(|_| true) };
    record(world, Action::Send, at_us, sent).await
}

/// True when it was done.
async fn record(
    world: &Arc<World>,
    action: Action,
    at_us: u64,
    work: impl Future<Output = Outcome<bool>>,
) -> bool {
    world.in_flight.fetch_add(1, Ordering::Relaxed);
    let done = work.await;
    world.in_flight.fetch_sub(1, Ordering::Relaxed);
    match done {
        Ok(true) => {
            world.latency(action).record(world.watch.now_us().saturating_sub(at_us));
            return true;
        }
        // There was nothing to do it with, or whoever asked went away meanwhile: that says nothing of the server.
        Ok(false) | Err(Failure::Left) => {}
        // While the server is treated badly, failures are counted apart: they are what was asked for.
        Err(failure) if world.rough.load(Ordering::Relaxed) => world.count_failure("while_rough", &failure),
        Err(failure) => world.count_failure(action.metric(), &failure),
    }
    false
}

/// False: there was nothing to do it with, such as no message to edit.
async fn act(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    match due.action {
        Action::Send => messages::send(world, due).await,
        Action::Edit => messages::edit(world, due).await,
        Action::Delete => messages::delete(world, due).await,
        Action::Read => messages::mark(world, due, "receipt.read").await,
        Action::Received => messages::mark(world, due, "receipt.received").await,
        Action::Typing => messages::typing(world, due).await,
        Action::List
        | Action::Open
        | Action::History
        | Action::Profile
        | Action::Colleagues
        | Action::Unread => reads::read(world, due).await,
        Action::Attach => files::attach(world, due).await,
        Action::Ring => ring::ring(world, due).await,
        Action::CallRoom => calls::come_or_go(world, due).await,
        Action::Signal => calls::signal(world, due).await,
        Action::Reconnect => {
            let (_, client) = world.somebody(&mut due.random).ok_or(Failure::Disconnected)?;
            client.go_away();
            client.come_back();
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_drawn_by_weight() {
        let mix = Mix::from([(Action::Send, 3.0), (Action::Read, 1.0), (Action::Edit, 0.0)]);
        let mut random = SmallRng::seed_from_u64(1);
        let drawn: Vec<_> = (0..4_000).filter_map(|_| draw(&mix, &mut random)).collect();
        let count = |action| drawn.iter().filter(|one| **one == action).count();
        assert!((2_900..3_100).contains(&count(Action::Send)), "{}", count(Action::Send));
        assert_eq!(count(Action::Edit), 0);
    }
}
