//! How a file may be shown: names, types and headers that keep foreign content from acting as ours.
//!
//! Whatever was uploaded is served from our own address, so nothing in it may run there: everything goes out with
//! `nosniff` and a sandbox, and only types that cannot carry script are shown in place.

use std::fmt::Write as _;

/// Longest stored file name in characters.
pub const MAX_NAME: usize = 255;

/// Headers that every served file carries besides type, length and disposition.
pub const SAFETY_HEADERS: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "sandbox; default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "private, no-cache"),
];

/// True for types that a browser may show in place. SVG, HTML, XML and PDF are not among them.
pub fn may_show(mime: &str) -> bool {
    match mime.split_once('/') {
        Some(("image", kind)) => matches!(kind, "png" | "jpeg" | "gif" | "webp" | "bmp" | "avif" | "heic"),
        Some(("video" | "audio", kind)) => !kind.ends_with("+xml"),
        _ => mime == "text/plain",
    }
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

/// The `Content-Disposition` value: an ASCII name for old readers, and the real one by RFC 5987.
pub fn content_disposition(name: &str, mime: &str) -> String {
    let how = if may_show(mime) { "inline" } else { "attachment" };
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    let mut header = format!("{how}; filename=\"{ascii}\"");
    if ascii != name {
        header.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                header.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(header, "%{byte:02X}");
            }
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_types_are_shown() {
        for shown in ["image/png", "image/jpeg", "video/mp4", "audio/ogg", "text/plain"] {
            assert!(may_show(shown), "{shown}");
        }
        for kept in
            ["image/svg+xml", "text/html", "application/xhtml+xml", "application/pdf", "text/xml", "x"]
        {
            assert!(!may_show(kept), "{kept}");
        }
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

    #[test]
    fn names_travel_in_both_spellings() {
        assert_eq!(
            content_disposition("IMG_CAP_11-04-2021 10-31-27.JPG", "image/jpeg"),
            "inline; filename=\"IMG_CAP_11-04-2021 10-31-27.JPG\""
        );
        assert_eq!(
            content_disposition("Prüf\"ung.svg", "image/svg+xml"),
            "attachment; filename=\"Pr_f_ung.svg\"; filename*=UTF-8''Pr%C3%BCf%22ung.svg"
        );
    }
}
