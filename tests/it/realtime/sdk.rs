//! The official SDKs against the socket alone. They need packages from npm and `PyPI`, so they run only where
//! `SWITCHBOARD_TEST_SDK` is set; `scripts/test` installs them and also runs the same scripts against the real binary.

use std::process::{Command, Stdio};

use switchboard::realtime::Options;

use super::{Server, namespaces};
use crate::harness::notes;

async fn run(program: &'static str, arguments: &'static [&'static str], folder: &'static str) {
    if std::env::var_os("SWITCHBOARD_TEST_SDK").is_none() {
        notes::left_out("SDKs against the socket alone (SWITCHBOARD_TEST_SDK is not set)");
        return;
    }
    let options = Options { recovery_page: 1_000, ..namespaces::options() };
    let server = Server::with(options).await;
    // One of the scripts reads the stream from its beginning.
    server.journal.append("workbox:1", (1..=100_000).map(|n| serde_json::json!({ "n": n })));
    let url = format!("http://{}", server.address);
    let user = |name: &str| namespaces::sign(0, &serde_json::json!({ "sub": name }));
    let users = format!("{},{}", user("ann"), user("bob"));
    let status = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .args(arguments)
            .current_dir(format!("{}/tests/sdk/{folder}", env!("CARGO_MANIFEST_DIR")))
            .envs([
                ("SWITCHBOARD_URL", url.as_str()),
                ("SWITCHBOARD_TOKEN", "7"),
                ("SWITCHBOARD_OTHER_TOKEN", "8"),
            ])
            .envs([("SWITCHBOARD_CHANNEL", "workbox:1"), ("SWITCHBOARD_EXPIRED_TOKEN", "expired")])
            .envs([("SWITCHBOARD_APP_TOKENS", users.as_str()), ("SWITCHBOARD_APP_CHANNEL", "rooms:sdk")])
            .env("SWITCHBOARD_SERVER_KEY", namespaces::KEYS[0])
            .stdin(Stdio::null())
            .status()
    });
    assert!(status.await.unwrap().unwrap().success(), "{program} failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    run("node", &["--test", "--test-concurrency=1"], "js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    run("python3", &["-m", "unittest"], "python").await;
}
