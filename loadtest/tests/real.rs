//! The program against the real server, and against a server that cheats: a proxy in front of the real one loses, repeats
//! and swaps pushes, and acknowledges what it never passed on; or faults are planted in the server itself. Each must be
//! caught.
//!
//! Needs a `switchboard` binary: its path in `LOADTEST_SWITCHBOARD`; and for planted faults one that was built with the
//! feature `failpoints`: `LOADTEST_FAILPOINTS=1` says that it was. Without them these tests say so and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cheat;
mod faults;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use cheat::Cheat;

fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("LOADTEST_SWITCHBOARD").map(PathBuf::from);
    if path.is_none() {
        eprintln!("left out: LOADTEST_SWITCHBOARD does not name a switchboard binary");
    }
    // Cargo runs tests in the package's folder; the path was written in the workspace's.
    path.map(|path| {
        if path.is_relative() { Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path) } else { path }
    })
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("loadtest-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn result_of(folder: &Path) -> serde_json::Value {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap();
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn an_ordinary_day_loses_nothing() {
    let Some(server) = binary() else { return };
    let out = Folder::new();
    let (server, folder) = (server.to_str().unwrap(), out.0.to_str().unwrap());
    let run = loadtest(&["run", "chat_day", "--serve", server, "--time", "0.1", "--quiet", "--out", folder]);
    assert_ne!(run.status.code(), Some(2), "{}", text(&run));
    let result = result_of(&out.0);
    assert_eq!(result["schema"], "switchboard-loadtest/1");
    assert_eq!(result["verify"]["findings"], serde_json::json!([]), "{}", text(&run));
    assert_eq!(result["errors"], serde_json::json!([]), "{}", text(&run));
    for what in ["messages", "events", "receipts", "subscriptions", "unread counts"] {
        assert!(result["verify"]["checked"][what].as_u64().unwrap() > 0, "nothing of {what} was checked");
    }
    for metric in ["send", "delivery", "list", "read"] {
        assert!(result["metrics"][metric]["count"].as_u64().unwrap() > 0, "there was no {metric}");
    }
}

#[test]
fn protobuf_and_rings_work() {
    let Some(server) = binary() else { return };
    let out = Folder::new();
    let (server, folder) = (server.to_str().unwrap(), out.0.to_str().unwrap());
    let run = loadtest(&[
        "run",
        "ring_storm",
        "--serve",
        server,
        "--time",
        "0.08",
        "--load",
        "0.3",
        "--format",
        "protobuf",
        "--quiet",
        "--out",
        folder,
    ]);
    assert_ne!(run.status.code(), Some(2), "{}", text(&run));
    let result = result_of(&out.0);
    assert_eq!(result["verify"]["findings"], serde_json::json!([]), "{}", text(&run));
    assert_eq!(result["errors"], serde_json::json!([]), "{}", text(&run));
    assert!(result["verify"]["checked"]["ring outcomes"].as_u64().unwrap() > 0);
}

#[test]
fn a_kill_loses_nothing() {
    let Some(server) = binary() else { return };
    let out = Folder::new();
    let (server, folder) = (server.to_str().unwrap(), out.0.to_str().unwrap());
    let chaos = loadtest(&["chaos", "kill", "--binary", server, "--cycles", "2", "--quiet", "--out", folder]);
    assert!(chaos.status.success(), "{}", text(&chaos));
    assert_eq!(result_of(&out.0)["chaos"].as_array().unwrap().len(), 2);
}

#[test]
fn strangers_are_not_loaded() {
    let run = loadtest(&["run", "idle", "--target", "http://192.0.2.1:80", "--admin-key", "x"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run).contains("--yes-this-is-mine"), "{}", text(&run));
}

/// A server of its own with six people in two rooms, ended with the test.
struct Server {
    process: Child,
    folder: Folder,
    port: u16,
}

impl Server {
    /// Starts it with this in its environment.
    fn start(binary: &Path, environment: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let command = || {
            let mut command = Command::new(binary);
            command.env("SWITCHBOARD__HTTP__LISTEN", format!("127.0.0.1:{port}"));
            command.env("SWITCHBOARD__SERVER__DATA_DIR", folder.0.join("data"));
            command
        };
        let admin = |arguments: &str| {
            let output = command().arg("admin").args(arguments.split(' ')).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            output.stdout
        };
        admin("create-organization --name L --admin-email a@load.example --json");
        let users = admin("create-users --organization 1 --count 6 --workboxes 2 --members 3 --json-lines");
        std::fs::write(folder.0.join("users"), users).unwrap();
        let mut serve = command();
        serve.arg("serve").envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = serve.spawn().unwrap();
        let mut output = std::io::BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert!(line.contains("is ready"), "{line}");
        Self { process, folder, port }
    }

    fn path(&self, name: &str) -> String {
        self.folder.0.join(name).to_str().unwrap().to_owned()
    }

    /// Loads it for two seconds through this port, with so many messages a second. Gives what the run said and its result.
    fn load(&self, port: u16, rate: u32) -> (Output, serde_json::Value) {
        let population = "name='small'\nquestion='?'\n[population]\nrooms=2\nmembers=3\n";
        let stage = format!("[mix]\nsend=1\n[[stage]]\nname='steady'\nseconds=2\nrate={rate}\n");
        std::fs::write(self.path("small.toml"), format!("{population}{stage}")).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let (scenario, users, out) = (self.path("small.toml"), self.path("users"), self.path("out"));
        let run =
            loadtest(&["run", &scenario, "--target", &url, "--users", &users, "--quiet", "--out", &out]);
        assert_ne!(run.status.code(), Some(2), "{}", text(&run));
        let result = result_of(Path::new(&out));
        (run, result)
    }

    /// The ledger of the run.
    fn ledger(&self) -> String {
        let files = std::fs::read_dir(self.path("out")).unwrap().map(|entry| entry.unwrap().path());
        let mut names = files.map(|path| path.to_str().unwrap().to_owned());
        names.find(|name| name.ends_with(".ledger.jsonl")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The first violation of a run is of this promise, and is told with what led to it.
fn assert_broken(run: &Output, result: &serde_json::Value, promise: &str) {
    assert_eq!(run.status.code(), Some(1), "nothing was caught: {}", text(run));
    let first = &result["verify"]["findings"][0];
    assert_eq!(first["property"], promise, "{}", text(run));
    assert_ne!(first["trail"], serde_json::json!([]), "{first}");
    assert!(text(run).contains(promise));
}

/// A run through a proxy that cheats once.
fn caught(cheat: Cheat, promise: &str) {
    let Some(binary) = binary() else { return };
    let server = Server::start(&binary, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(cheat::serve(cheat, server.port));
    let (run, result) = server.load(port, 40);
    assert_broken(&run, &result, promise);
}

#[test]
fn a_lost_push_is_caught() {
    caught(Cheat::Lose, "no gap");
}

#[test]
fn the_last_push_lost_is_caught() {
    caught(Cheat::LoseAllAfter(30), "no push is lost");
}

#[test]
fn a_repeated_push_is_caught() {
    caught(Cheat::Repeat, "nothing twice");
}

#[test]
fn swapped_pushes_are_caught() {
    caught(Cheat::Swap, "no gap");
}

#[test]
fn a_forged_push_is_caught() {
    caught(Cheat::Forge, "one order");
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    caught(Cheat::Acknowledge, "nothing acknowledged is missing");
}

#[test]
fn through_an_honest_proxy_all_is_well() {
    let Some(binary) = binary() else { return };
    let server = Server::start(&binary, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(cheat::serve(Cheat::Nothing, server.port));
    let (run, _) = server.load(port, 40);
    assert!(run.status.success(), "{}", text(&run));
    let again = loadtest(&["verify", &server.ledger()]);
    assert!(again.status.success(), "{}", text(&again));
}

/// A NATS server of its own, ended with the test.
struct Nats {
    process: Child,
    url: String,
    _folder: Folder,
}

impl Nats {
    /// None where no binary is named.
    fn start() -> Option<Self> {
        let Some(binary) = std::env::var_os("SWITCHBOARD_TEST_NATS_BIN") else {
            eprintln!("left out: SWITCHBOARD_TEST_NATS_BIN does not name a nats-server");
            return None;
        };
        let folder = Folder::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut nats = Command::new(binary);
        nats.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(&folder.0);
        let mut process = nats.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "nats-server ended");
            std::thread::yield_now();
        }
        Some(Self { process, url: format!("nats://127.0.0.1:{port}"), _folder: folder })
    }

    /// Takes the newest event of a help thread out of JetStream.
    async fn lose(&self) {
        let client = async_nats::connect(&self.url).await.unwrap();
        let stream = async_nats::jetstream::new(client).get_stream("SWITCHBOARD").await.unwrap();
        let newest = stream.get_last_raw_message_by_subject("switchboard.*.workbox.>").await.unwrap();
        stream.delete_message(newest.sequence).await.unwrap();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_event_that_the_bus_lost_is_caught() {
    let Some(binary) = binary() else { return };
    let Some(nats) = Nats::start() else { return };
    let server = Server::start(&binary, &[("SWITCHBOARD__BUS__URL", &nats.url)]);
    let (run, _) = server.load(server.port, 40);
    assert!(run.status.success(), "{}", text(&run));
    let verify = || loadtest(&["verify", &server.ledger(), "--nats", &nats.url]);
    let verified = verify();
    assert!(verified.status.success(), "{}", text(&verified));
    assert!(text(&verified).contains("events on the bus"), "{}", text(&verified));
    tokio::runtime::Runtime::new().unwrap().block_on(nats.lose());
    let verified = verify();
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains("the bus holds each event once"), "{}", text(&verified));
}
