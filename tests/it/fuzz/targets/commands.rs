//! Frames of commands, in both encodings.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;
use serde_json::value::RawValue;
use switchboard::realtime::protocol::{
    ChannelRequest, Command, ConnectRequest, Empty, Encoding, HistoryRequest, Malformed, Publication,
    PublishRequest, RefreshRequest, Reply, RpcRequest, SendRequest, StreamPosition, SubRefreshRequest,
    SubscribeRequest, commands, emulation_request, encode_publication,
};

use super::source::Source;

/// Lines of JSON: each alone says what it says among others; each command is the same in Protobuf.
pub fn json_frames(data: &[u8]) -> bool {
    let found = read(Encoding::Json, data);
    let lines = data.split(|byte| *byte == b'\n');
    let alone: Vec<_> = lines.flat_map(|line| commands(Encoding::Json, line)).take(found.len()).collect();
    assert_eq!(alone, found);
    if let Ok(request) = emulation_request(Encoding::Json, data) {
        let again = emulation_request(Encoding::Protobuf, &request.encode_to_vec());
        assert_eq!(again, Ok(request));
    }
    agree(&found)
}

/// Messages behind their lengths: each command is the same when it is written anew, and in JSON where JSON can say it.
pub fn protobuf_frames(data: &[u8]) -> bool {
    let found = read(Encoding::Protobuf, data);
    if let Ok(request) = emulation_request(Encoding::Protobuf, data) {
        assert_eq!(emulation_request(Encoding::Protobuf, &request.encode_to_vec()), Ok(request));
    }
    agree(&found)
}

/// A command made of the input, written with all the liberties that JSON leaves, is read as the same command; and a
/// publication of it is JSON whatever the channel is called.
pub fn spelled(data: &[u8]) -> bool {
    let mut source = Source(data);
    let command = command(&mut source);
    let text = Spelling { liberties: source.byte() }.command(&command).expect("it holds JSON only");
    assert_eq!(read(Encoding::Json, text.as_bytes()), [Ok(command.clone())], "{text}");
    let (channel, id) = (source.text(), i64::from(source.byte()));
    let data = Some(json_value(&mut source)).filter(|data| !data.is_empty()).unwrap_or_else(|| "null".into());
    let publication = Publication { data, offset: source.number(), ..Publication::default() };
    let push = encode_publication(Encoding::Json, &channel, id, &publication);
    let push: serde_json::Value = serde_json::from_slice(&push).expect("a push is JSON");
    let data: serde_json::Value = serde_json::from_slice(&publication.data).expect("so is what is pushed");
    assert_eq!(push["push"]["pub"]["data"], data);
    let binary = encode_publication(Encoding::Protobuf, &channel, id, &publication);
    let binary = Reply::decode_length_delimited(&binary[..]).expect("a push is a message");
    let binary = binary.push.expect("it is a push");
    assert_eq!(binary.publication.as_ref(), Some(&publication));
    let named = push["push"]["channel"].as_str().unwrap_or_default();
    assert_eq!((named, push["push"]["id"].as_i64().unwrap_or(0)), (binary.channel.as_str(), binary.id));
    agree(&[Ok(command)])
}

type Found = Vec<Result<Command, Malformed>>;

/// The commands of a frame; reading ends with the first that is malformed.
fn read(encoding: Encoding, frame: &[u8]) -> Found {
    let found: Found = commands(encoding, frame).collect();
    assert!(found.len() <= frame.len());
    assert!(found.iter().rev().skip(1).all(Result::is_ok));
    found
}

/// Both encodings say the same of each command. True when there is one.
fn agree(found: &[Result<Command, Malformed>]) -> bool {
    for command in found.iter().flatten() {
        let binary = command.encode_length_delimited_to_vec();
        assert_eq!(read(Encoding::Protobuf, &binary), [Ok(command.clone())]);
        if let Some(text) = (Spelling { liberties: 0 }).command(command) {
            assert_eq!(read(Encoding::Json, text.as_bytes()), [Ok(command.clone())], "{text}");
        }
    }
    found.iter().any(Result::is_ok)
}

fn command(source: &mut Source) -> Command {
    let mut command = Command { id: u32::try_from(source.number() >> 32).unwrap_or(7), ..Command::default() };
    // Two at once are no command of any client, and read all the same.
    for _ in 0..=source.byte() % 2 {
        match source.byte() % 12 {
            0 => command.connect = Some(connect(source)),
            1 => command.subscribe = Some(subscribe(source)),
            2 => command.unsubscribe = Some(ChannelRequest { channel: source.text() }),
            3 => {
                let (channel, data) = (source.text(), json_value(source));
                command.publish = Some(PublishRequest { channel, data, kind: small(source) });
            }
            4 => command.presence = Some(ChannelRequest { channel: source.text() }),
            5 => command.presence_stats = Some(ChannelRequest { channel: source.text() }),
            6 => {
                let since =
                    source.yes().then(|| StreamPosition { offset: source.number(), epoch: source.text() });
                let (channel, limit) = (source.text(), small(source));
                command.history = Some(HistoryRequest { channel, limit, since, reverse: source.yes() });
            }
            7 => command.ping = Some(Empty {}),
            8 => command.send = Some(SendRequest { data: json_value(source) }),
            9 => command.rpc = Some(RpcRequest { data: json_value(source), method: source.text() }),
            10 => command.refresh = Some(RefreshRequest { token: source.text() }),
            _ => {
                let (channel, token) = (source.text(), source.text());
                command.sub_refresh = Some(SubRefreshRequest { channel, token, kind: small(source) });
            }
        }
    }
    command
}

fn connect(source: &mut Source) -> ConnectRequest {
    ConnectRequest {
        token: source.text(),
        data: json_value(source),
        subs: (0..source.byte() % 3).map(|_| (source.text(), subscribe(source))).collect(),
        name: source.text(),
        version: source.text(),
        headers: (0..source.byte() % 3).map(|_| (source.text(), source.text())).collect(),
    }
}

fn subscribe(source: &mut Source) -> SubscribeRequest {
    SubscribeRequest {
        channel: source.text(),
        token: source.text(),
        recover: source.yes(),
        epoch: source.text(),
        offset: source.number(),
        data: json_value(source),
        positioned: source.yes(),
        recoverable: source.yes(),
        join_leave: source.yes(),
        delta: source.text(),
        tf: source.yes().then(|| "{\"k\":1}".into()),
        flag: source.number().cast_signed(),
        kind: small(source),
    }
}

fn small(source: &mut Source) -> i32 {
    i32::from(source.byte()) - 128
}

/// JSON text; empty = none.
fn json_value(source: &mut Source) -> Bytes {
    match source.byte() % 4 {
        0 => Bytes::new(),
        1 => Bytes::from(source.number().to_string()),
        2 => Bytes::from(quoted(&source.text())),
        _ => Bytes::from(format!("{{\"a\": [{}, null]}}", quoted(&source.text()))),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text can be quoted")
}

/// How a command is written as JSON.
#[derive(Clone, Copy)]
struct Spelling {
    /// Bits: fields in the opposite order, blanks, unknown fields, nulls in place of nothing.
    liberties: u8,
}

struct Object {
    spelling: Spelling,
    fields: Vec<String>,
}

impl Spelling {
    /// The command, unless it holds bytes that are no line of JSON.
    fn command(self, command: &Command) -> Option<String> {
        let channel =
            |object: Object, request: &ChannelRequest| Some(object.text("channel", &request.channel));
        self.object()
            .number("id", command.id)
            .message("connect", command.connect.as_ref(), |object, request| {
                object
                    .text("token", &request.token)
                    .raw("data", &request.data)?
                    .map("subs", &request.subs, |sub| Self::subscribe(self.object(), sub))?
                    .text("name", &request.name)
                    .text("version", &request.version)
                    .map("headers", &request.headers, |value| Some(quoted(value)))
            })?
            .message("subscribe", command.subscribe.as_ref(), |object, request| {
                Some(Object { fields: Self::fields(object, request)?.fields, spelling: self })
            })?
            .message("unsubscribe", command.unsubscribe.as_ref(), channel)?
            .message("publish", command.publish.as_ref(), |object, request| {
                object
                    .text("channel", &request.channel)
                    .number("type", request.kind)
                    .raw("data", &request.data)
            })?
            .message("presence", command.presence.as_ref(), channel)?
            .message("presence_stats", command.presence_stats.as_ref(), channel)?
            .message("history", command.history.as_ref(), |object, request| {
                object
                    .text("channel", &request.channel)
                    .number("limit", request.limit)
                    .flag("reverse", request.reverse)
                    .message("since", request.since.as_ref(), |object, since| {
                        Some(object.number("offset", since.offset).text("epoch", &since.epoch))
                    })
            })?
            .message("ping", command.ping.as_ref(), |object, Empty {}| Some(object))?
            .message("send", command.send.as_ref(), |object, request| object.raw("data", &request.data))?
            .message("rpc", command.rpc.as_ref(), |object, request| {
                object.text("method", &request.method).raw("data", &request.data)
            })?
            .message("refresh", command.refresh.as_ref(), |object, request| {
                Some(object.text("token", &request.token))
            })?
            .message("sub_refresh", command.sub_refresh.as_ref(), |object, request| {
                let object = object.text("channel", &request.channel).text("token", &request.token);
                Some(object.number("type", request.kind))
            })
            .map(Object::finish)
    }

    fn subscribe(object: Object, request: &SubscribeRequest) -> Option<String> {
        Self::fields(object, request).map(Object::finish)
    }

    fn fields(object: Object, request: &SubscribeRequest) -> Option<Object> {
        let object = object
            .text("channel", &request.channel)
            .text("token", &request.token)
            .flag("recover", request.recover)
            .text("epoch", &request.epoch)
            .number("offset", request.offset)
            .flag("positioned", request.positioned)
            .flag("recoverable", request.recoverable)
            .flag("join_leave", request.join_leave)
            .text("delta", &request.delta)
            .number("flag", request.flag)
            .number("type", request.kind)
            .raw("data", &request.data)?;
        match &request.tf {
            None => Some(object),
            // Null is absence, and nothing is no JSON.
            Some(filter) if filter.is_empty() || filter == "null" => None,
            Some(filter) => object.raw("tf", filter),
        }
    }

    fn object(self) -> Object {
        let unknown = ["\"unknown\":[{}]".to_owned()];
        Object { spelling: self, fields: unknown.into_iter().filter(|_| self.liberties & 4 != 0).collect() }
    }
}

impl Object {
    fn put(mut self, name: &str, value: Option<String>) -> Self {
        let value = value.or_else(|| (self.spelling.liberties & 8 != 0).then(|| "null".to_owned()));
        if let Some(value) = value {
            let blank = if self.spelling.liberties & 2 != 0 { " \t" } else { "" };
            self.fields.push(format!("{blank}\"{name}\"{blank}:{blank}{value}{blank}"));
        }
        self
    }

    fn text(self, name: &str, value: &str) -> Self {
        self.put(name, (!value.is_empty()).then(|| quoted(value)))
    }

    fn number<N: ToString + Default + PartialEq>(self, name: &str, value: N) -> Self {
        self.put(name, (value != N::default()).then(|| value.to_string()))
    }

    fn flag(self, name: &str, value: bool) -> Self {
        self.put(name, value.then(|| "true".to_owned()))
    }

    /// Data as it stands. Its null is a value, so it is never written in place of nothing.
    fn raw(mut self, name: &str, value: &Bytes) -> Option<Self> {
        if !value.is_empty() {
            let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\n'))?;
            let whole = serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get() == text);
            self = whole.then(|| self.put(name, Some(text.to_owned())))?;
        }
        Some(self)
    }

    fn message<M>(
        self,
        name: &str,
        message: Option<&M>,
        write: impl FnOnce(Self, &M) -> Option<Self>,
    ) -> Option<Self> {
        let Some(message) = message else { return Some(self.put(name, None)) };
        let value = write(self.spelling.object(), message)?.finish();
        Some(self.put(name, Some(value)))
    }

    fn map<V>(
        self,
        name: &str,
        map: &HashMap<String, V>,
        write: impl Fn(&V) -> Option<String>,
    ) -> Option<Self> {
        let entries = map.iter().map(|(key, value)| Some(format!("{}:{}", quoted(key), write(value)?)));
        let entries = entries.collect::<Option<Vec<_>>>()?;
        Some(self.put(name, (!map.is_empty()).then(|| format!("{{{}}}", entries.join(",")))))
    }

    fn finish(mut self) -> String {
        if self.spelling.liberties & 1 != 0 {
            self.fields.reverse();
        }
        format!("{{{}}}", self.fields.join(","))
    }
}
