//! Which web pages may connect.

use crate::{config::Origins, realtime::Options};

/// What a request says of where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claimed<'a> {
    /// Header `Origin`: the web page, which browsers always name and programs do not.
    pub origin: Option<&'a str>,
    /// Header `Host`: what it calls this server.
    pub host: Option<&'a str>,
    /// Whether a proxy added forwarding headers.
    pub forwarded: bool,
}

/// Whether a request may connect. An insecure server takes only what this machine asks of it by a local name: a page
/// of the outside world must not reach it through a browser that runs here.
pub fn is_welcome(options: &Options, claimed: Claimed<'_>) -> bool {
    let Claimed { origin, host, forwarded } = claimed;
    let local = || {
        let page = origin.map(|origin| origin.split_once("://").map_or("", |(_, authority)| authority));
        !forwarded && host.is_some_and(is_local) && page.is_none_or(is_local)
    };
    is_allowed(&options.allowed_origins, origin, host) && (options.insecure.is_none() || local())
}

fn is_local(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The page must come from this host or from one of the `allowed` origins.
fn is_allowed(allowed: &Origins, origin: Option<&str>, host: Option<&str>) -> bool {
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
    fn insecure_servers_are_local() {
        let allowed_origins = origins(&["*"]);
        let options =
            Options { insecure: Some(crate::domain::ids::OrgId(1)), allowed_origins, ..Options::default() };
        let welcome =
            |host, origin, forwarded| is_welcome(&options, Claimed { origin, host: Some(host), forwarded });
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
            assert!(
                welcome(host, None, false) && welcome(host, Some("http://localhost:3000"), false),
                "{host}"
            );
            assert!(!welcome(host, None, true) && !welcome(host, Some("https://evil.example"), false));
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "10.0.0.1"] {
            assert!(!welcome(host, None, false), "{host}");
        }
        assert!(!is_welcome(&options, Claimed::default()));
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
