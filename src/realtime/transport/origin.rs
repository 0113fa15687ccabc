//! Which web pages may connect.

use crate::config::Origins;

/// Whether a request with this `Origin` may connect. Programs send none. Browsers always do: their page must come
/// from this host or from one of the `allowed` origins.
pub fn is_allowed(allowed: &Origins, origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let own = authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host));
    own || allowed.allow(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Origins {
        serde_json::from_value(serde_json::json!(list)).unwrap()
    }

    #[test]
    fn programs_own_pages_and_listed_pages() {
        let (none, listed) = (origins(&[]), origins(&["https://app.example"]));
        assert!(is_allowed(&none, None, Some("h")));
        assert!(is_allowed(&none, Some("http://h:8080"), Some("H:8080")));
        assert!(is_allowed(&listed, Some("https://APP.example"), Some("h")));
        assert!(is_allowed(&origins(&["*"]), Some("null"), None));
        for foreign in ["https://evil.example", "https://h.evil", "null", "", "https://", "h"] {
            assert!(!is_allowed(&listed, Some(foreign), Some("h")), "{foreign}");
        }
    }
}
