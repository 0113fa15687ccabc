//! Many people in one call: they come, go and signal.

use std::sync::{Arc, PoisonError};

use rand::RngExt as _;
use serde_json::json;

use super::{Due, World};
use crate::{
    failure::{Failure, Outcome},
    ledger::Entry,
};

/// The session of everybody; made by whoever is first.
async fn session(world: &Arc<World>, person: usize) -> Outcome<String> {
    let known = world.room_call.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(known) = known {
        return Ok(known);
    }
    let client = world.clients_of(person).into_iter().next().ok_or(Failure::Disconnected)?;
    let own = world.people[person].id;
    let users: Vec<_> = world.people.iter().map(|one| one.id).filter(|id| *id != own).collect();
    let reply = client.rpc("session.create", json!({ "users": users })).await?;
    let id = reply["id"].as_str().ok_or_else(|| Failure::Unexpected("no session".to_owned()))?.to_owned();
    let entry = Entry::Call { session: id.clone(), person: own, at: world.watch.now_us() };
    {
        let mut kept = world.room_call.lock().unwrap_or_else(PoisonError::into_inner);
        // Sessions with the same members are one and the same: a twin has found the same.
        if kept.is_none() {
            *kept = Some(id.clone());
            world.ledger.note(entry);
        }
    }
    for client in world.all_clients() {
        if let Err(failure) = client.subscribe(&format!("session:{id}")).await {
            world.count_failure("subscribe", &failure);
        }
    }
    Ok(id)
}

/// Somebody comes into the call, or goes.
pub async fn come_or_go(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let Some((person, client)) = world.somebody(&mut due.random) else {
        return Err(Failure::Disconnected);
    };
    if !world.rings.take(&[person]) {
        return Ok(false);
    }
    let outcome = async {
        let session = session(world, person).await?;
        let there = world.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&person);
        if let Some(call) = there {
            client.rpc("call.leave", json!({ "call_id": call })).await?;
            return Ok(true);
        }
        let reply = client.rpc("call.join", json!({ "session_id": session })).await?;
        let call = reply["call_id"].as_str().ok_or_else(|| Failure::Unexpected("no call".to_owned()))?;
        world.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(person, call.to_owned());
        Ok(true)
    };
    let outcome = outcome.await;
    world.rings.release(&[person]);
    outcome
}

/// Somebody in the call signals to somebody else in it.
pub async fn signal(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let (from, to, call) = {
        let calls = world.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let present: Vec<_> = calls.iter().collect();
        if present.len() < 2 {
            return Ok(false);
        }
        let one = due.random.random_range(0..present.len());
        let other = (one + due.random.random_range(1..present.len())) % present.len();
        (*present[one].0, *present[other].0, present[one].1.clone())
    };
    let client = world.clients_of(from).into_iter().next().ok_or(Failure::Disconnected)?;
    let mark = format!("{}{} ", super::super::world::MARK, due.at_us);
    let data = json!({ "call_id": call, "to": world.people[to].id, "payload": { "sdp": mark } });
    match client.rpc("call.signal", data).await {
        // One of the two has just left.
        Err(Failure::Refused(code, _)) if code < 500 => Ok(false),
        outcome => outcome.map(|_| true),
    }
}
