//! Mounts the socket's transports: WebSocket upgrades, `/connection/http_stream`, `/connection/sse`, `/emulation`.
//! What they carry is `realtime`'s affair; here are origins, limits of bodies and the headers that keep proxies from
//! buffering.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Bytes, PayloadConfig, ServiceConfig},
};
use percent_encoding::percent_decode_str;

use super::{
    cors::Cors,
    remote::Believed,
    server::{Hooks, Upgrade},
};
use crate::{
    base::secret::Secret,
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

/// The hooks of [`super::server::start`]. `cors` marks the replies, `believed` judges where requests come from.
pub fn hooks(hub: &Hub, believed: Believed, cors: Cors) -> Hooks {
    let upgrades = hub.clone();
    let routes = Routes { hub: hub.clone(), believed, cors };
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
}

type Handler = fn(&Routes, &HttpRequest, Bytes) -> HttpResponse;

impl Routes {
    fn mount(self, config: &mut ServiceConfig) {
        let limit = PayloadConfig::new(self.hub.options().max_message_bytes);
        let routes = Rc::new(self);
        for (path, handler) in [
            ("/connection/http_stream", http_stream as Handler),
            ("/connection/sse", sse as Handler),
            ("/emulation", emulate as Handler),
        ] {
            let routes = routes.clone();
            let handle = move |request: HttpRequest, body: Bytes| {
                let response = routes.answer(&request, body, handler);
                async move { response }
            };
            config.service(web::resource(path).app_data(limit.clone()).to(handle));
        }
        if !routes.hub.has_server_api() {
            return;
        }
        for method in server_api::METHODS {
            let hub = routes.hub.clone();
            let call =
                move |request: HttpRequest, body: Bytes| serve_backend(hub.clone(), method, request, body);
            let route =
                web::resource(format!("/api/{method}")).app_data(PayloadConfig::new(SERVER_API_BYTES));
            config.service(route.route(web::post().to(call)));
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
        let mut response = if !transport::is_welcome(self.hub.options(), claimed) {
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
        };
        self.cors.mark(headers.get(header::ORIGIN), response.headers_mut());
        response
    }

    fn opening(&self, request: &HttpRequest, frame: Bytes) -> Opening {
        let forwarded = request.headers().get_all(header::X_FORWARDED_FOR);
        let remote =
            self.believed.judge(request.peer_addr(), forwarded.filter_map(|value| value.to_str().ok()));
        let key = request.headers().get(KEY_HEADER).and_then(|value| value.to_str().ok());
        Opening { frame, api_key: key.map(Secret::new), address: Some(remote.address) }
    }
}

/// Answers a call of an application's backend.
async fn serve_backend(hub: Hub, method: &'static str, request: HttpRequest, body: Bytes) -> HttpResponse {
    let text = |name| request.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("apikey "));
    let key = Secret::new(text(SERVER_KEY_HEADER).or(bearer).unwrap_or_default());
    match server_api::call(&hub, &key, method, &body).await {
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
