//! What people may be reached and called by: e-mail addresses, phone numbers, names. Checked once, kept in one form.

use crate::domain::{
    codes::Code,
    error::{Error, Result},
};

/// Longest e-mail address and display name, in characters.
const LONGEST: usize = 255;
/// Longest username, in characters.
const LONGEST_USERNAME: usize = 100;

/// A display name: 1 to 255 characters, without control characters, `<` and `>`.
pub fn name(text: &str) -> Result<String> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > LONGEST || text.contains(|c: char| c.is_control() || matches!(c, '<' | '>')) {
        let rule = format!("a name has 1 to {LONGEST} characters, none of them < or >");
        return Err(Error::new(Code::InvalidName, rule));
    }
    Ok(text.to_owned())
}

/// An e-mail address that mail can be sent to. Its case is kept; comparing ignores it.
pub fn email(text: &str) -> Result<String> {
    let text = text.trim();
    let plain = text.chars().count() <= LONGEST
        && !text.contains(|c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';' | '"')
        });
    let parts = text.rsplit_once('@').filter(|(local, domain)| {
        !local.is_empty()
            && !local.contains('@')
            && !domain.is_empty()
            && domain
                .split('.')
                .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
    });
    if !plain || parts.is_none() {
        return Err(Error::new(Code::InvalidEmail, "not an e-mail address"));
    }
    Ok(text.to_owned())
}

/// A username: no spaces, and no `@`, so that it is never mistaken for an e-mail address.
pub fn username(text: &str) -> Result<String> {
    let text = text.trim();
    let length = text.chars().count();
    let wrong =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '<' | '>' | '/' | '?' | '#' | '%');
    if length == 0 || length > LONGEST_USERNAME || text.contains(wrong) {
        let rule =
            format!("a username has 1 to {LONGEST_USERNAME} characters, no spaces and none of @ < > / ? # %");
        return Err(Error::new(Code::InvalidUsername, rule));
    }
    Ok(text.to_owned())
}

/// A phone number with its country code, as E.164.
pub fn phone(text: &str) -> Result<String> {
    let wrong =
        || Error::new(Code::InvalidNumber, "not a phone number with its country code, such as +14155550123");
    let text = text.trim();
    // The parser takes long texts apart at length; no number needs that many characters.
    if text.len() > 40 || !(text.starts_with('+') || text.starts_with("00")) {
        return Err(wrong());
    }
    let international = match text.strip_prefix("00") {
        Some(rest) => format!("+{rest}"),
        None => text.to_owned(),
    };
    let number = phonenumber::parse(None, international).map_err(|_| wrong())?;
    if !phonenumber::is_valid(&number) {
        return Err(wrong());
    }
    Ok(number.format().mode(phonenumber::Mode::E164).to_string())
}

/// A short free text (title, location, language); empty clears it.
pub fn short_text(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > LONGEST || text.contains(|c: char| c.is_control() || matches!(c, '<' | '>')) {
        return Err(Error::invalid(format!("{field}: at most {LONGEST} characters, none of them < or >")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails() {
        for good in ["a@b.c", "Ann.Smith+x@Example.ORG", "a@localhost"] {
            assert_eq!(email(&format!(" {good} ")).unwrap(), good);
        }
        for bad in [
            "",
            "a",
            "@b.c",
            "a@",
            "a@b..c",
            "a b@c.d",
            "a@b@c.d",
            "a@-b.c",
            "<a@b.c>",
            "a@b.c\r\nBcc: x@y.z",
        ] {
            assert_eq!(email(bad).unwrap_err().code(), Code::InvalidEmail, "{bad}");
        }
        assert!(email(&format!("{}@b.c", "a".repeat(300))).is_err());
    }

    #[test]
    fn phones() {
        assert_eq!(phone("+1 (415) 555-2671").unwrap(), "+14155552671");
        assert_eq!(phone("0049 30 901820").unwrap(), "+4930901820");
        for bad in
            ["", "4155552671", "+1", "+999123456", "abc", "+1 415 555 2671 and a great deal of other text"]
        {
            assert_eq!(phone(bad).unwrap_err().code(), Code::InvalidNumber, "{bad}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(name("  Ann  ").unwrap(), "Ann");
        for bad in ["", " ", "<b>", "a\nb", &"x".repeat(256)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(username("ann.smith").is_ok());
        for bad in ["ann smith", "a@b", "", "a/b"] {
            assert!(username(bad).is_err(), "{bad}");
        }
    }
}
