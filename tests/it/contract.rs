//! Tests over the table of operations: what must hold for every row, and between the rows and the contract files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use switchboard::{
    api::{self, FAMILIES, assist},
    base::metrics::Metrics,
    http::{Family, Method, Op, routes::Routes},
};

use crate::harness::schema::{CONTRACT, Operation, Seen};

/// Set it to let the list of missing operations shrink by what is there now.
const UPDATE: &str = "SWITCHBOARD_UPDATE";
/// Fields that hold a credential.
const CREDENTIALS: &[&str] = &["token", "refresh", "access_token", "private_key", "link"];

fn rows() -> impl Iterator<Item = (&'static Family, &'static Op)> {
    FAMILIES.iter().flat_map(|family| family.operations().map(|op| (*family, op)))
}

fn name(family: &Family, op: &Op) -> String {
    format!("{} {}", op.method.name(), op.full_path(family))
}

fn missing_list(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("docs/contract/missing-{family}.txt"))
}

#[test]
fn rows_and_contract_are_the_same_set() {
    for family in FAMILIES {
        let contract: BTreeMap<String, &Operation> = CONTRACT
            .operations()
            .iter()
            .filter(|operation| operation.family == family.name)
            .map(|operation| (format!("{} {}", operation.method, operation.path), operation))
            .collect();
        let rows: BTreeMap<String, &Op> = family.operations().map(|op| (name(family, op), op)).collect();
        let mut faults = Vec::new();
        for (name, op) in &rows {
            match contract.get(name) {
                None => faults.push(format!("{name} ({}) is in no contract file", op.id)),
                Some(operation) => {
                    if operation.auth != op.auth.name() {
                        faults.push(format!(
                            "{name}: the contract wants {}, the row {:?}",
                            operation.auth, op.auth
                        ));
                    }
                    if operation.value["responses"].get(op.status.to_string()).is_none() {
                        faults.push(format!("{name}: the contract does not know status {}", op.status));
                    }
                }
            }
        }
        let list = missing_list(family.name);
        let text = fs::read_to_string(&list).unwrap_or_default();
        let mut listed: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let missing: BTreeSet<&str> =
            contract.keys().map(String::as_str).filter(|name| !rows.contains_key(*name)).collect();
        if std::env::var_os(UPDATE).is_some() {
            listed.retain(|name| missing.contains(name));
            let shrunk: String = listed.iter().flat_map(|name| [name, "\n"]).collect();
            fs::write(&list, shrunk).unwrap();
        }
        for name in missing.difference(&listed) {
            faults.push(format!("{name} is in the contract, but there is no row for it"));
        }
        for name in listed.difference(&missing) {
            faults.push(format!("{name} is no longer missing: take it from the list ({UPDATE}=1 does)"));
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn rows_are_documented_and_stand_apart() {
    let mut ids = BTreeSet::new();
    let mut faults = Vec::new();
    for (family, op) in rows() {
        let mut fault = |what: &str| faults.push(format!("{} ({}): {what}", op.id, name(family, op)));
        if !ids.insert(op.id) {
            fault("the id is used twice");
        }
        if op.doc.trim().len() < 10 || !op.doc.trim().ends_with('.') {
            fault("needs a sentence that says what it does");
        }
        if !op.path.starts_with('/') || op.path.ends_with('/') || op.path.contains("//") {
            fault("the path is not plain");
        }
        if !(200..300).contains(&op.status) {
            fault("the status is no success");
        }
        if op.options.upload && op.method == Method::Get {
            fault("a GET takes no upload");
        }
        let mut codes = op.codes.to_vec();
        codes.sort_by_key(|code| code.number());
        codes.dedup();
        if codes.len() != op.codes.len() || codes.iter().any(|code| Op::UNIVERSAL.contains(code)) {
            fault("declares a failure twice, or one that every operation has");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    if let Err(clash) = Routes::new(FAMILIES, &Metrics::new().http) {
        panic!("routes clash: {clash}");
    }
    assert_eq!(api::operations().len(), rows().count());
}

#[test]
fn replies_with_credentials_are_kept_by_nobody() {
    let open: Vec<_> = rows()
        .filter(|(_, op)| !op.options.no_store)
        .filter(|(family, op)| {
            let operation = CONTRACT.find(op.method.name(), &op.full_path(family));
            operation.is_some_and(|operation| CONTRACT.reply_holds(operation, CREDENTIALS))
        })
        .map(|(family, op)| name(family, op))
        .collect();
    assert!(open.is_empty(), "add [no_store] to\n{}", open.join("\n"));
}

#[test]
fn bare_refusals_are_those_of_the_contract() {
    for op in assist::FAMILY.operations() {
        let operation = CONTRACT.find(op.method.name(), &op.full_path(&assist::FAMILY)).expect("a contract");
        let bare = operation.value.pointer("/responses/401/content/application~1json/schema/type");
        let bare = bare.is_some_and(|kind| kind == "string");
        assert_eq!(assist::error::answers_bare(op), bare, "{} {}", operation.method, operation.path);
    }
}

#[test]
fn the_judge_knows_right_from_wrong() {
    let judge = |method, path, status, body: &str| {
        let content_type = Some("application/json");
        CONTRACT.judge(Seen { method, path, status, content_type, body: body.as_bytes() })
    };
    let post = |status, body: &str| judge("POST", "/api/v1/auth", status, body);
    assert_eq!(post(200, r#"{"token":"a","refresh":"b","more":1}"#), Ok(()));
    assert!(post(200, r#"{"token":7}"#).is_err());
    assert!(post(200, "nonsense").is_err());
    assert!(post(204, "").is_err(), "a status that the contract does not know");
    assert_eq!(post(401, r#"{"code":402,"message":"no"}"#), Ok(()));
    assert_eq!(post(429, r#"{"code":429,"message":"later"}"#), Ok(()), "like the documented refusals");
    assert!(post(429, r#""later""#).is_err());
    let call = |status, body: &str| judge("GET", "/api/v1/calls/call_7?x=y", status, body);
    assert_eq!(call(401, "\"invalid token\""), Ok(()));
    assert!(call(403, r#"{"code":403,"message":"x"}"#).is_err());
    assert_eq!(judge("GET", "/api/v1/info", 401, "\"Token expired\""), Ok(()));
    let calls = r#"{"entries":[{"timeCallStarted":"1.5"}],"page":1,"page_size":20,"total_entries":1,"total_pages":1}"#;
    assert_eq!(judge("GET", "/api/v1/enterprise/calls", 200, calls), Ok(()));
    assert!(judge("GET", "/api/v1/enterprise/calls", 200, "[]").is_err());
    assert_eq!(judge("GET", "/nowhere", 500, ""), Ok(()), "nobody promised anything");
}

#[test]
fn sample_bodies_fit() {
    let operation = CONTRACT.find("POST", "/api/v1/sessions").unwrap();
    let body = CONTRACT.sample_body(operation).unwrap();
    assert_eq!(body, serde_json::json!({ "contact_tokens": ["text"], "force_new": true }));
    assert!(CONTRACT.sample_body(CONTRACT.find("GET", "/api/v1/info").unwrap()).is_none());
    for operation in CONTRACT.operations() {
        CONTRACT.sample_body(operation);
        CONTRACT.reply_holds(operation, CREDENTIALS);
    }
}
