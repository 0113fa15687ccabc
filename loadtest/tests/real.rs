//! The program against the real server, and against a server that cheats: a proxy in front of the real one loses, repeats
//! and swaps pushes, and acknowledges what it never passed on. Each must be caught.
//!
//! Needs a `switchboard` binary: its path in `LOADTEST_SWITCHBOARD`. Without it these tests say so and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cheat;

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

/// A server of its own, ended with the test.
struct Server {
    process: Child,
    folder: Folder,
    port: u16,
}

impl Server {
    fn start(binary: &Path, people: usize, rooms: usize, members: usize) -> Self {
        let folder = Folder::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let command = || {
            let mut command = Command::new(binary);
            command.env("SWITCHBOARD__HTTP__LISTEN", format!("127.0.0.1:{port}"));
            command.env("SWITCHBOARD__SERVER__DATA_DIR", folder.0.join("data"));
            command
        };
        let admin = |arguments: &[&str]| {
            let output = command().arg("admin").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            output.stdout
        };
        admin(&["create-organization", "--name", "L", "--admin-email", "a@load.example", "--json"]);
        let numbers = [people, rooms, members].map(|number| number.to_string());
        let users = admin(&[
            "create-users",
            "--organization",
            "1",
            "--count",
            &numbers[0],
            "--workboxes",
            &numbers[1],
            "--members",
            &numbers[2],
            "--json-lines",
        ]);
        std::fs::write(folder.0.join("users"), users).unwrap();
        let mut process =
            command().arg("serve").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = std::io::BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert!(line.contains("is ready"), "{line}");
        Self { process, folder, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two rooms of three at 40 messages a second, through a proxy that cheats once.
fn caught(cheat: Cheat, promise: &str) {
    let Some(binary) = binary() else { return };
    let server = Server::start(&binary, 6, 2, 3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(cheat::serve(cheat, server.port));
    let scenario = server.folder.0.join("small.toml");
    let stages = "[mix]\nsend=1\n[[stage]]\nname='steady'\nseconds=2\nrate=40\n";
    let population = "name='small'\nquestion='?'\n[population]\nrooms=2\nmembers=3\n";
    std::fs::write(&scenario, format!("{population}{stages}")).unwrap();
    let path = |name: &str| server.folder.0.join(name).to_str().unwrap().to_owned();
    let url = format!("http://127.0.0.1:{port}");
    let run = loadtest(&[
        "run",
        &path("small.toml"),
        "--target",
        &url,
        "--users",
        &path("users"),
        "--quiet",
        "--out",
        &path("out"),
    ]);
    assert_eq!(run.status.code(), Some(1), "{cheat:?} was not caught: {}", text(&run));
    let result = result_of(Path::new(&path("out")));
    let first = &result["verify"]["findings"][0];
    assert_eq!(first["property"], promise, "{}", text(&run));
    assert!(text(&run).contains(promise));
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
    let server = Server::start(&binary, 6, 2, 3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(cheat::serve(Cheat::Nothing, server.port));
    let path = |name: &str| server.folder.0.join(name).to_str().unwrap().to_owned();
    let toml = "name='small'\nquestion='?'\n[population]\nrooms=2\nmembers=3\n[mix]\nsend=1\n[[stage]]\nname='s'\nseconds=1\nrate=40\n";
    std::fs::write(path("small.toml"), toml).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let run = loadtest(&[
        "run",
        &path("small.toml"),
        "--target",
        &url,
        "--users",
        &path("users"),
        "--quiet",
        "--out",
        &path("out"),
    ]);
    assert!(run.status.success(), "{}", text(&run));
    let ledger = std::fs::read_dir(path("out")).unwrap().map(|entry| entry.unwrap().path());
    let ledger = ledger.into_iter().find(|path| path.to_string_lossy().ends_with(".ledger.jsonl")).unwrap();
    let again = loadtest(&["verify", ledger.to_str().unwrap()]);
    assert!(again.status.success(), "{}", text(&again));
}
