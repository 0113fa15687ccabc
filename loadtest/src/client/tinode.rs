//! As much of Tinode's protocol as the comparison needs: sign in, join a topic, send, receive. Topics stand in for
//! channels, `seq` for offsets.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::wire::{Body, Command, Incoming, Malformed, Position};

/// A command; Tinode wants `hi` before the sign-in. Who signs in gives `login:password`, which costs the server a password
/// hash, or a token as Tinode issued it (Base64 has no colon).
pub fn encode(id: u32, command: &Command) -> Vec<String> {
    let id_text = id.to_string();
    match command {
        Command::Connect { token, .. } => {
            let hi = json!({ "hi": { "id": "0", "ver": "0.22", "ua": "loadtest" } });
            let (scheme, secret) = if token.contains(':') {
                ("basic", base64(token.as_bytes()))
            } else {
                ("token", token.clone())
            };
            let login = json!({ "login": { "id": id_text, "scheme": scheme, "secret": secret } });
            vec![hi.to_string(), login.to_string()]
        }
        Command::Subscribe { channel, since: None } => {
            vec![json!({ "sub": { "id": id_text, "topic": channel } }).to_string()]
        }
        Command::Subscribe { channel, since: Some(at) } => vec![
            json!({ "sub": { "id": id_text, "topic": channel,
                "get": { "what": "data", "data": { "since": at.offset + 1 } } } })
            .to_string(),
        ],
        Command::Publish { channel, data } => {
            let content: Value = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data.as_str()));
            vec![json!({ "pub": { "id": id_text, "topic": channel, "content": content } }).to_string()]
        }
        // Tinode has nothing that compares.
        Command::Rpc { .. } | Command::History { .. } => {
            vec![json!({ "get": { "id": id_text, "topic": "me", "what": "desc" } }).to_string()]
        }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    ctrl: Option<Control>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Control {
    id: Option<String>,
    code: u32,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Data<'a> {
    topic: &'a str,
    #[serde(default)]
    seq: u64,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// One message.
pub fn decode(line: &str) -> Result<Incoming<'_>, Malformed> {
    let parsed: Line<'_> = serde_json::from_str(line).map_err(|error| Malformed(error.to_string()))?;
    if let Some(data) = parsed.data {
        let bytes = data.content.get().as_bytes();
        return Ok(Incoming::Publication { channel: data.topic, offset: data.seq, data: bytes });
    }
    let Some(control) = parsed.ctrl else { return Ok(Incoming::Other) };
    let Some(id) = control.id.and_then(|id| id.parse().ok()).filter(|id| *id != 0) else {
        return Ok(Incoming::Other);
    };
    if control.code >= 400 {
        return Ok(Incoming::Reply(id, Err((control.code, control.text))));
    }
    // Any epoch will do: topics have one life.
    let position = Position { offset: 0, epoch: "tinode".to_owned() };
    Ok(Incoming::Reply(id, Ok(Body { position, ..Body::default() })))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0; 3];
        bits[..group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_answers_are_told_apart() {
        let data = r#"{"data":{"topic":"grpA","from":"usr1","ts":"x","seq":7,"content":{"t":"lt1 "}}}"#;
        let Ok(Incoming::Publication { channel, offset, data }) = decode(data) else { panic!() };
        assert_eq!((channel, offset, data), ("grpA", 7, br#"{"t":"lt1 "}"#.as_slice()));
        let done =
            r#"{"ctrl":{"id":"3","topic":"grpA","params":{"seq":7},"code":202,"text":"accepted","ts":"x"}}"#;
        assert!(matches!(decode(done), Ok(Incoming::Reply(3, Ok(_)))));
        let refused = r#"{"ctrl":{"id":"4","code":401,"text":"authentication required","ts":"x"}}"#;
        assert!(matches!(decode(refused), Ok(Incoming::Reply(4, Err((401, _))))));
    }

    #[test]
    fn passwords_and_tokens_sign_in_by_schemes_of_their_own() {
        let secret_of = |token: &str| {
            let connect = Command::Connect { token: token.to_owned(), positions: Vec::new() };
            let login: Value = serde_json::from_str(&encode(2, &connect)[1]).unwrap();
            (login["login"]["scheme"].clone(), login["login"]["secret"].clone())
        };
        assert_eq!(secret_of("ann:secret"), ("basic".into(), "YW5uOnNlY3JldA==".into()));
        assert_eq!(secret_of("AbC+/w=="), ("token".into(), "AbC+/w==".into()));
    }

    #[test]
    fn base64_is_padded() {
        assert_eq!(base64(b"ann:secret"), "YW5uOnNlY3JldA==");
        assert_eq!(base64(b"abc"), "YWJj");
    }
}
