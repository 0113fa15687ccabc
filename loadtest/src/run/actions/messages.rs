//! Messages, marks, typing.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use rand::RngExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{super::world::Own, Due, World};
use crate::{
    client::{socket::Client, subscription::hash},
    failure::{Failure, Outcome},
    ledger::Entry,
};

/// Messages that may be changed later: enough to choose from.
const OWN: usize = 20_000;
/// How often a message is sent again, under the same uuid, when the answer does not come.
const TRIES: usize = 6;

/// The answer to a message that was stored.
#[derive(Deserialize)]
struct Stored {
    id: i64,
    offset: u64,
}

fn whole(reply: &Value, name: &str) -> Outcome<i64> {
    reply[name].as_i64().ok_or_else(|| Failure::Unexpected(format!("no {name} in {reply:.100}")))
}

fn keep(world: &World, own: Own) {
    let mut kept = world.own.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < OWN {
        kept.push(own);
    }
}

/// Sends a text into some room of somebody.
pub async fn send(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let Some((person, room, client)) = world.somebody_in_a_room(&mut due.random) else {
        return Err(Failure::Disconnected);
    };
    if world.scenario.message.over_socket || !world.target.is_ours() {
        send_by_socket(world, &client, person, room, due.at_us).await?;
    } else {
        send_by_rest(world, person, room, due.at_us).await?;
    }
    Ok(true)
}

/// Sends a text over the socket, again under the same uuid while the answer does not come; gives its offset.
pub async fn send_by_socket(
    world: &World,
    client: &Client,
    person: usize,
    room: usize,
    due_us: u64,
) -> Outcome<u64> {
    let (text, uuid) = (world.text(due_us), Uuid::new_v4());
    let mut tried = 0;
    let body = loop {
        match client.ask(world.target.send(&world.rooms[room].channel, uuid, &text)).await {
            Ok(body) => break body,
            // Sending twice is sending once.
            Err(failure) if failure.is_unknown() && tried < TRIES => {
                tried += 1;
                tokio::time::sleep(Duration::from_millis(50 << tried)).await;
            }
            Err(failure) => {
                tried_in_vain(world, room, uuid, &failure);
                return Err(failure);
            }
        }
    };
    if !world.target.is_ours() {
        return Ok(0);
    }
    Ok(stored(world, person, room, &text, uuid, &serde_json::from_slice(&body.data)?))
}

fn tried_in_vain(world: &World, room: usize, uuid: Uuid, failure: &Failure) {
    if failure.is_unknown() {
        let (workbox, at) = (world.rooms[room].id, world.watch.now_us());
        world.ledger.note(Entry::Tried { workbox, uuid, at });
    }
}

/// Enters a stored message into the ledger; gives its offset.
fn stored(world: &World, person: usize, room: usize, text: &str, uuid: Uuid, stored: &Stored) -> u64 {
    let Stored { id, offset } = *stored;
    world.ledger.note(Entry::Message {
        workbox: world.rooms[room].id,
        id,
        uuid,
        offset,
        person: world.people[person].id,
        text: hash(text.as_bytes()),
        at: world.watch.now_us(),
    });
    world.heads[room].fetch_max(offset, Ordering::Relaxed);
    keep(world, Own { person, room, id });
    offset
}

/// Sends a text by REST; gives its offset.
pub async fn send_by_rest(world: &World, person: usize, room: usize, due_us: u64) -> Outcome<u64> {
    let (text, uuid) = (world.text(due_us), Uuid::new_v4());
    let token = super::reads::thread_token(world, person, room).await?;
    let body = json!({ "type": "Text", "username": "load", "uuid": uuid, "metadata": { "message": text } });
    match world.rest.post("/api/v1r1/workbox/messages", &token, &body).await {
        Ok(reply) => Ok(stored(world, person, room, &text, uuid, &Stored::deserialize(&reply)?)),
        Err(failure) => {
            tried_in_vain(world, room, uuid, &failure);
            Err(failure)
        }
    }
}

/// Some message of somebody who is here, taken out of the list so that nobody else changes it meanwhile.
fn some_own(world: &World, due: &mut Due) -> Option<(Own, Arc<Client>)> {
    let own = {
        let mut kept = world.own.lock().unwrap_or_else(PoisonError::into_inner);
        let count = kept.len();
        (count > 0).then(|| kept.swap_remove(due.random.random_range(0..count)))?
    };
    let client = world.client_of(own.person);
    if client.is_none() {
        keep(world, own.clone());
    }
    Some((own, client?))
}

/// Changes a message.
pub async fn edit(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let Some((own, client)) = some_own(world, due) else { return Ok(false) };
    let text = format!("ed1 {} {}", due.at_us, due.random.random::<u32>());
    let data = json!({ "channel": &*world.rooms[own.room].channel, "message_id": own.id, "text": text });
    let outcome = client.rpc("message.edit", data).await;
    let acknowledged = outcome.is_ok();
    if acknowledged || outcome.as_ref().is_err_and(Failure::is_unknown) {
        world.ledger.note(Entry::Edit {
            workbox: world.rooms[own.room].id,
            id: own.id,
            text: hash(text.as_bytes()),
            acknowledged,
            at: world.watch.now_us(),
        });
    }
    outcome?;
    keep(world, own);
    Ok(true)
}

/// Removes a message.
pub async fn delete(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let Some((own, client)) = some_own(world, due) else { return Ok(false) };
    let data = json!({ "channel": &*world.rooms[own.room].channel, "message_id": own.id });
    let outcome = client.rpc("message.delete", data).await;
    let acknowledged = outcome.is_ok();
    if acknowledged || outcome.as_ref().is_err_and(Failure::is_unknown) {
        let (workbox, id, at) = (world.rooms[own.room].id, own.id, world.watch.now_us());
        world.ledger.note(Entry::Delete { workbox, id, acknowledged, at });
    }
    outcome?;
    Ok(true)
}

/// Marks everything in a room as received or read.
pub async fn mark(world: &Arc<World>, due: &mut Due, method: &'static str) -> Outcome<bool> {
    let Some((person, room, client)) = world.somebody_in_a_room(&mut due.random) else {
        return Err(Failure::Disconnected);
    };
    let room = &world.rooms[room];
    let reply = client.rpc(method, json!({ "channel": &*room.channel, "message_id": -1 })).await?;
    world.ledger.note(Entry::Receipt {
        workbox: room.id,
        person: world.people[person].id,
        received: whole(&reply, "received_id")?,
        read: whole(&reply, "read_id")?,
        at: world.watch.now_us(),
    });
    Ok(true)
}

/// Says that one is typing.
pub async fn typing(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let Some((_, room, client)) = world.somebody_in_a_room(&mut due.random) else {
        return Err(Failure::Disconnected);
    };
    let channel = world.rooms[room].channel.to_string();
    let mark = format!("{}{} ", super::super::world::MARK, due.at_us);
    let data = json!({ "type": "typing", "data": { "t": mark } }).to_string();
    client.ask(crate::client::wire::Command::Publish { channel, data }).await?;
    Ok(true)
}
