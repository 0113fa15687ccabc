//! The AsyncAPI 3 document of the socket, made from the same tables as the code.

use serde_json::{Map, Value, json};

use super::gateway;
use crate::domain::event::{EVENT_TYPES, StreamKind};

/// The document as JSON text, indented.
pub fn document() -> String {
    format!("{:#}", value())
}

fn value() -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    for event in EVENT_TYPES {
        messages.insert(event.name.to_owned(), message(event.name, event.ephemeral));
    }
    for kind in StreamKind::ALL {
        let name = kind.name();
        let carried: Map<String, Value> = EVENT_TYPES
            .iter()
            .filter(|event| event.streams.contains(kind))
            .map(|event| (event.name.to_owned(), json!({ "$ref": reference("messages", event.name) })))
            .collect();
        let channel = json!({
            "address": format!("{name}:{{id}}"),
            "parameters": { "id": { "description": id_of(*kind) } },
            "messages": carried,
        });
        channels.insert(name.to_owned(), channel);
        let operation = json!({
            "action": "send",
            "channel": { "$ref": format!("#/channels/{name}") },
            "summary": "Events of the stream, each offset once and in order.",
        });
        operations.insert(format!("{name}_events"), operation);
    }
    let actions: Map<String, Value> =
        gateway::methods().map(|method| (method.to_owned(), action(method))).collect();
    channels.insert("rpc".to_owned(), json!({ "address": Value::Null, "messages": actions }));
    for method in gateway::methods() {
        let operation = json!({
            "action": "receive",
            "channel": { "$ref": "#/channels/rpc" },
            "messages": [{ "$ref": format!("#/channels/rpc/messages/{method}") }],
            "summary": "Answered after the commit.",
        });
        operations.insert(method.to_owned(), operation);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Switchboard, real time",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Centrifuge client protocol v2; the streams, their events and the actions (rpc).",
        },
        "servers": {
            "websocket": { "host": "localhost:8080", "protocol": "ws", "pathname": "/connection/websocket" },
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": { "event": event_schema() } },
    })
}

fn reference(section: &str, name: &str) -> String {
    format!("#/components/{section}/{name}")
}

const fn id_of(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::User => "Number of the person",
        StreamKind::Org => "Number of the organisation",
        StreamKind::Workbox | StreamKind::Internal => "Number of the workbox",
        StreamKind::Session => "UUID of the session",
    }
}

fn message(name: &str, ephemeral: bool) -> Value {
    json!({
        "name": name,
        "summary": if ephemeral { "Not stored; repeats the stream's current offset." } else { "Stored." },
        "payload": { "allOf": [
            { "$ref": reference("schemas", "event") },
            { "properties": { "type": { "const": name } } },
        ] },
    })
}

fn action(method: &str) -> Value {
    json!({ "name": method, "payload": { "type": "object" } })
}

/// The publication object of REALTIME section 3.
fn event_schema() -> Value {
    json!({
        "type": "object",
        "required": ["id", "type", "time", "actor", "data"],
        "properties": {
            "id": { "type": "string", "format": "uuid", "description": "Receivers deduplicate by it." },
            "type": { "type": "string" },
            "time": { "type": "string", "format": "date-time" },
            "actor": { "anyOf": [
                { "type": "null" },
                { "type": "object", "properties": {
                    "kind": { "enum": ["user", "guest", "enterprise"] },
                    "id": { "type": "integer" },
                    "name": { "type": "string" },
                } },
            ] },
            "ephemeral": { "type": "boolean" },
            "data": { "type": "object" },
        },
    })
}
