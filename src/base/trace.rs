//! Distributed traces: which request an event came of, across this server and whoever calls it or follows its events
//! (W3C Trace Context; CloudEvents' extension `traceparent`). Nothing is recorded or sent from here; a trace is only
//! passed on.

use std::fmt;

use super::random::Random;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A place in a trace: what the header `traceparent` carries. Neither id is zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// The only version of `traceparent` there is so far.
const VERSION: u8 = 0;
/// "The caller may have recorded this": the one flag that is passed on.
const SAMPLED: u8 = 1;
/// Length of a `traceparent` of version 0.
const LENGTH: usize = 55;

impl Trace {
    /// A trace that starts here.
    pub fn begin(random: &Random) -> Self {
        Self { id: random.bytes(), span: random.bytes(), flags: 0 }.without_zeros()
    }

    /// Our place in the trace that `header` belongs to: the same id, a span of ours. `None` when the header is not a
    /// `traceparent`; the caller then begins a trace, as the recommendation asks.
    pub fn follow(header: &str, random: &Random) -> Option<Self> {
        let (head, more) = header.as_bytes().split_at_checked(LENGTH)?;
        let [version, id @ .., flags] = &*hex_fields(head)? else { return None };
        // Later versions may append fields. 255 is none.
        let known = *version == VERSION && more.is_empty();
        let later = *version > VERSION && *version != u8::MAX && matches!(more, [] | [b'-', ..]);
        let (id, parent) = id.split_first_chunk()?;
        let usable = *id != [0; 16] && parent.iter().any(|byte| *byte != 0);
        ((known || later) && usable)
            .then(|| Self { id: *id, span: random.bytes(), flags: flags & SAMPLED }.without_zeros())
    }

    /// Zeros mean "none" in the format; a generator may give them once in the life of a universe.
    fn without_zeros(mut self) -> Self {
        self.id[15] |= u8::from(self.id == [0; 16]);
        self.span[7] |= u8::from(self.span == [0; 8]);
        self
    }

    /// For the database: id, span, flags.
    pub fn to_bytes(self) -> [u8; 25] {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.span);
        bytes[24] = self.flags;
        bytes
    }

    /// What [`Trace::to_bytes`] made; `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (span, flags) = rest.split_first_chunk()?;
        let &[flags] = flags else { return None };
        Some(Self { id: *id, span: *span, flags })
    }

    /// The id of the whole trace, for logs: 32 hexadecimal digits.
    pub fn id(&self) -> impl fmt::Display {
        Hex(self.id)
    }
}

/// The text of `traceparent`.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION:02x}-{}-{}-{:02x}", Hex(self.id), Hex(self.span), self.flags)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Trace {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Version, id, span and flags as 26 bytes; the format takes lower case only.
fn hex_fields(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let dashes = [2, 35, 52];
    let digits: Option<Vec<u8>> = text
        .iter()
        .enumerate()
        .filter(|(place, byte)| !(dashes.contains(place) && **byte == b'-'))
        .map(|(_, byte)| digit(*byte))
        .collect();
    let digits = digits.filter(|digits| digits.len() == LENGTH - dashes.len())?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The trace that this code runs for; `None` where nobody asked for it (a timer, a start).
pub fn current() -> Option<Trace> {
    CURRENT.try_get().ok()
}

/// Runs `work` for `trace`. What it spawns is not part of it.
pub async fn within<F: Future>(trace: Trace, work: F) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// The same for a piece of work that does not wait; without a trace it runs for nobody.
pub fn during<R>(trace: Option<Trace>, work: impl FnOnce() -> R) -> R {
    match trace {
        Some(trace) => CURRENT.sync_scope(trace, work),
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_is_followed_with_a_span_of_ours() {
        let random = Random::seeded(1);
        let ours = Trace::follow(SENT, &random).unwrap();
        let text = ours.to_string();
        assert_eq!(text.len(), LENGTH);
        assert!(text.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && text.ends_with("-01"), "{text}");
        assert!(!text.contains("b7ad6b7169203331"), "{text}");
        assert_eq!(ours.id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(Trace::from_bytes(&ours.to_bytes()), Some(ours));
        assert_eq!(serde_json::to_value(ours).unwrap(), text);
        // What only a later version knows is left out.
        let later = format!("cc{}-what-comes", SENT[2..].replace("-01", "-ff"));
        assert!(Trace::follow(&later, &random).unwrap().to_string().ends_with("-01"));
    }

    #[test]
    fn what_is_no_traceparent_is_not_followed() {
        let random = Random::seeded(1);
        let refused = [
            "",
            &SENT[..54],
            &format!("{SENT}-"),
            &format!("{SENT}0"),
            &format!("ff{}", &SENT[2..]),
            &format!("01{}.more", &SENT[2..]),
            &SENT.replace('a', "A"),
            &SENT.replace('-', "0"),
            &SENT.replace("b7", "g7"),
            &SENT.replace("b7", "é"),
            &SENT.replace("b7ad6b7169203331", "0000000000000000"),
            &SENT.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            "000-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ];
        for header in refused {
            assert_eq!(Trace::follow(header, &random), None, "{header}");
        }
        assert_eq!(Trace::from_bytes(&[1; 24]), None);
        assert_eq!(Trace::from_bytes(&[1; 26]), None);
    }

    #[tokio::test]
    async fn work_knows_the_trace_it_runs_for() {
        let trace = Trace::begin(&Random::seeded(2));
        assert_eq!(current(), None);
        let (inside, deeper) = within(trace, async { (current(), during(None, current)) }).await;
        assert_eq!((inside, deeper), (Some(trace), Some(trace)));
        assert_eq!(during(Some(trace), current), Some(trace));
        assert_eq!(current(), None);
    }
}
