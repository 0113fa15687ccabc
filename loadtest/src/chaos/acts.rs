//! What is done to the server.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::SmallRng};
use rustix::process::Signal;
use tokio::{process::Command, time::sleep};

use super::{Act, Chaos, Cycle, Handicap, Proxy, Server, database_file};
use crate::run::world::World;

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(40);
/// Kilobytes that a file may still grow on the "full" disk.
const SPACE: u64 = 200;
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(3);
/// How long the server runs with a fault in it before it must be well again.
const FAULTY: Duration = Duration::from_secs(2);
/// How long it may need to be ready again.
const READY: Duration = Duration::from_secs(30);

/// Who is there when something is done.
pub struct Scene<'a> {
    /// What was asked for.
    pub chaos: &'a Chaos,
    /// The server.
    pub server: &'a mut Server,
    /// Everybody who loads it.
    pub world: Arc<World>,
    /// The way to its database, unless that is SQLite.
    pub proxy: Option<&'a Proxy>,
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Scene<'_> {
    /// Does it, and waits until the server is ready again.
    pub async fn act(&mut self, act: Act, random: &mut SmallRng, cycle: &mut Cycle) -> Result<(), String> {
        cycle.act = act.name();
        let mut between = |(from, to): (u64, u64)| Duration::from_millis(random.random_range(from..=to));
        match act {
            Act::Pause => self.pause(cycle, between(self.chaos.pause_ms)).await,
            Act::Drain => self.drain(cycle).await,
            Act::Full => self.full(cycle).await,
            Act::Cut => self.cut(cycle, between(self.chaos.cut_ms)).await,
            Act::RestartDatabase => self.restart_database(cycle).await,
            Act::Kill | Act::Mix => self.kill(cycle).await,
            Act::CommitError | Act::UnknownCommit | Act::SlowCommit | Act::TornBatch => {
                self.faulty(cycle, act.faults().unwrap_or_default()).await
            }
        }
    }

    /// Starts the server again.
    async fn start(&mut self, cycle: &mut Cycle) -> Result<(), String> {
        cycle.ready_ms = ms(self.server.start(Handicap::None).await?);
        Ok(())
    }

    /// Waits until the server, which was not restarted, says that it is ready.
    async fn ready(&self, cycle: &mut Cycle) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < READY {
            if self.world.rest.content("/readyz").await.is_ok() {
                cycle.ready_ms = ms(began.elapsed());
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(format!("the server is not ready again after {}", cycle.act))
    }

    /// kill -9, then a new start.
    async fn kill(&mut self, cycle: &mut Cycle) -> Result<(), String> {
        self.server.kill().await;
        self.start(cycle).await
    }

    /// SIGSTOP for a while.
    async fn pause(&self, cycle: &mut Cycle, time: Duration) -> Result<(), String> {
        cycle.act = format!("pause {} ms", time.as_millis());
        self.server.signal(Signal::STOP);
        sleep(time).await;
        self.server.signal(Signal::CONT);
        self.ready(cycle).await
    }

    /// SIGTERM, then a new start.
    async fn drain(&mut self, cycle: &mut Cycle) -> Result<(), String> {
        let began = Instant::now();
        self.server.signal(Signal::TERM);
        cycle.exit = self.server.ended(DRAIN).await;
        cycle.act = format!("drain {} ms", began.elapsed().as_millis());
        if cycle.exit.is_none() {
            self.server.kill().await;
        }
        self.start(cycle).await
    }

    /// A disk without space: files may hardly grow for a while. Then there is space again.
    async fn full(&mut self, cycle: &mut Cycle) -> Result<(), String> {
        self.server.kill().await;
        let size = |name: &str| {
            let path = database_file(self.server.folder()).with_file_name(name);
            std::fs::metadata(path).map_or(0, |about| about.len() / 1024)
        };
        let limit = size("switchboard.db").max(size("switchboard.db-wal")) + SPACE;
        // Whether it starts at all without space is its own affair; what it acknowledged counts.
        let _ = self.server.start(Handicap::FileLimit(limit)).await;
        sleep(FULL).await;
        self.server.kill().await;
        self.start(cycle).await
    }

    /// The database is out of reach for a while.
    async fn cut(&self, cycle: &mut Cycle, time: Duration) -> Result<(), String> {
        cycle.act = format!("cut {} ms", time.as_millis());
        let proxy = self.proxy.ok_or("there is no connection to cut")?;
        proxy.shut();
        sleep(time).await;
        proxy.reopen();
        self.ready(cycle).await
    }

    /// The database stops and starts, as the command that was given does it.
    async fn restart_database(&self, cycle: &mut Cycle) -> Result<(), String> {
        let restart = self.chaos.restart_database.as_deref().unwrap_or("false");
        // A server that this command leaves in the background must not hold our output.
        let mut shell = Command::new("sh");
        shell.args(["-c", restart]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = shell.status().await.map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("{restart}: {status}"));
        }
        self.ready(cycle).await
    }

    /// A new start with a fault in it, which ends by itself or ends the server.
    async fn faulty(&mut self, cycle: &mut Cycle, faults: &str) -> Result<(), String> {
        self.server.kill().await;
        self.server.start(Handicap::Faults(faults)).await?;
        self.server.ended(FAULTY).await;
        if self.server.is_running() { self.ready(cycle).await } else { self.start(cycle).await }
    }
}
