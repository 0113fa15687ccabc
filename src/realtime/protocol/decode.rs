//! From bytes to commands.

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Command, EmulationRequest, Encoding};

/// Not a frame of this protocol; the connection ends with 3501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The commands of one frame, in order. Stops after the first that cannot be read.
pub fn commands(encoding: Encoding, frame: &[u8]) -> Commands<'_> {
    Commands { encoding, rest: Some(frame) }
}

/// See [`commands`].
pub struct Commands<'a> {
    encoding: Encoding,
    rest: Option<&'a [u8]>,
}

impl Iterator for Commands<'_> {
    type Item = Result<Command, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let (command, rest) = match self.encoding {
            Encoding::Json => next_json(rest)?,
            Encoding::Protobuf => next_protobuf(rest)?,
        };
        if command.is_ok() {
            self.rest = Some(rest);
        }
        Some(command)
    }
}

type Step<'a> = Option<(Result<Command, Malformed>, &'a [u8])>;

fn next_json(frame: &[u8]) -> Step<'_> {
    let mut rest = frame;
    loop {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            rest = after;
            continue;
        }
        // A derived reader would also take the fields of an object as an array.
        let object = line.trim_ascii_start().starts_with(b"{");
        let command =
            if object { serde_json::from_slice(line).map_err(|_| Malformed) } else { Err(Malformed) };
        return Some((command, after));
    }
}

fn next_protobuf(frame: &[u8]) -> Step<'_> {
    if frame.is_empty() {
        return None;
    }
    let mut rest = frame;
    let command = match prost::encoding::decode_varint(&mut rest).map(usize::try_from) {
        Ok(Ok(length)) if length <= rest.len() => {
            let (message, after) = rest.split_at(length);
            rest = after;
            Command::decode(message).map_err(|_| Malformed)
        }
        _ => Err(Malformed),
    };
    Some((command, rest))
}

/// Reads the body of `POST /emulation`. In JSON the commands are a string within the object.
pub fn emulation_request(encoding: Encoding, body: &[u8]) -> Result<EmulationRequest, Malformed> {
    #[derive(Deserialize)]
    struct Json {
        #[serde(default)]
        node: String,
        session: String,
        #[serde(default)]
        data: String,
    }
    match encoding {
        Encoding::Json => {
            let Json { node, session, data } = serde_json::from_slice(body).map_err(|_| Malformed)?;
            Ok(EmulationRequest { node, session, data: data.into() })
        }
        Encoding::Protobuf => EmulationRequest::decode(body).map_err(|_| Malformed),
    }
}

/// Explicit null is absence, as in the reference implementation.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// JSON text as it stands.
pub(super) fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok(Bytes::copy_from_slice(value.get().as_bytes()))
}

/// JSON text as it stands; null is absence.
pub(super) fn optional_raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok((value.get() != "null").then(|| Bytes::copy_from_slice(value.get().as_bytes())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::realtime::protocol::{RpcRequest, SubscribeRequest};

    fn json(text: &str) -> Vec<Result<Command, Malformed>> {
        commands(Encoding::Json, text.as_bytes()).collect()
    }

    #[test]
    fn several_commands_in_one_json_frame() {
        let found = json(
            "{\"id\":1,\"connect\":{\"token\":\"t\",\"data\":{\"a\": 1},\"subs\":{\"user:7\":{\"recover\":true,\"offset\":4}}}}\n\n{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"flag\":1}}\n{}\n",
        );
        assert_eq!(found.len(), 3);
        let connect = found[0].as_ref().unwrap().connect.as_ref().unwrap();
        assert_eq!((connect.token.as_str(), &connect.data[..]), ("t", &b"{\"a\": 1}"[..]));
        assert_eq!(connect.subs["user:7"].offset, 4);
        assert_eq!(found[1].as_ref().unwrap().subscribe.as_ref().unwrap().flag, SubscribeRequest::COMPACTION);
        assert_eq!(found[2], Ok(Command::default()));
    }

    #[test]
    fn null_is_absence_and_unknown_fields_are_ignored() {
        let found = json(r#"{"id":1,"rpc":{"method":"m","data":null,"more":[1]},"connect":null,"x":{}}"#);
        let command = found[0].clone().unwrap();
        assert!(command.connect.is_none());
        assert_eq!(command.rpc.unwrap().data, "null");
    }

    #[test]
    fn reading_stops_at_the_first_malformed_command() {
        assert_eq!(json("{\"id\":1,\"ping\":{}}\n{\"id\":-1}\n{}").len(), 2);
        assert_eq!(json("[]"), [Err(Malformed)]);
        assert_eq!(json("{\"id\":\"1\"}"), [Err(Malformed)]);
        assert_eq!(commands(Encoding::Protobuf, &[5, 1, 2]).collect::<Vec<_>>(), [Err(Malformed)]);
        assert_eq!(commands(Encoding::Protobuf, &[0xff; 20]).collect::<Vec<_>>(), [Err(Malformed)]);
    }

    #[test]
    fn protobuf_frames_hold_several_commands() {
        let rpc = RpcRequest { data: "{}".into(), method: "server.time".into() };
        let command = Command { id: 9, rpc: Some(rpc), ..Command::default() };
        let mut frame = command.encode_length_delimited_to_vec();
        frame.push(0);
        let found: Vec<_> = commands(Encoding::Protobuf, &frame).map(Result::unwrap).collect();
        assert_eq!(found, [command, Command::default()]);
    }

    #[test]
    fn emulation_bodies() {
        let request =
            emulation_request(Encoding::Json, br#"{"session":"s","node":"n","data":"{}\n"}"#).unwrap();
        assert_eq!((request.session.as_str(), &request.data[..]), ("s", &b"{}\n"[..]));
        assert!(emulation_request(Encoding::Json, b"{}").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..512)) {
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                let count = commands(encoding, &frame).count();
                prop_assert!(count <= frame.len());
                let _ = emulation_request(encoding, &frame);
            }
        }

        #[test]
        fn no_text_makes_it_panic(frame in "[\\[\\]{}\":,a-z0-9\\\\\n ]{0,200}") {
            let _ = commands(Encoding::Json, frame.as_bytes()).count();
        }

        #[test]
        fn protobuf_round_trip(id in any::<u32>(), channel in ".{0,40}", offset in any::<u64>(), recover in any::<bool>()) {
            let subscribe = SubscribeRequest { channel, recover, offset, ..SubscribeRequest::default() };
            let command = Command { id, subscribe: Some(subscribe), ..Command::default() };
            let frame = command.encode_length_delimited_to_vec();
            let found: Vec<_> = commands(Encoding::Protobuf, &frame).collect();
            prop_assert_eq!(found, vec![Ok(command)]);
        }
    }
}
