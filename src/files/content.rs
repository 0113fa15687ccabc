//! What a file is: its name, and its declared type, checked against its first bytes.

/// Longest stored file name in characters.
pub const MAX_NAME: usize = 255;

/// A declared type that the content contradicts, or that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Not `type/subtype`.
    #[error("{0:?} is not a media type (type/subtype)")]
    Malformed(String),
    /// The first bytes are something else.
    #[error("the content is not {declared} as declared")]
    Contradicted {
        /// What the sender said.
        declared: String,
    },
}

/// First bytes of the formats that are checked: (offset, bytes, type).
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"%PDF-", "application/pdf"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
];

/// Declared types that must match a signature: what browsers and our own decoder open by themselves.
const CHECKED: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];

/// The type that the first bytes show, where it is one that we know.
pub fn sniff(head: &[u8]) -> Option<&'static str> {
    SIGNATURES
        .iter()
        .find(|(offset, bytes, _)| head.get(*offset..).is_some_and(|rest| rest.starts_with(bytes)))
        .map(|(_, _, mime)| *mime)
}

/// The media type of a declaration: lower case, without parameters; `image/jpg` is put right.
pub fn media_type(declared: &str) -> Result<String, TypeError> {
    let bare = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    match bare.split_once('/') {
        Some((kind, sub)) if token(kind) && token(sub) && bare.len() <= 127 => {
            Ok(if bare == "image/jpg" { "image/jpeg".to_owned() } else { bare })
        }
        _ => Err(TypeError::Malformed(declared.chars().take(127).collect())),
    }
}

/// Fails when `mime` is a checked type and `head` shows something else.
pub fn check(mime: &str, head: &[u8]) -> Result<(), TypeError> {
    if CHECKED.contains(&mime) && sniff(head) != Some(mime) {
        return Err(TypeError::Contradicted { declared: mime.to_owned() });
    }
    Ok(())
}

/// A name without folders, control characters and direction marks, of at most [`MAX_NAME`] characters; `None` when
/// nothing is left.
pub fn clean_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let cleaned: String = last
        .chars()
        .filter(|c| {
            !c.is_control()
                && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .take(MAX_NAME)
        .collect();
    let cleaned = cleaned.trim();
    (!cleaned.is_empty() && !cleaned.chars().all(|c| c == '.')).then(|| cleaned.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_put_in_order() {
        assert_eq!(media_type("Image/JPG; q=1").unwrap(), "image/jpeg");
        assert_eq!(media_type("application/vnd.api+json").unwrap(), "application/vnd.api+json");
        for wrong in ["", "image", "image/", "/png", "a b/c", "text/html\r\nx: y"] {
            assert!(media_type(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn content_must_be_what_it_says() {
        let png = b"\x89PNG\r\n\x1a\nrest";
        assert_eq!(check("image/png", png), Ok(()));
        assert!(check("image/jpeg", png).is_err());
        assert!(check("image/png", b"<svg onload=alert(1)>").is_err());
        assert!(check("image/png", b"").is_err());
        assert_eq!(check("text/csv", b"a,b"), Ok(()));
    }

    #[test]
    fn names_lose_folders_and_tricks() {
        assert_eq!(clean_name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(clean_name("C:\\Pictures\\a.png").as_deref(), Some("a.png"));
        assert_eq!(clean_name("in\u{202e}gpj.exe\r\n").as_deref(), Some("ingpj.exe"));
        assert_eq!(clean_name(" .. "), None);
        assert_eq!(clean_name("\u{7}"), None);
        assert_eq!(clean_name(&"é".repeat(300)).map(|n| n.chars().count()), Some(MAX_NAME));
    }
}
