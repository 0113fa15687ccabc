//! Keys of an organisation: API keys, which name an application and authorise nothing, and partner keys, with which
//! an integrator signs tokens that stand for the organisation.

use std::{sync::Arc, time::Duration};

use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::DecodeRsaPublicKey as _,
    pkcs8::{DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
    traits::PublicKeyParts as _,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    addresses,
    sign_in::{Application, FOR_GOOD, SignIn, new_family},
    tokens::{Origin, Revoked, Tokens},
};
use crate::{
    base::{
        clock::Clock,
        random::Random,
        seal::{Sealer, fingerprint},
        secret::Secret,
        tasks::Tasks,
    },
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::{ApiKeyId, OrgId, PartnerKeyId, PersonId},
        once::Once,
        permission::Permissions,
        query::{Numbered, Page},
    },
    store::{
        Db, Stmt, idempotency,
        ids::Ids,
        keys::{self, ApiKeyRow, PartnerKeyRow},
        tokens::{self as token_store, AuditRow},
    },
};

/// What sealed API keys are for.
const API_KEY_PURPOSE: &str = "api_key.sealed";
/// API keys begin with it.
const API_KEY_PREFIX: &str = "swk_";
/// Partner keys of one organisation: each may have to be tried for each token.
const MOST_PARTNER_KEYS: i64 = 10;
/// Bits of a pair that we make.
const BITS: usize = 2_048;
/// Bits that a pair made elsewhere may have.
const ACCEPTED_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Longest public key that is parsed, in bytes.
const LONGEST_PEM: usize = 16 * 1_024;

/// An API key with its text.
#[derive(Clone)]
pub struct ApiKey {
    /// Its number.
    pub id: ApiKeyId,
    /// What its owner wrote about it.
    pub description: String,
    /// The key.
    pub key: Secret,
}

/// A partner key; the private half stands in the reply that made the pair, and nowhere else.
pub struct PartnerKey {
    /// The public half.
    pub row: PartnerKeyRow,
    /// PKCS#8 PEM.
    pub private_key: Option<Secret>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct MadeApiKey {
    id: ApiKeyId,
}
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct MadePartnerKey {
    id: PartnerKeyId,
}

/// Use cases of keys.
pub struct Keys {
    parts: Parts,
}

/// What [`Keys`] is made of.
#[derive(Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Parts {
    pub db: Db,
    pub ids: Ids,
    pub clock: Clock,
    pub random: Random,
    pub sealer: Sealer,
    pub tasks: Tasks,
    pub tokens: Tokens,
    pub sign_in: Arc<SignIn>,
    /// How long idempotency keys count.
    pub keep: Duration,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// A new API key for an organisation and the statement that adds it.
pub fn new_api_key(
    organization: OrgId,
    id: ApiKeyId,
    description: String,
    random: &Random,
    sealer: &Sealer,
    clock: &Clock,
) -> (ApiKey, Stmt) {
    let text = format!("{API_KEY_PREFIX}{}", random.token::<24>());
    let row = ApiKeyRow { id, description, sealed: sealer.seal(API_KEY_PURPOSE, text.as_bytes(), random) };
    let stmt = keys::insert_api_key(organization, &row, fingerprint(&text), clock.now());
    (ApiKey { id, description: row.description, key: Secret::new(text) }, stmt)
}

impl Keys {
    /// Wires it.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Checks the key that names the calling application; see [`SignIn::application`].
    pub async fn check_application(&self, key: Option<&str>) -> Result<Option<Application>> {
        self.parts.sign_in.application(key).await
    }

    /// A page of the organisation's API keys.
    pub async fn api_keys(&self, caller: &Caller, page: Page) -> Result<Numbered<ApiKey>> {
        caller.require(Permissions::MANAGE_KEYS)?;
        let (rows, total) = keys::api_keys(&self.parts.db, caller.organization, page).await?;
        let entries = rows.into_iter().map(|row| self.opened(row)).collect::<Result<Vec<_>>>()?;
        Ok(Numbered::new(page, entries, total))
    }

    /// One of the organisation's API keys.
    pub async fn api_key(&self, caller: &Caller, id: ApiKeyId) -> Result<ApiKey> {
        caller.require(Permissions::MANAGE_KEYS)?;
        let row = keys::api_key(&self.parts.db, caller.organization, id).await?;
        self.opened(row.ok_or_else(no_api_key)?)
    }

    /// Makes an API key.
    pub async fn create_api_key(&self, caller: &Caller, description: &str, once: &Once) -> Result<ApiKey> {
        caller.require(Permissions::MANAGE_KEYS)?;
        if let Some(MadeApiKey { id }) = once.replayed()? {
            return self.api_key(caller, id).await;
        }
        let description = addresses::short_text("description", description)?;
        let Parts { db, ids, clock, random, sealer, keep, .. } = &self.parts;
        let (key, stmt) = new_api_key(caller.organization, ids.next()?, description, random, sealer, clock);
        let now = clock.now();
        let mut tx = db.begin().await?;
        stmt.execute(&mut tx).await?;
        self.audit(caller, "api_key.created", format!("api_key:{}", key.id))?.execute(&mut tx).await?;
        for row in idempotency::rows(once, &MadeApiKey { id: key.id }, now, now.minus(*keep)) {
            row.execute(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(key)
    }

    /// Changes an API key's description.
    pub async fn describe_api_key(
        &self,
        caller: &Caller,
        id: ApiKeyId,
        text: Option<&str>,
    ) -> Result<ApiKey> {
        caller.require(Permissions::MANAGE_KEYS)?;
        if let Some(text) = text {
            let text = addresses::short_text("description", text)?;
            let changed =
                keys::describe_api_key(caller.organization, id, &text).execute(&self.parts.db).await?;
            if changed == 0 {
                return Err(no_api_key());
            }
        }
        self.api_key(caller, id).await
    }

    /// Revokes an API key: applications that use it stop working at once.
    pub async fn remove_api_key(&self, caller: &Caller, id: ApiKeyId) -> Result<()> {
        caller.require(Permissions::MANAGE_KEYS)?;
        let mut tx = self.parts.db.begin().await?;
        let now = self.parts.clock.now();
        if keys::remove_api_key(caller.organization, id, now).execute(&mut tx).await? == 0 {
            return Err(no_api_key());
        }
        self.audit(caller, "api_key.deleted", format!("api_key:{id}"))?.execute(&mut tx).await?;
        tx.commit().await?;
        self.parts.sign_in.application_removed(id);
        Ok(())
    }

    /// The organisation's partner keys.
    pub async fn partner_keys(&self, caller: &Caller) -> Result<Vec<PartnerKeyRow>> {
        caller.require(Permissions::MANAGE_KEYS)?;
        Ok(keys::partner_keys(&self.parts.db, caller.organization).await?)
    }

    /// Makes a pair. A repeated request makes another pair in the place of the first, whose private half is not kept.
    pub async fn create_partner_key(
        &self,
        caller: &Caller,
        description: &str,
        once: &Once,
    ) -> Result<PartnerKey> {
        caller.require(Permissions::MANAGE_KEYS)?;
        let Parts { db, ids, clock, keep, .. } = &self.parts;
        let description = addresses::short_text("description", description)?;
        if once.replayed::<MadePartnerKey>()?.is_none() {
            self.check_room(caller).await?;
        }
        let (private_key, public_key) = self.pair().await?;
        if let Some(MadePartnerKey { id }) = once.replayed()? {
            let row = self.update_partner_key(caller, id, None, Some(&public_key)).await?;
            return Ok(PartnerKey { row, private_key: Some(private_key) });
        }
        let now = clock.now();
        let mut row = PartnerKeyRow {
            id: ids.next()?,
            organization_id: caller.organization,
            description,
            public_key,
            created_at: now,
            family_id: None,
        };
        let mut tx = db.begin().await?;
        let room: Option<(i64,)> =
            keys::partner_keys_have_room(caller.organization, MOST_PARTNER_KEYS).optional(&mut tx).await?;
        room.ok_or_else(too_many_partner_keys)?;
        keys::insert_partner_key(&row).execute(&mut tx).await?;
        row.family_id = Some(self.new_family(caller.organization, row.id, &mut tx).await?);
        self.audit(caller, "partner_key.created", format!("partner_key:{}", row.id))?
            .execute(&mut tx)
            .await?;
        for stmt in idempotency::rows(once, &MadePartnerKey { id: row.id }, now, now.minus(*keep)) {
            stmt.execute(&mut tx).await?;
        }
        tx.commit().await?;
        self.parts.tokens.partner_keys_changed(caller.organization);
        Ok(PartnerKey { row, private_key: Some(private_key) })
    }

    /// Changes a partner key's description, or puts the public half of another pair in its place: tokens that were
    /// signed with the old one are dead then, and so is everything that came of them.
    pub async fn update_partner_key(
        &self,
        caller: &Caller,
        id: PartnerKeyId,
        description: Option<&str>,
        public_key: Option<&str>,
    ) -> Result<PartnerKeyRow> {
        caller.require(Permissions::MANAGE_KEYS)?;
        let description = description.map(|text| addresses::short_text("description", text)).transpose()?;
        let public_key = public_key.map(checked_public_key).transpose()?;
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        let replaced = public_key.is_some();
        let stmt = keys::update_partner_key(caller.organization, id, description, public_key, now);
        if stmt.execute(&mut tx).await? == 0 {
            return Err(no_partner_key());
        }
        let mut ended = Vec::new();
        if replaced {
            ended = token_store::revoke_origin(&mut tx, Origin::Partner.name(), id.0, now).await?;
            self.new_family(caller.organization, id, &mut tx).await?;
        }
        self.audit(caller, "partner_key.updated", format!("partner_key:{id}"))?.execute(&mut tx).await?;
        tx.commit().await?;
        self.partner_key_changed(caller.organization, ended);
        let rows = keys::partner_keys(&self.parts.db, caller.organization).await?;
        rows.into_iter().find(|row| row.id == id).ok_or_else(no_partner_key)
    }

    /// Removes a partner key with everything that came of it.
    pub async fn remove_partner_key(&self, caller: &Caller, id: PartnerKeyId) -> Result<()> {
        caller.require(Permissions::MANAGE_KEYS)?;
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        if keys::remove_partner_key(caller.organization, id).execute(&mut tx).await? == 0 {
            return Err(no_partner_key());
        }
        let ended = token_store::revoke_origin(&mut tx, Origin::Partner.name(), id.0, now).await?;
        self.audit(caller, "partner_key.deleted", format!("partner_key:{id}"))?.execute(&mut tx).await?;
        tx.commit().await?;
        self.partner_key_changed(caller.organization, ended);
        Ok(())
    }

    fn partner_key_changed(&self, organization: OrgId, ended: Vec<Uuid>) {
        for family in ended {
            self.parts.tokens.revoke(Revoked::Family(family));
        }
        self.parts.tokens.partner_keys_changed(organization);
    }

    async fn check_room(&self, caller: &Caller) -> Result<()> {
        let count = keys::count_partner_keys(&self.parts.db, caller.organization).await?;
        if count >= MOST_PARTNER_KEYS { Err(too_many_partner_keys()) } else { Ok(()) }
    }

    async fn new_family(
        &self,
        organization: OrgId,
        key: PartnerKeyId,
        tx: &mut crate::store::Tx,
    ) -> Result<Uuid> {
        let now = self.parts.clock.now();
        let family = new_family(
            self.parts.random.uuid(),
            // A partner key stands for nobody.
            (organization, PersonId(0)),
            (Origin::Partner, Some(key.0)),
            now,
            now.plus(FOR_GOOD),
        );
        token_store::insert_family(&family).execute(tx).await?;
        Ok(family.id)
    }

    /// A fresh pair as PEM; takes a second of one core, away from the requests.
    async fn pair(&self) -> Result<(Secret, String)> {
        let mut random = RsaRandom(self.parts.random.clone());
        let making = self.parts.tasks.runtime().spawn_blocking(move || {
            let private = RsaPrivateKey::new(&mut random, BITS).map_err(Error::unavailable)?;
            let public = public_pem(&private.to_public_key())?;
            let private = private.to_pkcs8_pem(LineEnding::LF).map_err(Error::unavailable)?;
            Ok((Secret::new(private.as_str()), public))
        });
        making.await.map_err(Error::unavailable)?
    }

    fn opened(&self, row: ApiKeyRow) -> Result<ApiKey> {
        let text = self.parts.sealer.open_text(API_KEY_PURPOSE, &row.sealed);
        let text = text.ok_or_else(|| Error::unavailable("an API key does not open: another master key?"))?;
        Ok(ApiKey { id: row.id, description: row.description, key: Secret::new(text) })
    }

    fn audit(&self, caller: &Caller, action: &'static str, subject: String) -> Result<Stmt> {
        Ok(token_store::insert_audit(&AuditRow {
            id: self.parts.ids.next()?,
            organization: caller.organization,
            time: self.parts.clock.now(),
            actor: caller.acting.or(caller.person),
            acting_for: caller.acting.and(caller.person),
            action,
            subject,
            detail: json!({ "actor": caller.name }).to_string(),
        }))
    }
}

fn no_api_key() -> Error {
    Error::not_found("API key")
}

fn no_partner_key() -> Error {
    Error::not_found("partner key")
}

fn too_many_partner_keys() -> Error {
    Error::constraint(format!("at most {MOST_PARTNER_KEYS} partner keys; remove one first"))
}

/// The public half of a pair made elsewhere, in the one form that is stored.
fn checked_public_key(pem: &str) -> Result<String> {
    let wrong = || {
        let (least, most) = (ACCEPTED_BITS.start(), ACCEPTED_BITS.end());
        Error::invalid(format!(
            "public_key: the public half of an RSA pair of {least} to {most} bits, as PEM"
        ))
    };
    let pem = pem.trim();
    if pem.len() > LONGEST_PEM {
        return Err(wrong());
    }
    let key =
        RsaPublicKey::from_public_key_pem(pem).or_else(|_| RsaPublicKey::from_pkcs1_pem(pem).map_err(|_| ()));
    let key = key.map_err(|()| wrong())?;
    if !ACCEPTED_BITS.contains(&(key.size() * 8)) {
        return Err(wrong());
    }
    public_pem(&key)
}

fn public_pem(key: &RsaPublicKey) -> Result<String> {
    key.to_public_key_pem(LineEnding::LF).map_err(|error| Error::new(Code::Unavailable, error.to_string()))
}

/// Our randomness for the crate that makes pairs.
struct RsaRandom(Random);

impl rsa::rand_core::RngCore for RsaRandom {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.0.bytes())
    }
    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.0.bytes())
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let bytes: [u8; 32] = self.0.bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}
impl rsa::rand_core::CryptoRng for RsaRandom {}
