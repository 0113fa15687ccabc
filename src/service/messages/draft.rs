//! What somebody wants to send, and what of it may be sent.

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
    },
};

/// Longest metadata of a message, as JSON text, in bytes.
pub const METADATA_LIMIT: usize = 32 * 1024;
/// Longest name a message can be sent under, in characters.
const NAME_LIMIT: usize = 255;
/// Types of messages that clients may send, with the texts that their metadata must hold.
const TYPES: &[(&str, &[&str])] = &[
    ("Text", &["message"]),
    ("QRMessage", &["title", "message"]),
    ("Image", &["url", "filename"]),
    ("Video", &["url", "filename"]),
    ("Audio", &["url", "filename"]),
    ("Document", &["url", "filename"]),
    ("ProcedureState", &[]),
];

/// A message that somebody wants to send.
#[derive(Debug)]
pub struct Draft {
    /// Made by the client, so that sending twice is sending once.
    pub uuid: Option<Uuid>,
    /// `Text`, `Image` ...
    pub kind: String,
    /// The content.
    pub metadata: Value,
    /// Version of its format: 1 or 2.
    pub version: i64,
    /// Hidden from guests.
    pub internal: bool,
    /// The client's time of sending; ours where missing.
    pub sent_at: Option<Timestamp>,
    /// The name to show; the caller's where missing.
    pub username: Option<String>,
}

/// A draft that may be sent.
pub(in crate::service) struct Checked {
    pub uuid: Option<Uuid>,
    pub kind: &'static str,
    pub metadata: Arc<str>,
    pub version: i64,
    pub internal: bool,
    pub sent_at: Option<Timestamp>,
    pub username: String,
    pub hash: [u8; 32],
}

/// Checks all that does not depend on where it goes.
pub(in crate::service) fn check(caller: &Caller, draft: Draft) -> Result<Checked> {
    let kind = kind_of(&draft.kind)?;
    let metadata = check_metadata(kind, &draft.metadata)?;
    if !matches!(draft.version, 1 | 2) {
        return Err(Error::new(Code::InvalidMessage, "version must be 1 or 2"));
    }
    let username =
        draft.username.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| caller.name.clone());
    if username.chars().count() > NAME_LIMIT || username.contains(char::is_control) {
        let rule = format!("username: at most {NAME_LIMIT} characters, without control characters");
        return Err(Error::new(Code::InvalidName, rule));
    }
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update([0, u8::from(draft.internal)]);
    hash.update(metadata.as_bytes());
    Ok(Checked {
        uuid: draft.uuid,
        kind,
        metadata: metadata.into(),
        version: draft.version,
        internal: draft.internal,
        sent_at: draft.sent_at,
        username,
        hash: hash.finalize().into(),
    })
}

pub(super) fn kind_of(name: &str) -> Result<&'static str> {
    TYPES.iter().map(|(kind, _)| *kind).find(|kind| *kind == name).ok_or_else(|| {
        let known: Vec<_> = TYPES.iter().map(|(kind, _)| *kind).collect();
        Error::new(Code::InvalidMessage, format!("unknown message type; known are {}", known.join(", ")))
    })
}

/// The metadata as JSON text, when it is an object with the texts that its type needs. Keys come out in order, so that
/// the same content gives the same text.
pub(super) fn check_metadata(kind: &'static str, metadata: &Value) -> Result<String> {
    let parsed;
    let object: &Map<String, Value> = match metadata {
        Value::Object(object) => object,
        // Clients send the JSON string that they read back.
        Value::String(text) => {
            parsed = serde_json::from_str::<Map<String, Value>>(text)
                .map_err(|_| Error::new(Code::InvalidMessage, "metadata must be a JSON object"))?;
            &parsed
        }
        _ => return Err(Error::new(Code::InvalidMessage, "metadata must be a JSON object")),
    };
    if object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)) {
        return Err(Error::new(Code::InvalidMessage, "metadata must not hold U+0000"));
    }
    let needed = TYPES.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, needed)| needed);
    for key in needed {
        match object.get(*key) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(Value::String(_)) => {
                return Err(Error::new(Code::InvalidMessage, format!("metadata.{key} must not be empty")));
            }
            Some(_) => {
                return Err(Error::new(Code::InvalidMessage, format!("metadata.{key} must be a string")));
            }
            None => return Err(Error::new(Code::InvalidMessage, format!("metadata.{key} is missing"))),
        }
    }
    let text = serde_json::to_string(object)
        .map_err(|error| Error::new(Code::InvalidMessage, "metadata cannot be stored").because(error))?;
    if text.len() > METADATA_LIMIT {
        return Err(Error::new(Code::TooLarge, format!("metadata is longer than {METADATA_LIMIT} bytes")));
    }
    Ok(text)
}

/// True when a text in `value` holds U+0000, which PostgreSQL cannot keep.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
