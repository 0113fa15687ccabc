//! A page of the REST API beside the least that could serve it: a bare actix-web handler that runs the same three
//! queries through sqlx on the same database and renders the same fields, and knows nothing of tokens, rights,
//! contracts, logs or metrics.
//!
//! `cargo bench --bench rest`: requests a second of both, in turns, and their ratio; DESIGN §7 asks for 70 %.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{
    Pool, Sqlite,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use sqlx_macros::FromRow;
use switchboard::{
    app::{self, Ports},
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        secret::Secret,
    },
    config::Config,
};

/// Connections that always have a request under way.
const CLIENTS: usize = 16;
/// Messages of a page.
const PAGE: usize = 25;
/// Turns of each server.
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(2);
const PASSWORD: &str = "correct horse";

const PLACE: &str = "select p.guest, p.read_id from participant p join conversation c on c.id = p.conversation_id \
    where p.conversation_id = ?1 and p.person_id = ?2 and p.removed_at is null";
const MESSAGES: &str = "select conversation_id, id, uuid, author_id, author_name, type, version, metadata, internal, \
    sent_at, edited_at, deleted_at, stream_offset from message where conversation_id = ?1 \
    order by sent_at desc, id desc limit ?2";
const AUTHORS: &str = "select id, name, username, title, location from person \
    where id in (select value from json_each(?1))";

#[derive(FromRow)]
struct Message {
    conversation_id: i64,
    id: i64,
    uuid: uuid::Uuid,
    author_id: i64,
    author_name: String,
    #[sqlx(rename = "type")]
    kind: String,
    version: i64,
    metadata: String,
    internal: bool,
    sent_at: i64,
    edited_at: Option<i64>,
    deleted_at: Option<i64>,
    stream_offset: i64,
}

#[derive(FromRow)]
struct Author {
    id: i64,
    name: String,
    username: Option<String>,
    title: Option<String>,
    location: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: i64,
    uuid: uuid::Uuid,
    workbox_id: i64,
    r#type: &'a str,
    version: i64,
    metadata: &'a str,
    internal: bool,
    sent_at: Timestamp,
    user: Option<Value>,
    user_name: &'a str,
    edited: bool,
    edited_at: Option<i64>,
    deleted: bool,
    deleted_at: Option<i64>,
    read: bool,
    offset: i64,
}

/// The page as anybody would write it.
async fn page(pool: web::Data<Pool<Sqlite>>, place: web::Query<Place>) -> actix_web::Result<HttpResponse> {
    let failed = actix_web::error::ErrorInternalServerError::<sqlx::Error>;
    let (_guest, read): (bool, i64) = sqlx::query_as(PLACE)
        .bind(place.thread)
        .bind(place.person)
        .fetch_one(&**pool)
        .await
        .map_err(failed)?;
    let limit = i64::try_from(PAGE + 1).unwrap_or(0);
    let rows: Vec<Message> =
        sqlx::query_as(MESSAGES).bind(place.thread).bind(limit).fetch_all(&**pool).await.map_err(failed)?;
    let mut ids: Vec<i64> = rows.iter().map(|row| row.author_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let ids = serde_json::to_string(&ids)?;
    let authors: Vec<Author> = sqlx::query_as(AUTHORS).bind(ids).fetch_all(&**pool).await.map_err(failed)?;
    let entries: Vec<Entry<'_>> = rows
        .iter()
        .take(PAGE)
        .map(|row| Entry {
            id: row.id,
            uuid: row.uuid,
            workbox_id: row.conversation_id,
            r#type: &row.kind,
            version: row.version,
            metadata: &row.metadata,
            internal: row.internal,
            sent_at: Timestamp(row.sent_at),
            user: authors.iter().find(|author| author.id == row.author_id).map(|author| {
                json!({
                    "id": author.id, "name": author.name, "username": author.username, "title": author.title,
                    "location": author.location, "avatar": { "original": null, "thumb": null },
                })
            }),
            user_name: &row.author_name,
            edited: row.edited_at.is_some(),
            edited_at: row.edited_at,
            deleted: row.deleted_at.is_some(),
            deleted_at: row.deleted_at,
            read: row.author_id == place.person || row.id <= read,
            offset: row.stream_offset,
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "entries": entries })))
}

#[derive(serde::Deserialize)]
struct Place {
    thread: i64,
    person: i64,
}

/// One connection that is kept.
struct Client {
    reader: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Client {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self { reader: BufReader::new(stream), body: Vec::new() }
    }

    /// Sends a request and reads the answer; its status.
    fn exchange(&mut self, request: &[u8]) -> u16 {
        self.reader.get_mut().write_all(request).expect("the server reads");
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("the server answers");
            let text = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            } else if text.is_empty() {
                break;
            }
        }
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body).expect("the whole answer");
        status
    }
}

/// A `POST` of JSON on a connection of its own.
fn post(address: SocketAddr, path: &str, token: &str, body: &Value) -> Value {
    let body = body.to_string();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut client = Client::open(address);
    let status = client.exchange(request.as_bytes());
    assert!(status < 300, "{path}: {status} {}", String::from_utf8_lossy(&client.body));
    serde_json::from_slice(&client.body).unwrap_or_default()
}

/// Requests a second for one turn.
fn rate(address: SocketAddr, request: &str) -> f64 {
    let (over, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(CLIENTS + 1)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, ready, request) = (Arc::clone(&over), Arc::clone(&ready), request.as_bytes().to_vec());
            thread::spawn(move || {
                let mut client = Client::open(address);
                assert_eq!(client.exchange(&request), 200, "{}", String::from_utf8_lossy(&client.body));
                ready.wait();
                let mut count = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.exchange(&request), 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    ready.wait();
    let started = Instant::now();
    thread::sleep(TURN);
    over.store(true, Ordering::Relaxed);
    let count: u32 = clients.into_iter().map(|client| client.join().expect("a client")).sum();
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn bare(database: &Path) -> SocketAddr {
    let options = SqliteConnectOptions::new().filename(database).pragma("query_only", "on");
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await;
            let pool = web::Data::new(pool.expect("the database opens"));
            let make = move || App::new().app_data(pool.clone()).route("/page", web::get().to(page));
            let server = HttpServer::new(make).workers(2).bind("127.0.0.1:0").expect("a free port");
            sender.send(server.addrs()[0]).expect("somebody waits");
            server.run().await
        })
    });
    receiver.recv().expect("the bare server started")
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("switchboard.db");
    let mut config = Config::with("").expect("the defaults");
    config.database.url = Secret::new(format!("sqlite://{}", database.display()));
    config.server.data_dir = folder.path().to_owned();
    config.files.url = format!("file://{}", folder.path().join("files").display());
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    let ports = Ports { clock: Clock::system(), random: Random::from_os() };
    let ours = app::App::start(config, ports).expect("the server starts");
    let address = ours.address();
    let services = ours.kernel().services.clone();
    let password = Secret::new(PASSWORD);
    let made = ours.kernel().runtime().block_on(async move {
        services.provisioning.create_organization("Acme", ("Ada", "ada@acme.test"), Some(&password)).await
    });
    let person = made.expect("an organisation").admin.id;

    let pair = post(address, "/api/v1/auth", "", &json!({ "email": "ada@acme.test", "password": PASSWORD }));
    let user = pair["token"].as_str().expect("a token");
    let thread = post(address, "/api/v1r1/workboxes", user, &json!({ "title": "The pump leaks" }));
    let token = thread["token"].as_str().expect("a token of the thread");
    for number in 0..4 * PAGE {
        let message = json!({ "type": "Text", "metadata": { "message": format!("It drips: {number:060}") } });
        post(address, "/api/v1r1/workbox/messages", token, &message);
    }
    let plain = bare(&database);
    let of_ours = format!(
        "GET /api/v1r1/workbox/messages?limit={PAGE} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\r\n"
    );
    let of_bare = format!("GET /page?thread={}&person={person} HTTP/1.1\r\nhost: x\r\n\r\n", thread["id"]);
    for (name, address, request) in [("ours", address, &of_ours), ("bare", plain, &of_bare)] {
        let mut client = Client::open(address);
        client.exchange(request.as_bytes());
        let page: Value = serde_json::from_slice(&client.body).expect("JSON");
        let entries = page["entries"].as_array().map_or(0, Vec::len);
        assert_eq!(entries, PAGE, "{name}: {page}");
        println!("{name}: {entries} messages, {} bytes", client.body.len());
    }
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let (bare, ours) = (rate(plain, &of_bare), rate(address, &of_ours));
            println!("round {round}: bare {bare:.0} a second, ours {ours:.0}, ratio {:.2}", ours / bare);
            ours / bare
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ROUNDS / 2]);
    ours.stop();
}
