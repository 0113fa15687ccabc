//! What a token says: the claims that clients know (SEMANTICS section 2.1) and our own beside them.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::{
        caller::TokenKind,
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, OrgId, PersonId, SessionId},
        permission::Permissions,
    },
};

/// `iss` and `aud` of every token.
pub const ISSUER: &str = "Ghazal";
/// Longer ones are none of ours: not even looked at.
pub const MAX_LENGTH: usize = 8 * 1024;
/// `nbf` lies so many seconds before `iat`.
const NOT_BEFORE: i64 = 1;

/// What came before a token: `Private::origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// E-mail (or username) and password.
    Password,
    /// A personal access token.
    Pat,
    /// A guest's link.
    Link,
    /// A display name, nothing else.
    Anonymous,
    /// An integrator's key.
    Partner,
    /// The operator's command line.
    Admin,
}

impl Origin {
    /// As `token_family.origin`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Pat => "pat",
            Self::Link => "link",
            Self::Anonymous => "anonymous",
            Self::Partner => "partner",
            Self::Admin => "admin",
        }
    }

    /// The origin of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Password, Self::Pat, Self::Link, Self::Anonymous, Self::Partner, Self::Admin]
            .into_iter()
            .find(|origin| origin.name() == name)
    }
}

/// The claims of our tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`ISSUER`].
    pub aud: String,
    /// `<Kind>:<id>`.
    pub sub: String,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
    /// Unix seconds.
    pub nbf: i64,
    /// Unique.
    pub jti: Uuid,
    /// `access`, on refresh tokens too.
    pub typ: String,
    /// `100`.
    pub ver: String,
    /// Permission set -> mask.
    pub pem: BTreeMap<String, i64>,
    /// `{}`; absent on refresh tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Empty>,
    /// Session tokens: the person it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator: Option<PersonId>,
    /// Session tokens: `organizer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<String>>,
    /// Session tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_policy: Option<String>,
    /// What clients need not know.
    pub swb: Private,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Empty {}

/// Our own claims. Short names: tokens travel with every request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Private {
    /// The organisation.
    pub org: OrgId,
    /// Whom it acts as; none where a partner's enterprise token stands for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<PersonId>,
    /// Version of the person's tokens.
    #[serde(default)]
    pub ver: i64,
    /// Sign-in family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fam: Option<Uuid>,
    /// How its holder got in.
    pub origin: Origin,
    /// Who really acts, and the version of their tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<(PersonId, i64)>,
    /// Public tokens: the organisation, and where it was a person the only person, that may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bnd: Option<(OrgId, Option<PersonId>)>,
    /// Guests: the only help thread they see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wbx: Option<ConversationId>,
}

/// What `sub` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `User:<id>`
    User(PersonId),
    /// `UserRefresh:<id>`
    UserRefresh(PersonId),
    /// `Enterprise:<id>`
    Enterprise(OrgId),
    /// `Partner:<id>`
    Partner(OrgId),
    /// `Session:<uuid>`
    Session(SessionId),
    /// `Workbox:<id>`
    Workbox(ConversationId),
    /// `Public:<id>`
    Public(PersonId),
}

impl Subject {
    /// The kind of token.
    pub const fn kind(self) -> TokenKind {
        match self {
            Self::User(_) => TokenKind::User,
            Self::UserRefresh(_) => TokenKind::UserRefresh,
            Self::Enterprise(_) => TokenKind::Enterprise,
            Self::Partner(_) => TokenKind::Partner,
            Self::Session(_) => TokenKind::Session,
            Self::Workbox(_) => TokenKind::Workbox,
            Self::Public(_) => TokenKind::Public,
        }
    }

    /// Name of the permission set in `pem`.
    pub const fn set(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::UserRefresh(_) => "user_refresh",
            Self::Enterprise(_) | Self::Partner(_) => "enterprise",
            Self::Session(_) => "session",
            Self::Workbox(_) => "workbox",
            Self::Public(_) => "public",
        }
    }

    /// The `sub` claim.
    pub fn text(self) -> String {
        match self {
            Self::User(id) => format!("User:{id}"),
            Self::UserRefresh(id) => format!("UserRefresh:{id}"),
            Self::Enterprise(id) => format!("Enterprise:{id}"),
            Self::Partner(id) => format!("Partner:{id}"),
            Self::Session(id) => format!("Session:{id}"),
            Self::Workbox(id) => format!("Workbox:{id}"),
            Self::Public(id) => format!("Public:{id}"),
        }
    }

    /// What stands behind the colon.
    pub fn id(self) -> String {
        self.text().split_once(':').map(|(_, id)| id.to_owned()).unwrap_or_default()
    }

    /// Reads a `sub` claim; only the very text that [`Subject::text`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(':')?;
        let subject = match kind {
            "User" => Self::User(id.parse().ok()?),
            "UserRefresh" => Self::UserRefresh(id.parse().ok()?),
            "Enterprise" => Self::Enterprise(id.parse().ok()?),
            "Partner" => Self::Partner(id.parse().ok()?),
            "Session" => Self::Session(id.parse().ok()?),
            "Workbox" => Self::Workbox(id.parse().ok()?),
            "Public" => Self::Public(id.parse().ok()?),
            _ => return None,
        };
        (subject.text() == text).then_some(subject)
    }
}

impl Claims {
    /// Claims of a token for `subject` that lives from `now` to `expires_at`.
    pub fn new(
        subject: Subject,
        permissions: Permissions,
        private: Private,
        jti: Uuid,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        let iat = now.unix_seconds();
        Self {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: subject.text(),
            iat,
            exp: expires_at.unix_seconds(),
            nbf: iat - NOT_BEFORE,
            jti,
            typ: "access".to_owned(),
            ver: "100".to_owned(),
            pem: BTreeMap::from([(subject.set().to_owned(), permissions.0)]),
            meta: (subject.kind() != TokenKind::UserRefresh).then_some(Empty {}),
            originator: None,
            attributes: None,
            recording_policy: None,
            swb: private,
        }
    }

    /// The mask of the set that belongs to `subject`.
    pub fn mask(&self, subject: Subject) -> Permissions {
        Permissions(self.pem.get(subject.set()).copied().unwrap_or(0))
    }

    /// Signs them.
    pub fn sign(&self, key: &EncodingKey) -> Result<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), self, key).map_err(Error::unavailable)
    }

    /// True when issuer, audience and type are ours.
    pub fn are_ours(&self) -> bool {
        self.iss == ISSUER && self.aud == ISSUER && self.typ == "access"
    }
}

/// The claims of an integrator's token, signed with a partner key. Everything else in it means nothing.
#[derive(Clone, Debug, Deserialize)]
pub struct PartnerClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`ISSUER`], alone or in a list.
    pub aud: Audience,
    /// `Partner:<organisation>`.
    pub sub: String,
    /// Unix seconds; some clients send fractions.
    #[serde(deserialize_with = "seconds")]
    pub exp: i64,
    /// Unix seconds.
    #[serde(default, deserialize_with = "seconds_option")]
    pub iat: Option<i64>,
    /// Unix seconds.
    #[serde(default, deserialize_with = "seconds_option")]
    pub nbf: Option<i64>,
}

/// JWT libraries write one audience either way.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual form.
    One(String),
    /// The list form.
    Many(Vec<String>),
}

impl Audience {
    /// True when it is us and nobody else.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::One(name) => name == ISSUER,
            Self::Many(names) => matches!(names.as_slice(), [name] if name == ISSUER),
        }
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates; absurd times are refused as such")]
    Ok(number as i64)
}

fn seconds_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates; absurd times are refused as such")]
    Ok(number.map(|number| number as i64))
}

/// The algorithm that a token claims; only ours and the partners'.
pub fn algorithm(token: &str) -> Option<Algorithm> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    matches!(header.alg, Algorithm::HS256 | Algorithm::RS256).then_some(header.alg)
}

/// Checks the signature with one key and one algorithm and reads the claims; times are checked by the caller, whose
/// clock it is. `Ok(None)`: another key may have signed it.
pub fn decode<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<Option<T>> {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    match jsonwebtoken::decode::<T>(token, key, &validation) {
        Ok(data) => Ok(Some(data.claims)),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Ok(None),
        Err(error) => Err(invalid(error)),
    }
}

/// The one answer to every token that is not good; why goes to the log only.
pub fn invalid(context: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidToken, "invalid token").because(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_to_the_letter() {
        assert_eq!(Subject::parse("User:7"), Some(Subject::User(PersonId(7))));
        assert_eq!(Subject::parse("Partner:12"), Some(Subject::Partner(OrgId(12))));
        for wrong in [
            "",
            "User",
            "User:",
            "User:x",
            "user:7",
            "User:07",
            "User:+7",
            "User: 7",
            "Root:1",
            "Partner:1:2",
        ] {
            assert_eq!(Subject::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn audiences() {
        let read = |text: &str| serde_json::from_str::<Audience>(text).unwrap().is_ours();
        assert!(read("\"Ghazal\"") && read("[\"Ghazal\"]"));
        assert!(!read("\"Other\"") && !read("[\"Ghazal\",\"Other\"]") && !read("[]"));
    }
}
