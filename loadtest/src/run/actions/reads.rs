//! REST reads: what an app asks for when it starts and when somebody scrolls.

use std::sync::{Arc, PoisonError};

use rand::RngExt as _;

use super::{Due, World};
use crate::{
    failure::{Failure, Outcome},
    scenario::Action,
};

/// The token of a help thread for one of its people; asked for once, and again when it got old.
pub async fn thread_token(world: &World, person: usize, room: usize) -> Outcome<String> {
    let known = {
        let tokens = world.thread_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&(person, room)).cloned()
    };
    match known {
        Some(token) => Ok(token),
        None => open(world, person, room).await,
    }
}

/// Opens a help thread: its token comes with it.
async fn open(world: &World, person: usize, room: usize) -> Outcome<String> {
    let token = world.people[person].token().await?;
    let path = format!("/api/v1r1/workboxes/{}", world.rooms[room].id);
    let reply = world.rest.get(&path, &token).await?;
    let token = reply["token"].as_str().ok_or_else(|| Failure::Unexpected("no workbox token".to_owned()))?;
    let mut tokens = world.thread_tokens.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.insert((person, room), token.to_owned());
    Ok(token.to_owned())
}

/// One read of somebody.
pub async fn read(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let person = due.random.random_range(0..world.people.len());
    let rooms = &world.rooms_of[person];
    let room = (!rooms.is_empty()).then(|| rooms[due.random.random_range(0..rooms.len())]);
    let path = match due.action {
        Action::List => "/api/v1r1/workboxes?limit=20",
        Action::Unread => "/api/v1r1/workboxes/info",
        Action::Profile => "/api/v1/info",
        Action::Colleagues => "/api/v1/colleagues?page_size=20",
        Action::Open => {
            let Some(room) = room else { return Ok(false) };
            open(world, person, room).await?;
            return Ok(true);
        }
        _ => {
            let Some(room) = room else { return Ok(false) };
            let token = thread_token(world, person, room).await?;
            let outcome = world.rest.get("/api/v1r1/workbox/messages?limit=50", &token).await;
            if outcome.as_ref().is_err_and(|failure| failure.code().is_some_and(|code| code < 500)) {
                // It may have expired: the next one asks anew.
                let mut tokens = world.thread_tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.remove(&(person, room));
            }
            outcome?;
            return Ok(true);
        }
    };
    let token = world.people[person].token().await?;
    world.rest.get(path, &token).await?;
    Ok(true)
}
