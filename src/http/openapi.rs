//! The contract as we serve it: the family's reference merged with what we add, YAML in the source, JSON on the wire.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::domain::error::{Error, Result};

/// Converted documents by family name: made at the first request, kept for good.
static DOCUMENTS: Mutex<Vec<(&'static str, Bytes)>> = Mutex::new(Vec::new());

/// The contract of a family, whether its operations are served yet or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// The family's name.
    pub name: &'static str,
    /// As YAML: the reference first, then what we add.
    pub texts: &'static [&'static str],
}

/// The contract as JSON text.
pub fn document(contract: Contract) -> Result<Bytes> {
    // Held while converting: a second asker waits instead of converting again.
    let mut documents = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, document)) = documents.iter().find(|(name, _)| *name == contract.name) {
        return Ok(document.clone());
    }
    let document: Bytes = serde_json::to_vec(&merged(contract.texts)?).map_err(Error::unavailable)?.into();
    documents.push((contract.name, document.clone()));
    Ok(document)
}

/// The first document, patched by the others one after the other (JSON merge patch, RFC 7396).
pub fn merged(contract: &[&str]) -> Result<Value> {
    let mut whole = Value::Object(Map::new());
    for (number, text) in contract.iter().enumerate() {
        let part: Value = serde_yaml_ng::from_str(text).map_err(Error::unavailable)?;
        // The reference itself may hold nulls (`enum: [a, null]` stands in lists, `default: null` does not).
        if number == 0 { whole = part } else { patch(&mut whole, part) }
    }
    Ok(whole)
}

fn patch(into: &mut Value, from: Value) {
    let Value::Object(from) = from else {
        *into = from;
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (key, value) in from {
        if value.is_null() {
            into.remove(&key);
        } else {
            patch(into.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_patch_the_reference() {
        let whole = merged(&[
            "paths:\n  /a:\n    get:\n      x: {$ref: b}\n      responses:\n        '200':\n          description: x\ntags: [one]\n",
            "paths:\n  /a:\n    get:\n      x: {$ref: null, type: array}\n    post: {}\n  /b:\n    get: {}\n",
        ])
        .unwrap();
        assert_eq!(whole["paths"]["/a"]["get"]["x"], serde_json::json!({"type": "array"}));
        assert_eq!(whole["paths"]["/a"]["get"]["responses"]["200"]["description"], "x");
        assert!(whole["paths"]["/a"]["post"].is_object() && whole["paths"]["/b"]["get"].is_object());
        assert_eq!(whole["tags"], serde_json::json!(["one"]));
    }
}
