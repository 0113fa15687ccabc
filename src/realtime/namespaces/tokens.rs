//! JWTs that an application's own backend signs, for connections and for subscriptions.

use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    base::clock::Timestamp,
    config::BackendTokens,
    domain::ids::OrgId,
    realtime::{disconnect::error, port::Refusal},
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
    key: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// A backend whose key cannot be read is left out, with an error in the log.
    pub(super) fn new(backends: &[BackendTokens]) -> Self {
        Self(backends.iter().filter_map(Verifier::new).collect())
    }

    /// The claims of a token that one of the backends has signed. Its end is not checked here.
    pub(super) fn read(&self, token: &str) -> Option<(OrgId, Claims)> {
        if self.0.is_empty() {
            return None;
        }
        let algorithm = decode_header(token).ok()?.alg;
        self.0.iter().filter(|one| one.algorithms.contains(&algorithm)).find_map(|one| {
            let verified = decode::<Claims>(token, &one.key, &one.validation).ok()?;
            Some((one.organization, verified.claims))
        })
    }
}

impl Verifier {
    fn new(backend: &BackendTokens) -> Option<Self> {
        let algorithms: Vec<Algorithm> =
            backend.algorithms.iter().filter_map(|name| name.parse().ok()).collect();
        let first = *algorithms.first()?;
        let pem = backend.public_key.as_bytes();
        let key = match first {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                Ok(DecodingKey::from_secret(backend.secret.expose().as_bytes()))
            }
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
            _ => DecodingKey::from_rsa_pem(pem),
        };
        let key = key
            .inspect_err(|_| tracing::error!(organization = %backend.organization, "unreadable key in realtime.tokens"))
            .ok()?;
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
        Some(Self { organization: backend.organization, algorithms, key, validation })
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
        let (organization, claims) = tokens("").read(&token).unwrap();
        assert_eq!((organization, claims.sub.as_str(), claims.info()), (OrgId(3), "42", "{\"a\":1}".into()));
        assert!(claims.expires_at(Timestamp::from_unix_seconds(99)).is_ok());
        assert!(claims.expires_at(Timestamp::from_unix_seconds(100)).is_err());
    }

    #[test]
    fn other_keys_algorithms_and_issuers_are_not_ours() {
        let claims = json!({"sub": "42"});
        assert!(tokens("").read(&sign(Algorithm::HS256, "another secret", &claims)).is_none());
        assert!(tokens("").read(&sign(Algorithm::HS384, KEY, &claims)).is_none());
        assert!(tokens("me").read(&sign(Algorithm::HS256, KEY, &claims)).is_none());
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.";
        assert!(tokens("").read(none).is_none() && tokens("").read("").is_none());
        assert!(
            tokens("me").read(&sign(Algorithm::HS256, KEY, &json!({"sub": "42", "iss": "me"}))).is_some()
        );
    }
}
