//! A PostgreSQL of a test's own, to be stopped and started again.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::device::PATIENCE;

/// A cluster in a folder of its own. It goes with the test's process.
pub struct Cluster {
    home: PathBuf,
    pub url: String,
}

impl Cluster {
    /// Starts one, where the tests use PostgreSQL at all.
    pub fn start() -> Option<Self> {
        std::env::var_os("SWITCHBOARD_TEST_POSTGRES")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres-private");
        let output = Command::new(script)
            .arg(std::process::id().to_string())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success());
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let home = PathBuf::from(url.split("host=").nth(1).unwrap());
        let cluster = Self { home, url };
        // The script's server acknowledges before it writes, for speed; a crash would show that here.
        cluster.stop();
        cluster.start_again();
        Some(cluster)
    }

    /// Takes it down at once, as a crash would.
    pub fn stop(&self) {
        let id = std::fs::read_to_string(self.home.join("data/postmaster.pid")).unwrap();
        let id = id.lines().next().unwrap().to_owned();
        assert!(Command::new("kill").args(["-QUIT", &id]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while self.home.join("data/postmaster.pid").exists() {
            assert!(Instant::now() < deadline, "PostgreSQL goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again over the same data, as whoever owns them: it refuses to run as root.
    pub fn start_again(&self) {
        let owner =
            Command::new("stat").args(["--format=%u %g"]).arg(self.home.join("data")).output().unwrap();
        let owner = String::from_utf8(owner.stdout).unwrap();
        let (user, group) = owner.trim().split_once(' ').unwrap();
        let me = Command::new("id").arg("--user").output().unwrap();
        let mut command = if String::from_utf8(me.stdout).unwrap().trim() == user {
            Command::new(program())
        } else {
            let mut command = Command::new("setpriv");
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
            command.arg(program());
            command
        };
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c max_connections=100 -c fsync=off",
            self.home.display()
        );
        let status = command
            .args(["start", "--wait", "--silent", "--pgdata"])
            .arg(self.home.join("data"))
            .arg("--log")
            .arg(self.home.join("log"))
            .args(["-o", &options])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let log = || std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        assert!(status.unwrap().success(), "{}", log());
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let installed = versions.flatten().map(|version| version.path().join("bin"));
    std::env::split_paths(&path)
        .chain(installed)
        .map(|folder| folder.join("pg_ctl"))
        .find(|path| path.is_file())
        .expect("pg_ctl stands beside the programs that made the cluster")
}
