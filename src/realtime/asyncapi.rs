//! The AsyncAPI 3 document of the socket: `/asyncapi.json`, `switchboard asyncapi`. Made from the tables that the code
//! runs by: kinds of streams, types of events, actions.

use serde_json::{Map, Value, json};

use super::gateway::methods;
use crate::domain::{
    event::StreamKind,
    event_types::{EVENT_TYPES, EventType},
};

/// The document.
pub fn document() -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    for kind in StreamKind::ALL {
        let name = kind.name();
        let messages: Map<_, _> = types_of(*kind)
            .map(|known| (known.name.to_owned(), json!({"$ref": format!("#/components/messages/{}", known.name)})))
            .collect();
        channels.insert(name.to_owned(), json!({
            "address": format!("{name}:{{id}}"),
            "description": "A stream: publications are numbered 1, 2, 3 ... under an epoch and can be recovered. \
                            Those that are marked `x-ephemeral` are not stored.",
            "parameters": {"id": {"description": "Number or UUID of what the stream is about."}},
            "messages": messages,
        }));
        operations.insert(format!("follow_{name}"), json!({
            "action": "receive",
            "channel": {"$ref": format!("#/channels/{name}")},
            "summary": format!("Events of a {name} stream."),
        }));
    }
    channels.insert("rpc".to_owned(), json!({
        "address": "rpc",
        "description": "Actions: the `rpc` command of the Centrifuge client protocol. The reply comes after the commit.",
        "messages": methods().map(|name| (name.to_owned(), action(name))).collect::<Map<_, _>>(),
    }));
    for name in methods() {
        operations.insert(name.to_owned(), json!({
            "action": "send",
            "channel": {"$ref": "#/channels/rpc"},
            "messages": [{"$ref": format!("#/channels/rpc/messages/{name}")}],
        }));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Switchboard, the socket",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Centrifuge client protocol v2 at `/connection/websocket` (JSON; Protobuf by the sub-protocol \
                            `centrifuge-protobuf`), `/connection/http_stream`, `/connection/sse` and `/emulation`. \
                            The same events leave on NATS as CloudEvents, on \
                            `switchboard.<organization>.<stream kind>.<stream id>.<type>`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": EVENT_TYPES.iter().map(|known| (known.name.to_owned(), event(known))).collect::<Map<_, _>>(),
            "schemas": {"event": envelope(), "actor": actor()},
        },
    })
}

fn types_of(kind: StreamKind) -> impl Iterator<Item = &'static EventType> {
    EVENT_TYPES.iter().filter(move |known| known.streams.contains(&kind))
}

fn event(known: &EventType) -> Value {
    json!({
        "name": known.name,
        "summary": known.doc,
        "x-ephemeral": !known.stored,
        "payload": {"allOf": [
            {"$ref": "#/components/schemas/event"},
            {"properties": {"type": {"const": known.name}}},
        ]},
    })
}

fn action(name: &str) -> Value {
    json!({"name": name, "payload": {"type": "object"}})
}

fn envelope() -> Value {
    json!({
        "type": "object",
        "description": "`data` of a publication; the offset stands beside it, the epoch in the subscription.",
        "required": ["id", "type", "time", "actor", "data"],
        "properties": {
            "id": {"type": "string", "format": "uuid", "description": "The same everywhere: deduplicate by it."},
            "type": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "actor": {"anyOf": [{"$ref": "#/components/schemas/actor"}, {"type": "null"}]},
            "ephemeral": {"type": "boolean", "description": "Present and true where nothing is stored."},
            "data": {"type": "object"},
        },
    })
}

fn actor() -> Value {
    json!({
        "type": "object",
        "required": ["kind", "name"],
        "properties": {"kind": {"type": "string"}, "id": {}, "name": {"type": "string"}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut open = vec![&document];
        let mut checked = 0;
        while let Some(value) = open.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                        let found = document.pointer(target.trim_start_matches('#'));
                        assert!(found.is_some(), "{target} leads nowhere");
                        checked += 1;
                    }
                    open.extend(fields.values());
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        assert!(checked > 50, "{checked}");
    }
}
