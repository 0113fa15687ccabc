//! What a client needs to send media: STUN and TURN servers with time-limited credentials, and our own address.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha1::Sha1;

use crate::{base::clock::Timestamp, config::Calls};

/// An entry of `RTCPeerConnection`'s `iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// Its addresses.
    pub urls: Vec<String>,
    /// TURN: end of the credentials and who they were made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN: what proves that we made the username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The servers of the configuration, with credentials for `user` that end after `calls.turn_ttl_seconds` (the "TURN REST
/// API" that coturn implements as `use-auth-secret`).
pub fn servers(config: &Calls, user: &str, now: Timestamp) -> Vec<IceServer> {
    let mut servers = Vec::new();
    if !config.stun_urls.is_empty() {
        servers.push(IceServer { urls: config.stun_urls.clone(), username: None, credential: None });
    }
    if !config.turn_urls.is_empty() {
        let end = now.plus(config.turn_ttl_seconds).unix_seconds();
        // The colon separates the two parts of the name.
        let username = format!("{end}:{}", user.replace(':', "-"));
        let credential = credential(config.turn_secret.expose().as_bytes(), &username);
        servers.push(IceServer {
            urls: config.turn_urls.clone(),
            username: Some(username),
            credential: Some(credential),
        });
    }
    servers
}

fn credential(secret: &[u8], username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// `gss_info` of the contract: where to connect, and with which session token.
#[derive(Clone, Debug, Serialize)]
pub struct GssInfo {
    /// Address for native clients.
    pub server: String,
    /// Address of the socket.
    pub wsserver: String,
    /// The asker's session token.
    pub token: String,
}

impl GssInfo {
    /// The addresses under `public_url` (`http://..` or `https://..`, no slash at the end).
    pub fn new(public_url: &str, token: String) -> Self {
        let (secure, rest) = match public_url.split_once("://") {
            Some((scheme, rest)) => (scheme == "https", rest),
            None => (false, public_url),
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        Self {
            server: format!("{}://{authority}", if secure { "gss+ssl" } else { "gss" }),
            wsserver: format!("{}://{rest}/connection/websocket", if secure { "wss" } else { "ws" }),
            token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_coturn_expects() {
        // printf %s '1700000000:7' | openssl dgst -sha1 -hmac secret -binary | base64
        assert_eq!(credential(b"secret", "1700000000:7"), "Cf4dX1iIxoaSkwMIEX411xSxa14=");
    }

    #[test]
    fn addresses() {
        let info = GssInfo::new("https://calls.example:8443/base", String::new());
        assert_eq!(info.server, "gss+ssl://calls.example:8443");
        assert_eq!(info.wsserver, "wss://calls.example:8443/base/connection/websocket");
        assert_eq!(GssInfo::new("http://127.0.0.1:8080", String::new()).server, "gss://127.0.0.1:8080");
    }
}
