//! Uploads: `multipart/form-data` as a stream. What does not fit the bounded channel waits in the client's socket, so
//! memory holds a few pieces however large the file is.

use std::{
    pin::Pin,
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

/// A form that is being uploaded, part by part.
#[derive(Debug)]
pub struct Upload {
    form: multer::Multipart<'static>,
    parts: usize,
}

/// The socket's end of an upload.
pub(super) type Feed = mpsc::Sender<Result<Bytes>>;

impl Upload {
    /// The boundary of a multipart content type; `None` for other content types.
    pub(super) fn boundary(content_type: &str) -> Option<String> {
        let start = content_type.trim_start();
        if !start.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart")) {
            return None;
        }
        multer::parse_boundary(start).ok()
    }

    /// A form with that boundary, and where the socket's pieces go.
    pub(super) fn channel(boundary: String) -> (Feed, Self) {
        let (feed, pieces) = mpsc::channel(PIECES);
        (feed, Self { form: multer::Multipart::new(Pieces { pieces, fresh: false }, boundary), parts: 0 })
    }

    /// The next part; read the one before to its end, or drop it, first.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        let Some(field) = self.form.next_field().await.map_err(translate)? else { return Ok(None) };
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Error::new(Code::TooLarge, format!("body: more than {MAX_PARTS} parts")));
        }
        Ok(Some(Part { field }))
    }
}

/// One part of a form.
#[derive(Debug)]
pub struct Part {
    field: multer::Field<'static>,
}

impl Part {
    /// Name of the form's field; empty when the part has none.
    pub fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    /// The name of the file at the sender's.
    pub fn file_name(&self) -> Option<&str> {
        self.field.file_name()
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

/// The pieces of a body. Between the last of them and the end it pauses once: `multer` drains a stream in one go, and
/// one that ends right then is taken for a form that was cut off, although its buffer holds the whole form.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes>>,
    fresh: bool,
}

impl Stream for Pieces {
    type Item = Result<Bytes>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.pieces.poll_recv(cx);
        let was_fresh = std::mem::replace(&mut self.fresh, matches!(piece, Poll::Ready(Some(_))));
        if was_fresh && matches!(piece, Poll::Ready(None)) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
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
        let mut pieces = Pieces { pieces, fresh: false };
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
    fn boundaries() {
        assert_eq!(Upload::boundary("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(Upload::boundary("Multipart/Form-Data; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(Upload::boundary("application/json"), None);
        assert_eq!(Upload::boundary("multipart/form-data"), None);
    }
}
