//! Conditional and partial reads of files (RFC 9110): one byte range, entity tags.

use std::ops::Range;

use crate::domain::error::{Error, Result};

/// The request headers that decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// `Range`.
    pub range: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
}

/// What to send of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// The client has this version: 304.
    Unchanged,
    /// Everything: 200.
    Whole,
    /// These bytes: 206.
    Part(Range<u64>),
}

impl Requested {
    /// Decides for a file of `size` bytes with the entity tag `etag`. A range header that cannot be read, or that asks
    /// for several ranges, is ignored as the RFC wants; one beyond the end is an error.
    pub fn parse(headers: &Validators<'_>, size: u64, etag: &str) -> Result<Self> {
        let matches = |value: &str| value.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag);
        if headers.if_none_match.is_some_and(matches) {
            return Ok(Self::Unchanged);
        }
        let fresh = headers.if_range.is_none_or(|value| value.trim() == etag);
        let Some(range) = headers.range.filter(|_| fresh).and_then(|text| bounds(text, size)) else {
            return Ok(Self::Whole);
        };
        if range.start >= size || range.is_empty() {
            return Err(Error::invalid(format!("header Range: the file has {size} bytes")));
        }
        Ok(Self::Part(range.start..range.end.min(size)))
    }
}

fn bounds(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim(), last.trim()) {
        ("", last) => Some(size.saturating_sub(number(last)?)..size),
        (first, "") => Some(number(first)?..size.max(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(first..last.saturating_add(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(range: &str) -> Option<Requested> {
        Requested::parse(&Validators { range: Some(range), ..Validators::default() }, 100, "\"a\"").ok()
    }

    #[test]
    fn one_range_or_everything() {
        assert_eq!(wanted("bytes=0-9"), Some(Requested::Part(0..10)));
        assert_eq!(wanted("bytes=90-"), Some(Requested::Part(90..100)));
        assert_eq!(wanted("bytes=-5"), Some(Requested::Part(95..100)));
        assert_eq!(wanted("bytes=-500"), Some(Requested::Part(0..100)));
        assert_eq!(wanted("bytes=50-18446744073709551615"), Some(Requested::Part(50..100)));
        for ignored in ["bytes=9-1", "bytes=0-1,3-4", "lines=1-2", "bytes=x-", "bytes=-", "", "bytes"] {
            assert_eq!(wanted(ignored), Some(Requested::Whole), "{ignored}");
        }
        for beyond in ["bytes=100-", "bytes=200-300", "bytes=-0"] {
            assert_eq!(wanted(beyond), None, "{beyond}");
        }
    }

    #[test]
    fn tags() {
        let parse = |range, if_range, if_none_match| {
            Requested::parse(&Validators { range, if_range, if_none_match }, 100, "\"a\"").unwrap()
        };
        assert_eq!(parse(None, None, Some("\"b\", \"a\"")), Requested::Unchanged);
        assert_eq!(parse(None, None, Some("*")), Requested::Unchanged);
        assert_eq!(parse(None, None, Some("\"b\"")), Requested::Whole);
        assert_eq!(parse(Some("bytes=0-0"), Some("\"a\""), None), Requested::Part(0..1));
        assert_eq!(parse(Some("bytes=0-0"), Some("\"b\""), None), Requested::Whole);
    }
}
