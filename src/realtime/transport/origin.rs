//! Which web pages may connect.

/// Whether a request with this `Origin` may connect. Programs send none. Browsers always do: their page must come
/// from this host or from one of the `allowed` origins (`*` = any).
pub fn is_allowed(allowed: &[String], origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let own = authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host));
    own || allowed.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn programs_own_pages_and_listed_pages() {
        let listed = ["https://app.example".to_owned()];
        assert!(is_allowed(&[], None, Some("h")));
        assert!(is_allowed(&[], Some("http://h:8080"), Some("H:8080")));
        assert!(is_allowed(&listed, Some("https://APP.example"), Some("h")));
        assert!(is_allowed(&["*".to_owned()], Some("null"), None));
        for foreign in ["https://evil.example", "https://h.evil", "null", "", "https://", "h"] {
            assert!(!is_allowed(&listed, Some(foreign), Some("h")), "{foreign}");
        }
    }
}
