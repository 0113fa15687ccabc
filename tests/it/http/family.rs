//! A family for tests: a few operations that do what their names say.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};
use switchboard::base::secret::Secret;
use switchboard::{
    app::{Kernel, Ports},
    base::{metrics::Metrics, random::Random, tasks::Tasks},
    config::Config,
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        error::{Error, Result},
        ids::{OrgId, PersonId},
        once::{Once, Scope},
    },
    http::{
        Auth, Body, Code, Cx, Family, Json, Nothing, Opt, Permissions, Query, Reply, Seg, Upload,
        dispatch::{Dispatcher, Parts},
        family::{At, Authenticate, Credentials, Head},
        health::Ready,
        idempotency::{Outcomes, Remembered},
        reply::File,
        server::{self, Hooks, Running},
    },
    operations,
    service::Services,
};

#[derive(Debug, Deserialize)]
pub struct NewRoom {
    name: String,
}
#[derive(Debug, Deserialize)]
pub struct Listing {
    #[serde(default)]
    ids: Vec<i64>,
    page: Option<u32>,
}
#[derive(Debug, Serialize)]
pub struct Room {
    id: i64,
    name: String,
    by: String,
    made: u32,
}

operations! {
    base "/v1/rooms";
    /// Make a room.
    POST "" => 201 create_room(Body<NewRoom>) -> Json<Room>, User + CALL, fails Constraint;
    /// Lists.
    GET "" => 200 list_rooms(Query<Listing>) -> Json<Vec<i64>>, User;
    /// Reads.
    GET "/{room}" => 200 get_room(Seg<i64>) -> Json<Room>, UserOrEnterprise, fails NotFound;
    /// Removes.
    DELETE "/{id}" => 200 delete_room(Seg<i64>) -> Nothing, User + MANAGE_USERS;
    /// Two parameters.
    GET "/{room}/keys/{key}" => 200 get_key(Seg<i64>, Seg<String>) -> Json<(i64, String)>, None [no_store];
    /// Makes a mistake.
    POST "/panic" => 200 panics() -> Nothing, None;
    /// Takes its time.
    POST "/slow" => 200 slow() -> Json<u32>, User;
    /// Fails with what it does not declare.
    GET "/undeclared" => 200 undeclared() -> Nothing, None;
    /// Forgets the outcome.
    POST "/careless" => 200 careless() -> Nothing, User;
    /// Small bodies only.
    POST "/small" => 200 small(Opt<Body<NewRoom>>) -> Json<bool>, None [limit(64)];
    /// Counts an upload.
    POST "/upload" => 200 upload(Upload) -> Json<Vec<(String, usize)>>, None [upload];
    /// Refuses an upload unread.
    POST "/refuse_upload" => 200 refuse_upload(Opt<Upload>) -> Nothing, None [upload], fails NotFound;
    /// A file of a million bytes.
    GET "/file" => 200 file() -> File, None;
}

/// Who had his slow work done.
pub static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// How many rooms were made, over all tests.
static MADE: AtomicU32 = AtomicU32::new(0);
static REMEMBERED: Mutex<Option<HashMap<Scope, Remembered>>> = Mutex::new(None);

fn remember(once: &Once, outcome: u32) {
    if let Some((scope, hash)) = once.record() {
        let mut all = REMEMBERED.lock().unwrap();
        let row = Remembered { hash: *hash, outcome: outcome.to_string() };
        all.get_or_insert_default().insert(scope.clone(), row);
    }
}

async fn create_room(cx: &Cx, Body(new): Body<NewRoom>) -> Result<Json<Room>> {
    if new.name == "taken" {
        return Err(Error::constraint("there is such a room"));
    }
    let made = if let Some(made) = cx.once.replayed()? {
        made
    } else {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let made = MADE.fetch_add(1, Ordering::SeqCst) + 1;
        remember(&cx.once, made);
        made
    };
    Ok(Json(Room { id: 1, name: new.name, by: cx.caller.label(), made }))
}
async fn list_rooms(_: &Cx, Query(query): Query<Listing>) -> Result<Json<Vec<i64>>> {
    Ok(Json(query.ids.into_iter().chain(query.page.map(i64::from)).collect()))
}
async fn get_room(cx: &Cx, Seg(id): Seg<i64>) -> Result<Json<Room>> {
    if id == 404 {
        return Err(Error::not_found("room"));
    }
    Ok(Json(Room { id, name: String::new(), by: cx.caller.label(), made: 0 }))
}
async fn delete_room(_: &Cx, _: Seg<i64>) -> Result<Nothing> {
    Ok(Nothing)
}
async fn get_key(_: &Cx, Seg(room): Seg<i64>, Seg(key): Seg<String>) -> Result<Json<(i64, String)>> {
    Ok(Json((room, key)))
}
async fn panics(_: &Cx) -> Result<Nothing> {
    panic!("a defect")
}
async fn slow(cx: &Cx) -> Result<Json<u32>> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    DONE.lock().unwrap().push(cx.caller.label());
    remember(&cx.once, 0);
    Ok(Json(0))
}
async fn undeclared(_: &Cx) -> Result<Nothing> {
    Err(Error::new(Code::Busy, "x"))
}
async fn careless(_: &Cx) -> Result<Nothing> {
    Ok(Nothing)
}
async fn small(_: &Cx, Opt(body): Opt<Body<NewRoom>>) -> Result<Json<bool>> {
    Ok(Json(body.is_some()))
}
async fn upload(_: &Cx, mut form: Upload) -> Result<Json<Vec<(String, usize)>>> {
    let mut parts = Vec::new();
    while let Some(mut part) = form.next().await? {
        let name = part.name().to_owned();
        let mut size = 0;
        while let Some(chunk) = part.chunk().await? {
            size += chunk.len();
        }
        parts.push((name, size));
    }
    Ok(Json(parts))
}
async fn refuse_upload(_: &Cx, _: Opt<Upload>) -> Result<Nothing> {
    Err(Error::not_found("workbox"))
}
async fn file(cx: &Cx) -> Result<File> {
    let etag = "\"v1\"".to_owned();
    let part = cx.request.wanted_part(1_000_000, &etag)?;
    let size = match &part {
        switchboard::http::ranges::Requested::Part(range) => range.end - range.start,
        _ => 1_000_000,
    };
    let piece = |size: u64| Ok(vec![7_u8; usize::try_from(size).unwrap()].into());
    let whole = size / 1_000;
    let bytes = stream::iter((0..whole).map(move |_| piece(1_000)).chain([piece(size % 1_000)])).boxed();
    Ok(File { name: "a.bin".into(), media_type: "application/x".into(), size: 1_000_000, etag, part, bytes })
}

pub static FAMILY: Family = Family {
    name: "rooms",
    base: "/api",
    prefixes: &["/api/"],
    tables: &[OPS],
    contract: &["openapi: 3.1.0\npaths: {}\n", "info:\n  title: Rooms\n"],
    headers: &["x-rooms-key"],
    credentials,
    refuse,
};

fn credentials<'a>(head: &Head<'a>) -> Credentials<'a> {
    Credentials { token: head.header("authorization"), api_key: head.header("x-rooms-key") }
}

fn refuse(at: &At<'_>, error: &Error) -> Reply {
    let at = at.op.map(|op| op.id);
    Reply::json(if error.code() == Code::MethodInvalid { 405 } else { 400 }, &(error.code().name(), at))
        .unwrap()
}

/// Tokens are `<kind>:<person>`; kind `admin` is a user who may do everything.
struct Tokens;
impl Authenticate for Tokens {
    fn authenticate<'a>(
        &'a self,
        _: &'static str,
        credentials: Credentials<'a>,
        wanted: Auth,
    ) -> BoxFuture<'a, Result<Option<Caller>>> {
        async move {
            if credentials.api_key == Some("revoked") {
                return Err(Error::new(Code::InvalidApiKey, "revoked"));
            }
            if wanted == Auth::None {
                return Ok(None);
            }
            let bad = || Error::new(Code::InvalidToken, "no token");
            let (kind, person) = credentials.token.and_then(|token| token.split_once(':')).ok_or_else(bad)?;
            let (kind, permissions) = match kind {
                "user" => (TokenKind::User, Permissions::MEMBER),
                "poor" => (TokenKind::User, Permissions::NONE),
                "admin" => (TokenKind::User, Permissions::ADMINISTRATOR),
                "partner" => (TokenKind::Partner, Permissions::ADMINISTRATOR),
                "expired" => return Err(Error::new(Code::ExpiredToken, "expired")),
                _ => return Err(bad()),
            };
            Ok(Some(Caller {
                kind,
                organization: OrgId(1),
                person: Some(PersonId(person.parse().map_err(|_| bad())?)),
                login: None,
                person_kind: PersonKind::Member,
                person_uuid: None,
                name: "Ann".into(),
                acting: None,
                permissions,
                session: None,
                workbox: None,
                family: None,
                expires_at: switchboard::base::clock::Timestamp(i64::MAX),
            }))
        }
        .boxed()
    }
}

struct Memory;
impl Outcomes for Memory {
    fn find<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Option<Remembered>>> {
        async move { Ok(REMEMBERED.lock().unwrap().as_ref().and_then(|all| all.get(scope).cloned())) }.boxed()
    }
}

struct Always(Vec<String>);
impl Ready for Always {
    fn problems(&self) -> BoxFuture<'_, Vec<String>> {
        async { self.0.clone() }.boxed()
    }
}

/// The services of a server without a network: the operations above use none, but each gets them.
fn services() -> Arc<Services> {
    static KERNEL: LazyLock<(Kernel, tempfile::TempDir)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::with("").unwrap();
        config.server.data_dir = folder.path().to_owned();
        config.database.url = Secret::new(format!("sqlite://{}", folder.path().join("kit.db").display()));
        config.files.url = format!("file://{}", folder.path().join("files").display());
        // A kernel is opened by a thread that is no runtime's.
        let kernel = std::thread::spawn(|| {
            Kernel::open(config, Ports::system(), ([127, 0, 0, 1], 8080).into()).unwrap()
        })
        .join()
        .unwrap();
        (kernel, folder)
    });
    Arc::clone(&KERNEL.0.services)
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub metrics: Metrics,
    pub handle: actix_server::ServerHandle,
}

/// Starts one; `over` is TOML over the defaults, `problems` what `/readyz` complains about.
pub async fn start(over: &str, problems: &[&str]) -> Server {
    let mut config = Config::with(over).unwrap().http;
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.workers = 1;
    let metrics = Metrics::new();
    let dispatcher = Dispatcher::new(Parts {
        families: vec![&FAMILY],
        contracts: &[],
        services: services(),
        authenticate: Arc::new(Tokens),
        outcomes: Arc::new(Memory),
        ready: Arc::new(Always(problems.iter().map(|&p| p.into()).collect())),
        tasks: Tasks::new(tokio::runtime::Handle::current()),
        random: Random::seeded(1),
        metrics: metrics.clone(),
        http: config.clone(),
        upload_limit: 4_000_000,
    })
    .unwrap();
    let hooks = Hooks {
        upgrade: Arc::new(|mut upgrade| {
            async move {
                use tokio::io::AsyncWriteExt as _;
                let io = upgrade.connection.io_mut();
                let _ = io.write_all(b"HTTP/1.1 101 Switching Protocols\r\nx-hook: yes\r\n\r\n").await;
            }
            .boxed_local()
        }),
        configure: Arc::new(|routes| {
            routes.route("/connection/sse", actix_web::web::get().to(|| async { "hook" }));
        }),
    };
    let bound = server::bind(config.listen).unwrap();
    let running: Running = server::start(bound, dispatcher, hooks, &config, Duration::from_secs(2)).unwrap();
    let (address, handle) = (running.address, running.handle());
    tokio::runtime::Handle::current().spawn(running.stopped());
    Server { address, metrics, handle }
}
