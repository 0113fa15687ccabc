//! From a request on the socket to an operation and back: what every operation gets without asking.
//!
//! The worker thread that owns the connection finds the operation, reads the body within its limits and sends the
//! response. Everything between (authentication, permissions, idempotency, the handler) is one task on the owned
//! runtime, which goes on when the client hangs up: an effect is never half done because nobody waits for the reply.

use std::{any::Any, fmt, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::{
    Family, Options, Reply, Upload, body,
    cors::Cors,
    cx::{Cx, Headers, Request, nobody},
    family::{At, Authenticate, Credentials, Head},
    health::{Own, Ready},
    idempotency::{self, Outcomes, Twins},
    openapi::Contract,
    remote::{Believed, Remote},
    reply::Content,
    routes::{Entry, Found, Routes},
};
use crate::{
    base::{
        metrics::{self, Metrics, Observe as _},
        random::Random,
        tasks::Tasks,
        trace::{self, Trace},
    },
    config,
    domain::{
        caller::Caller,
        codes::{Code, Kind},
        error::{Error, Result},
        ids::OrgId,
        once::Once,
    },
    service::Services,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Room for the other parts of a form around a file of the largest size.
const FORM_ALLOWANCE: u64 = 1024 * 1024;

/// What the dispatcher works with; made in `app.rs`.
pub struct Parts {
    /// The families to mount.
    pub families: Vec<&'static Family>,
    /// Contracts of families that are not mounted.
    pub contracts: &'static [Contract],
    /// What handlers call.
    pub services: Arc<Services>,
    /// Who verifies credentials.
    pub authenticate: Arc<dyn Authenticate>,
    /// Who remembers outcomes.
    pub outcomes: Arc<dyn Outcomes>,
    /// Who knows whether the server can work.
    pub ready: Arc<dyn Ready>,
    /// Where handlers run.
    pub tasks: Tasks,
    /// For request ids.
    pub random: Random,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// Limits and who is believed.
    pub http: config::Http,
    /// Bytes of an uploaded file (`files.max_bytes`).
    pub upload_limit: u64,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("families", &self.families).finish_non_exhaustive()
    }
}

/// Answers requests. One per server, shared by all workers.
#[derive(Debug)]
pub struct Dispatcher {
    parts: Parts,
    routes: Routes,
    cors: Cors,
    believed: Believed,
    twins: Twins,
}

/// A request whose operation was found, on its way to the owned runtime.
struct Job {
    entry: usize,
    request: Request,
    token: Option<String>,
    api_key: Option<String>,
    key: Option<String>,
    path: String,
    started: Instant,
}

/// For the log line.
#[derive(Default)]
struct Who(Option<(String, OrgId)>);

impl Dispatcher {
    /// Mounts the families; fails with what is wrong in their tables.
    pub fn new(parts: Parts) -> Result<Arc<Self>, String> {
        let routes = Routes::new(&parts.families, &parts.metrics.http)?;
        let headers = parts.families.iter().flat_map(|family| family.headers.iter().copied());
        let cors = Cors::new(parts.http.allowed_origins.clone(), headers);
        let believed = Believed {
            proxies: parts.http.trusted_proxies.clone(),
            trusted: parts.http.trusted_networks.clone(),
        };
        Ok(Arc::new(Self { parts, routes, cors, believed, twins: Twins::default() }))
    }

    /// What stands where.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    fn contract(&self, name: &str) -> Option<Contract> {
        let mounted = self.routes.family_named(name).map(Family::document);
        mounted.or_else(|| self.parts.contracts.iter().copied().find(|contract| contract.name == name))
    }

    /// Whom it believes about where requests come from.
    pub fn believed(&self) -> &Believed {
        &self.believed
    }

    /// What it tells pages of other sites.
    pub fn cors(&self) -> &Cors {
        &self.cors
    }

    /// Who sent a request with these headers from that peer.
    pub fn remote(&self, peer: Option<std::net::SocketAddr>, headers: &HeaderMap) -> Remote {
        self.believed.judge(peer, headers.get_all(FORWARDED).filter_map(|value| value.to_str().ok()))
    }

    /// The actix-web service: everything that no other route took.
    pub async fn serve(
        self: Arc<Self>,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, actix_web::Error> {
        let (request, payload) = request.into_parts();
        let response = self.respond(&request, payload).await;
        Ok(ServiceResponse::new(request, response))
    }

    async fn respond(self: &Arc<Self>, http: &HttpRequest, payload: Payload) -> HttpResponse {
        let active = &self.parts.metrics.http.active;
        active.inc();
        let _active = Defer(|| {
            active.dec();
        });
        let id = self.request_id(http.headers());
        let reply = self.answer(http, payload, &id).await;
        self.finish(reply, http.headers().get(header::ORIGIN), &id)
    }

    async fn answer(self: &Arc<Self>, http: &HttpRequest, payload: Payload, id: &Arc<str>) -> Reply {
        let started = Instant::now();
        let path = http.uri().path();
        let query = http.uri().query().unwrap_or_default();
        let headers = http.headers();
        if http.method() == actix_web::http::Method::OPTIONS {
            let preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
            return self.cors.options(preflight, self.routes.allow(path));
        }
        let (number, segments) = match self.routes.find(path, http.method().as_str()) {
            Found::Operation(number, segments) => (number, segments),
            Found::Method(allow) => {
                let error = Error::new(
                    Code::MethodInvalid,
                    format!("this path takes {allow}, not {}", http.method()),
                );
                return self.refuse_early(None, path, &error, id, started).with("allow", allow);
            }
            Found::Nothing => {
                let reading = matches!(http.method().as_str(), "GET" | "HEAD");
                if let Some(own) = Own::at(path, |name| self.contract(name)).filter(|_| reading) {
                    return self.own(own, self.remote(http.peer_addr(), headers), id, started).await;
                }
                return self.refuse_early(None, path, &Error::not_found("path"), id, started);
            }
        };
        let entry = self.routes.entry(number);
        let read = self.read_body(entry.op.options, headers, payload).await;
        let (body, upload, pump) = match read {
            Ok(read) => read,
            Err(error) => return self.refuse_early(Some(entry), path, &error, id, started),
        };
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let Credentials { token, api_key } = (entry.family.credentials)(&Head::new(&header, query));
        let own = |name: HeaderName| header(name.as_str()).map(str::to_owned);
        let job = Job {
            entry: number,
            token: token.map(str::to_owned),
            api_key: api_key.map(str::to_owned),
            key: header("idempotency-key").filter(|_| entry.op.takes_key()).map(str::to_owned),
            path: path.to_owned(),
            started,
            request: Request {
                id: id.clone(),
                op: entry.op,
                segments,
                query: query.to_owned(),
                headers: Headers {
                    api_key: api_key.map(str::to_owned),
                    user_agent: own(header::USER_AGENT),
                    accept_language: own(header::ACCEPT_LANGUAGE),
                    range: own(header::RANGE),
                    if_range: own(header::IF_RANGE),
                    if_none_match: own(header::IF_NONE_MATCH),
                },
                remote: self.remote(http.peer_addr(), headers).address,
                body,
                upload: std::sync::Mutex::new(upload),
            },
        };
        let random = &self.parts.random;
        let trace = header("traceparent").and_then(|header| Trace::follow(header, random));
        let trace = trace.unwrap_or_else(|| Trace::begin(random));
        let span = tracing::info_span!(
            "request",
            http.operation = entry.op.id,
            http.route = entry.template,
            request.id = &**id,
            trace.id = %trace.id()
        );
        let work = trace::within(trace, self.clone().run(job)).instrument(span);
        let mut task = self.parts.tasks.runtime().spawn(work);
        let result = match pump {
            None => task.await,
            // The socket can be read by this thread only, so the upload is handed over from here.
            Some(pump) => tokio::select! {
                biased;
                result = &mut task => result,
                () = pump => task.await,
            },
        };
        // The task catches panics: an error here means that the runtime is going down.
        result.unwrap_or_else(|error| {
            self.refuse_early(Some(entry), path, &Error::unavailable(error), id, started)
        })
    }

    /// Reads the body, or prepares to hand it over where it is an upload.
    async fn read_body(
        &self,
        options: Options,
        headers: &HeaderMap,
        mut payload: Payload,
    ) -> Result<(Bytes, Option<Upload>, Option<impl Future<Output = ()> + use<>>)> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if text(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(Error::invalid("header Content-Encoding: compressed bodies are not taken"));
        }
        let declared = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
        let config = &self.parts.http;
        if options.upload
            && let Some(boundary) = text(header::CONTENT_TYPE).and_then(Upload::boundary)
        {
            let limit = self.parts.upload_limit.saturating_add(FORM_ALLOWANCE);
            if declared > limit {
                return Err(body::too_large(limit));
            }
            let (feed, upload) = Upload::channel(boundary);
            let pump = body::pump(payload, feed, limit, config.upload_timeout_seconds);
            return Ok((Bytes::new(), Some(upload), Some(pump)));
        }
        let limit = options.limit.unwrap_or(config.body_limit);
        let body = body::read(&mut payload, declared, limit, config.body_timeout_seconds).await?;
        Ok((body, None, None))
    }

    /// The part on the owned runtime.
    async fn run(self: Arc<Self>, job: Job) -> Reply {
        let Job { entry, request, token, api_key, key, path, started } = job;
        let entry = self.routes.entry(entry);
        let mut who = Who::default();
        let credentials = Credentials { token: token.as_deref(), api_key: api_key.as_deref() };
        let work = self.work(entry, request, credentials, key.as_deref(), &mut who);
        // What a panic leaves behind is dropped with the future; nothing of it is looked at again.
        let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            tracing::error!(panic = text, "a handler panicked");
            Err(Error::unavailable(format!("panic: {text}")))
        });
        let (reply, error) = match result {
            Ok(reply) => (reply, None),
            Err(error) => {
                ((entry.family.refuse)(&At { path: &path, op: Some(entry.op) }, &error), Some(error))
            }
        };
        self.count(Some(entry), entry.op.id, reply.status, started);
        report(reply.status, &who, error.as_ref(), started);
        if entry.op.options.no_store { reply.with("cache-control", "no-store") } else { reply }
    }

    async fn work(
        &self,
        entry: &Entry,
        request: Request,
        credentials: Credentials<'_>,
        key: Option<&str>,
        who: &mut Who,
    ) -> Result<Reply> {
        let op = entry.op;
        let caller = self.caller(entry, credentials).await?;
        if let Some(caller) = &caller {
            who.0 = Some((caller.label(), caller.organization));
        }
        let mut claim = (Once::none(), None);
        if let (Some(key), Some(caller)) = (key, &caller) {
            let (once, turn) =
                idempotency::claim(&self.twins, &*self.parts.outcomes, key, caller, &request).await?;
            claim = (once, Some(turn));
        }
        let (once, _turn) = claim;
        let cx = Cx {
            services: self.parts.services.clone(),
            caller: caller.unwrap_or_else(nobody),
            once: once.clone(),
            request,
        };
        let result = (op.call)(cx).await;
        match &result {
            Ok(_) => debug_assert!(once.is_settled(), "{} made no outcome for its Idempotency-Key", op.id),
            Err(error) => debug_assert!(
                op.declares(error.code()),
                "{} does not declare {} ({})",
                op.id,
                error.code().name(),
                error.message()
            ),
        }
        result
    }

    async fn caller(&self, entry: &Entry, credentials: Credentials<'_>) -> Result<Option<Caller>> {
        let op = entry.op;
        if op.options.keyless && op.auth == super::Auth::None {
            return Ok(None);
        }
        let caller = self.parts.authenticate.authenticate(entry.family.name, credentials, op.auth).await?;
        match caller {
            None if op.auth == super::Auth::None => Ok(None),
            Some(caller) if op.auth.accepts(caller.kind) => {
                caller.require(op.permissions)?;
                Ok(Some(caller))
            }
            // Whoever verifies should have refused already.
            _ => Err(Error::new(Code::InvalidToken, "this needs another kind of token")),
        }
    }

    async fn own(self: &Arc<Self>, own: Own, remote: Remote, id: &Arc<str>, started: Instant) -> Reply {
        let this = self.clone();
        let answer = self
            .parts
            .tasks
            .runtime()
            .spawn(async move { own.answer(remote, &*this.parts.ready, &this.parts.metrics).await });
        match answer.await.map_err(Error::unavailable).flatten() {
            Ok(reply) => {
                self.count(None, own.name(), reply.status, started);
                reply
            }
            Err(error) => self.refuse_early(None, "", &error, id, started),
        }
    }

    /// Answers what never came to its operation.
    fn refuse_early(
        &self,
        entry: Option<&Entry>,
        path: &str,
        error: &Error,
        id: &Arc<str>,
        started: Instant,
    ) -> Reply {
        let at = At { path, op: entry.map(|entry| entry.op) };
        let family = entry.map(|entry| entry.family).or_else(|| self.routes.family(path));
        let reply = match family {
            Some(family) => (family.refuse)(&at, error),
            None => refuse(error),
        };
        let operation = entry.map_or("none", |entry| entry.op.id);
        self.count(entry, operation, reply.status, started);
        let span = tracing::info_span!(
            "request",
            http.operation = operation,
            http.route = entry.map(|entry| &*entry.template),
            request.id = &**id
        );
        span.in_scope(|| report(reply.status, &Who::default(), Some(error), started));
        reply
    }

    fn count(&self, entry: Option<&Entry>, operation: &'static str, status: u16, started: Instant) {
        self.parts.metrics.http.requests.get_or_create(&metrics::Request { operation, status }).inc();
        if let Some(entry) = entry {
            entry.duration.observe_duration(started.elapsed());
        }
    }

    /// The client's `x-request-id` where it is short and plain, else one of ours.
    fn request_id(&self, headers: &HeaderMap) -> Arc<str> {
        headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|text| (1..=64).contains(&text.len()))
            .filter(|text| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')))
            .map_or_else(|| self.parts.random.token::<12>().into(), Arc::from)
    }

    fn finish(&self, reply: Reply, origin: Option<&HeaderValue>, id: &str) -> HttpResponse {
        let mut builder = HttpResponse::build(
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        );
        for (name, value) in reply.headers {
            builder.insert_header((name, value));
        }
        let mut response = match reply.content {
            Content::Empty => builder.finish(),
            Content::Bytes(bytes) => builder.body(bytes),
            Content::Stream(size, stream) => builder.body(SizedStream::new(size, stream)),
        };
        let headers = response.headers_mut();
        headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
        self.cors.mark(origin, headers);
        response
    }
}

/// The one log line of a request, inside its span. Messages for the caller may quote what was sent: they stay out.
fn report(status: u16, who: &Who, error: Option<&Error>, started: Instant) {
    let latency_ms = started.elapsed().as_secs_f64() * 1_000.0;
    let (user, organization) = match &who.0 {
        Some((user, organization)) => (Some(user.as_str()), Some(organization.0)),
        None => (None, None),
    };
    let code = error.map(|error| error.code().name());
    let context = error.and_then(Error::context);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                http.status = status,
                latency_ms,
                user.id = user,
                organization.id = organization,
                error.code = code,
                error.context = context,
                "request"
            );
        };
    }
    if error.is_some_and(|error| error.code().kind() == Kind::Unavailable) {
        line!(warn);
    } else {
        line!(info);
    }
}

/// How errors look where no family is responsible.
fn refuse(error: &Error) -> Reply {
    let status = match error.code().kind() {
        Kind::Unavailable => 503,
        Kind::Invalid => 400,
        _ => 404,
    };
    let body = serde_json::json!({
        "code": error.code().number(), "message": error.message(), "name": error.code().name(),
    });
    Reply::bytes(status, "application/json", body.to_string().into()).with_delay(error)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// Runs something at the end of a scope, also when the future is dropped.
struct Defer<F: Fn()>(F);
impl<F: Fn()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
