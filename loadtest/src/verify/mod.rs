//! Whether the server still agrees with what it acknowledged and showed.

mod bus;
mod compare;
mod fold;
mod reader;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use reader::{Reader, patiently};
use sha2::{Digest as _, Sha256};

use crate::{
    client::rest::Rest,
    failure::{Failure, Outcome},
    ledger::{
        Book, Entry,
        stream::Seen,
        violation::{Finding, Violation},
    },
    report::result::Verdict,
    run::path_of,
};
use fold::Fold;

/// Rings time out, calls end and leases run out within this time.
const ENDINGS: Duration = Duration::from_secs(75);
/// People of each room whose unread counts are recounted.
const COUNTED: usize = 10;

/// Compares a ledger with what the server holds. An error: it could not be read.
pub async fn verify(book: &Book, rest: &Rest, nats: Option<&str>) -> Result<Verdict, String> {
    let mut check = Check {
        book,
        rest,
        reader: Reader::new(rest, &book.people),
        verdict: Verdict { checked: BTreeMap::new(), findings: book.violations.clone() },
        folds: HashMap::new(),
    };
    let outcome = check.all(nats).await;
    check.reader.close().await;
    outcome.map_err(|failure| format!("the truth could not be read back: {failure}"))?;
    Ok(check.verdict)
}

struct Check<'a> {
    book: &'a Book,
    rest: &'a Rest,
    reader: Reader,
    verdict: Verdict,
    folds: HashMap<String, Fold>,
}

impl Check<'_> {
    async fn all(&mut self, nats: Option<&str>) -> Outcome<()> {
        self.histories().await?;
        self.against_ledger();
        self.rest().await?;
        self.attachments().await?;
        if let Some(url) = nats {
            match bus::compare(url, &self.folds).await? {
                Ok(count) => self.count("events on the bus", count),
                Err(violation) => self.found(*violation),
            }
        }
        Ok(())
    }

    fn found(&mut self, violation: Violation) {
        self.verdict.findings.push(Finding::from(violation));
    }

    fn count(&mut self, what: &str, count: u64) {
        *self.verdict.checked.entry(what.to_owned()).or_default() += count;
    }

    fn judge(&mut self, what: &str, outcome: Result<u64, Box<Violation>>) {
        match outcome {
            Ok(count) => self.count(what, count),
            Err(violation) => self.found(*violation),
        }
    }

    /// Channels to read, each with somebody who may.
    fn channels(&self) -> BTreeMap<String, i64> {
        let mut channels = BTreeMap::new();
        for (workbox, people) in &self.book.rooms {
            if let Some(person) = people.first() {
                channels.insert(format!("workbox:{workbox}"), *person);
            }
        }
        for entry in &self.book.entries {
            if let Entry::Ring { session, person, .. } | Entry::Call { session, person, .. } = entry {
                channels.insert(format!("session:{session}"), *person);
            }
        }
        let inboxes = self.book.seen.iter().filter_map(|seen| seen.channel.strip_prefix("user:"));
        for person in inboxes.filter_map(|id| id.parse().ok()) {
            channels.insert(format!("user:{person}"), person);
        }
        channels
    }

    /// Reads every history; rings and calls get the time that they need to end.
    async fn histories(&mut self) -> Outcome<()> {
        let mut seen = HashMap::<&str, Vec<&Seen>>::new();
        for one in &self.book.seen {
            seen.entry(&one.channel).or_default().push(one);
        }
        let mut channels: Vec<_> = self.channels().into_iter().collect();
        // One connection per person serves all of their channels.
        channels.sort_by_key(|(_, person)| *person);
        let deadline = Instant::now() + ENDINGS;
        for (channel, person) in channels {
            let is_session = channel.starts_with("session:");
            let fold = loop {
                let read = self.reader.fold(&channel, person).await?;
                match read {
                    Ok(fold) if is_session && fold.is_open() && Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                    Ok(fold) => break fold,
                    Err(violation) => {
                        self.found(*violation);
                        break Fold::new(&channel);
                    }
                }
            };
            self.count("events", fold.events.len() as u64);
            let agreed =
                seen.get(channel.as_str()).into_iter().flatten().try_for_each(|seen| fold.agrees_with(seen));
            let ended = if is_session { fold.ended() } else { Ok(()) };
            for outcome in [agreed, ended] {
                if let Err(violation) = outcome {
                    self.found(*violation);
                }
            }
            if is_session {
                self.count("calls", fold.calls.len() as u64);
            }
            self.folds.insert(channel, fold);
        }
        let count = self.folds.len() as u64;
        self.count("streams", count);
        Ok(())
    }

    fn against_ledger(&mut self) {
        let entries = &self.book.entries;
        let outcome = compare::messages(entries, &self.folds);
        self.judge("messages", outcome);
        let outcome = compare::receipts(entries, &self.folds);
        self.judge("receipts", outcome);
        let outcome = compare::rings(entries, &self.folds);
        self.judge("ring outcomes", outcome);
        let watchers = &self.book.watchers;
        let outcome = compare::watchers(watchers, entries, &self.folds).map(|()| watchers.len() as u64);
        self.judge("subscriptions", outcome);
    }

    /// REST lists the messages that the stream tells of, and counts them rightly for everybody.
    async fn rest(&mut self) -> Outcome<()> {
        let mut read_up_to = HashMap::<(i64, i64), i64>::new();
        for entry in &self.book.entries {
            if let Entry::Receipt { workbox, person, read, .. } = entry {
                let best = read_up_to.entry((*workbox, *person)).or_default();
                *best = (*best).max(*read);
            }
        }
        for (workbox, people) in &self.book.rooms {
            let Some((first, fold)) = people.first().zip(self.folds.get(&format!("workbox:{workbox}")))
            else {
                continue;
            };
            let token = token_of(&self.reader.workbox(*workbox, *first).await?)?;
            let shown = self.reader.messages(&token).await?;
            if let Err(violation) = compare::shown(fold, &shown) {
                self.found(*violation);
            }
            for person in people.iter().take(COUNTED) {
                let view = self.reader.workbox(*workbox, *person).await?;
                let number = |name: &str| view[name].as_i64().unwrap_or_default();
                let (read, told) = (number("last_read_message_id"), number("unread_messages_count"));
                let counted = compare::unread(&shown, *person, read).cast_signed();
                let subject = format!("person {person} in workbox:{workbox}");
                if told != counted {
                    let what =
                        format!("{told} are unread after message {read}, REST says; they are {counted}");
                    self.found(*Violation::new("unread counts equal a recount", &subject, what, Vec::new()));
                }
                let due = read_up_to.get(&(*workbox, *person)).copied().unwrap_or(0);
                if read < due {
                    let what = format!("read up to {due} was acknowledged, REST says {read}");
                    self.found(*Violation::new(
                        "nothing acknowledged is missing",
                        &subject,
                        what,
                        Vec::new(),
                    ));
                }
                self.count("unread counts", 1);
            }
            self.count("messages in REST", shown.len() as u64);
        }
        Ok(())
    }

    async fn attachments(&mut self) -> Outcome<()> {
        let mut tokens = HashMap::<i64, String>::new();
        let members: HashMap<_, _> =
            self.book.rooms.iter().map(|(workbox, people)| (*workbox, people)).collect();
        let (mut known, mut count) = (BTreeSet::new(), 0);
        for entry in &self.book.entries {
            let Entry::Attachment { workbox, id, sha256, bytes, at } = entry else { continue };
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            if !known.insert((*workbox, id.clone())) {
                let what = "two uploads got the same number";
                self.found(*Violation::new("nothing twice", format!("attachment {id}"), what, Vec::new()));
            }
            if !tokens.contains_key(workbox) {
                let Some(person) = members.get(workbox).and_then(|people| people.first()) else { continue };
                tokens.insert(*workbox, token_of(&self.reader.workbox(*workbox, *person).await?)?);
            }
            let path = format!("/api/v1r1/workbox/attachments/{id}");
            let content = patiently(async || {
                let shown = self.rest.get(&path, &tokens[workbox]).await?;
                self.rest.content(path_of(shown["signed_url"].as_str().unwrap_or_default())).await
            });
            let content = content.await;
            let trail = vec![format!("{at}: {bytes} bytes were acknowledged with SHA-256 {sha256}")];
            let what = match content {
                Ok(content) if hex::encode(Sha256::digest(&content)) == *sha256 => None,
                Ok(content) => Some(format!("{} other bytes came", content.len())),
                Err(failure @ Failure::Refused(..)) => Some(format!("it cannot be had: {failure}")),
                Err(failure) => return Err(failure),
            };
            if let Some(what) = what {
                let subject = format!("attachment {id} of workbox:{workbox}");
                self.found(*Violation::new("nothing acknowledged is missing", subject, what, trail));
            }
            count += 1;
        }
        self.count("attachments", count);
        Ok(())
    }
}

fn token_of(workbox: &serde_json::Value) -> Outcome<String> {
    let token = workbox["token"].as_str().map(str::to_owned);
    token.ok_or_else(|| Failure::Unexpected("a workbox came without its token".to_owned()))
}
