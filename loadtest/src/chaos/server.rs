//! A Switchboard that this program starts itself: on a free loopback port, in a folder of its own, ended with it.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command as Blocking, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::people::{self, Login};

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// What a start is made harder by.
#[derive(Clone, Copy, Debug)]
pub enum Handicap<'a> {
    /// Nothing.
    None,
    /// Kilobytes that one of its files may have.
    FileLimit(u64),
    /// Faults that are planted in it (`FAILPOINTS`).
    Faults(&'a str),
}

/// A server of our own.
pub struct Server {
    binary: PathBuf,
    folder: PathBuf,
    is_ours: bool,
    environment: Vec<(String, String)>,
    /// Where it listens.
    pub url: String,
    process: Option<Child>,
}

impl Server {
    /// Prepares a folder (a new one unless `folder` is given) and a port; nothing runs yet.
    pub fn prepare(binary: &Path, folder: Option<&Path>, settings: &[(String, String)]) -> io::Result<Self> {
        let binary = binary.canonicalize()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let is_ours = folder.is_none();
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => std::env::temp_dir().join(format!("loadtest-{}", Uuid::new_v4())),
        };
        std::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let data = folder.join("data").display().to_string();
        let mut environment = vec![
            ("SWITCHBOARD__HTTP__LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            ("SWITCHBOARD__SERVER__DATA_DIR".to_owned(), data),
        ];
        environment.extend(settings.iter().cloned());
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { binary, folder, is_ours, environment, url, process: None })
    }

    /// The folder with its data and its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets the binary do something else than serve. Gives what it prints.
    fn run(&self, arguments: &[&str], faults: &str) -> Result<Output, String> {
        let output = Blocking::new(&self.binary)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FAILPOINTS", faults)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(output)
    }

    fn admin(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.run(&[&["admin"], arguments].concat(), "")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether faults can be planted in it: then it says so, whatever it does.
    pub fn has_failpoints(&self) -> Result<bool, String> {
        let output = self.run(&["check-config"], "journal.slow-commit=off")?;
        Ok(String::from_utf8_lossy(&output.stderr).contains("faults are planted"))
    }

    /// Its name and version.
    pub fn version(&self) -> Result<String, String> {
        let output = self.run(&["--version"], "")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes an organisation with people who sit in rooms. Gives its number and them.
    pub fn populate(&self, count: usize, rooms: usize, members: usize) -> Result<(i64, Vec<Login>), String> {
        let email = format!("admin-{}@load.example", Uuid::new_v4().simple());
        let made =
            self.admin(&["create-organization", "--name", "Load", "--admin-email", &email, "--json"])?;
        let made: Value = serde_json::from_str(&made).map_err(|error| error.to_string())?;
        let id = made["organization"]["id"].as_i64().ok_or("no organisation came")?;
        let numbers = [id.to_string(), count.to_string(), rooms.to_string(), members.max(1).to_string()];
        let [organization, count, rooms, members] = &numbers;
        let lines = self.admin(&[
            "create-users",
            "--organization",
            organization,
            "--count",
            count,
            "--workboxes",
            rooms,
            "--members",
            members,
            "--json-lines",
        ])?;
        Ok((id, people::parse(&lines)?))
    }

    /// Starts it and waits until it is ready; gives how long that took.
    pub async fn start(&mut self, handicap: Handicap<'_>) -> Result<Duration, String> {
        let began = Instant::now();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("server.log"));
        let log = log.map_err(|error| error.to_string())?;
        let mut command = match handicap {
            Handicap::None | Handicap::Faults(_) => Command::new(&self.binary),
            Handicap::FileLimit(kilobytes) => {
                // Ignored signals stay ignored through exec: a write beyond the limit then fails, as on a full disk.
                let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kilobytes * 2);
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(script).arg(&self.binary);
                shell
            }
        };
        let faults = if let Handicap::Faults(faults) = handicap { faults } else { "" };
        command
            .arg("serve")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FAILPOINTS", faults)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| error.to_string())?;
        let output = process.stdout.take().ok_or("it has no output")?;
        self.process = Some(process);
        let mut lines = BufReader::new(output).lines();
        let ready = timeout(START, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("is ready") {
                    return true;
                }
            }
            false
        });
        if !ready.await.unwrap_or(false) {
            return Err(format!("it did not become ready; see {}", self.folder.join("server.log").display()));
        }
        let took = began.elapsed();
        // What else it prints is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(took)
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // A process that has just ended needs no signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has ended; gives its exit code, none when a signal ended it or it did not end.
    pub async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let process = self.process.as_mut()?;
        let code = timeout(limit, process.wait()).await.ok()?.ok()?.code();
        self.process = None;
        code
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended(Duration::from_secs(10)).await;
    }

    /// Stops it as one should, and removes its folder when that was made here.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        if self.ended(Duration::from_secs(30)).await.is_none() {
            self.kill().await;
        }
        if self.is_ours {
            // The system may still hold it for a moment; leaving it behind does no harm.
            for _ in 0..5 {
                if std::fs::remove_dir_all(&self.folder).is_ok() {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
