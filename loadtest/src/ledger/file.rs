//! The ledger as a whole, and its file: JSON lines, readable by its owner only, since it holds tokens.

use std::{
    collections::HashSet,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{Entry, stream::Seen, violation::Finding};
use crate::people::Login;

/// The version of the file's format.
pub const SCHEMA: &str = "switchboard-loadtest-ledger/1";
/// Violations kept: the first ones say most.
const KEPT: usize = 100;

/// What the ledger is of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: String,
    /// The server.
    pub target: String,
    /// The scenario.
    pub scenario: String,
    /// People's organisation; 0 where nobody asked.
    #[serde(default)]
    pub organization: i64,
}

/// What one client saw of one channel.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Watcher {
    /// The client, for people.
    pub client: String,
    /// The channel.
    pub channel: String,
    /// The first event that was due.
    pub first: u64,
    /// The last event that was seen.
    pub last: u64,
    /// The place was taken until the run ended.
    #[serde(default)]
    pub is_live: bool,
    /// Gaps that the server announced.
    pub announced: Vec<(u64, u64)>,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Head(Head),
    Person(Login),
    Room { workbox: i64, people: Vec<i64> },
    Entry(Entry),
    Seen(Seen),
    Watcher(Watcher),
    Violation(Finding),
}

/// A ledger as it is checked.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// What it is of.
    pub head: Head,
    /// Who took part.
    pub people: Vec<Login>,
    /// Help threads and the people in them.
    pub rooms: Vec<(i64, Vec<i64>)>,
    /// What was asked for, in the order of the answers.
    pub entries: Vec<Entry>,
    /// What was seen, by channel.
    pub seen: Vec<Seen>,
    /// What each client saw.
    pub watchers: Vec<Watcher>,
    /// What was already found wrong while it was seen.
    pub violations: Vec<Finding>,
}

impl Book {
    /// Writes it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut file = BufWriter::new(file);
        let mut put = |line: &Line| -> io::Result<()> {
            serde_json::to_writer(&mut file, line)?;
            file.write_all(b"\n")
        };
        put(&Line::Head(self.head.clone()))?;
        self.people.iter().try_for_each(|login| put(&Line::Person(login.clone())))?;
        let room =
            |(workbox, people): &(i64, Vec<i64>)| Line::Room { workbox: *workbox, people: people.clone() };
        self.rooms.iter().try_for_each(|one| put(&room(one)))?;
        self.entries.iter().try_for_each(|entry| put(&Line::Entry(entry.clone())))?;
        self.seen.iter().try_for_each(|seen| put(&Line::Seen(seen.clone())))?;
        self.watchers.iter().try_for_each(|one| put(&Line::Watcher(one.clone())))?;
        self.violations.iter().try_for_each(|one| put(&Line::Violation(one.clone())))?;
        file.flush()
    }

    /// Reads one, and adds what it holds: the ledgers of several shards are checked as one.
    pub fn read(&mut self, path: &Path) -> Result<(), String> {
        let fail = |error: String| format!("{}: {error}", path.display());
        let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| fail(error.to_string()))?;
            match serde_json::from_str(&line).map_err(|error| fail(error.to_string()))? {
                Line::Head(head) if head.schema != SCHEMA => {
                    return Err(fail(format!("its format is {}, not {SCHEMA}", head.schema)));
                }
                Line::Head(head) => self.head = head,
                Line::Person(login) => self.people.push(login),
                Line::Room { workbox, people } => self.rooms.push((workbox, people)),
                Line::Entry(entry) => self.entries.push(entry),
                Line::Seen(seen) => self.seen.push(seen),
                Line::Watcher(watcher) => self.watchers.push(watcher),
                Line::Violation(finding) => self.violations.push(finding),
            }
        }
        let mut known = HashSet::new();
        self.people.retain(|login| known.insert(login.id));
        let mut known = HashSet::new();
        self.rooms.retain(|(workbox, _)| known.insert(*workbox));
        Ok(())
    }
}

/// The ledger while it is kept.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    watchers: Vec<Watcher>,
    violations: Vec<Finding>,
    count: u64,
}

impl Ledger {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was asked for.
    pub fn note(&self, entry: Entry) {
        self.kept().entries.push(entry);
    }

    /// Something is wrong.
    pub fn wrong(&self, finding: Finding) {
        let mut kept = self.kept();
        kept.count += 1;
        if kept.violations.len() < KEPT {
            kept.violations.push(finding);
        }
    }

    /// How much has been wrong so far.
    pub fn wrongs(&self) -> u64 {
        self.kept().count
    }

    /// A client has ended.
    pub fn watched(&self, watcher: Watcher) {
        self.kept().watchers.push(watcher);
    }

    /// Moves what was kept into a book.
    pub fn close(&self, book: &mut Book) {
        let mut kept = self.kept();
        book.entries.append(&mut kept.entries);
        book.watchers.append(&mut kept.watchers);
        book.violations.append(&mut kept.violations);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_book_comes_back_as_it_was_written() {
        let path = std::env::temp_dir().join(format!("loadtest-ledger-{}", Uuid::new_v4()));
        let head = Head {
            schema: SCHEMA.to_owned(),
            target: "http://127.0.0.1:1".to_owned(),
            scenario: "rooms".to_owned(),
            organization: 3,
        };
        let book = Book {
            head,
            people: vec![Login { id: 4, token: "t".to_owned(), ..Login::default() }],
            rooms: vec![(9, vec![4])],
            entries: vec![Entry::Tried { workbox: 9, uuid: Uuid::from_u128(5), at: 1 }],
            seen: vec![Seen { channel: "workbox:9".to_owned(), first: 2, events: vec![u64::MAX, 0, 7] }],
            watchers: vec![Watcher { client: "c".to_owned(), ..Watcher::default() }],
            violations: vec![Finding { property: "no gap".to_owned(), ..Finding::default() }],
        };
        book.write(&path).unwrap();
        let mut read = Book::default();
        read.read(&path).unwrap();
        // A second shard brings its own entries, but the same people and rooms.
        read.read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((read.head, read.rooms), (book.head, book.rooms));
        assert_eq!((read.people.len(), read.entries.len(), read.violations.len()), (1, 2, 2));
        assert_eq!((&read.seen[0], &read.entries[0]), (&book.seen[0], &book.entries[0]));
    }
}
