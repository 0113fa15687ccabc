//! How this family spells errors (SEMANTICS §4).
//!
//! `v1` answers a status by kind with `{code, message}`; an expired token is 401 with the bare string
//! `Token expired`, and the call operations answer 401 and 403 with bare strings. `v1r1` answers 400 with
//! `{code, message, name}` for everything that the caller can mend, with one of the contract's names; only limits of size
//! and rate and our own failures have their usual status, so that clients and proxies know when to try again.

use serde::Serialize;

use crate::{
    domain::{
        codes::{Code, Kind},
        error::Error,
    },
    http::{Method, Op, Reply, family::At},
};

#[derive(Serialize)]
struct Body<'a> {
    code: u32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

/// Spells `error` for the version that the path belongs to.
pub fn refuse(at: &At<'_>, error: &Error) -> Reply {
    let reply = if at.path.starts_with("/api/v1r1/") { v1r1(error) } else { v1(at, error) };
    reply.with_delay(error)
}

fn v1r1(error: &Error) -> Reply {
    let status = match error.code().kind() {
        Kind::TooLarge => 413,
        Kind::TooMany => 429,
        Kind::Unavailable if error.code() != Code::Timeout => 503,
        _ => 400,
    };
    body(status, error, Some(name(error.code())))
}

fn v1(at: &At<'_>, error: &Error) -> Reply {
    let status = match (error.code(), error.code().kind()) {
        (Code::MethodInvalid, _) => 405,
        (Code::Timeout, _) => 408,
        (_, Kind::Invalid) => 400,
        (_, Kind::Unauthenticated) => 401,
        (_, Kind::Forbidden) => 403,
        (_, Kind::NotFound) => 404,
        (_, Kind::Conflict) => 409,
        (_, Kind::TooLarge) => 413,
        (_, Kind::TooMany) => 429,
        (_, Kind::Unavailable) => 503,
    };
    let bare = |text: &str| Reply::bytes(status, "application/json", format!("\"{text}\"").into());
    match status {
        401 if error.code() == Code::ExpiredToken => bare("Token expired"),
        401 if at.op.is_some_and(answers_bare) => bare("invalid token"),
        403 if at.op.is_some_and(answers_bare) => bare("access denied"),
        _ => body(status, error, None),
    }
}

/// True for the operations whose 401 and 403 the contract shows as bare strings: reading call records.
pub fn answers_bare(op: &Op) -> bool {
    let call = |path: &str| {
        op.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && rest != "/recent"))
    };
    op.method == Method::Get && (call("/v1/calls") || call("/v1/enterprise/calls"))
}

fn body(status: u16, error: &Error, name: Option<&'static str>) -> Reply {
    let body = Body { code: error.code().number(), message: error.message(), name };
    // Numbers and texts: serialisation cannot fail.
    Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(500))
}

/// The contract's names, in its order.
pub const NAMES: &[&str] = &[
    "generic",
    "timeout",
    "auth",
    "authentication",
    "authorization",
    "invalid_apikey",
    "missing_apikey",
    "session",
    "session_invalid",
    "method",
    "method_invalid",
    "method_parameters_invalid",
    "already_confirmed",
    "email_taken",
    "existing_contact",
    "expired_token",
    "image_size_over_limit",
    "invalid_email",
    "invalid_image",
    "invalid_name",
    "invalid_password",
    "invalid_search_term",
    "invalid_status",
    "invalid_username",
    "unknown_email",
    "unknown_contact_request",
    "unknown_push_id",
    "unknown_registration",
    "username_taken",
    "invalid_tag",
    "incorrect_password",
    "unknown_device_platform",
    "unknown_device_state",
    "invalid_limit",
    "existing_contact_request",
    "contact_request_direction",
    "contact_request_action",
    "invalid_pin",
    "unknown_contact",
    "account_deactivated",
    "invalid_token",
    "data_unavailable",
    "account_unconfirmed",
    "invalid_room",
    "unknown_device_id",
    "invalid_message",
    "invalid_number",
    "non_mobile_number",
    "blacklist",
    "link_expired",
    "unknown_reset_password_token",
    "constraint",
    "not_found",
];

/// The contract's name nearest to a code: its own where the contract has it.
pub fn name(code: Code) -> &'static str {
    if let Some(name) = NAMES.iter().find(|name| **name == code.name()) {
        return name;
    }
    match code {
        Code::TooLarge | Code::TooManyRequests => "generic",
        Code::MailboxFull => "data_unavailable",
        Code::RingNotActive | Code::CallNotActive => "session_invalid",
        // What is left clashes with the present state.
        _ => match code.kind() {
            Kind::Invalid => "method_parameters_invalid",
            Kind::Unauthenticated => "authentication",
            Kind::Forbidden => "authorization",
            Kind::NotFound => "not_found",
            Kind::Conflict => "constraint",
            Kind::TooLarge | Kind::TooMany => "generic",
            Kind::Unavailable => "data_unavailable",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::{Auth, Options, Permissions, reply::Content};

    const fn op(method: Method, path: &'static str) -> Op {
        Op {
            id: "x",
            doc: "x",
            method,
            path,
            auth: Auth::User,
            permissions: Permissions::NONE,
            status: 200,
            codes: &[],
            options: Options::new(),
            call: |_| Box::pin(async { Ok(Reply::empty(200)) }),
        }
    }
    static CALL: Op = op(Method::Get, "/v1/calls/{call_id}");

    fn spelled(path: &str, op: Option<&'static Op>, error: &Error) -> (u16, String) {
        let reply = refuse(&At { path, op }, error);
        let Content::Bytes(bytes) = reply.content else { panic!("no body") };
        (reply.status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn every_code_has_a_documented_name() {
        for code in Code::ALL {
            assert!(NAMES.contains(&name(*code)), "{code:?}");
        }
        assert_eq!(NAMES.len(), 53);
        assert_eq!((name(Code::ExpiredToken), Code::ExpiredToken.number()), ("expired_token", 1003));
        assert_eq!(name(Code::Busy), "constraint");
    }

    #[test]
    fn v1r1_is_400_with_a_name() {
        let say = |error| spelled("/api/v1r1/user", None, &error);
        assert_eq!(
            say(Error::not_found("user")),
            (400, r#"{"code":404,"message":"user not found","name":"not_found"}"#.into())
        );
        assert_eq!(
            say(Error::new(Code::ExpiredToken, "expired")),
            (400, r#"{"code":1003,"message":"expired","name":"expired_token"}"#.into())
        );
        for (code, status) in [
            (Code::Authentication, 400),
            (Code::MethodInvalid, 400),
            (Code::Timeout, 400),
            (Code::Constraint, 400),
            (Code::TooLarge, 413),
            (Code::TooManyRequests, 429),
            (Code::Unavailable, 503),
            (Code::MailboxFull, 503),
        ] {
            assert_eq!(say(Error::new(code, "x")).0, status, "{code:?}");
        }
        let limited = Error::new(Code::TooManyRequests, "x").retry_after(Duration::from_secs(9));
        let reply = refuse(&At { path: "/api/v1r1/auth", op: None }, &limited);
        assert_eq!(reply.header("retry-after"), Some("9"));
    }

    #[test]
    fn v1_has_statuses_and_bare_strings() {
        let say = |error| spelled("/api/v1/info", None, &error);
        assert_eq!(say(Error::invalid("x")), (400, r#"{"code":406,"message":"x"}"#.into()));
        assert_eq!(say(Error::new(Code::ExpiredToken, "x")), (401, "\"Token expired\"".into()));
        for (code, status) in [
            (Code::Authentication, 401),
            (Code::Authorization, 403),
            (Code::NotFound, 404),
            (Code::MethodInvalid, 405),
            (Code::Timeout, 408),
            (Code::Constraint, 409),
            (Code::TooLarge, 413),
            (Code::TooManyRequests, 429),
            (Code::Unavailable, 503),
        ] {
            assert_eq!(say(Error::new(code, "x")).0, status, "{code:?}");
        }
        let call = |code| spelled("/api/v1/calls/7", Some(&CALL), &Error::new(code, "x"));
        assert_eq!(call(Code::InvalidToken), (401, "\"invalid token\"".into()));
        assert_eq!(call(Code::Authorization), (403, "\"access denied\"".into()));
        assert_eq!(call(Code::ExpiredToken), (401, "\"Token expired\"".into()));
        assert_eq!(call(Code::NotFound).1, r#"{"code":404,"message":"x"}"#);
    }

    #[test]
    fn bare_answers_are_those_of_the_contract() {
        for (method, path, bare) in [
            (Method::Get, "/v1/calls", true),
            (Method::Get, "/v1/calls/{call_id}/events", true),
            (Method::Get, "/v1/enterprise/calls/{call_id}", true),
            (Method::Get, "/v1/calls/recent", false),
            (Method::Put, "/v1/calls/{call_id}", false),
            (Method::Get, "/v1/callsign", false),
        ] {
            assert_eq!(answers_bare(&op(method, path)), bare, "{method:?} {path}");
        }
    }
}
