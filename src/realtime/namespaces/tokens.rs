//! JWTs that an application's own backend signs, for connections and for subscriptions.

use std::sync::Arc;

use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous::insecure_decode, decode, decode_header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::keys::{Found, KeySet};
use crate::{
    base::clock::Timestamp,
    config::BackendTokens,
    domain::ids::OrgId,
    realtime::{disconnect::error, port::Refusal},
    service::tokens::claims::ISSUER,
};

/// What such a token says, as Centrifugo documents it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    /// The user, in an id space of the application.
    pub(super) sub: String,
    /// Seconds since 1970; absent = never.
    pub(super) exp: Option<i64>,
    /// In a subscription's token: the channel.
    pub(super) channel: Option<String>,
    /// In a connection's token: channels to subscribe to at once.
    pub(super) channels: Vec<String>,
    info: Option<Box<RawValue>>,
}

impl Claims {
    /// The end of the token, or error 109 where it is over.
    pub(super) fn expires_at(&self, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        match self.exp.map(Timestamp::from_unix_seconds) {
            Some(at) if at <= now => Err(error::TOKEN_EXPIRED.into()),
            at => Ok(at),
        }
    }

    /// What others see of the user, as JSON text.
    pub(super) fn info(&self) -> Bytes {
        self.info.as_ref().map_or_else(Bytes::new, |info| Bytes::copy_from_slice(info.get().as_bytes()))
    }
}

/// Verifiers of all backends.
pub(super) struct Tokens(Vec<Verifier>);

struct Verifier {
    organization: OrgId,
    algorithms: Vec<Algorithm>,
    key: Key,
    issuer: String,
    validation: Validation,
}

impl Tokens {
    /// A backend whose key cannot be read is left out, with an error in the log.
    pub(super) fn new(backends: &[BackendTokens]) -> Self {
        Self(backends.iter().filter_map(Verifier::new).collect())
    }

    /// The claims of a token that one of the backends has signed; `None` when none did, an error when one may have, with
    /// a key that is being fetched. The token's end is not checked here.
    pub(super) fn read(&self, token: &str) -> Result<Option<(OrgId, Claims)>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Ok(header) = decode_header(token) else { return Ok(None) };
        let mut later = false;
        for one in self.0.iter().filter(|one| one.algorithms.contains(&header.alg)) {
            let claims = match &one.key {
                Key::Given(key) => one.verify(token, key),
                Key::Fetched(set) => match set.find(header.kid.as_deref()) {
                    Found::Keys(keys) => keys
                        .iter()
                        .filter(|(name, _)| header.kid.is_none() || *name == header.kid)
                        .find_map(|(_, key)| one.verify(token, key)),
                    Found::Later => {
                        later |= one.may_have_signed(token);
                        None
                    }
                },
            };
            if let Some(claims) = claims {
                return Ok(Some((one.organization, claims)));
            }
        }
        // The SDK tries again by itself.
        if later { Err(error::INTERNAL.into()) } else { Ok(None) }
    }

    /// The keys that have to be fetched.
    pub(super) fn key_sets(&self) -> impl Iterator<Item = Arc<KeySet>> {
        self.0.iter().filter_map(|one| match &one.key {
            Key::Given(_) => None,
            Key::Fetched(set) => Some(Arc::clone(set)),
        })
    }
}

/// What verifies a backend's tokens.
enum Key {
    Given(DecodingKey),
    Fetched(Arc<KeySet>),
}

impl Verifier {
    fn new(backend: &BackendTokens) -> Option<Self> {
        let algorithms: Vec<Algorithm> =
            backend.algorithms.iter().filter_map(|name| name.parse().ok()).collect();
        let first = *algorithms.first()?;
        let pem = backend.public_key.as_bytes();
        let key = match first {
            _ if !backend.jwks_url.is_empty() => Ok(None),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                Ok(Some(DecodingKey::from_secret(backend.secret.expose().as_bytes())))
            }
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem).map(Some),
            _ => DecodingKey::from_rsa_pem(pem).map(Some),
        };
        let key = key
            .inspect_err(|_| tracing::error!(organization = %backend.organization, "unreadable key in realtime.tokens"))
            .ok()?
            .map_or_else(|| Key::Fetched(Arc::new(KeySet::new(&backend.jwks_url))), Key::Given);
        let mut validation = Validation::new(first);
        validation.algorithms.clone_from(&algorithms);
        validation.required_spec_claims.clear();
        // Time is an input: the caller compares with its clock.
        validation.validate_exp = false;
        validation.validate_aud = !backend.audience.is_empty();
        if !backend.audience.is_empty() {
            validation.set_audience(&[&backend.audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !backend.issuer.is_empty() {
            validation.set_issuer(&[&backend.issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let issuer = backend.issuer.clone();
        Some(Self { organization: backend.organization, algorithms, key, issuer, validation })
    }

    fn verify(&self, token: &str, key: &DecodingKey) -> Option<Claims> {
        decode::<Claims>(token, key, &self.validation).ok().map(|verified| verified.claims)
    }

    /// Whether a token whose key is not known claims to be this backend's; tokens of ours do not.
    fn may_have_signed(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Claimed {
            #[serde(default)]
            iss: String,
        }
        let Ok(claimed) = insecure_decode::<Claimed>(token) else { return false };
        let issuer = claimed.claims.iss;
        if self.issuer.is_empty() { issuer != ISSUER } else { issuer == self.issuer }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;
    use crate::base::secret::Secret;

    const KEY: &str = "a secret of an application";

    fn tokens(issuer: &str) -> Tokens {
        Tokens::new(&[BackendTokens {
            organization: OrgId(3),
            algorithms: vec!["HS256".to_owned()],
            secret: Secret::new(KEY),
            issuer: issuer.to_owned(),
            ..BackendTokens::default()
        }])
    }

    fn sign(algorithm: Algorithm, key: &str, claims: &serde_json::Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
    }

    #[test]
    fn claims_of_a_signed_token() {
        let token = sign(
            Algorithm::HS256,
            KEY,
            &json!({"sub": "42", "exp": 100, "info": {"a": 1}, "channels": ["x"]}),
        );
        let (organization, claims) = tokens("").read(&token).unwrap().unwrap();
        assert_eq!((organization, claims.sub.as_str(), claims.info()), (OrgId(3), "42", "{\"a\":1}".into()));
        assert!(claims.expires_at(Timestamp::from_unix_seconds(99)).is_ok());
        assert!(claims.expires_at(Timestamp::from_unix_seconds(100)).is_err());
    }

    #[test]
    fn other_keys_algorithms_and_issuers_are_not_ours() {
        let claims = json!({"sub": "42"});
        assert!(tokens("").read(&sign(Algorithm::HS256, "another secret", &claims)).unwrap().is_none());
        assert!(tokens("").read(&sign(Algorithm::HS384, KEY, &claims)).unwrap().is_none());
        assert!(tokens("me").read(&sign(Algorithm::HS256, KEY, &claims)).unwrap().is_none());
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.";
        assert!(tokens("").read(none).unwrap().is_none() && tokens("").read("").unwrap().is_none());
        assert!(
            tokens("me")
                .read(&sign(Algorithm::HS256, KEY, &json!({"sub": "42", "iss": "me"})))
                .unwrap()
                .is_some()
        );
    }
}
