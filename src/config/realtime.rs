//! `[realtime]`: limits of sockets, and what an application brings along: namespaces, JWTs of its backend, keys.

use std::time::Duration;

use serde::Deserialize;

use super::{
    check::{Check, units},
    http::Origins,
};
use crate::{base::secret::Secret, domain::ids::OrgId};

/// The sockets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Realtime {
    /// Between the server's pings.
    #[serde(deserialize_with = "units::seconds")]
    pub ping_seconds: Duration,
    /// For a client's pong.
    #[serde(deserialize_with = "units::seconds")]
    pub pong_seconds: Duration,
    /// From the opened socket to its connect command.
    #[serde(deserialize_with = "units::seconds")]
    pub connect_seconds: Duration,
    /// Events in one page of missed history.
    pub recovery_page: u32,
    /// Bytes that may wait for one connection.
    pub queue_bytes: usize,
    /// Bytes of one frame from a client.
    pub frame_limit: usize,
    /// Subscriptions of one connection.
    pub max_subscriptions: usize,
    /// Commands that one connection may send for long.
    pub commands_per_second: u32,
    /// Commands at once on top of that.
    pub command_burst: u32,
    /// Commands of one connection that are worked on at the same time.
    pub commands_at_once: usize,
    /// Subscribers up to which presence names them.
    pub presence_limit: usize,
    /// Origins that may open sockets; `*` = all.
    pub allowed_origins: Origins,
    /// Lets clients in without a token.
    pub insecure: bool,
    /// The organisation of such clients.
    pub insecure_organization: OrgId,
    /// The namespace whose options channels without one take; empty = no such channels.
    pub default_namespace: String,
    /// Namespaces of application channels.
    pub namespaces: Vec<Namespace>,
    /// JWTs of applications' backends.
    pub tokens: Vec<BackendTokens>,
    /// Keys of the server API; none = off.
    pub server_keys: Vec<ServerKey>,
}

/// Options of one namespace; named and meant as Centrifugo's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Namespace {
    /// Part of a channel before its first `:`.
    pub name: String,
    /// Publications kept per channel.
    pub history_size: usize,
    /// How long they are kept.
    #[serde(deserialize_with = "units::seconds")]
    pub history_seconds: Duration,
    /// Who is subscribed can be asked.
    pub presence: bool,
    /// Subscribers are told who comes and goes.
    pub join_leave: bool,
    /// Subscriptions carry a position.
    pub force_positioning: bool,
    /// Subscriptions recover by themselves.
    pub force_recovery: bool,
    /// Delta compressions that clients may ask for.
    pub allowed_delta_types: Vec<String>,
    /// Publish with delta by default.
    pub delta_publish: bool,
    /// Users subscribe without a subscription token.
    pub allow_subscribe_for_client: bool,
    /// Users publish.
    pub allow_publish_for_client: bool,
    /// Subscribers publish.
    pub allow_publish_for_subscriber: bool,
    /// Users read history.
    pub allow_history_for_client: bool,
    /// Subscribers read history.
    pub allow_history_for_subscriber: bool,
    /// Users ask for presence.
    pub allow_presence_for_client: bool,
    /// Subscribers ask for presence.
    pub allow_presence_for_subscriber: bool,
}

/// JWTs that an application's own backend signs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackendTokens {
    /// Whose backend it is.
    pub organization: OrgId,
    /// JWT algorithms that are taken.
    pub algorithms: Vec<String>,
    /// HMAC secret.
    pub secret: Secret,
    /// Public key in PEM.
    pub public_key: String,
    /// Address of a JWKS document.
    pub jwks_url: String,
    /// The `iss` they must carry; empty = any.
    pub issuer: String,
    /// The `aud` they must carry; empty = any.
    pub audience: String,
}

/// A key of the server API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerKey {
    /// Whom it acts for.
    pub organization: OrgId,
    /// The key itself.
    pub key: Secret,
    /// May also read durable streams.
    pub streams: bool,
}

/// Kinds of the durable streams: no namespace may be called so.
const RESERVED: &[&str] = &["user", "workbox", "internal", "chat", "session", "queue", "org", "event"];
const HMAC: &[&str] = &["HS256", "HS384", "HS512"];
const ASYMMETRIC: &[&str] = &["RS256", "RS384", "RS512", "ES256", "ES384"];

impl Realtime {
    pub(super) fn check(&self, check: &mut Check) {
        check.seconds("realtime.ping_seconds", self.ping_seconds, 1..=600);
        check.seconds("realtime.pong_seconds", self.pong_seconds, 1..=600);
        check.ensure("realtime.pong_seconds", self.pong_seconds < self.ping_seconds, || {
            "must be below realtime.ping_seconds".to_owned()
        });
        check.seconds("realtime.connect_seconds", self.connect_seconds, 1..=300);
        check.range("realtime.recovery_page", self.recovery_page, 1..=10_000);
        check.range("realtime.queue_bytes", self.queue_bytes, 16_384..=67_108_864);
        check.range("realtime.frame_limit", self.frame_limit, 1_024..=16_777_216);
        check.range("realtime.max_subscriptions", self.max_subscriptions, 1..=100_000);
        check.range("realtime.commands_per_second", self.commands_per_second, 1..=100_000);
        check.range("realtime.command_burst", self.command_burst, 1..=100_000);
        check.range("realtime.commands_at_once", self.commands_at_once, 1..=1_000);
        check.range("realtime.presence_limit", self.presence_limit, 1..=100_000);
        check.ensure("realtime.allowed_origins", self.allowed_origins.are_plain(), || {
            Origins::RULE.to_owned()
        });
        for namespace in &self.namespaces {
            namespace
                .check(check, self.namespaces.iter().filter(|other| other.name == namespace.name).count());
        }
        let default = &self.default_namespace;
        let known = default.is_empty() || self.namespaces.iter().any(|namespace| namespace.name == *default);
        check.ensure("realtime.default_namespace", known, || format!("no namespace is called {default:?}"));
        self.tokens.iter().for_each(|tokens| tokens.check(check));
        for key in &self.server_keys {
            check.ensure("realtime.server_keys", key.key.expose().len() >= 16, || {
                "a key needs at least 16 characters".to_owned()
            });
            check.ensure("realtime.server_keys", key.organization.0 > 0, || {
                "names no organization".to_owned()
            });
        }
    }
}

impl Namespace {
    fn check(&self, check: &mut Check, of_that_name: usize) {
        let name = &self.name;
        let plain = !name.is_empty()
            && name.len() <= 64
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        check.ensure("realtime.namespaces", plain && !RESERVED.contains(&name.as_str()), || {
            format!("{name:?} cannot be a namespace's name")
        });
        check.ensure("realtime.namespaces", of_that_name == 1, || format!("{name:?} is there twice"));
        check.range("realtime.namespaces.history_size", self.history_size, 0..=100_000);
        check.seconds("realtime.namespaces.history_seconds", self.history_seconds, 0..=31_536_000);
        check.ensure(
            "realtime.namespaces.allowed_delta_types",
            self.allowed_delta_types.iter().all(|kind| kind == "fossil"),
            || "the only delta type is \"fossil\"".to_owned(),
        );
    }
}

impl BackendTokens {
    fn check(&self, check: &mut Check) {
        let known = |algorithm: &String| [HMAC, ASYMMETRIC].concat().contains(&algorithm.as_str());
        let hmac = self.algorithms.iter().any(|algorithm| HMAC.contains(&algorithm.as_str()));
        let asymmetric = self.algorithms.iter().any(|algorithm| ASYMMETRIC.contains(&algorithm.as_str()));
        check.ensure("realtime.tokens", self.organization.0 > 0, || "names no organization".to_owned());
        check.ensure(
            "realtime.tokens.algorithms",
            !self.algorithms.is_empty() && self.algorithms.iter().all(known),
            || format!("takes {} {}", HMAC.join(" "), ASYMMETRIC.join(" ")),
        );
        // A public key must never become an HMAC secret: one entry, one family of algorithms.
        check.ensure("realtime.tokens.algorithms", !(hmac && asymmetric), || {
            "HMAC and public keys need entries of their own".to_owned()
        });
        check.ensure("realtime.tokens.secret", !hmac || self.secret.expose().len() >= 16, || {
            "HMAC needs a secret of at least 16 characters".to_owned()
        });
        check.ensure(
            "realtime.tokens.public_key",
            !asymmetric || (self.public_key.is_empty() != self.jwks_url.is_empty()),
            || "needs either public_key or jwks_url".to_owned(),
        );
    }
}
