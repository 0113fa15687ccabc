//! A real server with one of everything, to be tried from all sides.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;
use switchboard::{
    domain::{caller::TokenKind, permission::Permissions},
    http::{Auth, Family, Op},
    service::tokens::{Login, Origin},
    store::{people, sql},
};

use super::{Kind, Request, Response, Sent, Target, Whose};
use crate::harness::{
    app::{PASSWORD, Server},
    db::{Raw, TestDb},
};

/// Tables that change without an effect of the request: who signs in, who asked for what, numbers that were handed out.
const RESTLESS: &[&str] =
    &["token_family", "refresh_token", "audit_log", "sequence", "idempotency", "meta", "schema_migration"];

/// Boundary of [`form`].
pub const BOUNDARY: &str = "a-boundary";

/// Acme with people, a thread, a call, keys and files; Other with people, a thread and a session.
pub struct Estate {
    pub server: Server,
    tokens: HashMap<(Auth, Whose), String>,
    others: Vec<(&'static str, String)>,
    /// For the session in which Ada is rung.
    rung: String,
    /// By `operation id.parameter` or parameter: what stands in paths.
    names: HashMap<&'static str, String>,
    /// By operation id.
    bodies: HashMap<&'static str, Value>,
    /// By operation id, with `?`.
    queries: HashMap<&'static str, String>,
}

/// A form with one small file.
pub fn form() -> Vec<u8> {
    let head =
        "content-disposition: form-data; name=\"attachment\"; filename=\"a.txt\"\r\ncontent-type: text/plain";
    let field = |(name, value)| {
        format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields = [("name", "a.txt"), ("mime_type", "text/plain"), ("type", "incall")].map(field).concat();
    format!("{fields}--{BOUNDARY}\r\n{head}\r\n\r\nhello\r\n--{BOUNDARY}--\r\n").into_bytes()
}

/// Invites somebody; the body with which they accept.
async fn invitation(server: &Server, administrator: &str, name: &str) -> Value {
    let email = format!("{name}@acme.test");
    let new = json!({ "name": name, "email": email, "invite": true });
    server.post("/api/v1r1/enterprise/users", new).with(administrator).ok().await;
    let notices = server.outbox();
    let (_, rest) = notices[0].text.split_once("token=").expect("the notice holds a link");
    let token = rest.split_whitespace().next();
    json!({ "invitation_token": token, "user_info": { "email": email, "name": name, "password": PASSWORD } })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn id(value: &Value) -> String {
    value["id"].as_str().map_or_else(|| value["id"].to_string(), str::to_owned)
}

impl Estate {
    /// Builds it.
    pub async fn new(db: TestDb) -> Self {
        let settings = "[auth]\nargon2_memory_kib = 64\nargon2_passes = 1\nsign_in_attempts = 10000\n\
                        sign_in_attempts_address = 100000\n";
        let server = Server::start_with(db, settings).await;
        let mut estate = Self {
            server,
            tokens: HashMap::new(),
            others: Vec::new(),
            rung: String::new(),
            names: HashMap::new(),
            bodies: HashMap::new(),
            queries: HashMap::new(),
        };
        let ben = estate.server.hire("Ben").await;
        estate.server.hire("Carl").await;
        estate.expired().await;
        estate.settle(ben).await;
        estate.neighbours().await;
        estate
    }

    /// Tokens of all kinds, then their time goes by.
    async fn expired(&mut self) {
        let server = &self.server;
        let (user, enterprise) =
            (server.sign_in("ada@acme.test").await, server.administer("ada@acme.test").await);
        let new = json!({ "contact_tokens": [server.sign_in("ben@acme.test").await] });
        let session = server.post("/api/v1/sessions", new).with(&user).ok().await;
        let thread = server.post("/api/v1r1/workboxes", json!({})).with(&user).ok().await;
        let (session, thread) = (text(&session["token"]), text(&thread["token"]));
        server.wait(25 * 60 * 60);
        for (kind, token) in [
            (Auth::User, user),
            (Auth::Enterprise, enterprise),
            (Auth::Session, session),
            (Auth::Workbox, thread),
        ] {
            self.tokens.insert((kind, Whose::Expired), token);
        }
    }

    /// What Acme has.
    async fn settle(&mut self, ben_id: i64) {
        let server = &self.server;
        let admin = server.administer("ada@acme.test").await;
        let ada = server.sign_in("ada@acme.test").await;
        let (ben, carl) = (server.sign_in("ben@acme.test").await, server.sign_in("carl@acme.test").await);
        for (name, token) in [("ada", &ada), ("ben", &ben)] {
            let device = json!({ "device_id": name, "platform": "web", "push_id": format!("push-{name}") });
            server.post("/api/v1r1/device", device).with(token).ok().await;
        }
        let post =
            async |path: &str, body: Value, token: &str| server.post(path, body).with(token).ok().await;

        let enterprise = "/api/v1r1/enterprise";
        let field =
            post(&format!("{enterprise}/custom_fields"), json!({ "name": "F", "type": "TEXT" }), &admin)
                .await;
        let api_key = post(&format!("{enterprise}/api_keys"), json!({ "description": "app" }), &admin).await;
        let partner =
            post(&format!("{enterprise}/partner_keys"), json!({ "description": "crm" }), &admin).await;
        let pat = post("/api/v1r1/personal_access_token", json!({ "description": "x" }), &ada).await;

        let new = json!({ "title": "The pump leaks", "participants": [{ "id": ben_id }] });
        let thread = post("/api/v1r1/workboxes", new, &ada).await;
        let place = text(&thread["token"]);
        let workbox = "/api/v1r1/workbox";
        let words = json!({ "type": "Text", "metadata": { "message": "hello" } });
        let message = post(&format!("{workbox}/messages"), words.clone(), &place).await;
        let mailed = json!({ "name": "Gil", "email": "gil@example.org" });
        let invited = post(&format!("{workbox}/invite"), mailed, &place).await;
        let silent = post(&format!("{workbox}/invite/silent"), json!({ "name": "Gus" }), &place).await;
        let procedure = post(&format!("{workbox}/procedure"), json!({ "procedure_id": 7 }), &place).await;
        let file = self.attach(&place).await;

        // Carl rings Ada in one session; in another Ada rang Ben, who answered.
        let rings = post("/api/v1/sessions", json!({ "contact_tokens": [ada] }), &carl).await;
        let ringing = post("/api/v1r1/session/video", json!({}), &text(&rings["token"])).await;
        let of_ada = server.get(&format!("/api/v1/sessions/{}", text(&rings["id"]))).with(&ada).ok().await;
        self.rung = text(&of_ada["token"]);
        let session =
            post(&format!("{workbox}/session"), json!({ "participant_ids": [ben_id] }), &place).await;
        let of_ben = server.get(&format!("/api/v1/sessions/{}", text(&session["id"]))).with(&ben).ok().await;
        let rung = post("/api/v1r1/session/video", json!({}), &text(&session["token"])).await;
        let answer = json!({ "request_id": rung["request_id"] });
        let accepted = post("/api/v1r1/session/video/accept", answer, &text(&of_ben["token"])).await;
        let call = text(&accepted["call_id"]);
        let note = json!({
            "attachment": "aGVsbG8=", "name": "n.txt", "mime_type": "text/plain", "type": "postcall",
        });
        let note_path = format!("/api/v1r1/user/calls/{call}/attachments");
        let note_of_call = post(&note_path, note.clone(), &ada).await;
        sql("update conversation set call_id = $2 where id = $1")
            .bind(thread["id"].as_i64())
            .bind(call.as_str())
            .execute(&server.db.db)
            .await
            .unwrap();

        let pair = json!({ "email": "ada@acme.test", "password": PASSWORD });
        let refresh = post("/api/v1r1/auth", pair, "").await;
        let found = json!({ "search_term": "ben", "include_token": true });
        let public = post("/api/v1/search", found, &ada).await;
        self.others = vec![
            ("refresh", text(&refresh["refresh"])),
            ("public", text(&public[0]["token"])),
            ("personal access", text(&pat["token"])),
            ("API key as a", text(&api_key["access_token"])),
        ];
        let file_url = text(&file["signed_url"]);
        self.names = [
            ("get_access_token.id", id(&pat)),
            ("delete_access_token.id", id(&pat)),
            ("get_api_key.id", id(&api_key)),
            ("update_api_key.id", id(&api_key)),
            ("delete_api_key.id", id(&api_key)),
            ("get_workbox_attachment.id", id(&file)),
            ("delete_workbox_attachment.id", id(&file)),
            ("update_custom_field.id", id(&field)),
            ("delete_custom_field.id", id(&field)),
            ("update_partner_key.id", id(&partner["message"])),
            ("delete_partner_key.id", id(&partner["message"])),
            ("get_colleague.id", ben_id.to_string()),
            ("get_workbox_of_user.id", id(&thread)),
            ("get_any_workbox.id", id(&thread)),
            ("get_workbox_of_call.id", call.clone()),
            ("get_any_workbox_of_call.id", call.clone()),
            ("get_session.id", id(&session)),
            ("call_id", call.clone()),
            ("attachment_id", id(&note_of_call)),
            ("session_id", id(&session)),
            ("message_id", id(&message)),
            ("user_id", ben_id.to_string()),
            ("uuid", text(&invited["guests"][0]["uuid"])),
            ("device_id", "push-ada".to_owned()),
            ("token", file_url.rsplit('/').next().unwrap_or_default().to_owned()),
        ]
        .into();
        let administrator = server.administer("ada@acme.test").await;
        let (first, second) = (
            invitation(server, &administrator, "dana").await,
            invitation(server, &administrator, "dora").await,
        );
        self.bodies = [
            ("register_v1", first),
            ("register", second),
            ("create_access_token", json!({ "description": "x" })),
            ("update_info", json!({ "name": "Ada" })),
            ("set_unavailable", json!({ "expires_after": 60 })),
            ("update_user", json!({ "title": "Chief" })),
            ("create_api_key", json!({ "description": "d" })),
            ("update_api_key", json!({ "description": "e" })),
            ("create_call_attachment", note),
            ("create_call_comment", json!({ "comment": "well" })),
            ("rate_call", json!({ "rating": 5 })),
            ("add_call_tags", json!(["red"])),
            ("replace_call_tags", json!(["blue"])),
            ("update_call", json!({ "alt1_id": "T-1" })),
            ("create_custom_field", json!({ "name": "G", "type": "TEXT" })),
            ("update_custom_field", json!({ "name": "H" })),
            ("register_device", json!({ "device_id": "d", "platform": "web", "push_id": "p" })),
            ("create_enterprise_user", json!({ "name": "New", "email": "new@acme.test" })),
            ("update_enterprise_user", json!({ "title": "Fitter" })),
            ("invite_guest", json!({ "name": "G", "email": "g@example.org" })),
            ("invite_guest_silently", json!({ "name": "G" })),
            ("invite_guest_again", json!({})),
            ("send_message", words),
            ("edit_message", json!({ "metadata": { "message": "hi" } })),
            ("create_partner_key", json!({ "description": "x" })),
            ("update_partner_key", json!({ "description": "y" })),
            ("set_last_read_message", json!({})),
            ("invite_to_session", json!({ "call_id": call, "contact_tokens": [carl], "user_token": ada })),
            ("ring_session", json!({ "user_token": ada })),
            ("request_video", json!({})),
            ("accept_video", json!({ "request_id": ringing["request_id"] })),
            ("decline_video", json!({ "request_id": ringing["request_id"] })),
            ("search_people", json!({ "search_term": "ben" })),
            ("create_session", json!({ "contact_tokens": [ben] })),
            ("open_workbox_session", json!({ "participant_ids": [ben_id] })),
            ("close_workbox", json!({})),
            ("reopen_workbox", json!({})),
            ("set_workbox_fields", json!({ "values": [{ "id": field["id"], "value": "x" }] })),
            ("set_workbox_title", json!({ "title": "Dry" })),
            ("set_workbox_participants", json!({ "coworker_ids": [ben_id] })),
            ("add_workbox_procedure", json!({ "procedure_id": 8 })),
            ("move_workbox_procedure", json!({ "id": procedure["procedures"][0]["id"], "state": "DONE" })),
            ("create_workbox", json!({ "title": "x", "participants": [{ "id": ben_id }] })),
            ("sign_in_v1", json!({ "email": "ada@acme.test", "password": PASSWORD })),
            ("sign_in", json!({ "email": "ada@acme.test", "password": PASSWORD })),
            ("sign_in_enterprise", json!({ "email": "ada@acme.test", "password": PASSWORD })),
            ("refresh_tokens", json!({ "refresh_token": refresh["refresh"] })),
            ("sign_in_anonymous", json!({ "display_name": "Vera" })),
            ("sign_in_from_url", json!({ "link_url": silent["link"] })),
            ("sign_in_with_access_token", json!({ "token": pat["token"] })),
            ("federate", json!({ "email": "ada@acme.test" })),
        ]
        .into();
        let link = text(&silent["link"]).replace(':', "%3A").replace('?', "%3F").replace('=', "%3D");
        self.queries = [
            ("cancel_session_ring", format!("?user_token={ada}")),
            ("get_workbox_by_url", format!("?link_url={link}")),
            ("search_team", "?search_term=ben".to_owned()),
            ("search_directory", "?search_term=ben".to_owned()),
            ("get_token_info", format!("?token={ada}")),
            ("validate_token", format!("?token={ada}")),
        ]
        .into();
        for (kind, token) in [
            (Auth::User, ada),
            (Auth::Enterprise, admin),
            (Auth::Session, text(&session["token"])),
            (Auth::Workbox, place),
        ] {
            self.tokens.insert((kind, Whose::Master), token);
        }
        self.mint(Whose::Powerless).await;
    }

    /// Tokens of Ada for a powerless person, or for the master again.
    async fn mint(&mut self, whose: Whose) {
        let services = &self.server.kernel().services;
        let row = people::by_id(&self.server.db.db, self.server.acme.admin.id).await.unwrap().unwrap();
        let mut login = Login::of(&row, None, Origin::Admin, None);
        if whose == Whose::Powerless {
            login.permissions = Permissions::NONE;
        }
        let tokens = &services.tokens;
        let user = tokens.mint_user(&login, tokens.user_end()).unwrap();
        let caller = tokens.verify(&user, &[TokenKind::User]).await.unwrap();
        let session = tokens.mint_session(&caller, self.names["session_id"].parse().unwrap(), &[], "").await;
        let thread = self.names["get_workbox_of_user.id"].parse().unwrap();
        let thread = tokens.mint_workbox(&caller, thread).await;
        for (kind, token) in [
            (Auth::Enterprise, tokens.mint_enterprise(&login)),
            (Auth::Session, session),
            (Auth::Workbox, thread),
            (Auth::User, Ok(user)),
        ] {
            self.tokens.insert((kind, whose), token.unwrap());
        }
    }

    /// Otto of Other: his own thread, and a session with Olga.
    async fn neighbours(&mut self) {
        let server = &self.server;
        let (user, enterprise) =
            (server.sign_in("otto@other.test").await, server.administer("otto@other.test").await);
        let olga = json!({ "name": "Olga", "email": "olga@example.org" });
        server.post("/api/v1r1/enterprise/users", olga).with(&enterprise).ok().await;
        let search = json!({ "search_term": "olga", "include_token": true });
        let found = server.post("/api/v1/search", search).with(&user).ok().await;
        let new = json!({ "contact_tokens": [found[0]["token"]] });
        let session = server.post("/api/v1/sessions", new).with(&user).ok().await;
        let thread = server.post("/api/v1r1/workboxes", json!({})).with(&user).ok().await;
        for (kind, token) in [
            (Auth::Session, text(&session["token"])),
            (Auth::Workbox, text(&thread["token"])),
            (Auth::User, user),
            (Auth::Enterprise, enterprise),
        ] {
            self.tokens.insert((kind, Whose::Foreigner), token);
        }
    }

    /// Uploads a file to the thread of that token.
    pub async fn attach(&self, place: &str) -> Value {
        let content = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers = format!("\nauthorization: {place}\ncontent-type: {content}");
        let path = "/api/v1r1/workbox/attachments";
        let (file, _) = self.server.exchange("POST", path, &headers, &form()).await;
        assert_eq!(file.status, 200, "{}", file.text());
        file.json()
    }

    /// What stands for a parameter in paths.
    pub fn name(&self, parameter: &str) -> &str {
        &self.names[parameter]
    }

    /// The ring that rings.
    pub fn ringing(&self) -> Value {
        self.bodies["accept_video"]["request_id"].clone()
    }

    /// The body of a request of the master's that works.
    pub fn body_of(&self, operation: &str) -> Value {
        self.bodies[operation].clone()
    }

    /// The master's token for an operation; empty where none is needed.
    pub fn key(&self, op: &Op) -> &str {
        let kind = match op.auth {
            Auth::None => return "",
            Auth::UserOrEnterprise => Auth::User,
            kind => kind,
        };
        &self.tokens[&(kind, Whose::Master)]
    }

    /// The operation's path with the parameters of Acme's things.
    pub async fn path(&self, family: &Family, op: &Op) -> String {
        super::filled(self, family, op).await
    }

    /// The master's tokens anew, after something ended them.
    pub async fn renew(&mut self) {
        let old = self.tokens[&(Auth::User, Whose::Master)].clone();
        self.mint(Whose::Master).await;
        let new = &self.tokens[&(Auth::User, Whose::Master)];
        for body in self.bodies.values_mut() {
            *body = serde_json::from_str(&body.to_string().replace(&old, new)).unwrap();
        }
        for query in self.queries.values_mut() {
            *query = query.replace(&old, new);
        }
    }

    /// Whether the master still gets in everywhere.
    pub async fn stands(&self) -> bool {
        let (user, enterprise) =
            (&self.tokens[&(Auth::User, Whose::Master)], &self.tokens[&(Auth::Enterprise, Whose::Master)]);
        let (session, thread) =
            (&self.tokens[&(Auth::Session, Whose::Master)], &self.tokens[&(Auth::Workbox, Whose::Master)]);
        for (path, token) in [
            ("/api/v1r1/user", user),
            ("/api/v1r1/enterprise/custom_fields", enterprise),
            ("/api/v1r1/session/auth", session),
            ("/api/v1r1/workbox", thread),
        ] {
            if self.server.get(path).with(token).send().await.status != 200 {
                return false;
            }
        }
        true
    }
}

impl Target for Estate {
    async fn send(&self, request: Request) -> Response {
        let headers: String =
            request.headers.iter().flat_map(|(name, value)| ["\n", name, ": ", value]).collect();
        // The runner judges for itself.
        let body = request.body.unwrap_or_default();
        let (response, _) = self.server.exchange(request.method, &request.path, &headers, &body).await;
        let content_type = response.header("content-type").map(str::to_owned);
        Response { status: response.status, content_type, body: response.body }
    }

    async fn token(&self, kind: Auth, whose: Whose) -> Option<String> {
        self.tokens.get(&(kind, whose)).cloned()
    }

    fn own_token(&self, op: &Op) -> Option<String> {
        ["accept_video", "decline_video"].contains(&op.id).then(|| self.rung.clone())
    }

    fn absent(&self, op: &Op, name: &str) -> String {
        let absent = match (op.id, name) {
            (_, "call_id") | ("get_any_workbox_of_call" | "get_workbox_of_call", _) => {
                "call_00000000-0000-7000-8000-000000000000"
            }
            (_, "uuid" | "session_id") | ("get_session", _) => "00000000-0000-7000-8000-000000000000",
            _ => "999999999",
        };
        absent.to_owned()
    }

    fn other_tokens(&self) -> Vec<(&'static str, String)> {
        self.others.clone()
    }

    fn token_header(&self, _: &Family) -> &'static str {
        "authorization"
    }

    async fn parameter(&self, op: &Op, name: &str) -> String {
        let own = format!("{}.{name}", op.id);
        let value = self.names.get(own.as_str()).or_else(|| self.names.get(name));
        value.unwrap_or_else(|| panic!("the estate has nothing for {own}")).clone()
    }

    fn query(&self, op: &Op) -> String {
        self.queries.get(op.id).cloned().unwrap_or_default()
    }

    fn body(&self, op: &Op) -> Option<Sent> {
        if op.id == "create_workbox_attachment" {
            return Some(Sent { kind: Kind::Form, bytes: form() });
        }
        let body = self.bodies.get(op.id)?;
        Some(Sent { kind: Kind::Json, bytes: body.to_string().into_bytes() })
    }

    fn names_things(&self, op: &Op) -> bool {
        const BY_BODY: &[&str] = &[
            "invite_to_session",
            "ring_session",
            "cancel_session_ring",
            "accept_video",
            "decline_video",
            "create_session",
            "open_workbox_session",
            "set_workbox_fields",
            "set_workbox_participants",
            "move_workbox_procedure",
            "create_workbox",
            "get_workbox_by_url",
        ];
        op.path.contains('{') || BY_BODY.contains(&op.id)
    }

    async fn fingerprint(&self) -> String {
        let mut raw = self.server.db.raw().await;
        let mut prints = String::new();
        for table in tables(&mut raw).await {
            if RESTLESS.contains(&table.as_str()) {
                continue;
            }
            let rows = rows(&mut raw, &table).await;
            let mut hash = Sha256::new();
            rows.iter().for_each(|row| hash.update(row.as_bytes()));
            writeln!(prints, "{table} {} rows {}", rows.len(), hex::encode(hash.finalize())).unwrap();
        }
        prints
    }
}

async fn all(raw: &mut Raw, text: String) -> Vec<String> {
    let text = AssertSqlSafe(text);
    match raw {
        Raw::Sqlite(connection) => sqlx::query_scalar(text).fetch_all(connection).await,
        Raw::Postgres(connection) => sqlx::query_scalar(text).fetch_all(connection).await,
    }
    .unwrap()
}

async fn tables(raw: &mut Raw) -> Vec<String> {
    let text = match raw {
        Raw::Sqlite(_) => {
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite%' order by 1"
        }
        Raw::Postgres(_) => "select tablename::text from pg_tables where schemaname = 'public' order by 1",
    };
    all(raw, text.to_owned()).await
}

/// Each row as text, in an order that does not depend on where it lies.
async fn rows(raw: &mut Raw, table: &str) -> Vec<String> {
    if let Raw::Postgres(_) = raw {
        return all(raw, format!("select t::text from {table} t order by 1")).await;
    }
    let columns = all(raw, format!("select name from pragma_table_info('{table}')")).await;
    let columns: Vec<_> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
    all(raw, format!("select {} as row from {table} order by 1", columns.join(" || ',' || "))).await
}
