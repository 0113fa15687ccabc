//! A private nats-server with JetStream: a free port, a folder of its own, killed and started again at will.

use std::{
    env,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::notes;

/// The variable that names the program, where it is not on the PATH.
const PROGRAM: &str = "SWITCHBOARD_TEST_NATS_BIN";
/// Bytes that JetStream may hand out to streams: without a figure nats-server takes part of what the disk has free, and
/// refuses `bus.max_bytes` where that is little. A limit, not a reservation.
const ROOM: u64 = 1 << 40;

/// A nats-server. Killed, and its folder removed, when dropped.
pub struct NatsServer {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    settings: String,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one; `None`, noted, where nats-server is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts one with more lines of configuration.
    pub fn start_with(settings: &str) -> Option<Self> {
        let Some(program) = program() else {
            notes::left_out(&format!("NATS (nats-server is not installed, or {PROGRAM} is wrong)"));
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { program, folder, port, settings: settings.to_owned(), child: None };
        server.restart_with_room(ROOM);
        Some(server)
    }

    /// Starts it (again) with so many bytes for streams.
    pub fn restart_with_room(&mut self, room: u64) {
        let Self { port, settings, .. } = &self;
        let store = self.folder.path().join("store").display().to_string();
        let configuration = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, max_file_store: {room} }}\n{settings}\n"
        );
        std::fs::write(self.folder.path().join("nats.conf"), configuration).unwrap();
        self.restart();
    }

    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it (again) on the same port and folder with the same room, and waits until it listens.
    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(&self.program)
            .arg("--config")
            .arg(self.folder.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nats-server does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os(PROGRAM) {
        return Some(path.into()).filter(|path: &PathBuf| path.is_file());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("nats-server"))
        .find(|path| path.is_file())
}
