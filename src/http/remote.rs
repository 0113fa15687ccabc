//! Where a request really came from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::Networks;

/// Who is believed about addresses.
#[derive(Clone, Debug, Default)]
pub struct Believed {
    /// Proxies whose `X-Forwarded-For` counts.
    pub proxies: Networks,
    /// Networks that may read metrics and reasons, besides loopback.
    pub trusted: Networks,
}

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its address, behind trusted proxies.
    pub address: IpAddr,
    /// True for loopback and trusted networks.
    pub trusted: bool,
}

impl Believed {
    /// Judges a connection from `peer` with these `X-Forwarded-For` values, in the order sent.
    pub fn judge<'a>(&self, peer: Option<SocketAddr>, forwarded: impl Iterator<Item = &'a str>) -> Remote {
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
        let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut address = peer;
        let mut believed = true;
        for hop in hops.iter().rev() {
            if !self.proxies.contains(address) {
                // Somebody in between whom we do not know: loopback may be a proxy that was not declared.
                believed = false;
                break;
            }
            let Some(next) = parse(hop) else {
                believed = false;
                break;
            };
            address = next;
        }
        let trusted = believed && (address.is_loopback() || self.trusted.contains(address));
        Remote { address, trusted }
    }
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| hop.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(peer: &str, forwarded: &[&str]) -> (String, bool) {
        let networks = |text| serde_json::from_str(text).unwrap();
        let believed = Believed {
            proxies: networks(r#"["10.0.0.0/8","127.0.0.1"]"#),
            trusted: networks(r#"["192.168.0.0/16"]"#),
        };
        let remote = believed.judge(Some(peer.parse().unwrap()), forwarded.iter().copied());
        (remote.address.to_string(), remote.trusted)
    }

    #[test]
    fn only_known_proxies_are_believed() {
        assert_eq!(judge("8.8.8.8:1", &[]), ("8.8.8.8".into(), false));
        assert_eq!(judge("8.8.8.8:1", &["127.0.0.1"]), ("8.8.8.8".into(), false));
        assert_eq!(judge("10.0.0.1:1", &["127.0.0.1, 1.2.3.4"]), ("1.2.3.4".into(), false));
        assert_eq!(judge("10.0.0.1:1", &["9.9.9.9", "1.2.3.4:55, 10.9.9.9"]), ("1.2.3.4".into(), false));
        assert_eq!(judge("10.0.0.1:1", &["nonsense"]), ("10.0.0.1".into(), false));
        assert_eq!(judge("[::ffff:10.0.0.1]:1", &["[2001:db8::1]:7"]), ("2001:db8::1".into(), false));
    }

    #[test]
    fn loopback_is_trusted_unless_it_forwards_for_a_stranger() {
        assert_eq!(judge("127.0.0.1:1", &[]), ("127.0.0.1".into(), true));
        assert_eq!(judge("[::1]:1", &["1.2.3.4"]), ("::1".into(), false));
        assert_eq!(judge("127.0.0.1:1", &["1.2.3.4"]), ("1.2.3.4".into(), false));
        assert_eq!(judge("127.0.0.1:1", &["192.168.3.4"]), ("192.168.3.4".into(), true));
    }
}
