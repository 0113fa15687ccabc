//! What is done to the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{Cycle, Server, database_file};
use crate::run::world::World;

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(40);
/// Kilobytes that a file may still grow on the "full" disk.
const SPACE: u64 = 200;
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(3);

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// kill -9, then a new start.
pub async fn kill(server: &mut Server, cycle: &mut Cycle) -> Result<(), String> {
    "kill".clone_into(&mut cycle.act);
    server.kill().await;
    cycle.ready_ms = ms(server.start(None).await?);
    Ok(())
}

/// SIGSTOP for a while.
pub async fn pause(
    server: &Server,
    world: &Arc<World>,
    cycle: &mut Cycle,
    time: Duration,
) -> Result<(), String> {
    cycle.act = format!("pause {} ms", time.as_millis());
    server.signal(Signal::STOP);
    sleep(time).await;
    server.signal(Signal::CONT);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        if world.rest.content("/readyz").await.is_ok() {
            cycle.ready_ms = ms(began.elapsed());
            return Ok(());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err("the server is not ready again after a pause".to_owned())
}

/// SIGTERM, then a new start.
pub async fn drain(server: &mut Server, cycle: &mut Cycle) -> Result<(), String> {
    let began = Instant::now();
    server.signal(Signal::TERM);
    cycle.exit = server.ended(DRAIN).await;
    cycle.act = format!("drain {} ms", began.elapsed().as_millis());
    if cycle.exit.is_none() {
        server.kill().await;
    }
    cycle.ready_ms = ms(server.start(None).await?);
    Ok(())
}

/// A disk without space: files may hardly grow for a while. Then there is space again.
pub async fn full(server: &mut Server, cycle: &mut Cycle) -> Result<(), String> {
    "full disk".clone_into(&mut cycle.act);
    server.kill().await;
    let size = |name: &str| {
        let path = database_file(server.folder()).with_file_name(name);
        std::fs::metadata(path).map_or(0, |about| about.len() / 1024)
    };
    let limit = size("switchboard.db").max(size("switchboard.db-wal")) + SPACE;
    // Whether it starts at all without space is its own affair; what it acknowledged counts.
    let _ = server.start(Some(limit)).await;
    sleep(FULL).await;
    server.kill().await;
    cycle.ready_ms = ms(server.start(None).await?);
    Ok(())
}
