//! JetStream against the histories: every stored event once by id, each stream in its order.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull},
};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::fold::Fold;
use crate::{
    client::subscription::identity,
    failure::{Failure, Outcome},
    ledger::violation::Violation,
};

/// The relay may be this far behind.
const LAG: Duration = Duration::from_secs(20);

/// What one stream's events on the bus add up to.
#[derive(Default)]
struct OnBus {
    last: u64,
    /// Where each event says that it stands.
    offsets: HashMap<u64, u64>,
}

/// What came from the bus, event by event.
#[derive(Default)]
pub struct Bus(HashMap<String, OnBus>);

impl Bus {
    /// Takes the next message of JetStream.
    pub fn take(&mut self, subject: &str, payload: &[u8]) -> Result<(), Box<Violation>> {
        let Some(channel) = channel_of(subject) else { return Ok(()) };
        let event: Value = serde_json::from_slice(payload).unwrap_or_default();
        let id = event["id"].as_str().unwrap_or_default();
        // The same form as in a publication, so that the identities are the same.
        let key = identity(format!("{{\"id\":\"{id}\",").as_bytes());
        let offset = number(&event["streamoffset"]);
        let one = self.0.entry(channel.clone()).or_default();
        if let Some(before) = one.offsets.get(&key) {
            let what = format!("{id} came twice");
            let trail = vec![format!("it came as offset {before}"), event.to_string()];
            return Err(Violation::new("the bus holds each event once", channel, what, trail));
        }
        if offset <= one.last {
            let what = format!("offset {offset} came after {}", one.last);
            return Err(Violation::new("the bus keeps the order", channel, what, vec![event.to_string()]));
        }
        one.last = offset;
        one.offsets.insert(key, offset);
        Ok(())
    }

    /// The first channel of which events are missing.
    fn missing(&self, folds: &HashMap<String, Fold>) -> Option<(String, u64)> {
        let none = HashMap::new();
        folds.iter().find_map(|(channel, fold)| {
            let known = self.0.get(channel).map_or(&none, |one| &one.offsets);
            let index = fold.events.iter().position(|id| !known.contains_key(id))?;
            Some((channel.clone(), fold.first + index as u64))
        })
    }

    /// What the bus told of a stream stands in its history, at the same offset.
    fn agrees_with(&self, folds: &HashMap<String, Fold>) -> Result<(), Box<Violation>> {
        for (channel, one) in &self.0 {
            let Some(fold) = folds.get(channel) else { continue };
            // What is older has been removed from the history, what is newer came after it was read.
            let told = one.offsets.iter().filter(|(_, offset)| (fold.first..=fold.last).contains(*offset));
            for (id, offset) in told {
                let stands =
                    usize::try_from(offset - fold.first).ok().and_then(|index| fold.events.get(index));
                if stands != Some(id) {
                    let what =
                        format!("offset {offset} is {id:016x} on the bus, the history has another event");
                    return Err(Violation::new("one truth", channel, what, Vec::new()));
                }
            }
        }
        Ok(())
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// `switchboard.<org>.<kind>.<id>.<type>`: the channel `<kind>:<id>`.
fn channel_of(subject: &str) -> Option<String> {
    let mut parts = subject.split('.').skip(2);
    Some(format!("{}:{}", parts.next()?, parts.next()?))
}

fn lost(error: impl std::fmt::Display) -> Failure {
    Failure::Unexpected(error.to_string())
}

/// Reads everything that JetStream holds; gives how many events there are.
pub async fn compare(url: &str, folds: &HashMap<String, Fold>) -> Outcome<Result<u64, Box<Violation>>> {
    let client = async_nats::connect(url).await.map_err(lost)?;
    let stream = jetstream::new(client).get_stream("SWITCHBOARD").await.map_err(lost)?;
    let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..pull::OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await.map_err(lost)?.messages().await.map_err(lost)?;
    let (mut bus, mut count) = (Bus::default(), 0);
    let deadline = tokio::time::Instant::now() + LAG;
    loop {
        let waits = tokio::time::timeout(Duration::from_secs(2), messages.next()).await;
        match waits {
            Ok(Some(message)) => {
                let message = message.map_err(lost)?;
                count += 1;
                if let Err(violation) = bus.take(&message.subject, &message.payload) {
                    return Ok(Err(violation));
                }
            }
            Ok(None) => return Err(lost("the bus went away")),
            Err(_) => match bus.missing(folds) {
                None => return Ok(bus.agrees_with(folds).map(|()| count)),
                Some(_) if tokio::time::Instant::now() < deadline => {}
                Some((channel, offset)) => {
                    let what = format!("offset {offset} is not on the bus");
                    return Ok(Err(Violation::new(
                        "the bus holds each event once",
                        channel,
                        what,
                        Vec::new(),
                    )));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUBJECT: &str = "switchboard.12.workbox.42.message.created";

    fn event(number: u64, offset: u64) -> Vec<u8> {
        json!({ "id": format!("01a204e7-e525-7615-9929-{number:012x}"), "streamoffset": offset })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn what_comes_twice_out_of_order_or_not_at_all_is_caught() {
        let mut bus = Bus::default();
        bus.take(SUBJECT, &event(1, 1)).unwrap();
        bus.take(SUBJECT, &event(3, 3)).unwrap();
        assert_eq!(bus.take(SUBJECT, &event(3, 4)).unwrap_err().property, "the bus holds each event once");
        assert_eq!(bus.take(SUBJECT, &event(2, 2)).unwrap_err().property, "the bus keeps the order");
        let mut fold = Fold::new("workbox:42");
        for number in 1..4 {
            let id = format!(r#"{{"id":"01a204e7-e525-7615-9929-{number:012x}","type":"x","data":{{}}}}"#);
            fold.event(number, id.as_bytes()).unwrap();
        }
        let folds = HashMap::from([("workbox:42".to_owned(), fold)]);
        assert_eq!(bus.missing(&folds), Some(("workbox:42".to_owned(), 2)));
        assert_eq!(Bus::default().missing(&folds), Some(("workbox:42".to_owned(), 1)));
        assert_eq!(bus.agrees_with(&folds), Ok(()));
        let mut bus = Bus::default();
        bus.take(SUBJECT, &event(2, 1)).unwrap();
        assert_eq!(bus.agrees_with(&folds).unwrap_err().property, "one truth");
    }
}
