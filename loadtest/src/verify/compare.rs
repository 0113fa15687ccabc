//! The ledger against what the histories add up to.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::fold::{Fold, Message};
use crate::{
    client::subscription::hash,
    ledger::{Entry, Watcher, violation::Violation},
};

type Checked = Result<(), Box<Violation>>;

/// What the ledger knows of one message.
#[derive(Debug, Default)]
struct Known {
    created: Option<(String, u64, i64, u64)>,
    text: u64,
    /// A text that may have been written.
    maybe: Option<u64>,
    deleted: bool,
    may_be_deleted: bool,
    trail: Vec<String>,
}

fn known_messages(entries: &[Entry]) -> BTreeMap<(i64, i64), Known> {
    let mut known = BTreeMap::<(i64, i64), Known>::new();
    for entry in entries {
        match entry {
            Entry::Message { workbox, id, uuid, offset, person, text, at } => {
                let one = known.entry((*workbox, *id)).or_default();
                one.created = Some((uuid.to_string(), *offset, *person, *at));
                // An edit may have been answered before its message's own answer was written down.
                if one.text == 0 {
                    one.text = *text;
                }
                one.trail.push(format!("{at}: the sending of {uuid} was acknowledged at offset {offset}"));
            }
            Entry::Edit { workbox, id, text, acknowledged, at } => {
                let one = known.entry((*workbox, *id)).or_default();
                if *acknowledged {
                    one.text = *text;
                } else {
                    one.maybe = Some(*text);
                }
                let what = if *acknowledged { "acknowledged" } else { "not answered" };
                one.trail.push(format!("{at}: an edit was {what}"));
            }
            Entry::Delete { workbox, id, acknowledged, at } => {
                let one = known.entry((*workbox, *id)).or_default();
                one.deleted |= acknowledged;
                one.may_be_deleted = true;
                let what = if *acknowledged { "acknowledged" } else { "not answered" };
                one.trail.push(format!("{at}: a deletion was {what}"));
            }
            _ => {}
        }
    }
    known
}

/// Every acknowledged message, edit and deletion is there as it was acknowledged. Gives how many were compared.
pub fn messages(entries: &[Entry], folds: &HashMap<String, Fold>) -> Result<u64, Box<Violation>> {
    let known = known_messages(entries);
    for ((workbox, id), one) in &known {
        let Some(fold) = folds.get(&format!("workbox:{workbox}")) else { continue };
        let subject = format!("message {id} of workbox:{workbox}");
        let fail = |property, what: String, stored: Option<&Message>| {
            let told = stored.map(|stored| stored.trail.clone()).unwrap_or_default();
            Err(Violation::new(property, &subject, what, [one.trail.clone(), told].concat()))
        };
        let Some(stored) = fold.messages.get(id) else {
            if fold.first > 1 {
                continue;
            }
            return fail("nothing acknowledged is missing", "it is not in the history".to_owned(), None);
        };
        if let Some((uuid, offset, person, _)) = &one.created
            && (stored.uuid != *uuid || stored.offset != *offset || stored.person != *person)
        {
            let what =
                format!("it stands at offset {} as {} of {}", stored.offset, stored.uuid, stored.person);
            return fail("nothing acknowledged is missing", what, Some(stored));
        }
        if one.deleted && !stored.deleted {
            return fail(
                "nothing acknowledged is missing",
                "its deletion is not there".to_owned(),
                Some(stored),
            );
        }
        if stored.deleted && !one.may_be_deleted {
            return fail("nothing happens unasked", "nobody deleted it".to_owned(), Some(stored));
        }
        if !stored.deleted && stored.text != one.text && Some(stored.text) != one.maybe {
            return fail("nothing acknowledged is missing", "it has another text".to_owned(), Some(stored));
        }
    }
    Ok(known.len() as u64)
}

/// Marks along a stream are at least those that were acknowledged. Streams of large rooms tell totals only: they are
/// checked by REST.
pub fn receipts(entries: &[Entry], folds: &HashMap<String, Fold>) -> Result<u64, Box<Violation>> {
    let mut count = 0;
    let mut last = HashMap::<(i64, i64), (i64, i64)>::new();
    for entry in entries {
        let Entry::Receipt { workbox, person, received, read, at } = entry else { continue };
        count += 1;
        let best = last.entry((*workbox, *person)).or_default();
        *best = (best.0.max(*received), best.1.max(*read));
        if received < read {
            let what = format!("read up to {read}, but received up to {received}, at {at}");
            let subject = format!("person {person} in workbox:{workbox}");
            return Err(Violation::new("watermarks only grow", subject, what, Vec::new()));
        }
    }
    for ((workbox, person), told) in last {
        let Some(fold) = folds.get(&format!("workbox:{workbox}")) else { continue };
        // Totals only: nobody's marks stand there.
        if fold.marks.is_empty() {
            continue;
        }
        let marks = fold.marks.get(&person).copied().unwrap_or_default();
        if (marks.0 < told.0 || marks.1 < told.1) && told != (0, 0) {
            let what = format!("{told:?} (received, read) was acknowledged, the stream says {marks:?}");
            let subject = format!("person {person} in workbox:{workbox}");
            return Err(Violation::new("nothing acknowledged is missing", subject, what, Vec::new()));
        }
    }
    Ok(count)
}

/// Every acknowledged outcome of a ring is the one that stands in the session's stream.
pub fn rings(entries: &[Entry], folds: &HashMap<String, Fold>) -> Result<u64, Box<Violation>> {
    let mut count = 0;
    for entry in entries {
        let Entry::Ring { session, request, outcome, at, .. } = entry else { continue };
        let Some(fold) = folds.get(&format!("session:{session}")) else { continue };
        count += 1;
        let fail = |what: String, trail: Vec<String>| {
            let subject = format!("ring {request} of session:{session}");
            Err(Violation::new("nothing acknowledged is missing", subject, what, trail))
        };
        let told = format!("{at}: {outcome} was acknowledged");
        let Some(ring) = fold.rings.get(&request.to_string()) else {
            return fail("it is not in the history".to_owned(), vec![told]);
        };
        if outcome != "ringing" && ring.outcomes != [outcome.as_str()] {
            let what = format!("the history says {:?}", ring.outcomes);
            return fail(what, vec![told]);
        }
    }
    Ok(count)
}

/// Whoever was subscribed at the end saw everything that had been acknowledged by then.
pub fn watchers(watchers: &[Watcher], entries: &[Entry], folds: &HashMap<String, Fold>) -> Checked {
    let mut acknowledged = HashMap::<String, u64>::new();
    for entry in entries {
        if let Entry::Message { workbox, offset, .. } = entry {
            let last = acknowledged.entry(format!("workbox:{workbox}")).or_default();
            *last = (*last).max(*offset);
        }
    }
    for one in watchers {
        let fail = |property, what: String| {
            Err(Violation::new(property, &*one.channel, what, vec![format!("{one:?}")]))
        };
        if let Some(fold) = folds.get(&one.channel)
            && one.last > fold.last
        {
            let what = format!("{} saw offset {}, the history ends at {}", one.client, one.last, fold.last);
            return fail("nothing acknowledged is missing", what);
        }
        let due = acknowledged.get(&one.channel).copied().unwrap_or(0);
        if one.is_live && one.last < due {
            let what = format!("{} saw {} last, but {due} was acknowledged", one.client, one.last);
            return fail("no push is lost", what);
        }
    }
    Ok(())
}

/// A message as REST shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its number.
    pub id: i64,
    /// The client's name for it.
    pub uuid: String,
    /// Its author.
    pub person: i64,
    /// Its text.
    pub text: String,
    /// It was removed.
    pub deleted: bool,
}

/// REST and the stream tell the same messages.
pub fn shown(fold: &Fold, shown: &[Shown]) -> Checked {
    let fail = |property, what: String| Err(Violation::new(property, &*fold.channel, what, Vec::new()));
    let mut known = HashSet::new();
    for one in shown {
        if !known.insert(one.id) {
            return fail("nothing twice", format!("REST lists message {} twice", one.id));
        }
        let Some(stored) = fold.messages.get(&one.id) else {
            if fold.first > 1 {
                continue;
            }
            return fail("one truth", format!("REST lists message {}, the stream does not", one.id));
        };
        let same_text = one.deleted || hash(one.text.as_bytes()) == stored.text;
        if stored.uuid != one.uuid
            || stored.person != one.person
            || stored.deleted != one.deleted
            || !same_text
        {
            let what = format!("REST shows message {} as {one:?}, the stream as {stored:?}", one.id);
            return fail("one truth", what);
        }
    }
    match fold.messages.iter().find(|(id, one)| !known.contains(id) && !one.deleted) {
        Some((id, _)) => fail("nothing acknowledged is missing", format!("REST does not list message {id}")),
        None => Ok(()),
    }
}

/// What is unread for somebody who has read up to `read`.
pub fn unread(shown: &[Shown], person: i64, read: i64) -> u64 {
    shown.iter().filter(|one| one.id > read && one.person != person && !one.deleted).count() as u64
}

#[cfg(test)]
mod tests;
