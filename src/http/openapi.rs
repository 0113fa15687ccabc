//! The contract as we serve it: the family's reference merged with what we add, YAML in the source, JSON on the wire.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::Family;
use crate::domain::error::{Error, Result};

/// Converted documents by family name: made at the first request, kept for good.
static DOCUMENTS: Mutex<Vec<(&'static str, Bytes)>> = Mutex::new(Vec::new());

/// The family's OpenAPI document as JSON text.
pub fn document(family: &'static Family) -> Result<Bytes> {
    // Held while converting: a second asker waits instead of converting again.
    let mut documents = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, document)) = documents.iter().find(|(name, _)| *name == family.name) {
        return Ok(document.clone());
    }
    let document: Bytes = serde_json::to_vec(&merged(family.contract)?).map_err(Error::unavailable)?.into();
    documents.push((family.name, document.clone()));
    Ok(document)
}

/// The first document with the paths, methods, tags and components of the others added. What stands in two of them
/// is taken from the later one, key by key.
pub fn merged(contract: &[&str]) -> Result<Value> {
    let mut whole = Value::Object(Map::new());
    for text in contract {
        let part: Value = serde_yaml_ng::from_str(text).map_err(Error::unavailable)?;
        merge(&mut whole, part);
    }
    Ok(whole)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for value in from {
                if !into.contains(&value) {
                    into.push(value);
                }
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_are_merged_in() {
        let whole = merged(&[
            "paths:\n  /a:\n    get:\n      summary: old\n      responses:\n        '200':\n          description: x\ntags: [one]\n",
            "paths:\n  /a:\n    get:\n      summary: new\n    post: {}\n  /b:\n    get: {}\ntags: [one, two]\n",
        ])
        .unwrap();
        assert_eq!(whole["paths"]["/a"]["get"]["summary"], "new");
        assert_eq!(whole["paths"]["/a"]["get"]["responses"]["200"]["description"], "x");
        assert!(whole["paths"]["/a"]["post"].is_object() && whole["paths"]["/b"]["get"].is_object());
        assert_eq!(whole["tags"], serde_json::json!(["one", "two"]));
    }
}
