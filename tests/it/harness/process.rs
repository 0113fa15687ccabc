//! The real program in a process of its own: stopped, killed, starved and looked into from outside.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::device::PATIENCE;
use crate::http::client::{self, Response};

/// A server process over a folder and a database. Killed, and its folder removed, when dropped.
pub struct Process {
    folder: TempDir,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    address: SocketAddr,
}

/// Somebody who can sign in: a number and a token.
pub struct Recruit {
    pub id: i64,
    pub token: String,
    pub threads: Vec<i64>,
}

impl From<&Process> for SocketAddr {
    fn from(process: &Process) -> Self {
        process.address
    }
}

impl Process {
    /// Over the SQLite file of its folder, with settings as environment (`CALLS__RING_SECONDS`).
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut process = Self { folder, settings, child: None, address: ([127, 0, 0, 1], 0).into() };
        process.restart();
        process
    }

    /// The address of its SQLite file.
    pub fn sqlite(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("data/switchboard.db").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A write beyond the limit of a file shall fail, not kill.
        let script = format!("trap '' XFSZ; exec {} \"$@\"", env!("CARGO_BIN_EXE_switchboard"));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "switchboard"]).args(arguments);
        command
            .env("SWITCHBOARD__SERVER__DATA_DIR", self.folder.path().join("data"))
            .env("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0")
            .envs(self.settings.iter().map(|(key, value)| (format!("SWITCHBOARD__{key}"), value)))
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Starts it (again) and waits until it is ready.
    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        assert!(line.contains("is ready on http://"), "{line:?}\n{}", self.log());
        self.address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        assert!(Command::new("kill").arg(self.id().to_string()).status().unwrap().success());
    }

    /// Waits for its end; the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        let mut child = self.child.take().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it goes on:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets none of its files grow beyond so many bytes; `None` lifts that again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let status = Command::new("prlimit")
            .arg(format!("--pid={}", self.id()))
            .arg(format!("--fsize={limit}:"))
            .status();
        assert!(status.unwrap().success());
    }

    /// Bytes of memory that are its own, without files that it has mapped.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The lines that an admin command prints.
    pub fn admin(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.command(&[&["admin"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// An organisation with so many people, all of them in one thread.
    pub fn recruit(&self, count: usize) -> Vec<Recruit> {
        let make = ["create-organization", "--name", "Acme", "--admin-email", "ada@acme.test", "--json"];
        let organization = self.admin(&make)[0]["organization"]["id"].to_string();
        let count = count.to_string();
        let users = ["create-users", "--organization", &organization, "--count", &count, "--json-lines"];
        let lines = self.admin(&[&users[..], &["--workboxes", "1", "--members", &count]].concat());
        let recruit = |line: &Value| Recruit {
            id: line["id"].as_i64().unwrap(),
            token: line["token"].as_str().unwrap().to_owned(),
            threads: line["workboxes"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect(),
        };
        lines.iter().map(recruit).collect()
    }

    /// One request; `head` as `GET /path`.
    pub async fn request(&self, head: &str, token: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        client::send(self.address, &format!("{head}\nauthorization: {token}"), &body).await
    }

    /// The status of a request without a body.
    pub async fn status(&self, path: &str) -> u16 {
        self.request(&format!("GET {path}"), "", &Value::Null).await.status
    }

    /// Waits until `/readyz` says so.
    pub async fn is_ready(&self, ready: bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.request("GET /readyz", "", &Value::Null).await;
            if answer.status == if ready { 200 } else { 503 } {
                assert_eq!(answer.json()["ready"], json!(ready));
                return;
            }
            assert!(Instant::now() < deadline, "{}\n{}", answer.text(), self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
