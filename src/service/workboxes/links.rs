//! Guests' links: `<server>/thread/<uuid>?sig=<secret>&action=<action>`, written and read.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

/// Path of links, before the guest's uuid.
const PATH: &str = "/thread/";
/// Longest link that is looked at, in bytes. The longest action takes 3,060 of them: 255 characters of four bytes,
/// each written as `%XX`.
const LIMIT: usize = 4_096;

/// The link of a guest below `base`, the public address of the server.
pub fn write(base: &str, guest: Uuid, secret: &str, action: &str) -> String {
    let mut link = format!("{base}{PATH}{guest}?sig={secret}");
    if !action.is_empty() {
        link.push_str("&action=");
        link.extend(utf8_percent_encode(action, NON_ALPHANUMERIC));
    }
    link
}

/// Guest's uuid and secret of a link of ours, whatever host it names: behind a proxy there may be several.
pub fn read(link: &str) -> Option<(Uuid, &str)> {
    let link = link.trim();
    if link.len() > LIMIT {
        return None;
    }
    let (path, query) = link.split('#').next()?.split_once('?')?;
    let guest = path.rsplit('/').next()?.parse().ok()?;
    let secret = query.split('&').find_map(|pair| pair.strip_prefix("sig="))?;
    Some((guest, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: &str = "6f2c1b52-6d0c-4c3a-9f0e-0d7d6c1a2b3c";

    #[test]
    fn links_are_read_whole() {
        let link = format!("https://help.example/thread/{GUEST}?sig=abc&action=join%5Fsession");
        assert_eq!(write("https://help.example", GUEST.parse().unwrap(), "abc", "join_session"), link);
        assert_eq!(read(&link), Some((GUEST.parse().unwrap(), "abc")));
        for bad in ["", "x", "https://help.example/thread/", &format!("https://help.example/thread/{GUEST}")]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("{link}{}", "x".repeat(LIMIT))), None);
    }

    #[test]
    fn the_longest_action_leaves_a_link_that_is_read() {
        let link = write("https://help.example", GUEST.parse().unwrap(), "abc", &"\u{1f3a5}".repeat(255));
        assert_eq!(read(&link), Some((GUEST.parse().unwrap(), "abc")));
    }
}
