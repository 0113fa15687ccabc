//! The command line, as scripts use it: the real binary in a folder of its own.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Answers with the organisation and its first administrator.
pub const CREATE_ORGANIZATION: &[&str] =
    &["admin", "create-organization", "--name", "Acme", "--admin-email", "boss@acme.example", "--json"];

/// A folder with its own configuration by environment.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .args(arguments)
            .env("SWITCHBOARD__SERVER__DATA_DIR", self.0.path().join("data"))
            .env("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD__SERVER__DRAIN_SECONDS", "0")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new organisation, and its number.
    fn organization(&self) -> (Value, String) {
        let made: Value = serde_json::from_str(&self.ask(CREATE_ORGANIZATION)).unwrap();
        let number = made["organization"]["id"].to_string();
        (made, number)
    }

    /// A server, and its address.
    fn serve(&self, arguments: &[&str]) -> (Running, String) {
        let arguments = [&["serve"], arguments].concat();
        let mut child =
            self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().to_owned();
        assert!(line.contains("is ready on http://"), "{line:?}");
        (Running(child), address)
    }
}

/// Killed when it is dropped.
pub struct Running(pub Child);

impl Running {
    /// SIGTERM, and the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server goes on after SIGTERM");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
    (status, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn wrong_configuration_stops_with_the_variable_the_key_and_the_reason() {
    let place = Place::new();
    let output =
        place.command(&["check-config"]).env("SWITCHBOARD__CALLS__RING_SECONDS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("SWITCHBOARD__CALLS__RING_SECONDS: calls.ring_seconds: 1 is not from 5 to 600"),
        "{told}"
    );
    let output = place.command(&["serve"]).env("SWITCHBOARD__CALLS__RINGS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("SWITCHBOARD__CALLS__RINGS: calls.rings: no such key"), "{told}");
    place.ask(&["check-config"]);
}

#[test]
fn contracts_and_operations_are_printed() {
    let place = Place::new();
    let operations: Vec<Value> = serde_json::from_str(&place.ask(&["operations", "--json"])).unwrap();
    assert!(operations.len() > 100, "{}", operations.len());
    for key in ["method", "path", "family", "auth", "id"] {
        assert!(operations.iter().all(|operation| operation[key].is_string()), "{key}");
    }
    for family in ["assist", "collab", "scheduling", "live-events", "training"] {
        let document: Value = serde_json::from_str(&place.ask(&["openapi", "--family", family])).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{family}");
    }
    let document: Value = serde_json::from_str(&place.ask(&["asyncapi"])).unwrap();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert!(!place.run(&["openapi", "--family", "none"]).status.success());
}

#[test]
fn admin_commands_work_with_and_without_a_server() {
    let place = Place::new();
    place.ask(&["migrate"]);
    let (made, organization) = place.organization();
    let users = ["admin", "create-users", "--organization", &organization, "--count", "3", "--json-lines"];
    assert_eq!(place.ask(&users).lines().count(), 3);

    let (server, address) = place.serve(&[]);
    assert_eq!(get(&address, "/readyz", "").0, 200);
    assert_eq!(get(&address, "/asyncapi.json", "").0, 200);
    assert!(get(&address, "/metrics", "").1.contains("switchboard_journal_batch_appends"));
    let (status, account) = get(&address, "/api/v1/info", made["admin"]["token"].as_str().unwrap());
    assert_eq!(status, 200, "{account}");
    assert!(account.contains("boss@acme.example"));

    let threads = [&users[..], &["--workboxes", "2", "--members", "2"]].concat();
    let people: Vec<Value> =
        place.ask(&threads).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: usize = people.iter().map(|person| person["workboxes"].as_array().unwrap().len()).sum();
    assert_eq!(places, 4);
    for person in &people {
        assert_eq!(get(&address, "/api/v1/info", person["token"].as_str().unwrap()).0, 200);
    }
    // More than a thread takes at once.
    let crowd = ["admin", "create-users", "--organization", &organization, "--count", "1100", "--json-lines"];
    let crowd = place.ask(&[&crowd[..], &["--workboxes", "1", "--members", "1100"]].concat());
    let people: Vec<Value> = crowd.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(people.len(), 1_100);
    assert!(people.iter().all(|person| person["workboxes"] == people[0]["workboxes"]));
    let last = people[1_099]["token"].as_str().unwrap();
    let (status, thread) = get(&address, &format!("/api/v1r1/workboxes/{}", people[0]["workboxes"][0]), last);
    assert_eq!(status, 200, "the last of the crowd is in: {thread}");
    place.ask(&["admin", "rotate-signing-key"]);
    assert_eq!(get(&address, "/api/v1/info", made["admin"]["token"].as_str().unwrap()).0, 200);
    assert_eq!(place.ask(&["admin", "outbox", "--json-lines"]), "");

    let copy = place.0.path().join("copy.db");
    place.ask(&["backup", "--to", copy.to_str().unwrap()]);
    assert!(copy.metadata().unwrap().len() > 0);
    assert!(!place.run(&["backup", "--to", copy.to_str().unwrap()]).status.success());

    let second = place.run(&["serve"]);
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && told.contains("another switchboard works in this folder"), "{told}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_demo_is_made_once() {
    let place = Place::new();
    let file = place.0.path().join("data/demo.json");
    let (server, _) = place.serve(&["--demo"]);
    let first = std::fs::read_to_string(&file).unwrap();
    drop(server);
    let (server, address) = place.serve(&["--demo"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
    let demo: Value = serde_json::from_str(&first).unwrap();
    let people = demo["people"].as_array().unwrap();
    let passwords: BTreeSet<_> = people.iter().map(|person| person["password"].as_str().unwrap()).collect();
    assert!(passwords.len() == 4 && passwords.iter().all(|password| password.len() >= 12), "random ones");
    assert_eq!(get(&address, "/livez", "").0, 200);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_demo_is_for_this_machine_only() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--demo"]);
    let output = command.env("SWITCHBOARD__HTTP__LISTEN", "0.0.0.0:0").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("--demo is for this machine only"), "{told}");
    assert!(!place.0.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_restored_backup_begins_a_new_generation() {
    let place = Place::new();
    let (_, organization) = place.organization();
    let users = ["admin", "create-users", "--organization", &organization, "--count", "2", "--json-lines"];
    let people = place.ask(&[&users[..], &["--workboxes", "1"]].concat());
    let person: Value = serde_json::from_str(people.lines().next().unwrap()).unwrap();
    let token = person["token"].as_str().unwrap().to_owned();
    let path = format!("/api/v1r1/workboxes/{}", person["workboxes"][0]);
    let epoch = |address: &str| {
        let (status, body) = get(address, &path, &token);
        assert_eq!(status, 200, "{body}");
        let workbox: Value = serde_json::from_str(&body).unwrap();
        workbox["stream"]["epoch"].as_str().unwrap().to_owned()
    };
    let (server, address) = place.serve(&[]);
    let mut seen = vec![epoch(&address)];
    let copy = place.0.path().join("copy.db");
    place.ask(&["backup", "--to", copy.to_str().unwrap()]);
    assert_eq!(server.terminate(), Some(0));
    let (server, address) = place.serve(&[]);
    assert_eq!(epoch(&address), seen[0], "a restart alone changes nothing");
    assert_eq!(server.terminate(), Some(0));
    // The same copy twice: what came after the first restore is lost in the second, too.
    for _ in 0..2 {
        let data = place.0.path().join("data");
        for rest in ["switchboard.db-wal", "switchboard.db-shm"] {
            let _ = std::fs::remove_file(data.join(rest));
        }
        std::fs::copy(&copy, data.join("switchboard.db")).unwrap();
        let (server, address) = place.serve(&[]);
        let next = epoch(&address);
        assert!(!seen.contains(&next), "{seen:?}");
        seen.push(next);
        assert_eq!(server.terminate(), Some(0));
    }
    place.ask(&["migrate", "--restored"]);
    let (_server, address) = place.serve(&[]);
    assert!(!seen.contains(&epoch(&address)));
    let fresh: Value = serde_json::from_str(place.ask(&users).lines().next().unwrap()).unwrap();
    assert!(fresh["id"].as_i64().unwrap() > person["id"].as_i64().unwrap() + 100_000, "numbers leap ahead");
}

#[test]
fn a_recording_policy_is_set() {
    let place = Place::new();
    let (_, organization) = place.organization();
    let set = ["admin", "set-recording-policy", "--organization"];
    place.ask(&[&set[..], &[&organization, "--policy", "opt_out"]].concat());
    for wrong in [["77", "--policy", "opt_out"], [&organization, "--policy", "never"]] {
        assert!(!place.run(&[&set[..], &wrong].concat()).status.success(), "{wrong:?}");
    }
}
