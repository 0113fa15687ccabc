//! A handler's arguments: each type takes its part of the request, or says what is wrong with it.

use std::{cell::Cell, str::FromStr};

use serde::de::DeserializeOwned;

use super::{Cx, Upload, query};
use crate::base::objects::Objects;
use crate::domain::error::{Error, Result};

/// The request, as arguments are taken from it from left to right.
#[derive(Debug)]
pub struct Args<'a> {
    /// The context.
    pub cx: &'a Cx,
    segment: Cell<usize>,
}

impl<'a> Args<'a> {
    /// Before the first argument.
    pub fn new(cx: &'a Cx) -> Self {
        Self { cx, segment: Cell::new(0) }
    }
}

/// Something that a handler can take.
pub trait Arg: Sized {
    /// Takes it.
    fn take(args: &Args<'_>) -> Result<Self>;
}

/// The next parameter of the path. One that cannot be read names nothing: "not found".
#[derive(Clone, Debug)]
pub struct Seg<T>(pub T);

impl<T: FromStr> Arg for Seg<T> {
    fn take(args: &Args<'_>) -> Result<Self> {
        let at = args.segment.replace(args.segment.get() + 1);
        let text = args.cx.request.segments.get(at).map_or("", String::as_str);
        text.parse().map(Self).map_err(|_| Error::not_found(parameter_name(args.cx.request.op.path, at)))
    }
}

/// The name of the path's parameter number `at`.
fn parameter_name(template: &'static str, at: usize) -> &'static str {
    template.split('{').nth(at + 1).and_then(|rest| rest.split('}').next()).unwrap_or("thing")
}

/// The query string as a struct: see [`query`].
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> Arg for Query<T> {
    fn take(args: &Args<'_>) -> Result<Self> {
        query::parse(&args.cx.request.query).map(Self)
    }
}

/// The JSON body. An empty one counts as `{}`, since clients send none where every field is optional. Fields that the
/// type does not know are ignored; the content type is not looked at, since clients leave it out or add it to
/// requests without a body.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> Arg for Body<T> {
    fn take(args: &Args<'_>) -> Result<Self> {
        json(&args.cx.request.body).map(Self)
    }
}

/// What may be missing: a body of no bytes (or of another kind than the argument's).
#[derive(Clone, Debug)]
pub struct Opt<T>(pub Option<T>);

impl<T: DeserializeOwned> Arg for Opt<Body<T>> {
    fn take(args: &Args<'_>) -> Result<Self> {
        let body = &args.cx.request.body;
        if body.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        json(body).map(|body| Self(Some(Body(body))))
    }
}

impl Arg for Upload {
    fn take(args: &Args<'_>) -> Result<Self> {
        args.cx.request.take_upload().ok_or_else(|| Error::invalid("body: send it as multipart/form-data"))
    }
}

impl Arg for Opt<Upload> {
    fn take(args: &Args<'_>) -> Result<Self> {
        Ok(Self(args.cx.request.take_upload()))
    }
}

/// Reads JSON text; the error names the field, the problem and what would be right.
pub fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    let text = text.trim_ascii();
    let text = if text.is_empty() { b"{}" } else { text };
    if holds_nul(text) {
        return Err(Error::invalid("body: texts must not hold the character U+0000"));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(Objects(&mut reader)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            wrong_field("body", &path, &inner.to_string())
        } else {
            Error::invalid(format!("body: not JSON: {}", shorten(&inner.to_string())))
        }
    })?;
    reader.end().map_err(|_| Error::invalid("body: not JSON: something follows its end"))?;
    Ok(value)
}

/// True for an escaped NUL in a text: PostgreSQL stores none. (A bare one is not JSON.)
fn holds_nul(text: &[u8]) -> bool {
    const NUL: &[u8] = b"\\u0000";
    text.windows(NUL.len()).enumerate().any(|(at, window)| {
        // An even number of backslashes before it escape each other, not its own.
        window == NUL && text[..at].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 0
    })
}

/// `<part>: <field>: <problem>`, without the position in the text.
pub(super) fn wrong_field(part: &str, path: &str, problem: &str) -> Error {
    let problem = problem.split(" at line ").next().unwrap_or(problem);
    let problem = shorten(problem);
    if path == "." {
        Error::invalid(format!("{part}: {problem}"))
    } else {
        Error::invalid(format!("{part}: {path}: {problem}"))
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct New {
        name: String,
        #[serde(default)]
        parts: Vec<Part>,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Part {
        size: i64,
    }

    fn message(text: &str) -> String {
        json::<New>(text.as_bytes()).unwrap_err().message().to_owned()
    }

    #[test]
    fn errors_name_the_field_and_what_is_right() {
        assert_eq!(message("{}"), "body: missing field `name`");
        assert_eq!(message(""), "body: missing field `name`");
        assert_eq!(message(r#"{"name":7}"#), "body: name: invalid type: integer `7`, expected a string");
        assert_eq!(
            message(r#"{"name":"a","parts":[{"size":1},{"size":"x"}]}"#),
            "body: parts[1].size: invalid type: string \"x\", expected i64"
        );
        assert!(message("{\"name\"").starts_with("body: not JSON: EOF"));
        assert!(message("nonsense").starts_with("body: not JSON"));
        assert!(message(r#"{"name":"a"} x"#).starts_with("body: not JSON"));
        assert!(json::<New>(br#" {"name":"a","extra":1} "#).is_ok());
        assert!(message(r#"{"name":"a\u0000"}"#).contains("U+0000"));
        assert!(json::<New>(br#"{"name":"a\\u0000"}"#).is_ok(), "an escaped backslash");
        assert!(
            json::<New>("[".repeat(100_000).as_bytes()).is_err(),
            "deep nesting is refused, not followed"
        );
    }

    #[test]
    fn parameters_have_names() {
        assert_eq!(parameter_name("/a/{call_id}/b/{id}", 0), "call_id");
        assert_eq!(parameter_name("/a/{call_id}/b/{id}", 1), "id");
        assert_eq!(parameter_name("/a", 0), "thing");
    }
}
