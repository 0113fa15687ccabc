//! Uploads: `multipart/form-data` as a stream. What does not fit the bounded channel waits in the client's socket, so
//! memory holds a few pieces however large the file is.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use crate::domain::{
    codes::Code,
    error::{Error, Result},
};

/// Pieces of the body (at most 64 KiB each, as read from the socket) under way between socket and handler.
const PIECES: usize = 8;
/// Most bytes of a text part.
const MAX_TEXT: usize = 64 * 1024;
/// Most parts of a form.
const MAX_PARTS: usize = 100;
/// Most bytes that are read while a part's beginning is looked for: what stands before the form, its boundary, the part's
/// headers, and as much of the content as comes in the same pieces. While it looks for the first boundary `multer` asks
/// for another piece behind its look, and for one more before the next, so two whole pieces may be there unseen.
const MAX_HEAD: usize = 256 * 1024;
/// The content of a part has the limit of the whole body only.
const UNBOUNDED: usize = usize::MAX;

/// A form that is being uploaded, part by part.
#[derive(Debug)]
pub struct Upload {
    form: multer::Multipart<'static>,
    parts: usize,
    allowance: Allowance,
}

/// How many more bytes may be read where `multer` gathers them until it finds what it looks for. Without that, a body
/// that holds no boundary would be gathered whole, and searched from its beginning with each piece.
type Allowance = Arc<AtomicUsize>;

/// The socket's end of an upload.
pub type Feed = mpsc::Sender<Result<Bytes>>;

impl Upload {
    /// The boundary of a multipart content type; `None` for other content types.
    pub fn boundary(content_type: &str) -> Option<String> {
        let start = content_type.trim_start();
        if !start.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart")) {
            return None;
        }
        multer::parse_boundary(start).ok()
    }

    /// A form with that boundary, and where the socket's pieces go.
    pub fn channel(boundary: String) -> (Feed, Self) {
        let (feed, pieces) = mpsc::channel(PIECES);
        let allowance = Allowance::new(AtomicUsize::new(MAX_HEAD));
        let pieces = Pieces { pieces, fresh: false, allowance: allowance.clone() };
        (feed, Self { form: multer::Multipart::new(pieces, boundary), parts: 0, allowance })
    }

    /// The next part; read the one before to its end first.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        self.allowance.store(MAX_HEAD, Ordering::Relaxed);
        let Some(field) = self.form.next_field().await.map_err(translate)? else { return Ok(None) };
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Error::new(Code::TooLarge, format!("body: more than {MAX_PARTS} parts")));
        }
        self.allowance.store(UNBOUNDED, Ordering::Relaxed);
        Ok(Some(Part::new(field)))
    }
}

/// One part of a form.
#[derive(Debug)]
pub struct Part {
    field: multer::Field<'static>,
    name: String,
    file_name: Option<String>,
}

impl Part {
    fn new(field: multer::Field<'static>) -> Self {
        let header = field.headers().get("content-disposition").map_or(&[][..], |value| value.as_bytes());
        let header = std::str::from_utf8(header).unwrap_or_default();
        let name = parameter(header, "name").unwrap_or_default();
        Self { name, file_name: parameter(header, "filename"), field }
    }

    /// Name of the form's field; empty when the part has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the file at the sender's.
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The media type as the sender says.
    pub fn media_type(&self) -> Option<String> {
        self.field.content_type().map(ToString::to_string)
    }

    /// The next piece of the content.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.field.chunk().await.map_err(translate)
    }

    /// A short text.
    pub async fn text(mut self) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > MAX_TEXT {
                return Err(Error::new(
                    Code::TooLarge,
                    format!("body: {}: longer than {MAX_TEXT} bytes", self.name()),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| Error::invalid(format!("body: {}: not UTF-8 text without U+0000", self.name())))
    }
}

/// The content, piece by piece.
impl Stream for Part {
    type Item = Result<Bytes>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.field).poll_next(cx).map_err(translate)
    }
}

/// A parameter of a `Content-Disposition` header. `multer` looks for its name in the values of others, too.
fn parameter(header: &str, name: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after.split_once(';')?.1;
    }
}

/// What stands before the closing quote, and what follows it. A backslash escapes quotes and itself; elsewhere it is one
/// of a path, as some clients send.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                value.push(chars.next_if(|(_, next)| matches!(next, '"' | '\\')).map_or(c, |(_, next)| next));
            }
            _ => value.push(c),
        }
    }
    None
}

/// The pieces of a body. After each it pauses once: `multer` drains a stream in one go before it looks at what came, so
/// that a fast sender's whole file would be gathered; and one that ends with its last piece is taken for a form that
/// was cut off, although the whole form is there.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes>>,
    fresh: bool,
    allowance: Allowance,
}

impl Stream for Pieces {
    type Item = Result<Bytes>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.fresh) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.allowance.load(Ordering::Relaxed);
        if left == 0 {
            let rule = format!("body: more than {MAX_HEAD} bytes before the content of a part");
            return Poll::Ready(Some(Err(Error::new(Code::TooLarge, rule))));
        }
        let piece = self.pieces.poll_recv(cx);
        if let Poll::Ready(Some(Ok(piece))) = &piece {
            self.fresh = true;
            if left != UNBOUNDED {
                self.allowance.store(left.saturating_sub(piece.len()), Ordering::Relaxed);
            }
        }
        piece
    }
}

fn translate(error: multer::Error) -> Error {
    match error {
        // The feed's own errors: too large, too slow.
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => Error::invalid("body: could not be read").because(other),
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders => Error::invalid("body: the form ends too early"),
        other => Error::invalid("body: not a multipart/form-data form").because(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pieces: Vec<Result<&'static str>>) -> Upload {
        let (feed, upload) = Upload::channel("x".into());
        std::thread::spawn(move || {
            for piece in pieces {
                if feed.blocking_send(piece.map(Bytes::from)).is_err() {
                    return;
                }
            }
        });
        upload
    }

    fn block<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    const JUNK: &str = "0123456789012345678901234567890123456789012345678901234567890123456789";
    const HEAD: &str = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nhel";

    #[test]
    fn parts_come_one_by_one_however_they_are_cut() {
        block(async {
            let mut upload = form(vec![
                Ok(HEAD),
                Ok(
                    "lo\r\n--x\r\nContent-Disposition: form-data; name=\"attachment\"; filename=\"a.txt\"\r\n",
                ),
                Ok("Content-Type: text/plain\r\n\r\nab"),
                Ok("cd\r\n--"),
                Ok("x--\r\n"),
            ]);
            let part = upload.next().await.unwrap().unwrap();
            assert_eq!((part.name(), part.file_name()), ("name", None));
            assert_eq!(part.text().await.unwrap(), "hello");
            let mut part = upload.next().await.unwrap().unwrap();
            assert_eq!((part.name(), part.file_name()), ("attachment", Some("a.txt")));
            assert_eq!(part.media_type().as_deref(), Some("text/plain"));
            let mut content = Vec::new();
            while let Some(chunk) = part.chunk().await.unwrap() {
                content.extend_from_slice(&chunk);
            }
            assert_eq!(content, b"abcd");
            drop(part);
            assert!(upload.next().await.unwrap().is_none());
        });
    }

    /// The form's reader looks ahead, so a failure comes with the part or with its content.
    async fn failure(mut form: Upload) -> Code {
        match form.next().await {
            Ok(Some(part)) => part.text().await.unwrap_err().code(),
            Ok(None) => panic!("an end"),
            Err(error) => error.code(),
        }
    }

    #[test]
    fn the_end_never_comes_together_with_the_last_piece() {
        let (feed, pieces) = mpsc::channel(1);
        feed.try_send(Ok(Bytes::from_static(b"all"))).unwrap();
        drop(feed);
        let mut pieces = Pieces { pieces, fresh: false, allowance: Arc::new(UNBOUNDED.into()) };
        let mut poll = || Pin::new(&mut pieces).poll_next(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
        assert!(poll().is_pending());
        assert!(matches!(poll(), Poll::Ready(None)));
    }

    #[test]
    fn failures_keep_their_code() {
        block(async {
            let slow = Err(Error::new(Code::Timeout, "too slow"));
            assert_eq!(failure(form(vec![Ok(HEAD), slow])).await, Code::Timeout);
            assert_eq!(failure(form(vec![Ok(HEAD)])).await, Code::ParametersInvalid);
            assert_eq!(failure(form(vec![Ok("nonsense")])).await, Code::ParametersInvalid);
        });
    }

    #[test]
    fn pieces_that_were_not_looked_at_are_no_reason_to_refuse() {
        let (feed, pieces) = mpsc::channel(PIECES);
        let mut pieces = Pieces { pieces, fresh: false, allowance: Arc::new(MAX_HEAD.into()) };
        let mut poll = || Pin::new(&mut pieces).poll_next(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(poll().is_pending());
        // The largest pieces arrive right behind the look, and right before the next one.
        for _ in 0..2 {
            feed.try_send(Ok(Bytes::from(vec![0; 64 * 1024]))).unwrap();
            assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
            assert!(poll().is_pending());
        }
        assert!(poll().is_pending(), "nothing more has come");
    }

    #[test]
    fn what_is_not_content_is_bounded() {
        block(async {
            let endless = || (0..5_000).map(|_| Ok(JUNK));
            assert_eq!(failure(form(endless().collect())).await, Code::TooLarge);
            let open = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\nX: ";
            assert_eq!(
                failure(form([Ok(open)].into_iter().chain(endless()).collect())).await,
                Code::TooLarge
            );
            // However much of the file comes in the piece with its headers.
            let mut upload = form([Ok(HEAD)].into_iter().chain(endless()).chain([Ok("\r\n--x--")]).collect());
            let mut part = upload.next().await.unwrap().unwrap();
            let mut size = 0;
            while let Some(chunk) = part.chunk().await.unwrap() {
                size += chunk.len();
            }
            drop(part);
            assert_eq!(size, "hel".len() + 5_000 * JUNK.len());
            assert!(upload.next().await.unwrap().is_none());
        });
    }

    #[test]
    fn parameters() {
        for (header, name, file_name) in [
            ("form-data; name=\"a\"; filename=\"b c.txt\"", Some("a"), Some("b c.txt")),
            ("form-data; filename=\"my name=x\" ; Name = a", Some("a"), Some("my name=x")),
            ("form-data; name=\"a; filename=b\"", Some("a; filename=b"), None),
            (r#"form-data; name="a\"b\\"; filename="C:\dir\x""#, Some(r#"a"b\"#), Some(r"C:\dir\x")),
            ("form-data; filename*=UTF-8''x; name=", Some(""), None),
            ("form-data; name=\"open", None, None),
            ("form-data", None, None),
            ("", None, None),
        ] {
            let found = (parameter(header, "name"), parameter(header, "filename"));
            assert_eq!((found.0.as_deref(), found.1.as_deref()), (name, file_name), "{header}");
        }
    }

    #[test]
    fn boundaries() {
        assert_eq!(Upload::boundary("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(Upload::boundary("Multipart/Form-Data; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(Upload::boundary("application/json"), None);
        assert_eq!(Upload::boundary("multipart/form-data"), None);
    }
}
