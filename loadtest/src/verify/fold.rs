//! A stream's history, event by event: what must hold along it, and what it adds up to.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::{
    client::subscription::{hash, identity, shortened},
    ledger::{stream::Seen, violation::Violation},
};

/// A message as the history tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The client's name for it.
    pub uuid: String,
    /// Its author.
    pub person: i64,
    /// A hash of its text as it is now.
    pub text: u64,
    /// Where it was created.
    pub offset: u64,
    /// It was removed.
    pub deleted: bool,
    /// Events that concern it, for people.
    pub trail: Vec<String>,
}

/// A ring as the history tells it.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    /// How often it began.
    pub started: usize,
    /// How it ended.
    pub outcomes: Vec<String>,
}

/// A call as the history tells it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// It ended.
    pub ended: bool,
    /// Who is in it.
    pub present: HashSet<i64>,
}

/// What a history adds up to.
#[derive(Debug)]
pub struct Fold {
    /// The channel.
    pub channel: String,
    /// The last offset so far.
    pub last: u64,
    /// The first offset that is kept.
    pub first: u64,
    /// Which event stands where, from `first` on.
    pub events: Vec<u64>,
    /// Messages by number.
    pub messages: BTreeMap<i64, Message>,
    /// Received and read marks by person.
    pub marks: HashMap<i64, (i64, i64)>,
    /// Rings by request.
    pub rings: BTreeMap<String, Ring>,
    /// Calls by number.
    pub calls: BTreeMap<String, Call>,
    ids: HashMap<u64, u64>,
    uuids: HashMap<String, i64>,
}

type Checked = Result<(), Box<Violation>>;

impl Fold {
    /// Nothing has been read yet.
    pub fn new(channel: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            last: 0,
            first: 0,
            events: Vec::new(),
            messages: BTreeMap::new(),
            marks: HashMap::new(),
            rings: BTreeMap::new(),
            calls: BTreeMap::new(),
            ids: HashMap::new(),
            uuids: HashMap::new(),
        }
    }

    #[expect(clippy::unnecessary_box_returns, reason = "as `Violation::new`")]
    fn wrong(&self, property: &'static str, what: String, trail: Vec<String>) -> Box<Violation> {
        Violation::new(property, &*self.channel, what, trail)
    }

    /// Takes the next event of the history.
    pub fn event(&mut self, offset: u64, data: &[u8]) -> Checked {
        if self.first == 0 {
            self.first = offset;
            self.last = offset.saturating_sub(1);
        }
        if offset != self.last + 1 {
            let what = format!("the history goes from offset {} to {offset}", self.last);
            return Err(self.wrong("no gap", what, vec![shortened(data)]));
        }
        self.last = offset;
        let id = identity(data);
        if let Some(before) = self.ids.insert(id, offset) {
            let what = format!("offsets {before} and {offset} hold the same event");
            return Err(self.wrong("nothing twice", what, vec![shortened(data)]));
        }
        self.events.push(id);
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            let what = format!("offset {offset} is no JSON");
            return Err(self.wrong("events can be read", what, vec![shortened(data)]));
        };
        let (kind, body) = (event["type"].as_str().unwrap_or_default(), &event["data"]);
        match kind.split_once('.') {
            Some(("message", what)) => self.message(offset, what, body, data),
            Some(("receipt", "updated")) => self.receipt(offset, body),
            Some(("ring", what)) => {
                self.ring(what, body);
                Ok(())
            }
            Some((about @ ("call" | "participant"), what)) => {
                self.call(about, what, body);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn message(&mut self, offset: u64, what: &str, body: &Value, data: &[u8]) -> Checked {
        let id = body["id"].as_i64().unwrap_or_default();
        let text = hash(text_of(&body["metadata"]).as_bytes());
        let step = format!("offset {offset}: message.{what} {}", shortened(data));
        if what == "created" {
            let uuid = body["uuid"].as_str().unwrap_or_default().to_owned();
            let twin = self.messages.contains_key(&id).then_some(id);
            if let Some(twin) = twin.or_else(|| self.uuids.insert(uuid.clone(), id)) {
                let before = self.messages.get(&twin).map(|one| one.trail.clone()).unwrap_or_default();
                let what = format!("message {id} ({uuid}) was created twice");
                return Err(self.wrong("nothing twice", what, [before, vec![step]].concat()));
            }
            let person = body["user"]["id"].as_i64().unwrap_or_default();
            let one = Message { uuid, person, text, offset, deleted: false, trail: vec![step] };
            self.messages.insert(id, one);
            return Ok(());
        }
        let Some(one) = self.messages.get_mut(&id) else {
            // Its creation may be older than what is kept.
            if self.first > 1 {
                return Ok(());
            }
            let what = format!("message {id} was {what} before it was created");
            return Err(self.wrong("one order", what, vec![step]));
        };
        one.trail.push(step);
        match what {
            "edited" => one.text = text,
            "deleted" => one.deleted = true,
            _ => {}
        }
        Ok(())
    }

    fn receipt(&mut self, offset: u64, body: &Value) -> Checked {
        for mark in body["receipts"].as_array().into_iter().flatten() {
            let number = |name: &str| mark[name].as_i64().unwrap_or_default();
            let (person, now) = (number("user_id"), (number("received_id"), number("read_id")));
            let before = self.marks.insert(person, now).unwrap_or_default();
            if now.0 < before.0 || now.1 < before.1 {
                let what = format!(
                    "the marks of person {person} fell from {before:?} to {now:?} at offset {offset}"
                );
                return Err(self.wrong("watermarks only grow", what, vec![mark.to_string()]));
            }
        }
        Ok(())
    }

    fn ring(&mut self, what: &str, body: &Value) {
        let Some(request) = body["request_id"].as_str() else { return };
        let ring = self.rings.entry(request.to_owned()).or_default();
        match what {
            "started" => ring.started += 1,
            "accepted" | "declined" | "cancelled" | "timed_out" => ring.outcomes.push(what.to_owned()),
            _ => {}
        }
    }

    fn call(&mut self, about: &str, what: &str, body: &Value) {
        // The thread of a session tells of its calls, too, but not of who comes and goes.
        let Some(id) = body["call_id"].as_str().or(body["id"].as_str()) else { return };
        let call = self.calls.entry(id.to_owned()).or_default();
        let person = body["user"]["id"].as_i64();
        match (about, what, person) {
            ("call", "ended", _) => call.ended = true,
            ("participant", "joined", Some(person)) => {
                call.present.insert(person);
            }
            ("participant", "left", Some(person)) => {
                call.present.remove(&person);
            }
            _ => {}
        }
    }

    /// Rings and calls that have not come to their end yet.
    pub fn is_open(&self) -> bool {
        let ringing = self.rings.values().any(|ring| ring.outcomes.is_empty());
        ringing || self.calls.values().any(|call| !call.ended || !call.present.is_empty())
    }

    /// The history has been read to its end, which must be the head that the server names.
    pub fn head(self, head: u64) -> Result<Self, Box<Violation>> {
        if self.last == head {
            return Ok(self);
        }
        let what = format!("the history ends at offset {}, the head is {head}", self.last);
        Err(self.wrong("no gap", what, Vec::new()))
    }

    /// Everything is over: rings and calls have come to their end.
    pub fn ended(&self) -> Checked {
        for (request, ring) in &self.rings {
            if ring.started != 1 && self.first <= 1 {
                let what = format!("ring {request} began {} times", ring.started);
                return Err(self.wrong("one outcome per ring", what, Vec::new()));
            }
            if ring.outcomes.len() != 1 {
                let what = format!("ring {request} has {} outcomes", ring.outcomes.len());
                return Err(self.wrong("one outcome per ring", what, ring.outcomes.clone()));
            }
        }
        for (id, call) in &self.calls {
            if !call.ended {
                return Err(self.wrong("no call without an end", format!("call {id} goes on"), Vec::new()));
            }
            if !call.present.is_empty() {
                let what = format!("call {id} has ended, but not for {:?}", call.present);
                return Err(self.wrong("nobody left behind", what, Vec::new()));
            }
        }
        Ok(())
    }

    /// Everything that subscribers saw stands in the history, at the same place.
    pub fn agrees_with(&self, seen: &Seen) -> Checked {
        for (number, event) in seen.events.iter().enumerate().filter(|(_, event)| **event != 0) {
            let offset = seen.first + number as u64;
            if offset < self.first {
                continue;
            }
            let stands = usize::try_from(offset - self.first).ok().and_then(|index| self.events.get(index));
            match stands {
                Some(stands) if stands == event => {}
                Some(stands) => {
                    let what = format!(
                        "offset {offset}: subscribers saw {event:016x}, the history has {stands:016x}"
                    );
                    return Err(self.wrong("one order", what, Vec::new()));
                }
                None => {
                    let what = format!("subscribers saw offset {offset}, the history ends at {}", self.last);
                    return Err(self.wrong("nothing acknowledged is missing", what, Vec::new()));
                }
            }
        }
        Ok(())
    }
}

/// The text of a message's metadata, which is JSON in a string.
pub fn text_of(metadata: &Value) -> String {
    let parsed = metadata.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let parsed = parsed.as_ref().unwrap_or(metadata);
    parsed["message"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
