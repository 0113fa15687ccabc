//! Attachments.

use std::sync::Arc;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

use super::{Due, World, reads::thread_token};
use crate::{
    failure::{Failure, Outcome},
    ledger::{Entry, violation::Violation},
};

/// Uploads a file, and downloads it again where the scenario says so.
pub async fn attach(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let Some((person, room, _)) = world.somebody_in_a_room(&mut due.random) else {
        return Err(Failure::Disconnected);
    };
    let size = size(world, due);
    let mut content = vec![0; size];
    due.random.fill(&mut content[..]);
    let sha256 = hex::encode(Sha256::digest(&content));
    let token = thread_token(world, person, room).await?;
    let reply = world.rest.upload("/api/v1r1/workbox/attachments", &token, "load.bin", &content).await?;
    let id = reply["id"].clone();
    if id.is_null() {
        return Err(Failure::Unexpected(format!("no id came: {reply:.100}")));
    }
    world.ledger.note(Entry::Attachment {
        workbox: world.rooms[room].id,
        id: id.clone(),
        sha256: sha256.clone(),
        bytes: size as u64,
        at: world.watch.now_us(),
    });
    world.stats.metric("upload").record(world.watch.now_us().saturating_sub(due.at_us));
    if !world.scenario.attachment.download {
        return Ok(true);
    }
    let begun = world.watch.now_us();
    let path = format!("/api/v1r1/workbox/attachments/{}", plain(&id));
    let shown = world.rest.get(&path, &token).await?;
    let address = shown["signed_url"].as_str().unwrap_or_default();
    let came = world.rest.content(path_of(address)).await?;
    if hex::encode(Sha256::digest(&came)) != sha256 {
        let trail = vec![format!("{size} bytes went up, {} came down", came.len())];
        let subject = format!("attachment {id}");
        world
            .ledger
            .wrong((*Violation::new("files stay whole", subject, "another content came", trail)).into());
    }
    world.stats.metric("download").record(world.watch.now_us().saturating_sub(begun));
    Ok(true)
}

fn size(world: &World, due: &mut Due) -> usize {
    let sizes = &world.scenario.attachment.sizes;
    let mut at = due.random.random::<f64>() * sizes.iter().map(|(_, weight)| weight).sum::<f64>();
    for (size, weight) in sizes {
        at -= weight;
        if at < 0.0 {
            return *size;
        }
    }
    sizes.last().map_or(1_000, |(size, _)| *size)
}

/// A number or text as it stands in a path.
pub fn plain(id: &serde_json::Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// The path of an address, with what follows it.
pub fn path_of(address: &str) -> &str {
    let after = address.split_once("://").map_or(address, |(_, rest)| rest);
    after.find('/').map_or("/", |at| &after[at..])
}
