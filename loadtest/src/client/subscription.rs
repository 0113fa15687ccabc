//! One place in a channel: where it stands, and whether what arrives is what must arrive.

use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;

use super::wire::Position;
use crate::ledger::{stream::StreamLog, violation::Violation};

/// One place in a channel.
#[derive(Debug)]
pub struct Subscription {
    /// The channel.
    pub channel: Arc<str>,
    /// What all subscribers of the channel saw.
    pub log: Arc<StreamLog>,
    /// The last event that was seen.
    pub at: Position,
    /// The server subscribes by itself at connect.
    pub server_side: bool,
    /// The place is taken at present.
    pub active: bool,
    /// Gaps that the server announced: after this offset, up to that one.
    pub announced: Vec<(u64, u64)>,
    /// The first event that was due here.
    pub first: u64,
    /// Numbers are not judged: the target does not promise what we promise.
    pub lenient: bool,
    /// The target of the log that was reached last.
    reached: u64,
}

/// What an arrived publication is.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next event of the stream; true for the first who sees it.
    Event(bool),
    /// Something that is not stored.
    Ephemeral,
    /// Something that must not arrive here.
    Wrong(Box<Violation>),
}

impl Subscription {
    /// A place that is not taken yet.
    pub fn new(channel: Arc<str>, log: Arc<StreamLog>, server_side: bool) -> Self {
        Self {
            channel,
            log,
            at: Position::default(),
            server_side,
            active: false,
            announced: Vec::new(),
            first: 0,
            lenient: false,
            reached: 0,
        }
    }

    /// Whether the log's target has been reached just now.
    pub fn reaches_target(&mut self) -> bool {
        let target = self.log.target();
        let is_news = target != 0 && self.at.offset >= target && self.reached != target;
        if is_news {
            self.reached = target;
        }
        is_news
    }

    /// Where to go on after an absence; `None` when it never stood anywhere.
    pub fn since(&self) -> Option<Position> {
        (!self.at.epoch.is_empty()).then(|| self.at.clone())
    }

    /// The place was taken at `head`, or what was missed since the position asked for follows.
    pub fn taken(&mut self, head: Position, was_recovering: bool, recovered: bool) {
        if !was_recovering || !recovered {
            if was_recovering && head.offset != self.at.offset {
                self.announced.push((self.at.offset, head.offset));
            }
            self.at.offset = head.offset;
        }
        if self.first == 0 {
            self.first = self.at.offset + 1;
        }
        self.at.epoch = head.epoch;
        self.active = true;
    }

    /// Judges what arrived at `who` and remembers it.
    pub fn arrived(&mut self, who: impl Fn() -> String, offset: u64, data: &[u8]) -> Arrival {
        if offset == 0 || is_ephemeral(data) {
            return Arrival::Ephemeral;
        }
        if self.lenient {
            self.at.offset = offset;
            return Arrival::Event(false);
        }
        let seen = self.at.offset;
        let expected = seen + 1;
        self.at.offset = seen.max(offset);
        let wrong = |property, what: String| {
            let trail = vec![
                format!("{} had seen {} up to offset {seen}", who(), self.channel),
                format!("then {offset} arrived: {}", shortened(data)),
            ];
            Arrival::Wrong(Violation::new(property, &*self.channel, what, trail))
        };
        if offset < expected {
            return wrong("nothing twice", format!("offset {offset} came again, {expected} was due"));
        }
        if offset > expected {
            let what = format!("offset {offset} came when {expected} was due: a gap that nobody announced");
            return wrong("no gap", what);
        }
        match self.log.saw(offset, identity(data)) {
            Ok(is_first) => Arrival::Event(is_first),
            Err(other) => {
                let what =
                    format!("offset {offset} is {:016x} here and {other:016x} elsewhere", identity(data));
                wrong("one order", what)
            }
        }
    }
}

/// Which event it is: the last 64 bits of its UUID, or a hash where it has none.
pub fn identity(data: &[u8]) -> u64 {
    let uuid = data.strip_prefix(br#"{"id":""#).and_then(|rest| rest.get(..37));
    let uuid = uuid.filter(|uuid| uuid[36] == b'"').and_then(uuid_tail);
    uuid.or_else(|| parsed_identity(data)).unwrap_or_else(|| hash(data))
}

/// The same of an event that was written anew without what was deleted: PostgreSQL then puts its fields elsewhere.
fn parsed_identity(data: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        id: &'a str,
    }
    let named = serde_json::from_slice::<Named<'_>>(data).ok()?;
    (named.id.len() == 36).then(|| uuid_tail(named.id.as_bytes())).flatten()
}

/// The last 64 bits of a UUID in its 36 characters, whatever follows.
fn uuid_tail(uuid: &[u8]) -> Option<u64> {
    let digits = uuid[19..36].iter().filter(|byte| **byte != b'-');
    digits.into_iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

/// FNV-1a: enough to tell texts apart.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What is not stored says so in front of its data.
fn is_ephemeral(data: &[u8]) -> bool {
    static WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""ephemeral":true"#));
    WORD.find(&data[..data.len().min(400)]).is_some()
}

/// The begin of some JSON, for people.
pub fn shortened(data: &[u8]) -> String {
    String::from_utf8_lossy(&data[..data.len().min(240)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Subscription {
        let mut place = Subscription::new("workbox:1".into(), Arc::new(StreamLog::new("workbox:1")), false);
        place.taken(Position { offset: 4, epoch: "e".to_owned() }, false, false);
        place
    }

    fn ann() -> String {
        "ann".to_owned()
    }

    fn event(n: u8) -> Vec<u8> {
        format!(r#"{{"id":"01a204e7-e525-7615-9929-d30bd4bdc6{n:02x}","type":"message.created"}}"#)
            .into_bytes()
    }

    fn property(arrival: Arrival) -> &'static str {
        let Arrival::Wrong(violation) = arrival else { panic!("{arrival:?} is no violation") };
        violation.property
    }

    #[test]
    fn events_in_order_are_fine() {
        let mut place = place();
        assert_eq!(place.arrived(ann, 5, &event(5)), Arrival::Event(true));
        let typing = br#"{"id":"x","type":"typing","ephemeral":true,"data":{}}"#;
        assert_eq!(place.arrived(ann, 6, typing), Arrival::Ephemeral);
        assert_eq!(place.arrived(ann, 6, &event(6)), Arrival::Event(true));
    }

    #[test]
    fn a_gap_a_repetition_and_a_swap_are_caught() {
        let mut one = place();
        assert_eq!(property(one.arrived(ann, 6, &event(6))), "no gap");
        let mut one = place();
        assert_eq!(one.arrived(ann, 5, &event(5)), Arrival::Event(true));
        assert_eq!(property(one.arrived(ann, 5, &event(5))), "nothing twice");
        let (mut one, log) = (place(), Arc::new(StreamLog::new("workbox:1")));
        one.log = log.clone();
        let mut other = place();
        other.log = log;
        assert_eq!(one.arrived(ann, 5, &event(5)), Arrival::Event(true));
        assert_eq!(property(other.arrived(ann, 5, &event(6))), "one order");
    }

    #[test]
    fn an_announced_gap_is_no_violation() {
        let mut place = place();
        place.taken(Position { offset: 90, epoch: "f".to_owned() }, true, false);
        assert_eq!(place.announced, [(4, 90)]);
        assert_eq!(place.arrived(ann, 91, &event(9)), Arrival::Event(true));
    }

    #[test]
    fn events_are_told_apart_by_their_id() {
        assert_eq!(identity(&event(5)), 0x9929_d30b_d4bd_c605);
        let rewritten = br#"{"data": {"id": 7}, "id": "01a204e7-e525-7615-9929-d30bd4bdc605", "type": "x"}"#;
        assert_eq!(identity(rewritten), identity(&event(5)));
        assert_ne!(identity(b"{\"a\":1}"), identity(b"{\"a\":2}"));
    }
}
