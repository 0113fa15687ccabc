//! Every operation, with everything in its request wrong in turn: the answer is a success or the family's refusal,
//! never an accident. The same requests in the same order each time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use switchboard::{
    api::FAMILIES,
    domain::codes::Code,
    http::{Auth, Family, Method, Op},
};

use super::{Kind, Target as _, estate::Estate};
use crate::harness::{
    db::on_both,
    schema::{CONTRACT, Operation, code_of},
};

/// Faults of a kind that are shown.
const SHOWN: usize = 6;

/// What may stand where a value is expected, as JSON text.
fn wrong_values() -> Vec<String> {
    let plain = [
        "null",
        "true",
        "-1",
        "1.5",
        "9223372036854775807",
        "99999999999999999999",
        "1e308",
        r#""""#,
        r#""x""#,
        r#""99999999999999999999""#,
        r#""a\u0000b""#,
        r#""\ud800""#,
        r#""\u202e\n\t\u0007""#,
        r#""2026-13-45T99:99:99Z""#,
        r#""'; drop table person; --""#,
        r#""%_\\""#,
        "[]",
        r#"["x"]"#,
        "[[[]]]",
        r#"{"a":{"b":[]}}"#,
    ];
    let long = format!("\"{}\"", "💥ä".repeat(10_000));
    plain.iter().map(ToString::to_string).chain([long]).collect()
}

/// What may stand where a part of the path or query is expected, encoded.
fn wrong_texts() -> Vec<String> {
    let plain = [
        "",
        "0",
        "-1",
        "1.5",
        "9223372036854775807",
        "99999999999999999999",
        "x",
        "%00",
        "%FF",
        "%zz",
        "%F0%9F%92%A9",
        "..",
        "%2F",
        "%27%3B--",
        "call_00000000-0000-0000-0000-000000000000",
    ];
    plain.iter().map(ToString::to_string).chain(["a".repeat(3_000)]).collect()
}

const FILTERS: &[&str] = &[
    "name",
    "name=",
    "=",
    "%27name%3Dx",
    "%22name%3Dx%22",
    "%22",
    "name~=%25",
    "name~=%5C",
    "name%7C=",
    "name%7C=,,,",
    "id=x",
    "id%3E99999999999999999999",
    "id%3E=-1",
    "created_at=x",
    "created_at%3E2026-13-45",
    "a.b.c=1",
    "name=x%20AND%201=1",
    "status=%00",
    "session.call_id%3D",
];
const ORDERS: &[&str] = &["-", ",", "name,name", "-name,-id", "%00", "a.b", "id;drop"];

/// A request's parts.
#[derive(Clone, Default)]
struct Draft {
    method: String,
    path: String,
    query: String,
    headers: String,
    body: Vec<u8>,
}

struct Trials {
    estate: Estate,
    faults: Vec<String>,
    /// How often each way of being wrong led to a fault of a kind.
    kinds: BTreeMap<String, usize>,
    sent: usize,
}

impl Trials {
    /// Of each kind some are shown.
    fn fault(&mut self, kind: &str, what: &str, told: &str) {
        let count = self.kinds.entry(format!("{kind}, {what}")).or_default();
        *count += 1;
        if *count <= SHOWN {
            self.faults.push(format!("{kind}, {what}: {told}"));
        }
    }

    /// Sends it; whatever comes back is no accident. Gives status and code.
    async fn try_one(&mut self, what: &str, draft: &Draft) -> (u16, Option<Code>) {
        let Draft { method, path, query, headers, body } = draft;
        let query =
            if query.is_empty() { String::new() } else { format!("?{}", query.trim_start_matches('?')) };
        let target = format!("{path}{query}");
        let (response, judgement) = self.estate.server.exchange(method, &target, headers, body).await;
        self.sent += 1;
        let code = code_of(&response.body);
        let told = format!(
            "{method} {path:.120}{query:.120} {:.160}: {} {:.200}",
            String::from_utf8_lossy(body),
            response.status,
            response.text()
        );
        if response.status >= 500 {
            self.fault("an accident", what, &told);
        } else if response.status >= 400 && code.is_none() && method != "HEAD" {
            self.fault("not the family's refusal", what, &told);
        } else if let Err(fault) = judgement {
            self.fault("not as promised", what, &fault);
        }
        (response.status, code)
    }

    async fn refused(&mut self, what: &str, draft: &Draft, wanted: Code) {
        let (status, code) = self.try_one(what, draft).await;
        if code != Some(wanted) {
            let told = format!("{} {:.120}: {status} {code:?}", draft.method, draft.path);
            self.fault(&format!("no {wanted:?}"), what, &told);
        }
    }

    async fn operation(&mut self, family: &'static Family, op: &'static Op) {
        let operation = CONTRACT.find(op.method.name(), &op.full_path(family)).expect("a contract");
        let sound = self.sound(family, op).await;
        self.paths(family, op, &sound).await;
        self.queries(operation, &sound).await;
        self.headers(op, &sound).await;
        self.methods(&sound).await;
        self.bodies(op, operation, &sound).await;
    }

    /// The master's request as it works.
    async fn sound(&self, family: &'static Family, op: &'static Op) -> Draft {
        let sent = self.estate.body(op);
        let kind = match sent.as_ref().map(|sent| sent.kind) {
            Some(Kind::Form) => format!("multipart/form-data; boundary={}", super::estate::BOUNDARY),
            _ => "application/json".to_owned(),
        };
        Draft {
            method: op.method.name().to_owned(),
            path: self.estate.path(family, op).await,
            query: self.estate.query(op),
            headers: format!("\nauthorization: {}\ncontent-type: {kind}", self.estate.key(op)),
            body: sent.map(|sent| sent.bytes).unwrap_or_default(),
        }
    }

    async fn paths(&mut self, family: &Family, op: &Op, sound: &Draft) {
        let template = op.full_path(family);
        let names: Vec<_> = template.split('/').filter(|part| part.starts_with('{')).collect();
        for name in names {
            for value in wrong_texts() {
                let mut path = String::new();
                for (have, part) in sound.path.split('/').zip(template.split('/')).skip(1) {
                    path.push('/');
                    path.push_str(if part == name { &value } else { have });
                }
                self.try_one("path", &Draft { path, ..sound.clone() }).await;
            }
        }
    }

    async fn queries(&mut self, operation: &Operation, sound: &Draft) {
        let parameters = operation.value["parameters"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
            .collect();
        names.push("unknown".to_owned());
        for name in names {
            let mut values = wrong_texts();
            match name.as_str() {
                "filter" => values.extend(FILTERS.iter().map(ToString::to_string)),
                "order" => values.extend(ORDERS.iter().map(ToString::to_string)),
                _ => {}
            }
            for value in values {
                let brackets = ["", "[]", "%5Ba%5D"];
                for bracket in &brackets[..if value == "x" { 3 } else { 1 }] {
                    let rest = sound.query.split(['?', '&']).filter(|part| !part.starts_with(&name));
                    let rest: Vec<_> = rest.filter(|part| !part.is_empty()).collect();
                    let query = [&rest[..], &[&format!("{name}{bracket}={value}")]].concat().join("&");
                    self.try_one("query", &Draft { query, ..sound.clone() }).await;
                }
            }
        }
        for query in ["&&&", "=", "a", "a=1&a=2", "%00=%00", "page=1&page=2"] {
            self.try_one("query", &Draft { query: query.to_owned(), ..sound.clone() }).await;
        }
    }

    async fn headers(&mut self, op: &Op, sound: &Draft) {
        let with = |line: &str| Draft { headers: format!("{}\n{line}", sound.headers), ..sound.clone() };
        for line in [
            "idempotency-key:",
            &format!("idempotency-key: {}", "k".repeat(5_000)),
            "range: bytes=9-1",
            "range: bytes=-99999999999999999999",
            "if-none-match: *",
            "if-range: \"",
            "accept-language: \u{fffd}",
            "x-forwarded-for: x, y",
            &format!("x-request-id: {}", "r".repeat(5_000)),
            "origin: null",
        ] {
            self.try_one(line.split(':').next().unwrap_or_default(), &with(line)).await;
        }
        for encoding in ["gzip", "br", "nonsense"] {
            self.refused("encoded", &with(&format!("content-encoding: {encoding}")), Code::ParametersInvalid)
                .await;
        }
        for kind in
            ["text/plain", "application/xml", "multipart/form-data", "multipart/form-data; boundary=", "x"]
        {
            let headers = format!("\nauthorization: {}\ncontent-type: {kind}", self.estate.key(op));
            self.try_one("content type", &Draft { headers, ..sound.clone() }).await;
        }
        if op.auth != Auth::None {
            let key = self.estate.key(op);
            let headers =
                format!("\ncookie: authorization={key}; token={key}\ncontent-type: application/json");
            self.refused("cookie", &Draft { headers, ..sound.clone() }, Code::InvalidToken).await;
            for token in [&"a".repeat(20_000), "..", "a.b.c", "Bearer", "Basic eDp5", "e30.e30."] {
                let headers = format!("\nauthorization: {token}\ncontent-type: application/json");
                self.refused("token", &Draft { headers, ..sound.clone() }, Code::InvalidToken).await;
            }
        }
    }

    async fn methods(&mut self, sound: &Draft) {
        for method in ["PUT", "PATCH", "DELETE", "POST", "GET", "TRACE", "PROPFIND", "BREW"] {
            if CONTRACT.find(method, &sound.path).is_some() {
                continue;
            }
            let draft = Draft { method: method.to_owned(), body: Vec::new(), ..sound.clone() };
            self.refused("method", &draft, Code::MethodInvalid).await;
        }
        self.try_one("method", &Draft { method: "OPTIONS".to_owned(), body: Vec::new(), ..sound.clone() })
            .await;
        if sound.method == "GET" {
            self.try_one("method", &Draft { method: "HEAD".to_owned(), ..sound.clone() }).await;
        }
    }

    async fn bodies(&mut self, op: &Op, operation: &Operation, sound: &Draft) {
        let with = |body: Vec<u8>| Draft { body, ..sound.clone() };
        let form = self.estate.body(op).is_some_and(|sent| sent.kind == Kind::Form);
        if form {
            self.forms(sound).await;
            return;
        }
        if sound.body.is_empty() {
            for body in ["{", "nonsense", "[]"] {
                self.try_one("needless body", &with(body.into())).await;
            }
            return;
        }
        let sample = CONTRACT.sample_body(operation);
        for broken in [&b"{\"a\":"[..], b"\xff\xfe", b"nonsense", b"{} {}", b"{'a':1}", &[b'['; 5_000]] {
            // Where the contract knows no body, one may go unread.
            if sample.is_some() {
                self.refused("broken", &with(broken.to_vec()), Code::ParametersInvalid).await;
            } else {
                self.try_one("broken", &with(broken.to_vec())).await;
            }
        }
        for other in ["null", "7", "\"text\"", "true", "[]", "[[]]", "{}", r#"{"__proto__":{}}"#] {
            self.try_one("another type", &with(other.into())).await;
        }
        self.refused("too large", &with(vec![b' '; 1_600_000]), Code::TooLarge).await;
        let body: Value = serde_json::from_slice(&sound.body).expect("the estate's bodies are JSON");
        let Value::Object(mut fields) = body else { return };
        for (name, value) in sample.as_ref().and_then(Value::as_object).into_iter().flatten() {
            fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let known: Map<String, Value> = serde_json::from_slice(&sound.body).expect("an object");
        for name in fields.keys() {
            let mut without = known.clone();
            without.remove(name);
            self.try_one("a field less", &with(json!(without).to_string().into())).await;
            for value in wrong_values() {
                let others = known.iter().filter(|(other, _)| *other != name);
                let others: Vec<_> =
                    others.map(|(other, value)| format!("{}:{value},", json!(other))).collect();
                let others = others.concat();
                let body = format!("{{{others}{}:{value}}}", json!(name));
                self.try_one("a wrong field", &with(body.into())).await;
            }
        }
    }

    async fn forms(&mut self, sound: &Draft) {
        let whole = sound.body.clone();
        for cut in [0, 1, 20, whole.len() / 2, whole.len() - 3] {
            self.try_one("a cut form", &Draft { body: whole[..cut].to_vec(), ..sound.clone() }).await;
        }
        for junk in [
            "x",
            "--a-boundary--",
            "--a-boundary\r\n\r\n\r\n--a-boundary--",
            "--a-boundary\r\ncontent-disposition: form-data\r\n\r\nx\r\n--a-boundary--\r\n",
        ] {
            self.try_one("a junk form", &Draft { body: junk.into(), ..sound.clone() }).await;
        }
        let named = |name: &str| String::from_utf8_lossy(&whole).replace("a.txt", name).into_bytes();
        for name in ["", "../../x", "a\u{0}b", "\u{202e}txt.exe", &"n".repeat(5_000)] {
            self.try_one("a file's name", &Draft { body: named(name), ..sound.clone() }).await;
        }
    }
}

on_both! {
    async fn no_request_is_an_accident(db: TestDb) {
        let mut trials = Trials { estate: Estate::new(db).await, faults: Vec::new(), kinds: BTreeMap::new(), sent: 0 };
        // What changes nothing first, what takes away last.
        for methods in [&[Method::Get][..], &[Method::Post], &[Method::Put, Method::Patch], &[Method::Delete]] {
            for family in FAMILIES {
                for op in family.operations().filter(|op| methods.contains(&op.method)) {
                    trials.operation(family, op).await;
                    // Somebody who sets a password is signed out everywhere.
                    if methods != [Method::Delete] && !trials.estate.stands().await {
                        trials.estate.renew().await;
                        assert!(trials.estate.stands().await, "{} left the master outside", op.id);
                    }
                }
            }
        }
        let Trials { faults, kinds, sent, .. } = trials;
        assert!(sent > 5_000, "{sent}");
        assert!(faults.is_empty(), "{kinds:#?} in {sent} requests:\n{}", faults.join("\n"));
    }
}
