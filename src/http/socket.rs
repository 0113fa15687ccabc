//! Mounts the socket's transports: WebSocket upgrades, `/connection/http_stream`, `/connection/sse`, `/emulation`.
//! What they carry is `realtime`'s affair; here are origins, limits of bodies and the headers that keep proxies from
//! buffering.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Bytes, Payload, ServiceConfig},
};
use percent_encoding::percent_decode_str;

use super::{
    body,
    cors::Cors,
    remote::Believed,
    server::{Hooks, Upgrade},
};
use crate::{
    base::secret::Secret,
    domain::codes::Code,
    realtime::{
        Hub,
        protocol::Encoding,
        server_api,
        transport::{self, Claimed, Opening, emulation, websocket},
    },
};

const KEY_HEADER: &str = "x-helplightning-api-key";
const SERVER_KEY_HEADER: header::HeaderName = header::HeaderName::from_static("x-api-key");
/// Body of one call of the server API.
const SERVER_API_BYTES: usize = 1024 * 1024;
/// Query parameter with the first frame of an `EventSource`, which cannot have a body.
const CONNECT_PARAMETER: &str = "cf_connect";

/// The hooks of [`super::server::start`]. `cors` marks the replies, `believed` judges where requests come from, `within`
/// is the time that a body may take.
pub fn hooks(hub: &Hub, believed: Believed, cors: Cors, within: Duration) -> Hooks {
    let upgrades = hub.clone();
    let routes = Routes { hub: hub.clone(), believed, cors, within };
    Hooks {
        upgrade: Arc::new(move |Upgrade { request, connection, remote }| {
            Box::pin(websocket::accept(upgrades.clone(), (request, connection), Some(remote.address)))
        }),
        configure: Arc::new(move |config| routes.clone().mount(config)),
    }
}

#[derive(Clone)]
struct Routes {
    hub: Hub,
    believed: Believed,
    cors: Cors,
    within: Duration,
}

type Handler = fn(&Routes, &HttpRequest, Bytes) -> HttpResponse;

impl Routes {
    fn mount(self, config: &mut ServiceConfig) {
        let routes = Rc::new(self);
        for (path, handler) in [
            ("/connection/http_stream", http_stream as Handler),
            ("/connection/sse", sse as Handler),
            ("/emulation", emulate as Handler),
        ] {
            let routes = routes.clone();
            let handle = move |request: HttpRequest, payload: Payload| {
                let routes = routes.clone();
                async move {
                    let limit = routes.hub.options().max_message_bytes;
                    let mut response = match read(&request, payload, limit, routes.within).await {
                        Ok(body) => routes.answer(&request, body, handler),
                        Err(refusal) => refusal,
                    };
                    routes.cors.mark(request.headers().get(header::ORIGIN), response.headers_mut());
                    response
                }
            };
            config.service(web::resource(path).to(handle));
        }
        if !routes.hub.has_server_api() {
            return;
        }
        for method in server_api::METHODS {
            let routes = routes.clone();
            let call = move |request: HttpRequest, payload: Payload| {
                let routes = routes.clone();
                async move {
                    match read(&request, payload, SERVER_API_BYTES, routes.within).await {
                        Ok(body) => serve_backend(&routes.hub, method, request, body).await,
                        Err(refusal) => refusal,
                    }
                }
            };
            config.service(web::resource(format!("/api/{method}")).route(web::post().to(call)));
        }
    }

    fn answer(&self, request: &HttpRequest, body: Bytes, handler: Handler) -> HttpResponse {
        let headers = request.headers();
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let claimed = Claimed {
            origin: text(header::ORIGIN),
            host: text(header::HOST),
            forwarded: headers.contains_key(header::X_FORWARDED_FOR)
                || headers.contains_key(header::FORWARDED),
        };
        if !transport::is_welcome(self.hub.options(), claimed) {
            HttpResponse::Forbidden().finish()
        } else if request.method() == "OPTIONS" {
            HttpResponse::NoContent()
                .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"))
                .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, format!("content-type, {KEY_HEADER}")))
                .insert_header((header::ACCESS_CONTROL_MAX_AGE, "7200"))
                .finish()
        } else if headers.contains_key(header::CONTENT_ENCODING) {
            HttpResponse::UnsupportedMediaType().finish()
        } else {
            handler(self, request, body)
        }
    }

    fn opening(&self, request: &HttpRequest, frame: Bytes) -> Opening {
        let forwarded = request.headers().get_all(header::X_FORWARDED_FOR);
        let remote =
            self.believed.judge(request.peer_addr(), forwarded.filter_map(|value| value.to_str().ok()));
        let key = request.headers().get(KEY_HEADER).and_then(|value| value.to_str().ok());
        Opening { frame, api_key: key.map(Secret::new), address: Some(remote.address) }
    }
}

/// The body of a request, or what to answer to one that is too long or too slow: its connection ends with that.
async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    within: Duration,
) -> Result<Bytes, HttpResponse> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    body::read(&mut payload.into_inner(), declared, limit, within).await.map_err(|error| {
        let status = match error.code() {
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Timeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        HttpResponse::build(status).force_close().finish()
    })
}

/// Answers a call of an application's backend.
async fn serve_backend(hub: &Hub, method: &'static str, request: HttpRequest, body: Bytes) -> HttpResponse {
    let text = |name| request.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("apikey "));
    let key = Secret::new(text(SERVER_KEY_HEADER).or(bearer).unwrap_or_default());
    match server_api::call(hub, &key, method, &body).await {
        Some(answer) => HttpResponse::Ok().content_type("application/json").body(answer.to_string()),
        None => HttpResponse::Unauthorized().finish(),
    }
}

fn encoding(request: &HttpRequest) -> Encoding {
    let binary = request.headers().get(header::CONTENT_TYPE);
    if binary.is_some_and(|kind| kind == "application/octet-stream") {
        Encoding::Protobuf
    } else {
        Encoding::Json
    }
}

fn stream(content_type: &'static str, body: Option<transport::Body>) -> HttpResponse {
    match body {
        Some(body) => HttpResponse::Ok()
            .content_type(content_type)
            .insert_header((header::CACHE_CONTROL, "private, no-cache, no-store, no-transform"))
            .insert_header(("x-accel-buffering", "no"))
            .body(body),
        None => HttpResponse::ServiceUnavailable().finish(),
    }
}

fn http_stream(routes: &Routes, request: &HttpRequest, body: Bytes) -> HttpResponse {
    if request.method() != "POST" {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let encoding = encoding(request);
    let content_type = match encoding {
        Encoding::Json => "application/json",
        Encoding::Protobuf => "application/octet-stream",
    };
    stream(content_type, transport::open_http_stream(&routes.hub, encoding, routes.opening(request, body)))
}

fn sse(routes: &Routes, request: &HttpRequest, body: Bytes) -> HttpResponse {
    let frame = match request.method().as_str() {
        "POST" => body,
        "GET" => {
            let value = request.query_string().split('&').find_map(|pair| {
                pair.split_once('=').filter(|(name, _)| *name == CONNECT_PARAMETER).map(|(_, value)| value)
            });
            let Some(value) = value else { return HttpResponse::BadRequest().finish() };
            percent_decode_str(&value.replace('+', " ")).collect::<Vec<_>>().into()
        }
        _ => return HttpResponse::MethodNotAllowed().finish(),
    };
    stream(
        "text/event-stream; charset=utf-8",
        transport::open_sse(&routes.hub, routes.opening(request, frame)),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "all handlers have one shape")]
fn emulate(routes: &Routes, request: &HttpRequest, body: Bytes) -> HttpResponse {
    if request.method() != "POST" {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let status = match emulation::take(&routes.hub, encoding(request), &body) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(emulation::Rejected::Malformed) => StatusCode::BAD_REQUEST,
        Err(emulation::Rejected::UnknownSession) => StatusCode::NOT_FOUND,
    };
    HttpResponse::new(status)
}
