//! Runs after all tests and speaks for the whole run: what only the whole can tell, and what it left out. Knows
//! nothing but the notes of `tests/it` (its `harness/notes.rs` says what they are).

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Faults that are shown.
const SHOWN: usize = 40;

fn main() -> ExitCode {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("run");
    // Called with a name: somebody wants some tests, and this is none of them.
    let asked = std::env::args().skip(1).any(|argument| !argument.starts_with('-'));
    if asked || read(&folder, "run.txt") != "whole" {
        println!("a part of the tests ran: nothing is said about the whole");
        return ExitCode::SUCCESS;
    }
    let mut faults = Vec::new();
    let seen = lines(&folder, "codes-seen.txt");
    let declared = lines(&folder, "codes-declared.txt");
    let mut unseen: Vec<_> = declared.difference(&seen).collect();
    unseen.sort();
    faults.extend(unseen.into_iter().map(|entry| format!("declared, but no test has seen it: {entry}")));
    let log = read(&folder, "log.txt");
    let leaks = leaks(&log, &lines(&folder, "secrets.txt"));
    faults.extend(leaks.into_iter().map(|line| format!("a secret in the log: {line}")));
    for fault in faults.iter().take(SHOWN) {
        println!("{fault}");
    }
    let mut left_out: Vec<_> = lines(&folder, "left-out.txt").into_iter().collect();
    left_out.sort();
    println!(
        "summary: {} of {} declared errors seen; {} secrets looked for in the log; left out: {}",
        declared.intersection(&seen).count(),
        declared.len(),
        lines(&folder, "secrets.txt").len(),
        if left_out.is_empty() { "nothing".to_owned() } else { left_out.join("; ") }
    );
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default()
}

fn lines(folder: &Path, file: &str) -> HashSet<String> {
    read(folder, file).lines().map(str::to_owned).collect()
}

/// Lines of the log that hold a secret.
fn leaks<'l>(log: &'l str, secrets: &HashSet<String>) -> Vec<&'l str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    log.lines().filter(|line| line.split(|c| !is_part(c)).any(|word| secrets.contains(word))).collect()
}
