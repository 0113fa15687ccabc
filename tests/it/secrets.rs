//! A story that touches every secret there is, told to the real program with its log at the finest level: none of
//! them stands in the log, in the metrics, or as such in the database.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    cli::{CREATE_ORGANIZATION, Place, Running},
    harness::db::block_on,
    http::client,
    realtime::Client,
    walls::estate::{BOUNDARY, form},
};

const MASTER_KEY: [u8; 32] = *b"thirty-two-bytes-of-a-master-key";
const SMTP_PASSWORD: &str = "smtp-password-0bMw3kqZ";
const SMS_TOKEN: &str = "sms-token-7TqkP1xYvv";
const BUS_PASSWORD: &str = "bus-password-9TkW2xhh";
const TURN_SECRET: &str = "turn-secret-Zk91mmQa";
const BACKEND_SECRET: &str = "backend-secret-of-thirty-two-bytes-1";
const SERVER_KEY: &str = "server-key-4hVn27sLw";
const PASSWORD: &str = "Correct-Horse-Battery-1";
const NEW_PASSWORD: &str = "Another-Horse-Battery-2";
const WRONG_PASSWORD: &str = "Mistyped-Horse-Battery-3";
/// Words for places where nothing secret belongs, and people put it all the same.
const STRAY: &str = "stray-secret-Jx82pLqW";

/// The program at work, its log in a file.
struct Story {
    address: SocketAddr,
    server: Running,
    /// What must not be seen, by what it is.
    secrets: BTreeMap<String, String>,
    requests: usize,
}

fn settings() -> String {
    format!(
        "[auth]\nmaster_key = \"{}\"\nargon2_memory_kib = 64\nargon2_passes = 1\n\
         [bus]\nurl = \"nats://me:{BUS_PASSWORD}@127.0.0.1:1\"\n\
         [calls]\nturn_urls = [\"turn:turn.example.org:3478\"]\nturn_secret = \"{TURN_SECRET}\"\n\
         [notices]\nsmtp_url = \"smtp://mailer:{SMTP_PASSWORD}@127.0.0.1:1?tls=none\"\n\
         sms_url = \"http://127.0.0.1:1/sms\"\nsms_token = \"{SMS_TOKEN}\"\n\
         [realtime]\nnamespaces = [{{ name = \"rooms\", allow_subscribe_for_client = true }}]\n\
         tokens = [{{ organization = 1, algorithms = [\"HS256\"], secret = \"{BACKEND_SECRET}\" }}]\n\
         server_keys = [{{ organization = 1, key = \"{SERVER_KEY}\" }}]\n",
        STANDARD.encode(MASTER_KEY)
    )
}

#[track_caller]
fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => panic!("no text: {value}"),
    }
}

fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('?', "%3F").replace('=', "%3D").replace('&', "%26")
}

impl Story {
    /// Remembers a secret.
    fn keep(&mut self, what: &str, secret: &str) {
        self.secrets.insert(what.to_owned(), secret.to_owned());
    }

    /// Remembers the credentials of a reply.
    fn keep_all(&mut self, at: &str, reply: &Value) {
        const KEYS: &[&str] =
            &["token", "refresh", "access_token", "private_key", "link", "signed_url", "credential"];
        match reply {
            Value::Array(items) => items.iter().for_each(|item| self.keep_all(at, item)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(secret) if KEYS.contains(&name.as_str()) && secret.len() > 8 => {
                            self.keep(&format!("{name} {} of {at}", self.secrets.len()), secret);
                        }
                        value => self.keep_all(at, value),
                    }
                }
            }
            Value::String(secret) if secret.starts_with("eyJ") => self.keep(at, secret),
            _ => {}
        }
    }

    async fn send(&mut self, head: &str, token: &str, body: &Value) -> client::Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let token = if token.is_empty() { String::new() } else { format!("\nauthorization: {token}") };
        let response = client::send(self.address, &format!("{head}{token}"), body).await;
        if let Ok(reply) = serde_json::from_slice(&response.body) {
            self.keep_all(
                head.lines().next().unwrap_or_default().split('?').next().unwrap_or_default(),
                &reply,
            );
        }
        self.requests += 1;
        response
    }

    /// What works.
    async fn ask(&mut self, head: &str, token: &str, body: Value) -> Value {
        let response = self.send(head, token, &body).await;
        assert_eq!(response.status, 200, "{head}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap_or(Value::Null)
    }

    /// What is refused.
    async fn fail(&mut self, head: &str, token: &str, body: Value) {
        let response = self.send(head, token, &body).await;
        assert!((400..500).contains(&response.status), "{head}: {} {}", response.status, response.text());
    }

    /// Ways in, and attempts at them.
    async fn sign_in(&mut self, admin: &str) -> String {
        self.ask("PUT /api/v1/info", admin, json!({ "password": PASSWORD })).await;
        let credentials = |password: &str| json!({ "email": "boss@acme.example", "password": password });
        let pair = self.ask("POST /api/v1/auth", "", credentials(PASSWORD)).await;
        self.ask("PUT /api/v1/info", &text(&pair["token"]), json!({ "password": NEW_PASSWORD })).await;
        self.fail("POST /api/v1r1/auth", "", credentials(WRONG_PASSWORD)).await;
        self.fail("POST /api/v1/auth", "", json!({ "email": [STRAY], "password": { "x": WRONG_PASSWORD } }))
            .await;
        self.fail("POST /api/v1/auth", "", json!(STRAY)).await;
        let pair = self.ask("POST /api/v1r1/auth", "", credentials(NEW_PASSWORD)).await;
        let refresh = json!({ "refresh_token": pair["refresh"] });
        let fresh = self.ask("POST /api/v1/auth/refresh", "", refresh.clone()).await;
        self.send("POST /api/v1/auth/refresh", "", &refresh).await;
        self.fail("POST /api/v1/auth/refresh", "", json!({ "refresh_token": pair["token"] })).await;
        self.ask("POST /api/v1/anonymous/auth", "", json!({ "display_name": "Vera" })).await;
        let user = text(&fresh["token"]);
        self.ask(&format!("GET /api/v1/token/info?token={user}"), "", Value::Null).await;
        self.ask(&format!("GET /api/v1/token/validate?token={user}"), "", Value::Null).await;
        self.fail("GET /api/v1/info", STRAY, Value::Null).await;
        self.fail(&format!("GET /api/v1/nothing/{STRAY}?x={STRAY}"), STRAY, Value::Null).await;
        self.fail(&format!("GET /{STRAY}"), "", Value::Null).await;
        let made =
            self.ask("POST /api/v1r1/personal_access_token", &user, json!({ "description": "x" })).await;
        self.ask("POST /api/v1r1/auth/pat", "", json!({ "token": made["token"] })).await;
        self.fail("POST /api/v1r1/auth/pat", "", json!({ "token": STRAY })).await;
        user
    }

    /// Keys of the organisation.
    async fn keys(&mut self, organization: &Value, person: &Value) -> String {
        let credentials = json!({ "email": "boss@acme.example", "password": NEW_PASSWORD });
        let admin = text(&self.ask("POST /api/v1/enterprise/auth", "", credentials).await);
        let base = "/api/v1r1/enterprise";
        let key = self.ask(&format!("POST {base}/api_keys"), &admin, json!({ "description": "x" })).await;
        let with_key = |key: &str| format!("GET {base}/api_keys\nx-helplightning-api-key: {key}");
        self.ask(&with_key(&text(&key["access_token"])), &admin, Value::Null).await;
        self.fail(&with_key(STRAY), &admin, Value::Null).await;
        let partner =
            self.ask(&format!("POST {base}/partner_keys"), &admin, json!({ "description": "x" })).await;
        let now = chrono::Utc::now().timestamp();
        let claims = json!({ "iss": "Ghazal", "aud": "Ghazal", "sub": format!("Partner:{organization}"), "exp": now + 60 });
        let pem = text(&partner["message"]["private_key"]);
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        self.keep("a partner's token", &token);
        self.ask(&format!("GET {base}/users"), &token, Value::Null).await;
        self.ask(&format!("GET {base}/impersonate/{person}"), &admin, Value::Null).await;
        admin
    }

    /// A thread with guests and files, and a call: its session.
    async fn work(&mut self, user: &str, colleague: &str, colleague_id: &Value) -> String {
        let device = json!({ "device_id": "d", "platform": "web", "push_id": "p" });
        self.ask("POST /api/v1r1/device", colleague, device).await;
        let new = json!({ "participants": [{ "id": colleague_id }] });
        let thread = self.ask("POST /api/v1r1/workboxes", user, new).await;
        let (place, base) = (text(&thread["token"]), "/api/v1r1/workbox");
        let guest = json!({ "name": "Gil", "email": "gil@example.org", "phone": "+14155552671" });
        self.ask(&format!("POST {base}/invite"), &place, guest).await;
        let silent = self.ask(&format!("POST {base}/invite/silent"), &place, json!({ "name": "Gus" })).await;
        let link = text(&silent["link"]);
        let entered = self.ask("POST /api/v1r1/auth/from_url", "", json!({ "link_url": link })).await;
        let by_url = format!("GET /api/v1r1/workboxes/by_url?link_url={}", encoded(&link));
        self.ask(&by_url, &text(&entered["token"]), Value::Null).await;
        let wrong = format!("GET /api/v1r1/workboxes/by_url?link_url={STRAY}");
        self.fail(&wrong, user, Value::Null).await;
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let head = format!("POST {base}/attachments\nauthorization: {place}\ncontent-type: {kind}");
        let file = client::send(self.address, &head, form()).await.json();
        self.keep_all("attachments", &file);
        let url = text(&file["signed_url"]);
        let path = url.split_once("/files/").map(|(_, rest)| rest.to_owned()).unwrap();
        self.send(&format!("GET /files/{path}"), "", &Value::Null).await;
        self.fail(&format!("GET /files/{path}x"), "", Value::Null).await;

        let new = json!({ "contact_tokens": [colleague] });
        let session = self.ask("POST /api/v1/sessions", user, new).await;
        let (id, own) = (text(&session["id"]), text(&session["token"]));
        let theirs = self.ask(&format!("GET /api/v1/sessions/{id}"), colleague, Value::Null).await;
        let rung = self.ask("POST /api/v1/session/video", &own, json!({ "user_token": user })).await;
        let rung = &rung["requests"][0]["request_id"];
        let answer = json!({ "request_id": rung });
        self.ask("POST /api/v1r1/session/video/accept", &text(&theirs["token"]), answer).await;
        let gone = format!("DELETE /api/v1/session/video?user_token={user}");
        self.send(&gone, &own, &Value::Null).await;
        let found = json!({ "search_term": "user", "include_token": true });
        self.ask("POST /api/v1/search", user, found).await;
        id
    }

    /// All doors of the socket.
    async fn sockets(&mut self, user: &str, place: &str, session: &str) {
        let mut socket = Client::open(self.address).await;
        socket.connect(user).await;
        let joined = json!({ "rpc": { "method": "call.join", "data": { "session_id": session } } });
        let joined = socket.call(joined).await;
        assert!(joined.to_string().contains("credential"), "{joined}");
        self.keep_all("call.join", &joined);
        socket.call(json!({ "rpc": { "method": "nothing", "data": { "token": STRAY } } })).await;
        socket.subscribe(json!({ "channel": "rooms:1", "token": STRAY })).await;
        let mut refused = Client::open(self.address).await;
        refused.try_send(&json!({ "id": 1, "connect": { "token": STRAY } })).await;
        let claims = json!({ "sub": "42", "exp": chrono::Utc::now().timestamp() + 600 });
        let key = jsonwebtoken::EncodingKey::from_secret(BACKEND_SECRET.as_bytes());
        let backend = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        self.keep("a backend's token", &backend);
        Client::open(self.address).await.connect(&backend).await;
        let connect = json!({ "id": 1, "connect": { "token": place } });
        for head in [
            "POST /connection/http_stream\ncontent-type: application/json".to_owned(),
            format!("GET /connection/sse?cf_connect={}", encoded(&connect.to_string()).replace('"', "%22")),
        ] {
            let body = if head.starts_with("POST") { connect.to_string() } else { String::new() };
            let mut stream = client::Connection::open(self.address).await;
            let (line, rest) = head.split_once('\n').unwrap_or((&head, ""));
            let length = format!("content-length: {}\r\n", body.len());
            let rest = if rest.is_empty() { String::new() } else { format!("{rest}\r\n") };
            stream.write(format!("{line} HTTP/1.1\r\nhost: x\r\n{rest}{length}\r\n{body}")).await;
            let session = stream.until("\"session\":\"").await;
            let session = session.split("\"session\":\"").nth(1).and_then(|rest| rest.split('"').next());
            self.keep(line.split('?').next().unwrap_or_default(), session.expect("an emulation session"));
        }
        for key in [SERVER_KEY, STRAY] {
            let publish = json!({ "channel": "rooms:1", "data": {} });
            self.send(&format!("POST /api/publish\nx-api-key: {key}"), "", &publish).await;
        }
    }
}

/// Lines of `text` that hold a secret.
fn leaks(secrets: &BTreeMap<String, String>, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (what, secret) in secrets {
        // The middle of a long one is as good as the whole; percent-encoding and quoting leave it alone.
        // Of a link only the signature is one.
        let secret = secret.rsplit("sig=").next().unwrap_or_default();
        let parts = secret.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        let Some(needle) = parts.max_by_key(|part| part.len()).filter(|part| part.len() >= 12) else {
            continue;
        };
        if let Some(line) = text.lines().find(|line| line.contains(needle)) {
            found.push(format!("{what}: {line:.600}"));
        }
    }
    found
}

fn fixed() -> BTreeMap<String, String> {
    [
        ("the master key", STANDARD.encode(MASTER_KEY)),
        ("the SMTP password", SMTP_PASSWORD.to_owned()),
        ("the SMS provider's token", SMS_TOKEN.to_owned()),
        ("the bus's password", BUS_PASSWORD.to_owned()),
        ("the TURN secret", TURN_SECRET.to_owned()),
        ("the backend's secret", BACKEND_SECRET.to_owned()),
        ("the server key", SERVER_KEY.to_owned()),
        ("a password", PASSWORD.to_owned()),
        ("another password", NEW_PASSWORD.to_owned()),
        ("a mistyped password", WRONG_PASSWORD.to_owned()),
        ("what strayed", STRAY.to_owned()),
    ]
    .map(|(what, secret)| (what.to_owned(), secret))
    .into()
}

fn files_in(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("switchboard.db"))
        })
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

#[test]
fn no_secret_is_in_the_log_the_metrics_or_the_database() {
    let place = Place::new();
    let (config, log) = (place.0.path().join("config.toml"), place.0.path().join("log"));
    fs::write(&config, settings()).unwrap();
    let run = |arguments: &[&str], log: &Path| {
        let arguments = [&["--config", config.to_str().unwrap()], arguments].concat();
        let mut command = place.command(&arguments);
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(log);
        command
    };
    let admin = |arguments: &[&str]| -> Value {
        let output = run(arguments, &log).output().unwrap();
        assert!(output.status.success(), "{}", fs::read_to_string(&log).unwrap());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let made = admin(CREATE_ORGANIZATION);
    let id = made["organization"]["id"].to_string();
    let person = admin(&["admin", "create-users", "--organization", &id, "--count", "1", "--json-lines"]);
    let mut child = run(&["serve"], &log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
    let mut story = Story { address, server: Running(child), secrets: fixed(), requests: 0 };
    story.keep_all("admin", &made);
    story.keep_all("admin", &person);
    let metrics = block_on(async {
        let user = story.sign_in(&text(&made["admin"]["token"])).await;
        story.keys(&made["organization"]["id"], &person["id"]).await;
        let colleague = text(&person["token"]);
        let session = story.work(&user, &colleague, &person["id"]).await;
        story.sockets(&user, &colleague, &session).await;
        // Notices are taken away in the background; they find nobody.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(&log).unwrap().contains("notice") {
            assert!(std::time::Instant::now() < deadline, "no notice was tried");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        client::send(story.address, "GET /metrics", "").await.text()
    });
    run(&["admin", "rotate-signing-key"], &log).output().unwrap();
    let Story { server, secrets, requests, .. } = story;
    assert_eq!(server.terminate(), Some(0));

    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() > requests * 2 && text.contains("sign_in"), "the log was listened to");
    assert!(secrets.len() > 40, "{:?}", secrets.keys());
    assert!(metrics.contains("switchboard_http"), "{metrics}");
    let found = leaks(&secrets, &text);
    assert!(found.is_empty(), "in the log:\n{}", found.join("\n"));
    let found = leaks(&secrets, &metrics);
    assert!(found.is_empty(), "in the metrics:\n{}", found.join("\n"));
    let stored = String::from_utf8_lossy(&files_in(&place.0.path().join("data"))).into_owned();
    assert!(stored.contains("boss@acme.example"), "the database was read");
    let found = leaks(&secrets, &stored);
    assert!(found.is_empty(), "in the database:\n{}", found.join("\n"));
}

#[test]
fn a_start_that_fails_tells_no_secret() {
    for (name, address, secret) in [
        (
            "SWITCHBOARD__DATABASE__URL",
            "postgres://me:database-password-1@127.0.0.1:1/x",
            "database-password-1",
        ),
        ("SWITCHBOARD__BUS__URL", "nats://me:bus-password-123@10.0.0.1", "bus-password-123"),
        ("SWITCHBOARD__NOTICES__SMTP_URL", "http://me:smtp-password-123@[", "smtp-password-123"),
        ("SWITCHBOARD__AUTH__MASTER_KEY", "master-key-that-is-none", "master-key-that-is-none"),
    ] {
        let place = Place::new();
        let mut command = place.command(&["serve"]);
        let output = command.env(name, address).env("RUST_LOG", "trace").output().unwrap();
        assert!(!output.status.success(), "{name}");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!told.is_empty() && !told.contains(secret), "{name}: {told}");
    }
}
