//! The contract as a judge: every response that a test sees is held against it.
//!
//! [`Contract::judge`] finds the operation by method and path and validates the body against the schema of the
//! status. Fields beyond the schema are welcome. A refusal with a status that the operation does not document must
//! have the family's error shape. Codes that were seen are noted for the end of the run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{LazyLock, Mutex},
};

use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json};
use switchboard::{
    api,
    domain::codes::Code,
    http::{Family, openapi},
};

use super::notes;

/// An operation of a contract file.
#[derive(Clone, Debug)]
pub struct Operation {
    /// `GET`, ..
    pub method: String,
    /// The whole path template, with the server's base.
    pub path: String,
    /// `x-auth`: the token kind.
    pub auth: String,
    /// The family's name.
    pub family: &'static str,
    /// JSON pointer of the operation in the family's document, as a URI's fragment.
    pointer: String,
    /// The operation itself.
    pub value: Value,
}

/// The contracts of all families.
pub struct Contract {
    documents: HashMap<&'static str, Value>,
    registry: Registry<'static>,
    operations: Vec<Operation>,
    paths: matchit::Router<Vec<usize>>,
    validators: Mutex<HashMap<String, std::sync::Arc<Validator>>>,
}

/// What a judgement is about.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub method: &'a str,
    /// With or without a query.
    pub path: &'a str,
    pub status: u16,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
}

/// The contract of the families that are served.
pub static CONTRACT: LazyLock<Contract> = LazyLock::new(|| Contract::new(api::FAMILIES));

impl Contract {
    pub fn new(families: &[&'static Family]) -> Self {
        let mut documents = HashMap::new();
        let mut operations = Vec::new();
        for family in families {
            let document = openapi::merged(family.contract).expect("the contract is YAML");
            operations.extend(read_operations(family.name, &document));
            documents.insert(family.name, document);
        }
        let mut registry = Registry::new();
        for (name, document) in &documents {
            registry = registry.add(base_uri(name), document.clone()).unwrap();
        }
        let mut by_shape: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, operation) in operations.iter().enumerate() {
            by_shape.entry(shape(&operation.path)).or_default().push(number);
        }
        let mut paths = matchit::Router::new();
        for (shape, numbers) in by_shape {
            paths.insert(shape, numbers).unwrap();
        }
        let registry = registry.prepare().unwrap();
        Self { documents, registry, operations, paths, validators: Mutex::default() }
    }

    /// All operations of the contract files.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation that a request meant.
    pub fn find(&self, method: &str, path: &str) -> Option<&Operation> {
        let path = path.split('?').next().unwrap_or_default();
        let found = self.paths.at(path.trim_end_matches('/')).ok()?;
        let method = if method == "HEAD" { "GET" } else { method };
        found.value.iter().map(|at| &self.operations[*at]).find(|operation| operation.method == method)
    }

    /// Says what is wrong with a response; notes the code of a refusal.
    pub fn judge(&self, seen: Seen<'_>) -> Result<(), String> {
        let Some(operation) = self.find(seen.method, seen.path) else { return Ok(()) };
        let at = format!("{} {} -> {}", operation.method, operation.path, seen.status);
        if let Some(code) = code_of(seen.body).filter(|_| seen.status >= 400) {
            let line = format!("{} {} {}", operation.method, operation.path, code.name());
            notes::note("codes-seen.txt", &line);
        }
        if seen.method == "HEAD" || seen.status == 304 || (300..400).contains(&seen.status) {
            return Ok(());
        }
        let documented = operation.value["responses"].get(seen.status.to_string());
        let schema = match documented {
            Some(response) => {
                let content = response.get("content").and_then(|content| content.get("application/json"));
                if content.is_none_or(|content| content.get("schema").is_none()) {
                    // Nothing is said about the body.
                    return Ok(());
                }
                let pointer = format!(
                    "{}/responses/{}/content/application~1json/schema",
                    operation.pointer, seen.status
                );
                vec![json!({ "$ref": format!("{}#{pointer}", base_uri(operation.family)) })]
            }
            None if seen.status >= 400 => Self::refusals(operation),
            None => return Err(format!("{at}: the contract has no such status")),
        };
        if !seen.content_type.is_some_and(|kind| kind.starts_with("application/json")) {
            return Err(format!("{at}: JSON was promised, the type is {:?}", seen.content_type));
        }
        let body: Value = serde_json::from_slice(seen.body)
            .map_err(|_| format!("{at}: not JSON: {}", String::from_utf8_lossy(seen.body)))?;
        // The expired token of v1 is a bare string on every operation, whatever the reference says.
        if body == "Token expired" && seen.status == 401 {
            return Ok(());
        }
        let mut faults = Vec::new();
        for schema in schema {
            let validator = self.validator(&schema);
            let found: Vec<_> =
                validator.iter_errors(&body).map(|e| format!("{}: {e}", e.instance_path())).collect();
            if found.is_empty() {
                return Ok(());
            }
            faults = found;
        }
        Err(format!("{at}: {}\n{body:#}", faults.join("; ")))
    }

    /// What a refusal may look like where its status is not documented: like those that are.
    fn refusals(operation: &Operation) -> Vec<Value> {
        let responses = operation.value["responses"].as_object();
        let mut schemas: Vec<Value> = responses
            .into_iter()
            .flatten()
            .filter(|(status, _)| status.starts_with(['4', '5']))
            .filter(|(_, response)| response.pointer("/content/application~1json/schema").is_some())
            .map(|(status, _)| {
                let pointer =
                    format!("{}/responses/{status}/content/application~1json/schema", operation.pointer);
                json!({ "$ref": format!("{}#{pointer}", base_uri(operation.family)) })
            })
            .collect();
        schemas.dedup();
        schemas
    }

    fn validator(&self, schema: &Value) -> std::sync::Arc<Validator> {
        let key = schema.to_string();
        let mut validators = self.validators.lock().unwrap();
        validators
            .entry(key)
            .or_insert_with(|| {
                let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
                options.with_registry(&self.registry).build(schema).expect("a schema of the contract").into()
            })
            .clone()
    }

    /// A schema with its reference followed.
    pub fn resolve<'a>(&'a self, family: &str, mut schema: &'a Value) -> &'a Value {
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            schema = self.documents[family].pointer(pointer).expect("a reference that leads somewhere");
        }
        schema
    }

    /// A request body that fits the operation's schema: every field, with a value of its type. `None` where the
    /// operation takes no JSON.
    pub fn sample_body(&self, operation: &Operation) -> Option<Value> {
        let schema = operation.value.pointer("/requestBody/content/application~1json/schema")?;
        Some(self.sample(operation.family, schema, 0))
    }

    fn sample(&self, family: &str, schema: &Value, depth: usize) -> Value {
        let schema = self.resolve(family, schema);
        if let Some(value) =
            schema.get("enum").and_then(|values| values.get(0)).or_else(|| schema.get("const"))
        {
            return value.clone();
        }
        if let Some(first) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(|all| all.get(0)) {
            return self.sample(family, first, depth + 1);
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            Some(Value::String(kind)) => Some(kind.as_str()),
            _ => None,
        };
        match kind {
            _ if depth > 6 => Value::Null,
            Some("object") => {
                let mut object = Map::new();
                for (name, property) in
                    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
                {
                    object.insert(name.clone(), self.sample(family, property, depth + 1));
                }
                Value::Object(object)
            }
            Some("array") => {
                json!([self.sample(family, schema.get("items").unwrap_or(&Value::Null), depth + 1)])
            }
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(true),
            Some("string") => json!(match schema.get("format").and_then(Value::as_str) {
                Some("date-time") => "2026-01-01T00:00:00.000000Z",
                Some("uuid") => "0190b1c2-0000-7000-8000-000000000001",
                _ => "text",
            }),
            _ => json!({}),
        }
    }

    /// True when a reply of that operation can hold a field of one of these names.
    pub fn reply_holds(&self, operation: &Operation, names: &[&str]) -> bool {
        let responses = operation.value["responses"].as_object();
        responses.into_iter().flatten().filter(|(status, _)| status.starts_with('2')).any(|(_, response)| {
            response
                .pointer("/content/application~1json/schema")
                .is_some_and(|schema| self.holds(operation.family, schema, names, 0))
        })
    }

    fn holds(&self, family: &str, schema: &Value, names: &[&str], depth: usize) -> bool {
        if depth > 8 {
            return false;
        }
        let schema = self.resolve(family, schema);
        let within = |value: &Value| self.holds(family, value, names, depth + 1);
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().any(|(name, value)| names.contains(&name.as_str()) || within(value))
            || schema.get("items").is_some_and(within)
            || ["anyOf", "oneOf", "allOf"]
                .iter()
                .filter_map(|key| schema.get(key)?.as_array())
                .flatten()
                .any(within)
    }
}

/// Our code in the body of a refusal, in any family's spelling.
pub fn code_of(body: &[u8]) -> Option<Code> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let named = |name: &str| Code::ALL.iter().copied().find(|code| code.name() == name);
    match &body {
        Value::String(text) => match text.as_str() {
            "Token expired" => Some(Code::ExpiredToken),
            "invalid token" => Some(Code::InvalidToken),
            "access denied" => Some(Code::Authorization),
            _ => None,
        },
        Value::Object(fields) => match fields.get("code").and_then(Value::as_u64) {
            Some(number) => Code::ALL.iter().copied().find(|code| u64::from(code.number()) == number),
            None => fields.get("name").and_then(Value::as_str).and_then(named),
        },
        Value::Array(parts) => parts.first().and_then(Value::as_str).and_then(named),
        _ => None,
    }
}

fn base_uri(family: &str) -> String {
    format!("https://contract.example/{family}")
}

fn read_operations(family: &'static str, document: &Value) -> Vec<Operation> {
    let server = |value: &Value| {
        let url = value.pointer("/servers/0/url")?.as_str()?;
        Some(url.trim_end_matches('/').to_owned())
    };
    let mut operations = Vec::new();
    let base = server(document).unwrap_or_default();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        let base = server(methods).unwrap_or_else(|| base.clone());
        for method in ["get", "post", "put", "patch", "delete"] {
            let Some(value) = methods.get(method) else { continue };
            operations.push(Operation {
                method: method.to_uppercase(),
                path: format!("{base}{path}"),
                auth: value["x-auth"].as_str().unwrap_or_default().to_owned(),
                family,
                pointer: format!("/paths/{}/{method}", fragment(path)),
                value: value.clone(),
            });
        }
    }
    operations
}

/// A path as a part of a JSON pointer in a URI.
fn fragment(path: &str) -> String {
    path.replace('~', "~0").replace('/', "~1").replace('{', "%7B").replace('}', "%7D")
}

/// `/a/{id}` as `/a/{p0}`: paths that differ in the names of parameters only are one.
fn shape(path: &str) -> String {
    let mut number = 0;
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            number += 1;
            format!("{{p{number}}}")
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("/")
}
