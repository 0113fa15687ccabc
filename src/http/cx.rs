//! What a handler gets: the services, the caller, the request.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{Op, Upload};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        error::Result,
        ids::OrgId,
        once::Once,
        permission::Permissions,
    },
    http::ranges::{Requested, Validators},
    service::Services,
};

/// The context of one request.
#[derive(Debug)]
pub struct Cx {
    /// The use cases.
    pub services: Arc<Services>,
    /// Who calls. Where the operation takes no token this is nobody: no person, no permission, no organisation.
    pub caller: Caller,
    /// The claim of an `Idempotency-Key`.
    pub once: Once,
    /// What was asked.
    pub request: Request,
}

/// The parts of a request that handlers need.
#[derive(Debug)]
pub struct Request {
    /// For logs and support: ours, or the client's `x-request-id`.
    pub id: Arc<str>,
    /// The operation.
    pub op: &'static Op,
    /// The path's parameters, decoded, from left to right.
    pub segments: Vec<String>,
    /// The query string without `?`, as sent.
    pub query: String,
    /// Headers that some handlers look at.
    pub headers: Headers,
    /// Where the request came from, behind trusted proxies.
    pub remote: IpAddr,
    /// The body; empty where it is an upload.
    pub body: Bytes,
    pub(super) upload: Mutex<Option<Upload>>,
}

/// Headers that some handlers look at.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The family's key of the calling application.
    pub api_key: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `Accept-Language`.
    pub accept_language: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// `If-Range`.
    pub if_range: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
}

impl Request {
    /// The uploaded form; `None` when the body was something else or was taken already.
    pub fn take_upload(&self) -> Option<Upload> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Which part of a file of `size` bytes with the entity tag `etag` (in quotes) the client wants.
    pub fn wanted_part(&self, size: u64, etag: &str) -> Result<Requested> {
        let headers = &self.headers;
        Requested::parse(
            &Validators {
                range: headers.range.as_deref(),
                if_range: headers.if_range.as_deref(),
                if_none_match: headers.if_none_match.as_deref(),
            },
            size,
            etag,
        )
    }
}

/// The caller of an operation without a token.
pub(super) fn nobody() -> Caller {
    Caller {
        kind: TokenKind::Public,
        organization: OrgId(0),
        person: None,
        login: None,
        person_kind: PersonKind::Anonymous,
        person_uuid: None,
        name: String::new(),
        acting: None,
        permissions: Permissions::NONE,
        session: None,
        workbox: None,
        family: None,
        expires_at: Timestamp(0),
    }
}
