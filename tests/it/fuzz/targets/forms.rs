//! Uploads: `multipart/form-data`.

use bytes::Bytes;
use switchboard::{
    domain::{
        codes::Code,
        error::{Error, Result},
    },
    http::Upload,
};

use super::source::Source;

/// Longer inputs only cost time; below what a part's head may take, since that is counted in pieces.
const MOST: usize = 8_192;
const BOUNDARY: &str = "b0undary";

/// A part as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    name: String,
    file_name: Option<String>,
    media_type: Option<String>,
    content: Vec<u8>,
}

/// The parts up to the end or a refusal.
type Outcome = (Vec<Read>, Option<Code>);

/// The first line as a content type, the rest as the body; and the whole as parts of a form that is made of it.
pub fn read(data: &[u8]) -> bool {
    let data = &data[..data.len().min(MOST)];
    written(data);
    let (kind, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let Some(boundary) = std::str::from_utf8(kind).ok().and_then(Upload::boundary) else { return false };
    let (parts, refusal) = parsed(&boundary, body, body.len());
    // Byte by byte costs a poll for each.
    for size in [if body.len() < 300 { 1 } else { 7 }, 61] {
        assert_eq!(parsed(&boundary, body, size), (parts.clone(), refusal), "in pieces of {size}");
    }
    if let Some(code) = refusal {
        assert!(matches!(code, Code::ParametersInvalid | Code::TooLarge), "{code:?}");
    }
    assert!(parts.iter().map(|part| part.content.len()).sum::<usize>() <= body.len());
    !parts.is_empty()
}

/// A form that a client would write is read as it was written, its texts as texts.
fn written(data: &[u8]) {
    let mut source = Source(data);
    let mut parts = Vec::new();
    while parts.len() < 20 && !source.is_empty() {
        let plain = |text: String| text.replace(|c: char| c.is_control() || matches!(c, '"' | '\\'), "_");
        let name = plain(source.text());
        let file_name = source.yes().then(|| plain(source.text()));
        let content = source.bytes().to_vec();
        parts.push(Read { name, file_name, media_type: None, content });
    }
    let mut body = Vec::new();
    for part in &parts {
        body.extend(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"", part.name).bytes(),
        );
        if let Some(file_name) = &part.file_name {
            body.extend(format!("; filename=\"{file_name}\"").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(&part.content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    for size in [body.len(), 9] {
        assert_eq!(parsed(BOUNDARY, &body, size), (parts.clone(), None));
    }
    let texts = block(async {
        let mut form = fed(BOUNDARY, &body, 64);
        let mut texts = Vec::new();
        while let Some(part) = form.next().await? {
            // A part that cannot be a text is refused, and ends the form for a handler that wants texts.
            texts.push(part.text().await?);
        }
        Ok::<_, Error>(texts)
    });
    let are_texts = |part: &Read| std::str::from_utf8(&part.content).is_ok_and(|text| !text.contains('\0'));
    match texts {
        Ok(texts) => {
            assert!(texts.iter().map(String::as_bytes).eq(parts.iter().map(|part| &part.content[..])));
        }
        Err(error) => {
            assert_eq!(error.code(), Code::ParametersInvalid);
            assert!(!parts.iter().all(are_texts));
        }
    }
}

fn parsed(boundary: &str, body: &[u8], size: usize) -> Outcome {
    let mut form = fed(boundary, body, size);
    let mut parts = Vec::new();
    let end = block(async {
        while let Some(part) = next(&mut form).await? {
            parts.push(part);
        }
        Ok::<_, Error>(())
    });
    (parts, end.err().map(|error| error.code()))
}

async fn next(form: &mut Upload) -> Result<Option<Read>> {
    let Some(mut part) = form.next().await? else { return Ok(None) };
    let (name, file_name) = (part.name().to_owned(), part.file_name().map(str::to_owned));
    let media_type = part.media_type();
    let mut content = Vec::new();
    while let Some(chunk) = part.chunk().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(Some(Read { name, file_name, media_type, content }))
}

/// A form whose body comes in pieces of that size.
fn fed(boundary: &str, body: &[u8], size: usize) -> Upload {
    let (feed, form) = Upload::channel(boundary.to_owned());
    let body = Bytes::copy_from_slice(body);
    RUNTIME.with(|runtime| {
        runtime.spawn(async move {
            let mut at = 0;
            while at < body.len() {
                let end = body.len().min(at + size.max(1));
                // Who reads no more needs no more.
                if feed.send(Ok(body.slice(at..end))).await.is_err() {
                    return;
                }
                at = end;
            }
        });
    });
    form
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
}

fn block<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}
