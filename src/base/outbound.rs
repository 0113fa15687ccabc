//! HTTP requests to others: no proxy of the environment, no redirect, bounded in time and size, and, where a tenant
//! named the address, none into private networks (the addresses are looked at after DNS, when the connection is made).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};

use super::{secret::Secret, tls};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// Who named the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The operator, in the configuration: they may lie in networks of the operator's own.
    ByOperator,
    /// A tenant: public ones only.
    ByTenant,
}

/// Why there was no answer. Says nothing of the address, which may hold a key.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not an address, or one that nothing is sent to.
    #[error("not an HTTP address that may be used")]
    Address,
    /// It came to nothing.
    #[error("{0}")]
    Failed(#[source] reqwest::Error),
    /// More than was asked for.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl From<reqwest::Error> for OutboundError {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error.without_url())
    }
}

/// A client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
    named: Named,
}

/// An answer: its status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, as far as it was asked for.
    pub body: Vec<u8>,
}

impl Outbound {
    /// A client for addresses of that origin. Fails only where TLS cannot be set up.
    pub fn new(named: Named) -> Result<Self, OutboundError> {
        tls::install_provider();
        let builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent("switchboard");
        let builder = match named {
            Named::ByOperator => builder,
            Named::ByTenant => builder.dns_resolver(Arc::new(Guard)),
        };
        Ok(Self { client: builder.build()?, named })
    }

    /// Whether something may be sent to that address.
    pub fn takes(&self, url: &str) -> bool {
        self.checked(url).is_ok()
    }

    /// Reads at most `limit` bytes from `url`.
    pub async fn get(&self, url: &str, limit: usize) -> Result<Answer, OutboundError> {
        self.read(self.client.get(self.checked(url)?), limit).await
    }

    /// Posts JSON with a bearer token and a key that tells a repetition from another request.
    pub async fn post(
        &self,
        url: &str,
        body: Vec<u8>,
        bearer: Option<&Secret>,
        repetition: &str,
    ) -> Result<Answer, OutboundError> {
        let request = self.client.post(self.checked(url)?).header(CONTENT_TYPE, "application/json");
        let mut request = request.header("Idempotency-Key", repetition).body(body);
        if let Some(bearer) = bearer {
            let value = HeaderValue::try_from(format!("Bearer {}", bearer.expose()));
            let mut value = value.map_err(|_| OutboundError::Address)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        self.read(request, 0).await
    }

    /// The address, if something may be sent there: names are looked at when they are resolved.
    fn checked(&self, url: &str) -> Result<Url, OutboundError> {
        let url = Url::parse(url).map_err(|_| OutboundError::Address)?;
        let schemes: &[&str] = match self.named {
            Named::ByOperator => &["http", "https"],
            Named::ByTenant => &["https"],
        };
        let literal = url
            .host_str()
            .and_then(|host| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok());
        let guarded = self.named == Named::ByTenant && literal.is_some_and(|address| !is_public(address));
        if url.host_str().is_none() || !schemes.contains(&url.scheme()) || guarded {
            return Err(OutboundError::Address);
        }
        Ok(url)
    }

    async fn read(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, OutboundError> {
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while limit > 0
            && let Some(chunk) = response.chunk().await?
        {
            if body.len() + chunk.len() > limit {
                return Err(OutboundError::TooLong(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

/// Resolves names to public addresses only; what it answers is what is connected to.
struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            // One private address among public ones is a trap, not a choice.
            if found.is_empty() || found.iter().any(|address| !is_public(address.ip())) {
                let refusal =
                    io::Error::new(io::ErrorKind::PermissionDenied, "the name has no public address");
                return Err(refusal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// True for addresses of the public Internet, whatever form they are written in.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared by carriers, protocol assignments, 6to4 relays, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Compatible and mapped forms, loopback, unspecified; NAT64, well known; 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // NAT64, local; Teredo, benchmarks, ORCHID, documentation.
        [0x64, 0xff9b, ..] | [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Only 2000::/3 is given out: no unique local, link-local, site-local, multicast or discarded ones.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_in_all_their_forms() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "192.0.1.1", "::ffff:1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn tenants_name_public_https_addresses_only() {
        let (tenant, operator) =
            (Outbound::new(Named::ByTenant).unwrap(), Outbound::new(Named::ByOperator).unwrap());
        for refused in [
            "http://example.org/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
            "x",
        ] {
            assert!(tenant.checked(refused).is_err(), "{refused}");
        }
        assert!(tenant.checked("https://example.org/hook").is_ok());
        assert!(operator.checked("http://127.0.0.1:1/").is_ok() && operator.checked("ftp://x/").is_err());
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_leads_nowhere() {
        let tenant = Outbound::new(Named::ByTenant).unwrap();
        let error = tenant.get("https://localhost/", 10).await.unwrap_err();
        let OutboundError::Failed(error) = error else { panic!("{error}") };
        assert!(error.is_connect() && !error.to_string().contains("localhost"), "{error:?}");
    }
}
