//! What a run of this program leaves behind for `tests/summary.rs`, which speaks when all tests are through: codes
//! that were seen and that are declared, secrets that were made, the log, and what was left out.

use std::{
    collections::HashSet,
    env,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use switchboard::api::FAMILIES;

/// Keys of replies whose values are credentials.
const SECRET_KEYS: &[&str] =
    &["token", "refresh", "access_token", "private_key", "link", "signed_url", "signed_thumbnail_url"];
/// What is looked for in the log is at least so long.
const NEEDLE: usize = 16;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(begin);
static KNOWN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Where the notes of the present run are.
pub fn folder() -> &'static PathBuf {
    &FOLDER
}

/// Writes a line unless it stands there already.
pub fn note(file: &str, line: &str) {
    if locked(&KNOWN).insert(format!("{file} {line}")) {
        append(file).write_all(format!("{line}\n").as_bytes()).expect("notes can be written");
    }
}

/// Something was not tried; said at the end of the run.
pub fn left_out(what: &str) {
    note("left-out.txt", what);
}

/// Remembers a secret, to look for it in the log. Of its text the longest part that a log would not break up.
pub fn secret(text: &str) {
    // Of a link only the signature is one.
    let text = text.rsplit("sig=").next().unwrap_or_default();
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    if let Some(longest) = parts.max_by_key(|part| part.len()).filter(|part| part.len() >= NEEDLE) {
        note("secrets.txt", longest);
    }
}

/// The secrets of a reply.
pub fn secrets_of(reply: &Value) {
    match reply {
        Value::Array(items) => items.iter().for_each(secrets_of),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if SECRET_KEYS.contains(&name.as_str()) => secret(text),
                    value => secrets_of(value),
                }
            }
        }
        // An enterprise token comes as it is.
        Value::String(text) if text.starts_with("eyJ") => secret(text),
        _ => {}
    }
}

/// A file of the notes, to go on with.
pub fn append(file: &str) -> File {
    OpenOptions::new().create(true).append(true).open(folder().join(file)).expect("notes can be written")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The notes of earlier runs go; the first lines of the new ones say what the run is.
fn begin() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("run");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for notes");
    let whole = env::args().skip(1).all(|argument| {
        argument == "--quiet" || argument == "--nocapture" || argument.starts_with("--test-threads=")
    });
    fs::write(folder.join("run.txt"), if whole { "whole" } else { "part" }).expect("notes can be written");
    let mut declared = String::new();
    for family in FAMILIES {
        for op in family.operations() {
            for code in op.codes {
                declared.push_str(&format!(
                    "{} {} {}\n",
                    op.method.name(),
                    op.full_path(family),
                    code.name()
                ));
            }
        }
    }
    fs::write(folder.join("codes-declared.txt"), declared).expect("notes can be written");
    folder
}
