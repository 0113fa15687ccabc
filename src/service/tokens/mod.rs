//! Tokens: making them, checking them, cutting them off.
//!
//! A token is a JWT; what it says is believed when the signature is ours (HS256) or a partner key's (RS256), the kind
//! is one that the operation takes, its time is not over, and the person, sign-in family and membership behind it
//! still stand. The last is checked against the database through caches that are at most `auth.cache_seconds` old
//! and are told at once of every change made in this process ([`Tokens::revoke`]), as are live sockets
//! ([`Revocations`]).
//!
//! Permissions only shrink along a chain of tokens, and never exceed what the person's role (and, for acting tokens,
//! the actor's) allows at the moment of use.

pub mod claims;
mod mint;
mod standing;
pub mod told;

use std::sync::{Arc, OnceLock};

use jsonwebtoken::{Algorithm, DecodingKey};
use uuid::Uuid;

pub(crate) use self::mint::permissions_of;
pub use self::{claims::Origin, mint::Login};
use self::{
    claims::{Claims, ISSUER, MAX_LENGTH, PartnerClaims, Private, Subject, algorithm, decode, invalid},
    standing::Standing,
};
use super::signing_keys::SigningKeys;
use crate::{
    base::{
        cache::Cache,
        clock::{Clock, Timestamp},
        random::Random,
        seal::fingerprint,
    },
    config::Auth,
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        codes::Code,
        error::{Error, Result},
        ids::{ApiKeyId, ConversationId, OrgId, PersonId, SessionId},
        permission::Permissions,
    },
    store::{Db, keys, organizations, tokens as store},
};

/// Personal access tokens begin with it: each kind of credential can be told from the others.
pub const ACCESS_TOKEN_PREFIX: &str = "swp_";
/// Clocks of others may differ by so many seconds.
const SKEW: i64 = 60;
/// A partner's token lives no longer than that.
const PARTNER_LIFE: i64 = 24 * 3_600;
/// Entries of each cache.
const CACHED: usize = 50_000;
/// Verified signatures of partner keys; an RSA check costs twenty times an HMAC.
const CACHED_PARTNER_TOKENS: usize = 10_000;

/// What ended, so that live sockets can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// All tokens of the person: removed, switched off, new password.
    Person(PersonId),
    /// What the person may do has shrunk; tokens live on with less.
    Rights(PersonId),
    /// One sign-in with everything that came of it (also a personal access token or partner key).
    Family(Uuid),
    /// The person's place in a help thread.
    Workbox(PersonId, ConversationId),
    /// The person's place in a session.
    Session(PersonId, SessionId),
    /// The whole organisation.
    Organization(OrgId),
    /// An application's key.
    ApiKey(ApiKeyId),
}

/// Told of every end at once. Implemented by `realtime`, wired in `app.rs`. Must not block.
pub trait Revocations: Send + Sync + 'static {
    /// `what` ended just now; the commit lies behind.
    fn revoked(&self, what: Revoked);
}

/// Makes and checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    random: Random,
    auth: Auth,
    keys: SigningKeys,
    standing: Standing,
    partners: Cache<OrgId, Option<Arc<Partner>>>,
    /// By hash, with the family of the key: a replaced key has another family.
    partner_tokens: Cache<[u8; 32], Uuid>,
    access_tokens: Cache<[u8; 32], Option<(PersonId, Uuid)>>,
    revocations: OnceLock<Arc<dyn Revocations>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// An organisation with the keys that may sign for it.
struct Partner {
    name: String,
    keys: Vec<PartnerKey>,
}

struct PartnerKey {
    family: Uuid,
    key: DecodingKey,
}

/// A token whose signature and kind are good; its time may be over.
struct Read {
    subject: Subject,
    word: Word,
    issued_at: i64,
    expires_at: i64,
    not_before: i64,
}

enum Word {
    Ours(Box<Claims>),
    Partner { name: String, family: Uuid },
}

/// What `GET /v1/token/info` tells of a token.
#[derive(Debug)]
pub struct Inspection {
    /// The `sub` claim.
    pub subject: String,
    /// Its kind.
    pub kind: TokenKind,
    /// What stands behind the colon of `sub`.
    pub id: String,
    /// Unix seconds.
    pub issued_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
    /// Always the same.
    pub issuer: &'static str,
    /// What it may do now.
    pub permissions: Permissions,
    /// The caller it stands for, or why it is not good any more.
    pub caller: Result<Caller>,
}

impl Tokens {
    /// Wires it.
    pub fn new(db: Db, clock: Clock, random: Random, auth: Auth, keys: SigningKeys) -> Self {
        let ttl = auth.cache_seconds;
        Self(Arc::new(Inner {
            standing: Standing::new(db.clone(), clock.clone(), ttl),
            partners: Cache::new(CACHED, ttl, clock.clone()),
            partner_tokens: Cache::new(CACHED_PARTNER_TOKENS, ttl, clock.clone()),
            access_tokens: Cache::new(CACHED, ttl, clock.clone()),
            revocations: OnceLock::new(),
            db,
            clock,
            random,
            auth,
            keys,
        }))
    }

    /// Says who is told of ends; once, at start.
    pub fn set_revocations(&self, revocations: Arc<dyn Revocations>) {
        let _ = self.0.revocations.set(revocations);
    }

    /// Forgets what was remembered of it and tells live sockets. Call it after the commit.
    pub fn revoke(&self, what: Revoked) {
        match what {
            Revoked::Organization(organization) => self.0.partners.forget(&organization),
            Revoked::Family(_) => {
                self.0.access_tokens.clear();
                self.0.partners.clear();
            }
            _ => {}
        }
        self.0.standing.forget(what);
        if let Some(revocations) = self.0.revocations.get() {
            revocations.revoked(what);
        }
    }

    /// Forgets what was remembered of a person: the name is another now.
    pub fn renamed(&self, person: PersonId) {
        self.0.standing.forget(Revoked::Rights(person));
    }

    /// Forgets the partner keys of an organisation: one was added or changed.
    pub fn partner_keys_changed(&self, organization: OrgId) {
        self.0.partners.forget(&organization);
    }

    /// True where search finds people of all organisations.
    pub fn search_is_open(&self) -> bool {
        self.0.auth.search_all_organizations
    }

    /// Rotates the signing keys.
    pub async fn rotate_keys(&self) -> Result<()> {
        self.0.keys.rotate().await
    }

    /// Who calls, by a token of one of the `wanted` kinds. [`TokenKind::Enterprise`] takes partners' tokens too.
    pub async fn verify(&self, token: &str, wanted: &[TokenKind]) -> Result<Caller> {
        let read = self.read(token, wanted).await?;
        self.caller(&read).await
    }

    /// Who connects to the socket: any token that REST takes, or a personal access token.
    pub async fn verify_connection(&self, token: &str) -> Result<Caller> {
        if token.starts_with(ACCESS_TOKEN_PREFIX) {
            return self.verify_access_token(token).await;
        }
        let wanted = [
            TokenKind::User,
            TokenKind::Session,
            TokenKind::Workbox,
            TokenKind::Enterprise,
            TokenKind::Partner,
        ];
        self.verify(token, &wanted).await
    }

    /// Whom a `contact_tokens` entry names: a public token made for `by` (or `by`'s organisation), or a user token of
    /// the same organisation; it must allow to be added to a session.
    pub async fn contact(&self, token: &str, by: &Caller) -> Result<Caller> {
        let read = self.read(token, &[TokenKind::Public, TokenKind::User]).await?;
        let contact = self.caller(&read).await?;
        let bound_to = match &read.word {
            Word::Ours(claims) => claims.swb.bnd,
            Word::Partner { .. } => None,
        };
        let usable = match (contact.kind, bound_to) {
            (TokenKind::Public, Some((organization, person))) => {
                organization == by.organization && person.is_none_or(|person| by.person == Some(person))
            }
            (TokenKind::Public, None) => false,
            _ => contact.organization == by.organization || self.0.auth.search_all_organizations,
        };
        if !usable {
            return Err(invalid("the contact's token was made for somebody else"));
        }
        contact.require(Permissions::ADD_TO_SESSION)?;
        Ok(contact)
    }

    /// Looks into a token of any kind that was signed by us or a partner.
    pub async fn inspect(&self, token: &str) -> Result<Inspection> {
        let all = [
            TokenKind::User,
            TokenKind::UserRefresh,
            TokenKind::Enterprise,
            TokenKind::Partner,
            TokenKind::Session,
            TokenKind::Workbox,
            TokenKind::Public,
        ];
        let read = self.read(token, &all).await?;
        let caller = self.caller(&read).await;
        let permissions = match (&caller, &read.word) {
            (Ok(caller), _) => caller.permissions,
            (Err(_), Word::Ours(claims)) => claims.mask(read.subject),
            (Err(_), Word::Partner { .. }) => Permissions::NONE,
        };
        Ok(Inspection {
            subject: read.subject.text(),
            kind: read.subject.kind(),
            id: read.subject.id(),
            issued_at: read.issued_at,
            expires_at: read.expires_at,
            issuer: ISSUER,
            permissions,
            caller,
        })
    }

    /// True when somebody acts for another through this token, a partner key included.
    pub async fn is_acting(&self, caller: &Caller) -> Result<bool> {
        if caller.acting.is_some() {
            return Ok(true);
        }
        Ok(caller.person.is_some() && self.origin_of(caller).await? == Origin::Partner)
    }

    async fn origin_of(&self, caller: &Caller) -> Result<Origin> {
        Ok(match caller.family {
            Some(id) => self.0.standing.family(id).await?.origin,
            None => Origin::Admin,
        })
    }

    /// Checks signature, issuer and kind.
    async fn read(&self, token: &str, wanted: &[TokenKind]) -> Result<Read> {
        if token.len() > MAX_LENGTH {
            return Err(invalid("far too long"));
        }
        match algorithm(token) {
            Some(Algorithm::HS256) => self.read_ours(token, wanted).await,
            Some(Algorithm::RS256)
                if wanted.contains(&TokenKind::Enterprise) || wanted.contains(&TokenKind::Partner) =>
            {
                self.read_partner(token).await
            }
            _ => Err(invalid("not a token, or signed in a way that is not taken here")),
        }
    }

    async fn read_ours(&self, token: &str, wanted: &[TokenKind]) -> Result<Read> {
        let claims = self.claims(token).await?;
        let subject = Subject::parse(&claims.sub).filter(|_| claims.are_ours());
        let subject = subject.ok_or_else(|| invalid("claims that we never write"))?;
        // We sign no partner's tokens; whoever holds our key could write anything, but keep the kinds apart.
        if !wanted.contains(&subject.kind()) || subject.kind() == TokenKind::Partner {
            return Err(invalid(format!("a token of kind {:?} is not taken here", subject.kind())));
        }
        Ok(Read {
            subject,
            issued_at: claims.iat,
            expires_at: claims.exp,
            not_before: claims.nbf,
            word: Word::Ours(Box::new(claims)),
        })
    }

    async fn claims(&self, token: &str) -> Result<Claims> {
        let keys = &self.0.keys;
        if keys.is_stale() {
            // The old keys do for now; a later token tries again.
            let _ = keys.reload().await;
        }
        for key in &keys.current().verifying {
            if let Some(claims) = decode(token, key, Algorithm::HS256)? {
                return Ok(claims);
            }
        }
        if keys.reload().await? {
            for key in &keys.current().verifying {
                if let Some(claims) = decode(token, key, Algorithm::HS256)? {
                    return Ok(claims);
                }
            }
        }
        Err(invalid("no key of ours has signed it"))
    }

    async fn read_partner(&self, token: &str) -> Result<Read> {
        let claimed: PartnerClaims = jsonwebtoken::dangerous::insecure_decode(token).map_err(invalid)?.claims;
        let subject = Subject::parse(&claimed.sub);
        let Some(subject @ Subject::Partner(organization)) = subject else {
            return Err(invalid("signed with RS256, but not for a partner"));
        };
        let partner = self.partner(organization).await?;
        let partner = partner.ok_or_else(|| invalid("no partner keys"))?;
        let hash = fingerprint(token);
        let known = self.0.partner_tokens.get(&hash);
        let known = known.and_then(|family| partner.keys.iter().find(|key| key.family == family));
        let (claims, family) = match known {
            Some(key) => (claimed, key.family),
            None => self.try_keys(token, &partner, hash)?,
        };
        if claims.iss != ISSUER || !claims.aud.is_ours() {
            return Err(invalid("a partner's token for somebody else"));
        }
        let now = self.0.clock.now().unix_seconds();
        if claims.exp > now + PARTNER_LIFE + SKEW || claims.iat.is_some_and(|iat| iat > now + SKEW) {
            return Err(invalid("a partner's token from, or up to, too far ahead"));
        }
        Ok(Read {
            subject,
            word: Word::Partner { name: partner.name.clone(), family },
            issued_at: claims.iat.unwrap_or(now),
            // A partner's clock may be late by as much as it may be early.
            expires_at: claims.exp + SKEW,
            not_before: claims.nbf.unwrap_or(0),
        })
    }

    /// Tokens name no key, so each of the organisation's is tried.
    fn try_keys(&self, token: &str, partner: &Partner, hash: [u8; 32]) -> Result<(PartnerClaims, Uuid)> {
        let mark = self.0.partner_tokens.mark();
        for key in &partner.keys {
            if let Some(claims) = decode(token, &key.key, Algorithm::RS256)? {
                self.0.partner_tokens.put(hash, key.family, mark);
                return Ok((claims, key.family));
            }
        }
        Err(invalid("no key of the organisation has signed it"))
    }

    async fn partner(&self, id: OrgId) -> Result<Option<Arc<Partner>>> {
        let db = &self.0.db;
        let load = async {
            let Some(organization) = organizations::by_id(db, id).await?.filter(|found| found.active) else {
                return Ok::<_, Error>(None);
            };
            let rows = keys::partner_keys(db, id).await?;
            let keys = rows.into_iter().filter_map(|row| {
                let key = DecodingKey::from_rsa_pem(row.public_key.as_bytes()).ok()?;
                Some(PartnerKey { family: row.family_id?, key })
            });
            Ok(Some(Arc::new(Partner { name: organization.name, keys: keys.collect() })))
        };
        self.0.partners.get_or_load(id, load).await
    }

    async fn verify_access_token(&self, token: &str) -> Result<Caller> {
        let hash = fingerprint(token);
        let db = &self.0.db;
        let load = async {
            let Some(row) = store::access_token_by_hash(db, hash).await? else { return Ok::<_, Error>(None) };
            let family = store::family_of(db, Origin::Pat.name(), row.id.0).await?;
            Ok(family.map(|family| (row.person_id, family.id)))
        };
        let found = self.0.access_tokens.get_or_load(hash, load).await?;
        let (person, family) = found.ok_or_else(|| invalid("unknown personal access token"))?;
        let standing = self.0.standing.person(person, Some(family)).await?;
        self.0.standing.check_family(family).await?;
        standing.check(standing.version, standing.organization)?;
        let mut caller = standing.caller(person, TokenKind::User);
        caller.family = Some(family);
        caller.expires_at = self.0.clock.now().plus(self.0.auth.session_token_seconds);
        Ok(caller)
    }

    /// Checks the time and everything that stands behind the token now.
    async fn caller(&self, read: &Read) -> Result<Caller> {
        let now = self.0.clock.now().unix_seconds();
        if read.expires_at <= now {
            return Err(Error::new(Code::ExpiredToken, "Token expired"));
        }
        if read.not_before > now + SKEW {
            return Err(invalid("not valid yet"));
        }
        let mut caller = match &read.word {
            Word::Partner { name, family } => {
                self.0.standing.check_family(*family).await?;
                organisation_caller(read.subject, name.clone(), Some(*family))?
            }
            Word::Ours(claims) => self.caller_of_ours(read.subject, claims).await?,
        };
        caller.expires_at = Timestamp::from_unix_seconds(read.expires_at);
        Ok(caller)
    }

    async fn caller_of_ours(&self, subject: Subject, claims: &Claims) -> Result<Caller> {
        let private = &claims.swb;
        let mask = claims.mask(subject);
        let standing = &self.0.standing;
        let person = match subject {
            Subject::User(person) | Subject::UserRefresh(person) | Subject::Public(person) => Some(person),
            Subject::Session(_) => claims.originator,
            Subject::Enterprise(_) | Subject::Workbox(_) | Subject::Partner(_) => private.per,
        };
        let mut caller = match person {
            Some(person) => {
                let state = standing.person(person, private.fam).await?;
                state.check(private.ver, private.org)?;
                state.caller(person, subject.kind())
            }
            // A partner's enterprise token, or its workbox token: stands for the organisation.
            None => {
                let family = private.fam.ok_or_else(|| invalid("a token of nobody"))?;
                let partner =
                    self.partner(private.org).await?.ok_or_else(|| invalid("no such organisation"))?;
                organisation_caller(Subject::Enterprise(private.org), partner.name.clone(), Some(family))?
            }
        };
        caller.kind = subject.kind();
        caller.family = private.fam;
        if let Some(family) = private.fam {
            standing.check_family(family).await?;
        }
        caller.permissions = caller.permissions & mask;
        if let Some((actor, version)) = private.act {
            let state = standing.person(actor, None).await?;
            state.check(version, private.org)?;
            caller.acting = Some(actor);
            caller.permissions = caller.permissions & state.permissions;
        }
        self.check_place(subject, private, &mut caller).await?;
        Ok(caller)
    }

    /// Sessions and workboxes are checked again at every use: whoever was taken out is out.
    async fn check_place(&self, subject: Subject, private: &Private, caller: &mut Caller) -> Result<()> {
        let standing = &self.0.standing;
        match subject {
            Subject::Session(session) => {
                caller.session = Some(session);
                standing.check_session(caller.person()?, session).await?;
            }
            Subject::Workbox(conversation) => caller.workbox = Some(conversation),
            _ => {}
        }
        if caller.person_kind == PersonKind::Guest {
            let conversation = private.wbx.ok_or_else(|| invalid("a guest without a help thread"))?;
            if caller.workbox.is_some_and(|other| other != conversation) {
                return Err(invalid("a guest in another help thread"));
            }
            caller.workbox = Some(conversation);
        }
        let Some(conversation) = caller.workbox else { return Ok(()) };
        if caller.permissions.contains(Permissions::VIEW_ALL_WORKBOXES) {
            return Ok(());
        }
        standing.check_workbox(caller.person()?, conversation, caller.person_kind).await
    }
}

/// A caller that stands for its organisation, with an administrator's rights.
fn organisation_caller(subject: Subject, name: String, family: Option<Uuid>) -> Result<Caller> {
    let (Subject::Partner(organization) | Subject::Enterprise(organization)) = subject else {
        return Err(invalid("not an organisation's token"));
    };
    Ok(Caller {
        kind: subject.kind(),
        organization,
        person: None,
        login: None,
        person_kind: PersonKind::Member,
        person_uuid: None,
        name,
        acting: None,
        permissions: Permissions::ADMINISTRATOR,
        session: None,
        workbox: None,
        family,
        expires_at: Timestamp(0),
    })
}
