//! The defaults are complete and documented, mistakes are named, secrets stay hidden.

use std::time::Duration;

use super::*;

/// `section.key` of every line that sets one, with whether a comment stands before it.
fn keys(text: &str) -> Vec<(String, bool)> {
    let (mut section, mut documented, mut keys) = (String::new(), false, Vec::new());
    for line in text.lines().map(str::trim_end) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            documented = false;
        } else if line.starts_with('#') {
            documented = true;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with([' ', '"']))
        {
            keys.push((format!("{section}.{key}"), documented));
            documented = false;
        }
    }
    keys
}

/// The defaults with the examples of `#|` switched on.
fn with_examples() -> String {
    let lines: Vec<_> = DEFAULT
        .lines()
        .filter(|line| !matches!(*line, "namespaces = []" | "tokens = []" | "server_keys = []"))
        .map(|line| line.strip_prefix("#|").map_or(line, str::trim_start))
        .collect();
    lines.join("\n")
}

#[test]
fn every_key_is_documented() {
    // The three lists share one comment.
    let shared = ["realtime.tokens", "realtime.server_keys"];
    let keys = keys(DEFAULT);
    assert!(keys.len() > 100, "the walk found {} keys", keys.len());
    let silent: Vec<_> =
        keys.into_iter().filter(|(key, told)| !told && !shared.contains(&key.as_str())).collect();
    assert!(silent.is_empty(), "without a comment: {silent:?}");
    let silent: Vec<_> = self::keys(&with_examples()).into_iter().filter(|(_, told)| !told).collect();
    assert!(silent.is_empty(), "without a comment: {silent:?}");
}

#[test]
fn defaults_and_fields_are_the_same_set() {
    // Unknown keys are refused and no field of a section has a default: extraction succeeds only if both agree.
    Config::with("").unwrap();
    // Entries of lists have defaults, so ask each type for its fields and look for them in the examples.
    let examples: toml_keys::Keys = toml_keys::of(&with_examples());
    for (section, known) in [
        ("realtime.namespaces", fields_of("namespaces")),
        ("realtime.tokens", fields_of("tokens")),
        ("realtime.server_keys", fields_of("server_keys")),
    ] {
        assert_eq!(examples.get(section), Some(&known), "{section}");
    }
}

mod toml_keys {
    use std::collections::{BTreeMap, BTreeSet};

    pub type Keys = BTreeMap<String, BTreeSet<String>>;

    pub fn of(text: &str) -> Keys {
        let mut keys = Keys::new();
        for (path, _) in super::keys(text) {
            let (section, key) = path.rsplit_once('.').unwrap();
            keys.entry(section.to_owned()).or_default().insert(key.to_owned());
        }
        keys
    }
}

fn fields_of(list: &str) -> std::collections::BTreeSet<String> {
    let error =
        Config::with(&format!("[realtime]\n{list} = [{{ no_such_key = 1 }}]")).unwrap_err().to_string();
    let (_, fields) = error.split_once("this section has ").unwrap();
    fields.split(", ").map(str::to_owned).collect()
}

/// Keys that code reads by a method of the configuration.
const READ_BY_METHODS: &[&str] = &["files.allowed_types", "http.public_url"];
/// Keys of DESIGN section 8 whose part comes later.
const RESERVED: &[&str] = &["webhooks.allow_private_networks"];

#[test]
fn every_key_is_read_somewhere() {
    let mut code = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("config") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                code += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let known = |key: &str| READ_BY_METHODS.contains(&key) || RESERVED.contains(&key);
    let is_read = |key: &str| {
        let name = key.rsplit('.').next().unwrap();
        code.match_indices(&format!(".{name}")).any(|(at, found)| {
            !code[at + found.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    };
    let idle: Vec<_> = keys(DEFAULT).into_iter().filter(|(key, _)| !known(key) && !is_read(key)).collect();
    assert!(idle.is_empty(), "nobody reads {idle:?}");
}

#[test]
fn values_arrive_with_their_units() {
    let config = Config::with("[retention]\nuser_days = 2").unwrap();
    assert_eq!(config.calls.ring_seconds, Duration::from_secs(40));
    assert_eq!(config.retention.user_days, Duration::from_secs(2 * 86_400));
    assert_eq!(config.database.url.expose(), "sqlite://./data/switchboard.db");
    assert_eq!(config.files.url, "file://./data/files");
    assert!(!config.database.is_postgres());
}

#[test]
fn mistakes_name_file_key_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Config::from(Config::files(Some(&file)).unwrap()).unwrap_err().to_string()
    };
    let at = file.display();
    for (text, expected) in [
        ("[htp]\nlisten = 1", format!("{at}: htp: no such key; this section has server, http")),
        ("[http]\nlissten = 1", format!("{at}: http.lissten: no such key; this section has listen")),
        ("[http]\nlisten = 1", format!("{at}: http.listen: must be")),
        ("[http]\nbody_limit = -1", format!("{at}: http.body_limit: must be usize")),
        ("[http]\nbody_limit = 1", format!("{at}: http.body_limit: 1 is not from 1024 to 67108864")),
        (
            "[http]\nlisten = \"0.0.0.0:1\"\n[realtime]\ninsecure = true",
            format!("{at}: realtime.insecure: only"),
        ),
        ("[calls]\nring_seconds = 1", format!("{at}: calls.ring_seconds: 1 is not from 5 to 600")),
        ("[bus]\nurl = \"nats://10.0.0.1\"", format!("{at}: bus.url: a host that is not loopback")),
        ("[auth]\nmaster_key = \"short\"", format!("{at}: auth.master_key: is not 32 bytes")),
        ("[realtime]\nnamespaces = [{name=\"user\"}]", format!("{at}: realtime.namespaces: \"user\" cannot")),
        ("[telemetry]\nlog = \"a=b=c\"", format!("{at}: telemetry.log: ")),
        ("[http\n", format!("{at}: ")),
    ] {
        let told = load(text);
        assert!(told.starts_with(&expected), "{text:?}: {told:?} does not begin with {expected:?}");
    }
    let several = load("[http]\nbody_limit = 1\n[calls]\nring_seconds = 1");
    assert_eq!(several.lines().count(), 2, "{several}");
    let missing = Config::files(Some(&folder.path().join("none.toml"))).unwrap_err().to_string();
    assert!(missing.contains("none.toml: "), "{missing}");
}

#[test]
fn a_bus_elsewhere_needs_tls_and_credentials() {
    let taken = |url: &str| Config::with(&format!("[bus]\nurl = \"{url}\"")).is_ok();
    for url in [
        "nats://localhost:4222",
        "nats://127.0.0.2",
        "nats://u:p@[::1]:4222",
        "tls://u:p@n1.example,tls://u:p@n2.example",
    ] {
        assert!(taken(url), "{url}");
    }
    for url in [
        "nats://10.0.0.1",
        "nats://u:p@n1.example",
        "tls://n1.example",
        "http://localhost",
        "nats://localhost.example",
        "nats://127.0.0.1.example",
        "nats://127.0.0.1,nats://n1.example",
        "nats://localhost@n1.example",
    ] {
        assert!(!taken(url), "{url}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let config = Config::with(
        "[database]\nurl = \"postgres://u:hush-1@h/d\"\n[files]\ns3_secret_key = \"hush-2\"\n\
         [calls]\nturn_secret = \"hush-3\"\n[notices]\nsmtp_url = \"smtp://u:hush-4@h\"\nsms_token = \"hush-5\"\n\
         [bus]\nurl = \"nats://u:hush-6@localhost\"\n[realtime]\n\
         server_keys = [{ organization = 1, key = \"hush-7-hush-7-hush-7\" }]\n\
         tokens = [{ organization = 1, algorithms = [\"HS256\"], secret = \"hush-8-hush-8-hush-8\" }]",
    )
    .unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("hush"), "{shown}");
}
