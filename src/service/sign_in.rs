//! Getting in and out: passwords, personal access tokens, links, display names, refreshing, signing out.
//!
//! Promises: attempts are limited per account and address before any hash is computed; unknown accounts take as long
//! as known ones and get the same answer; a reply with tokens is given after the commit that remembers them.

use std::{net::IpAddr, time::Duration};

use serde::Serialize;
use uuid::Uuid;

use super::{
    addresses,
    passwords::Passwords,
    rate_limit::{Limit, address_key},
    tokens::{
        ACCESS_TOKEN_PREFIX, Login, Origin, Revoked, Tokens, claims,
        told::{Reason, token_revoked},
    },
    tools::actor_of,
};
use crate::{
    base::{
        cache::Cache,
        clock::{Clock, Timestamp},
        random::Random,
        seal::fingerprint,
        secret::Secret,
    },
    config::Auth,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{Actor, StreamKind, user_channel},
        ids::{ApiKeyId, OrgId, PersonId, StreamId},
        permission::Permissions,
    },
    journal::{Append, Journal, NewStream},
    store::{
        Db,
        ids::Ids,
        keys, organizations,
        people::{self, NewPerson, PersonRow},
        tokens::{self as store, FamilyRow, OpenedLink},
    },
};

/// Longest e-mail address or username that is looked up, in bytes.
const LOGIN_LIMIT: usize = 320;
/// Keys of applications that are remembered.
const CACHED_KEYS: usize = 10_000;

/// The tokens of a sign-in.
#[derive(Serialize)]
pub struct TokenPair {
    /// A user token.
    pub token: String,
    /// Good for a new pair, once.
    pub refresh: String,
}

/// An application's key that was recognised. It authorises nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// The key.
    pub key: ApiKeyId,
    /// Whose application it is.
    pub organization: OrgId,
}

/// Signs people in and out.
pub struct SignIn {
    db: Db,
    ids: Ids,
    clock: Clock,
    random: Random,
    journal: Journal,
    auth: Auth,
    tokens: Tokens,
    passwords: Passwords,
    accounts: Limit,
    addresses: Limit,
    visitors: Limit,
    applications: Cache<[u8; 32], Option<Application>>,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignIn")
    }
}

/// What [`SignIn`] is made of.
#[derive(Debug)]
pub struct SignInParts {
    /// The configuration.
    pub auth: Auth,
    /// Makes tokens.
    pub tokens: Tokens,
    /// Checks passwords.
    pub passwords: Passwords,
}

impl SignIn {
    /// Wires it.
    pub fn new(db: Db, ids: Ids, clock: Clock, random: Random, journal: Journal, parts: SignInParts) -> Self {
        let SignInParts { auth, tokens, passwords } = parts;
        let window = auth.sign_in_window_seconds;
        let limit = |attempts| Limit::new(attempts, window, clock.clone());
        Self {
            accounts: limit(auth.sign_in_attempts),
            addresses: limit(auth.sign_in_attempts_address),
            visitors: limit(auth.sign_in_attempts_address),
            applications: Cache::new(CACHED_KEYS, auth.cache_seconds, clock.clone()),
            db,
            ids,
            clock,
            random,
            journal,
            auth,
            tokens,
            passwords,
        }
    }

    /// Checks the key that names the calling application; `None` where none was sent and none is required. A wrong
    /// key is refused even where none is required.
    pub async fn application(&self, key: Option<&str>) -> Result<Option<Application>> {
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            if self.auth.require_api_key {
                return Err(Error::new(Code::MissingApiKey, "the header x-helplightning-api-key is missing"));
            }
            return Ok(None);
        };
        let hash = fingerprint(key);
        let load = async {
            let found = keys::api_key_by_hash(&self.db, hash).await?;
            Ok::<_, Error>(found.map(|(key, organization)| Application { key, organization }))
        };
        let found = self.applications.get_or_load(hash, load).await?;
        found.map(Some).ok_or_else(|| Error::new(Code::InvalidApiKey, "unknown API key"))
    }

    /// An API key was removed: forget it at once.
    pub fn application_removed(&self, key: ApiKeyId) {
        self.applications.clear();
        self.tokens.revoke(Revoked::ApiKey(key));
    }

    /// How an e-mail address signs in: always alike, so that nobody learns who has an account.
    pub fn federate(&self, address: IpAddr) -> Result<()> {
        self.addresses.attempt(address_key(address))
    }

    /// E-mail address (or username) and password: a user token and a refresh token.
    pub async fn password(&self, login: &str, password: &Secret, address: IpAddr) -> Result<TokenPair> {
        let person = self.check_password(login, password, address).await?;
        self.begin(&person, Origin::Password, None, None).await
    }

    /// The same credentials: an enterprise token.
    pub async fn enterprise(&self, login: &str, password: &Secret, address: IpAddr) -> Result<String> {
        let person = self.check_password(login, password, address).await?;
        let now = self.clock.now();
        let family = self.family(&person, Origin::Password, None, now.plus(self.auth.user_token_seconds));
        let mut tx = self.db.begin().await?;
        store::insert_family(&family).execute(&mut tx).await?;
        people::signed_in(person.id, now).execute(&mut tx).await?;
        tx.commit().await?;
        self.tokens.mint_enterprise(&Login::of(&person, Some(family.id), Origin::Password, None))
    }

    async fn check_password(&self, login: &str, password: &Secret, address: IpAddr) -> Result<PersonRow> {
        let refused = || Error::new(Code::Authentication, "wrong e-mail address, username or password");
        let login = login.trim();
        let (account, address) = (login.to_lowercase(), address_key(address));
        self.addresses.attempt(address)?;
        self.accounts.attempt(&account)?;
        let found = match login.len() {
            1..=LOGIN_LIMIT => people::credentials(&self.db, login).await?,
            _ => None,
        };
        let found = found.filter(|found| found.kind == "member");
        let hash = found.as_ref().and_then(|found| found.password_hash.as_deref());
        let matches = self.passwords.verify(password, hash).await?;
        let Some(found) = found.filter(|_| matches) else { return Err(refused()) };
        self.addresses.refund(address);
        self.accounts.refund(&account);
        self.enterable(found.id).await
    }

    /// The person, who must be there, active and in an active organisation.
    async fn enterable(&self, id: PersonId) -> Result<PersonRow> {
        let person = people::by_id(&self.db, id).await?.filter(|person| person.removed_at.is_none());
        let person = person.ok_or_else(|| claims::invalid("the person is gone"))?;
        let organization = organizations::by_id(&self.db, person.organization_id).await?;
        if !person.active || !organization.is_some_and(|found| found.active) {
            return Err(Error::new(Code::AccountDeactivated, "the account is switched off"));
        }
        Ok(person)
    }

    /// A personal access token: a user token and no refresh.
    pub async fn access_token(&self, token: &Secret, address: IpAddr) -> Result<String> {
        let address = address_key(address);
        self.addresses.attempt(address)?;
        let refused = || Error::new(Code::Authentication, "unknown personal access token");
        let text = token.expose().trim();
        if !text.starts_with(ACCESS_TOKEN_PREFIX) {
            return Err(refused());
        }
        let row = store::access_token_by_hash(&self.db, fingerprint(text)).await?.ok_or_else(refused)?;
        let family = store::family_of(&self.db, Origin::Pat.name(), row.id.0).await?.ok_or_else(refused)?;
        self.addresses.refund(address);
        let person = self.enterable(row.person_id).await?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        store::access_token_used(row.id, now).execute(&mut tx).await?;
        people::signed_in(person.id, now).execute(&mut tx).await?;
        tx.commit().await?;
        let login = Login::of(&person, Some(family.id), Origin::Pat, None);
        self.tokens.mint_user(&login, self.tokens.user_end())
    }

    /// A guest's link that was found by its random bits: tokens that end with it.
    pub async fn link(&self, link: &OpenedLink) -> Result<TokenPair> {
        if link.revoked_at.is_some() || link.expires_at <= self.clock.now() {
            return Err(Error::new(Code::LinkExpired, "the link is over or was taken back"));
        }
        let person = self.enterable(link.person_id).await?;
        self.begin(&person, Origin::Link, Some(link.id.0), Some(link)).await
    }

    /// Counts an attempt to open a link; links are random enough, this keeps guessing from costing us anything.
    pub fn link_attempt(&self, address: IpAddr) -> Result<()> {
        self.visitors.attempt(("link", address_key(address)))
    }

    /// A display name: a visitor without an account, in the application's organisation (or the oldest one).
    pub async fn anonymous(
        &self,
        name: &str,
        application: Option<Application>,
        address: IpAddr,
    ) -> Result<String> {
        self.visitors.attempt(("anonymous", address_key(address)))?;
        let name = addresses::name(name)?;
        let organization = match application {
            Some(application) => organizations::by_id(&self.db, application.organization).await?,
            None => organizations::oldest_active(&self.db).await?,
        };
        let organization = organization.filter(|found| found.active);
        let organization = organization.ok_or_else(|| Error::not_found("organisation"))?;
        let now = self.clock.now();
        let id: PersonId = self.ids.next()?;
        let new = NewPerson {
            id,
            uuid: self.random.uuid_v7(now),
            organization: organization.id,
            login: id,
            kind: "anonymous",
            name,
            email: None,
            username: None,
            title: None,
            location: None,
            phone: None,
            language: None,
            license: "team".to_owned(),
            role: "User".to_owned(),
            password_hash: None,
            active: true,
            confirmed_at: None,
            invitation_sent_at: None,
            stream: self.ids.next()?,
            created_at: now,
        };
        let person = new.row();
        // No refresh: long enough for a call.
        let end = now.plus(self.auth.session_token_seconds);
        let family = self.family(&person, Origin::Anonymous, None, end);
        let mut append = Append::default().with(people::insert(&new)).with(store::insert_family(&family));
        append.streams.push(NewStream {
            id: new.stream,
            organization: organization.id,
            kind: StreamKind::User,
            channel: user_channel(id),
        });
        self.journal.append(append).await?;
        self.tokens.mint_user(&Login::of(&person, Some(family.id), Origin::Anonymous, None), end)
    }

    /// A refresh token: a new pair. The old one still answers for a short while, since clients refresh several times
    /// at once; later use means that it was stolen, and ends the whole sign-in.
    pub async fn refresh(&self, refresh: &Secret) -> Result<TokenPair> {
        let refused =
            |why: &'static str| Error::new(Code::InvalidToken, "invalid refresh token").because(why);
        let now = self.clock.now();
        let hash = fingerprint(refresh.expose().trim());
        let mut tx = self.db.begin().await?;
        let used = store::use_refresh(&mut tx, hash, now).await?.ok_or_else(|| refused("unknown"))?;
        let family = store::family(&mut tx, used.family_id).await?.ok_or_else(|| refused("no family"))?;
        if family.revoked_at.is_some() {
            return Err(refused("the sign-in was revoked"));
        }
        if now.since(used.replaced_at) > self.auth.refresh_grace_seconds {
            drop(tx);
            self.end(family.id, family.person_id, Reason::RefreshReused, None).await?;
            tracing::warn!(
                person.id = family.person_id.0,
                "a replaced refresh token was used: sign-in revoked"
            );
            return Err(refused("used again after its time"));
        }
        if used.expires_at <= now || family.expires_at <= now {
            return Err(Error::new(Code::ExpiredToken, "Token expired"));
        }
        let person = people::by_id(&mut tx, family.person_id).await?;
        let person = person.filter(|person| person.removed_at.is_none()).ok_or_else(|| refused("gone"))?;
        if !person.active {
            return Err(Error::new(Code::AccountDeactivated, "the account is switched off"));
        }
        let origin = Origin::by_name(&family.origin).ok_or_else(|| refused("unknown origin"))?;
        let workbox = match origin {
            Origin::Link => store::workbox_of_guest(&mut tx, person.id).await?,
            _ => None,
        };
        let login = Login::of(&person, Some(family.id), origin, workbox);
        // A guest's tokens end with the link, everybody else's sign-in goes on as long as it is used.
        let end = match origin {
            Origin::Link => family.expires_at,
            _ => now.plus(self.auth.refresh_days),
        };
        let pair = self.pair(&login, end)?;
        store::insert_refresh(fingerprint(&pair.refresh), family.id, now, end).execute(&mut tx).await?;
        store::extend_family(family.id, end).execute(&mut tx).await?;
        people::signed_in(person.id, now).execute(&mut tx).await?;
        tx.commit().await?;
        Ok(pair)
    }

    /// Ends the sign-in behind the caller's token, everywhere and at once. Tokens from the command line, which belong
    /// to none, end with all others of the person.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        let actor = actor_of(caller);
        match (caller.family, caller.person) {
            (Some(family), Some(person)) => self.end(family, person, Reason::SignedOut, Some(&actor)).await,
            (_, Some(person)) => self.end_tokens(person, &actor).await,
            (_, None) => Err(Error::forbidden("a key does not sign out")),
        }
    }

    /// Ends every token of a person.
    async fn end_tokens(&self, person: PersonId, actor: &Actor) -> Result<()> {
        let (now, stream) = (self.clock.now(), self.inbox(person).await?);
        let event = token_revoked(stream, None, Reason::SignedOut, Some(actor), &self.random, now);
        let append = Append::of_events(vec![event])
            .with(store::raise_token_version(person))
            .with(store::revoke_person(person, now));
        self.journal.append(append).await?;
        self.tokens.revoke(Revoked::Person(person));
        Ok(())
    }

    /// Ends one sign-in of a person, and says so in the inbox.
    async fn end(&self, family: Uuid, person: PersonId, reason: Reason, actor: Option<&Actor>) -> Result<()> {
        let (now, stream) = (self.clock.now(), self.inbox(person).await?);
        let event = token_revoked(stream, Some(&[family]), reason, actor, &self.random, now);
        self.journal.append(Append::of_events(vec![event]).with(store::revoke_family(family, now))).await?;
        self.tokens.revoke(Revoked::Family(family));
        Ok(())
    }

    async fn inbox(&self, person: PersonId) -> Result<StreamId> {
        let found = people::by_id(&self.db, person).await?;
        Ok(found.ok_or_else(|| Error::not_found("user"))?.stream_id)
    }

    /// A new sign-in: family, refresh token and the note on the person, in one commit.
    async fn begin(
        &self,
        person: &PersonRow,
        origin: Origin,
        origin_id: Option<i64>,
        link: Option<&OpenedLink>,
    ) -> Result<TokenPair> {
        let now = self.clock.now();
        let end = now.plus(self.auth.refresh_days);
        let end = link.map_or(end, |link| link.expires_at.min(end));
        let family = self.family(person, origin, origin_id, end);
        let login = Login::of(person, Some(family.id), origin, link.map(|link| link.conversation_id));
        let pair = self.pair(&login, end)?;
        let mut tx = self.db.begin().await?;
        store::insert_family(&family).execute(&mut tx).await?;
        store::insert_refresh(fingerprint(&pair.refresh), family.id, now, end).execute(&mut tx).await?;
        people::signed_in(person.id, now).execute(&mut tx).await?;
        tx.commit().await?;
        Ok(pair)
    }

    fn pair(&self, login: &Login, end: Timestamp) -> Result<TokenPair> {
        Ok(TokenPair {
            token: self.tokens.mint_user(login, self.tokens.user_end().min(end))?,
            refresh: self.tokens.mint_refresh(login, end)?,
        })
    }

    fn family(
        &self,
        person: &PersonRow,
        origin: Origin,
        origin_id: Option<i64>,
        end: Timestamp,
    ) -> FamilyRow {
        let owner = (person.organization_id, person.id);
        new_family(self.random.uuid(), owner, (origin, origin_id), self.clock.now(), end)
    }
}

/// A family that begins now, of somebody in an organisation, from something with a number.
pub(super) fn new_family(
    id: Uuid,
    (organization_id, person_id): (OrgId, PersonId),
    (origin, origin_id): (Origin, Option<i64>),
    now: Timestamp,
    end: Timestamp,
) -> FamilyRow {
    FamilyRow {
        id,
        organization_id,
        person_id,
        origin: origin.name().to_owned(),
        origin_id,
        added_permissions: Permissions::NONE,
        removed_permissions: Permissions::NONE,
        created_at: now,
        expires_at: end,
        revoked_at: None,
    }
}

/// The life of families that only their owner ends: a personal access token, a partner key.
pub(super) const FOR_GOOD: Duration = Duration::from_secs(200 * 365 * 24 * 3_600);
