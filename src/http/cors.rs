//! Cross-origin requests: browsers call the API from pages of other sites. Cookies never authenticate, so `*` without
//! credentials is safe; a list of origins only says which pages browsers let through.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::Reply;
use crate::config::Origins;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const HEADERS: &str = "authorization, content-type, idempotency-key, x-request-id, traceparent, tracestate, range, if-range, if-none-match";
const EXPOSED: &str =
    "retry-after, x-request-id, content-disposition, content-range, accept-ranges, etag, allow";

/// The rules of one server.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Origins,
    headers: String,
}

impl Cors {
    /// For these origins; `headers` are the families' own request headers.
    pub fn new<'a>(origins: Origins, headers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = HEADERS.to_owned();
        for name in headers {
            all.push_str(", ");
            all.push_str(name);
        }
        Self { origins, headers: all }
    }

    /// The answer to `OPTIONS`; `allow` is what the path takes, where it is known.
    pub fn options(&self, preflight: bool, allow: Option<&str>) -> Reply {
        let reply = Reply::empty(204).with("allow", allow.unwrap_or(METHODS));
        if preflight {
            reply
                .with("access-control-allow-methods", METHODS)
                .with("access-control-allow-headers", self.headers.clone())
                .with("access-control-max-age", "7200")
        } else {
            reply
        }
    }

    /// Adds what every answer to a request of `origin` needs.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value| {
            headers.insert(name, value);
        };
        let all = self.origins.allow_all();
        if !all {
            set(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin else { return };
        if all {
            set(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else if origin.to_str().is_ok_and(|text| self.origins.allow(text)) {
            set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        } else {
            return;
        }
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
