//! `[http]`: the listening socket, who is believed, and the limits of requests.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::check::{Check, units};

/// The HTTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// How clients reach the server, without a slash at the end; empty = by `listen`. Read it by [`Http::public_url`].
    pub public_url: String,
    /// Whose forwarded addresses count.
    pub trusted_proxies: Networks,
    /// Who besides loopback may read metrics and reasons of readiness.
    pub trusted_networks: Networks,
    /// Origins of CORS; `*` = all.
    pub allowed_origins: Origins,
    /// Bytes of a body that is not an upload.
    pub body_limit: usize,
    /// For a request's head.
    #[serde(deserialize_with = "units::seconds")]
    pub head_timeout_seconds: Duration,
    /// For a whole body that is not an upload.
    #[serde(deserialize_with = "units::seconds")]
    pub body_timeout_seconds: Duration,
    /// For a whole upload.
    #[serde(deserialize_with = "units::seconds")]
    pub upload_timeout_seconds: Duration,
    /// For the next request of an idle connection.
    #[serde(deserialize_with = "units::seconds")]
    pub keep_alive_seconds: Duration,
    /// Threads that own connections; 0 = one per core.
    pub workers: usize,
    /// Connections per worker.
    pub max_connections: usize,
}

impl Http {
    /// The outside address without a slash at the end, given where the server really listens.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        if self.public_url.is_empty() { format!("http://{bound}") } else { self.public_url.clone() }
    }

    pub(super) fn check(&self, check: &mut Check) {
        let url = &self.public_url;
        let good = url.is_empty()
            || ((url.starts_with("http://") || url.starts_with("https://")) && !url.ends_with('/'));
        check.ensure("http.public_url", good, || {
            "must begin with http:// or https:// and end without a slash".to_owned()
        });
        check.ensure("http.allowed_origins", self.allowed_origins.are_plain(), || Origins::RULE.to_owned());
        check.range("http.body_limit", self.body_limit, 1_024..=67_108_864);
        check.seconds("http.head_timeout_seconds", self.head_timeout_seconds, 1..=300);
        check.seconds("http.body_timeout_seconds", self.body_timeout_seconds, 1..=3_600);
        check.seconds("http.upload_timeout_seconds", self.upload_timeout_seconds, 1..=3_600);
        check.seconds("http.keep_alive_seconds", self.keep_alive_seconds, 0..=3_600);
        check.range("http.workers", self.workers, 0..=256);
        check.range("http.max_connections", self.max_connections, 1..=1_000_000);
    }
}

/// Networks in CIDR notation; a single address counts as a network of one.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// True when `address` (an IPv4 one mapped into IPv6 included) lies in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| IpNet::from_str(text).or_else(|_| IpAddr::from_str(text).map(IpNet::from)))
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|_| D::Error::custom("not a list of networks such as \"10.0.0.0/8\""))
    }
}

/// Web origins (`https://app.example.org`), or `*` for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Origins(Vec<String>);

impl Origins {
    pub(super) const RULE: &str = "an origin is \"*\" or scheme://host[:port] without a path";

    /// True when pages of `origin` are let through.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }

    /// True when every origin is let through.
    pub fn allow_all(&self) -> bool {
        self.0.iter().any(|allowed| allowed == "*")
    }

    pub(super) fn are_plain(&self) -> bool {
        self.0.iter().all(|origin| {
            origin == "*"
                || origin.split_once("://").is_some_and(|(scheme, host)| {
                    !scheme.is_empty() && !host.is_empty() && !host.contains('/')
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_origins() {
        let networks: Networks = serde_json::from_str(r#"["10.0.0.0/8","::1"]"#).unwrap();
        assert!(networks.contains("10.2.3.4".parse().unwrap()));
        assert!(networks.contains("::ffff:10.2.3.4".parse().unwrap()));
        assert!(networks.contains("::1".parse().unwrap()));
        assert!(!networks.contains("11.0.0.1".parse().unwrap()));
        assert!(serde_json::from_str::<Networks>(r#"["ten"]"#).is_err());

        let origins: Origins = serde_json::from_str(r#"["https://a.example"]"#).unwrap();
        assert!(origins.allow("https://A.example") && !origins.allow("https://b.example"));
        assert!(origins.are_plain() && !origins.allow_all());
    }
}
