//! What a handler gives back.

use std::{fmt, io, ops::Range};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::Serialize;

use super::ranges::Requested;
use crate::domain::error::{Error, Result};

/// A rendered response: status, headers, content.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers besides those that the dispatcher sets. Names are lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub content: Content,
}

/// The body of a [`Reply`].
pub enum Content {
    /// None.
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// So many bytes, piece by piece.
    Stream(u64, BoxStream<'static, io::Result<Bytes>>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(size, _) => write!(f, "Stream({size})"),
        }
    }
}

impl Reply {
    /// Without content.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty }
    }

    /// JSON text.
    pub fn json<T: Serialize + ?Sized>(status: u16, value: &T) -> Result<Self> {
        // Wire types are plain structs with string keys; a failure would be a defect of ours.
        let text = serde_json::to_vec(value).map_err(Error::unavailable)?;
        Ok(Self::bytes(status, "application/json", text.into()))
    }

    /// Bytes of a media type.
    pub fn bytes(status: u16, media_type: &str, content: Bytes) -> Self {
        let headers = vec![("content-type", media_type.to_owned())];
        Self { status, headers, content: Content::Bytes(content) }
    }

    /// Adds a header; `name` in lower case.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds `Retry-After` where the error knows when a retry can succeed; whole seconds, rounded up.
    #[must_use]
    pub fn with_delay(self, error: &Error) -> Self {
        match error.delay() {
            Some(delay) => {
                let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
                self.with("retry-after", seconds.max(1).to_string())
            }
            None => self,
        }
    }

    /// A header that was set.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A handler's result as a response.
pub trait Render {
    /// Makes the response; `status` is that of the operation's row.
    fn render(self, status: u16) -> Result<Reply>;
}

impl Render for Reply {
    /// As the handler made it.
    fn render(self, _: u16) -> Result<Reply> {
        Ok(self)
    }
}

/// A JSON body.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> Render for Json<T> {
    fn render(self, status: u16) -> Result<Reply> {
        Reply::json(status, &self.0)
    }
}

/// No body: where the contract names none.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Render for Nothing {
    fn render(self, status: u16) -> Result<Reply> {
        Ok(Reply::empty(status))
    }
}

/// A file, whole or in part. Handlers ask [`Request::wanted_part`](super::cx::Request::wanted_part) first and open
/// only the part that is wanted.
pub struct File {
    /// Name offered for saving.
    pub name: String,
    /// Media type as stored.
    pub media_type: String,
    /// Size of the whole file.
    pub size: u64,
    /// Entity tag in quotes.
    pub etag: String,
    /// What is sent.
    pub part: Requested,
    /// The bytes of that part.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("size", &self.size).field("part", &self.part).finish_non_exhaustive()
    }
}

/// Media types that a browser may show in place; everything else (SVG and HTML above all) is for saving only.
const INLINE: &[&str] =
    &["image/jpeg", "image/png", "image/gif", "image/webp", "audio/", "video/", "application/pdf"];

impl Render for File {
    fn render(self, status: u16) -> Result<Reply> {
        let (status, range): (_, Range<u64>) = match &self.part {
            Requested::Unchanged => return Ok(Reply::empty(304).with("etag", self.etag)),
            Requested::Whole => (status, 0..self.size),
            Requested::Part(range) => (206, range.clone()),
        };
        let content = Content::Stream(range.end - range.start, self.bytes);
        let inline = INLINE.iter().any(|known| self.media_type.starts_with(known));
        let mut reply = Reply { status, headers: Vec::with_capacity(8), content }
            .with("content-type", self.media_type)
            .with("content-disposition", disposition(inline, &self.name))
            .with("content-security-policy", "sandbox; default-src 'none'")
            .with("accept-ranges", "bytes")
            .with("etag", self.etag)
            .with("cache-control", "private, max-age=0, must-revalidate");
        if status == 206 {
            reply =
                reply.with("content-range", format!("bytes {}-{}/{}", range.start, range.end - 1, self.size));
        }
        Ok(reply)
    }
}

/// `Content-Disposition` with an ASCII name for old clients and the real one for the others (RFC 6266).
fn disposition(inline: bool, name: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
    let name: String =
        name.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).take(200).collect();
    let name = if name.is_empty() { "file".to_owned() } else { name };
    let ascii: String =
        name.chars().map(|c| if c.is_ascii() && c != '"' && c != '%' { c } else { '_' }).collect();
    let kind = if inline { "inline" } else { "attachment" };
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, PLAIN))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::domain::codes::Code;

    #[test]
    fn a_delay_is_rounded_up() {
        let header = |millis| {
            let error = Error::new(Code::TooManyRequests, "x").retry_after(Duration::from_millis(millis));
            Reply::empty(429).with_delay(&error).header("retry-after").map(str::to_owned)
        };
        assert_eq!(header(1_200).as_deref(), Some("2"));
        assert_eq!(header(10).as_deref(), Some("1"));
        assert!(Reply::empty(400).with_delay(&Error::invalid("x")).headers.is_empty());
    }

    #[test]
    fn files_are_safe_to_open() {
        let file = |media_type: &str, name: &str, part| File {
            name: name.into(),
            media_type: media_type.into(),
            size: 10,
            etag: "\"a\"".into(),
            part,
            bytes: stream::empty().boxed(),
        };
        let reply = file("text/html", "a\"b\r\n/ü.html", Requested::Whole).render(200).unwrap();
        assert_eq!(
            reply.header("content-disposition"),
            Some("attachment; filename=\"a_b_.html\"; filename*=UTF-8''a%22b%C3%BC.html")
        );
        assert!(reply.header("content-security-policy").unwrap().starts_with("sandbox"));
        let reply = file("image/png", "", Requested::Part(2..4)).render(200).unwrap();
        assert_eq!((reply.status, reply.header("content-range")), (206, Some("bytes 2-3/10")));
        assert!(reply.header("content-disposition").unwrap().starts_with("inline; filename=\"file\""));
        assert!(
            file("image/svg+xml", "x", Requested::Whole)
                .render(200)
                .unwrap()
                .header("content-disposition")
                .unwrap()
                .starts_with("attachment")
        );
        assert_eq!(file("image/png", "x", Requested::Unchanged).render(200).unwrap().status, 304);
    }
}
