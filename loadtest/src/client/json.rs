//! The Centrifuge protocol in JSON. Publications, which are nearly everything in a load test, are cut out of their line
//! without parsing what is in them.

use std::{collections::BTreeMap, sync::LazyLock};

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::wire::{Body, Command, Incoming, Malformed, Position};

static INFO: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#","info":{"#));
static TAGS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#","tags":{"#));

/// One command as a line.
pub fn encode(id: u32, command: &Command) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    match command {
        Command::Connect { token, positions } => {
            let subs: serde_json::Map<_, _> = positions
                .iter()
                .map(|(channel, at)| {
                    (channel.clone(), json!({ "recover": true, "offset": at.offset, "epoch": at.epoch }))
                })
                .collect();
            json!({ "id": id, "connect": { "token": token, "name": "loadtest", "subs": subs } }).to_string()
        }
        Command::Subscribe { channel, since: None } => {
            json!({ "id": id, "subscribe": { "channel": channel } }).to_string()
        }
        Command::Subscribe { channel, since: Some(at) } => json!({ "id": id, "subscribe":
            { "channel": channel, "recover": true, "offset": at.offset, "epoch": at.epoch } })
        .to_string(),
        // `data` is JSON already, and names of methods are plain.
        Command::Rpc { method, data } => {
            format!(r#"{{"id":{id},"rpc":{{"method":"{method}","data":{data}}}}}"#)
        }
        Command::Publish { channel, data } => {
            format!(r#"{{"id":{id},"publish":{{"channel":{},"data":{data}}}}}"#, quoted(channel))
        }
        Command::History { channel, since, limit } => json!({ "id": id, "history": { "channel": channel,
            "limit": limit, "since": { "offset": since.offset, "epoch": since.epoch } } })
        .to_string(),
    }
}

/// One line.
pub fn decode(line: &str) -> Result<Incoming<'_>, Malformed> {
    match publication(line).or_else(|| answer(line)) {
        Some(incoming) => Ok(incoming),
        None => parse(line),
    }
}

/// Cuts `{"push":{"channel":"C","pub":{"data":D,"offset":N}}}`, the form in which servers write publications. Anything
/// else is left to the parser.
fn publication(line: &str) -> Option<Incoming<'_>> {
    let rest = line.strip_prefix(r#"{"push":{"channel":""#)?;
    let end = memchr::memchr(b'"', rest.as_bytes())?;
    let (channel, rest) = rest.split_at(end);
    if channel.contains('\\') {
        return None;
    }
    let rest = rest.strip_prefix(r#"","pub":{"data":"#)?.strip_suffix("}}}")?;
    let digits = rest.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (head, number) = rest.split_at(rest.len() - digits);
    let data = head.strip_suffix(r#","offset":"#)?;
    // `{"data":X,"tags":{"a":{"offset":1}}}` would also end so: only a whole object is taken for `data`.
    let has_more = INFO.find(data.as_bytes()).or_else(|| TAGS.find(data.as_bytes())).is_some();
    if !data.ends_with('}') || has_more {
        return None;
    }
    Some(Incoming::Publication { channel, offset: number.parse().ok()?, data: data.as_bytes() })
}

/// Cuts `{"id":N,"rpc":{"data":D}}`, the answer to a command that succeeded. Whoever asked parses what is in it.
fn answer(line: &str) -> Option<Incoming<'_>> {
    let rest = line.strip_prefix(r#"{"id":"#)?;
    let (id, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    let data = rest.strip_prefix(r#","rpc":{"data":"#)?.strip_suffix("}}")?;
    let body = Body { data: data.as_bytes().to_vec(), ..Body::default() };
    Some(Incoming::Reply(id.parse().ok()?, Ok(body)))
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    id: u32,
    error: Option<Error>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
    #[serde(borrow)]
    connect: Option<Connected<'a>>,
    #[serde(borrow)]
    subscribe: Option<Page<'a>>,
    #[serde(borrow)]
    history: Option<Page<'a>>,
    #[serde(borrow)]
    rpc: Option<Answer<'a>>,
}

#[derive(Deserialize)]
struct Error {
    code: u32,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(default)]
    channel: &'a str,
    #[serde(borrow, rename = "pub")]
    publication: Option<Published<'a>>,
    unsubscribe: Option<Ended>,
}

#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    offset: u64,
}

#[derive(Deserialize)]
struct Ended {
    code: u32,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Connected<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subs: BTreeMap<&'a str, Page<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Page<'a> {
    epoch: String,
    offset: u64,
    recovered: bool,
    was_recovering: bool,
    #[serde(borrow)]
    publications: Vec<Published<'a>>,
}

impl From<Page<'_>> for Body {
    fn from(page: Page<'_>) -> Self {
        Self {
            position: Position { offset: page.offset, epoch: page.epoch },
            recovered: page.recovered,
            was_recovering: page.was_recovering,
            publications: page
                .publications
                .into_iter()
                .map(|one| (one.offset, one.data.get().as_bytes().to_vec()))
                .collect(),
            ..Self::default()
        }
    }
}

fn raw(data: Option<&RawValue>) -> Vec<u8> {
    data.map(|data| data.get().as_bytes().to_vec()).unwrap_or_default()
}

fn parse(line: &str) -> Result<Incoming<'_>, Malformed> {
    let parsed: Line<'_> =
        serde_json::from_str(line).map_err(|error| Malformed(format!("{error}: {line:.200}")))?;
    if let Some(push) = parsed.push {
        return Ok(match (push.publication, push.unsubscribe) {
            (Some(one), _) => Incoming::Publication {
                channel: push.channel,
                offset: one.offset,
                data: one.data.get().as_bytes(),
            },
            (None, Some(ended)) => Incoming::Unsubscribed { channel: push.channel, code: ended.code },
            (None, None) => Incoming::Other,
        });
    }
    if let Some(error) = parsed.error {
        return Ok(Incoming::Reply(parsed.id, Err((error.code, error.message))));
    }
    if parsed.id == 0 {
        return Ok(Incoming::Ping);
    }
    let body = if let Some(connected) = parsed.connect {
        Body {
            data: raw(connected.data),
            subscriptions: connected
                .subs
                .into_iter()
                .map(|(channel, page)| (channel.to_owned(), page.into()))
                .collect(),
            ..Body::default()
        }
    } else if let Some(page) = parsed.subscribe.or(parsed.history) {
        page.into()
    } else {
        Body { data: parsed.rpc.map(|answer| raw(answer.data)).unwrap_or_default(), ..Body::default() }
    };
    Ok(Incoming::Reply(parsed.id, Ok(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_cut_out_of_its_line() {
        let line =
            r#"{"push":{"channel":"workbox:1","pub":{"data":{"id":"a","data":{"offset":9}},"offset":12}}}"#;
        assert!(publication(line).is_some(), "the fast way was not taken");
        for parsed in [decode(line), parse(line)] {
            let Ok(Incoming::Publication { channel, offset, data }) = parsed else { panic!("{line}") };
            assert_eq!((channel, offset), ("workbox:1", 12));
            assert_eq!(data, br#"{"id":"a","data":{"offset":9}}"#);
        }
    }

    #[test]
    fn what_looks_like_a_publication_with_more_in_it_is_parsed() {
        let line = r#"{"push":{"channel":"a","pub":{"data":{"x":1},"info":{"user":"7"},"offset":3}}}"#;
        let Ok(Incoming::Publication { data, offset, .. }) = decode(line) else { panic!() };
        assert_eq!((data, offset), (br#"{"x":1}"#.as_slice(), 3));
    }

    #[test]
    fn an_answer_is_cut_out_of_its_line() {
        let line = r#"{"id":17,"rpc":{"data":{"id":9,"offset":4}}}"#;
        assert!(answer(line).is_some(), "the fast way was not taken");
        for parsed in [decode(line), parse(line)] {
            let Ok(Incoming::Reply(17, Ok(body))) = parsed else { panic!("{line}") };
            assert_eq!(body.data, br#"{"id":9,"offset":4}"#);
        }
    }

    #[test]
    fn replies_errors_pings_and_ends_are_told_apart() {
        let reply = r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","publications":[{"data":{"a":1},"offset":4}],"recovered":true,"offset":3,"was_recovering":true}}"#;
        let Ok(Incoming::Reply(2, Ok(body))) = decode(reply) else { panic!() };
        assert_eq!(body.position, Position { offset: 3, epoch: "e".to_owned() });
        assert!(body.recovered && body.was_recovering);
        assert_eq!(body.publications, [(4, br#"{"a":1}"#.to_vec())]);
        let Ok(Incoming::Reply(1, Ok(body))) =
            decode(r#"{"id":1,"connect":{"client":"x","subs":{"user:3":{"epoch":"e","offset":1}}}}"#)
        else {
            panic!()
        };
        assert_eq!(body.subscriptions[0].1.position.offset, 1);
        assert!(matches!(
            decode(r#"{"id":3,"error":{"code":109,"message":"token expired"}}"#),
            Ok(Incoming::Reply(3, Err((109, _))))
        ));
        assert!(matches!(decode("{}"), Ok(Incoming::Ping)));
        let ended = r#"{"push":{"channel":"c","unsubscribe":{"code":2101,"reason":"removed"}}}"#;
        assert!(matches!(decode(ended), Ok(Incoming::Unsubscribed { channel: "c", code: 2101 })));
        assert!(decode("{\"id\":").is_err());
    }
}
