//! Faults in the server itself. Those that break a promise are caught; those that any machine has lose nothing.

use super::{Folder, Server, assert_broken, binary, loadtest, result_of, text};

/// The server's binary, if faults can be planted in it.
fn faulty() -> Option<std::path::PathBuf> {
    if std::env::var_os("LOADTEST_FAILPOINTS").is_none() {
        eprintln!("left out: LOADTEST_FAILPOINTS does not say that the binary has the feature `failpoints`");
        return None;
    }
    binary()
}

/// A fault that strikes once under load breaks this promise.
fn caught(fault: &str, promise: &str) {
    let Some(binary) = faulty() else { return };
    let server = Server::start(&binary, &[("FAILPOINTS", fault)]);
    let (run, result) = server.load(server.port, 40);
    assert_broken(&run, &result, promise);
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    caught("journal.acknowledge-early=20*off->1*return", "nothing acknowledged is missing");
}

#[test]
fn a_dropped_push_is_caught() {
    caught("hub.drop-push=20*off->1*return", "no gap");
}

#[test]
fn swapped_pushes_are_caught() {
    caught("hub.swap-pushes=20*off->1*return", "no gap");
}

#[test]
fn what_was_stored_is_told_though_its_commit_was_not_answered() {
    let Some(binary) = faulty() else { return };
    // So few messages that none of them is told on account of the next one in its room.
    let server = Server::start(&binary, &[("FAILPOINTS", "journal.unknown-commit=4*return")]);
    let (_, result) = server.load(server.port, 1);
    assert_eq!(result["verify"]["findings"], serde_json::json!([]));
    assert!(result["verify"]["checked"]["messages"].as_u64().unwrap() > 0);
}

/// A server that is treated so under load, twice, loses nothing.
fn harmless(act: &str) {
    let Some(binary) = faulty() else { return };
    let out = Folder::new();
    let (binary, folder) = (binary.to_str().unwrap(), out.0.to_str().unwrap());
    let chaos = loadtest(&["chaos", act, "--binary", binary, "--cycles", "2", "--quiet", "--out", folder]);
    assert_ne!(chaos.status.code(), Some(2), "{}", text(&chaos));
    let result = result_of(&out.0);
    assert_eq!(result["verify"]["findings"], serde_json::json!([]));
    assert_eq!(result["chaos"].as_array().unwrap().len(), 2);
    assert!(chaos.status.success());
}

#[test]
fn commits_that_fail_lose_nothing() {
    harmless("commit-error");
}

#[test]
fn commits_whose_answer_is_lost_lose_nothing() {
    harmless("unknown-commit");
}

#[test]
fn slow_commits_lose_nothing() {
    harmless("slow-commit");
}

#[test]
fn a_crash_in_the_middle_of_a_commit_loses_nothing() {
    harmless("torn-batch");
}
