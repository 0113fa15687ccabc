//! What stands behind tokens right now: people, sign-in families, memberships; remembered for a few seconds.

use std::{future::Future, hash::Hash, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{Revoked, claims::Origin, claims::invalid};
use crate::{
    base::{
        cache::Cache,
        clock::{Clock, Timestamp},
    },
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, OrgId, PersonId, SessionId},
        permission::Permissions,
    },
    store::{
        Db,
        tokens::{self as store, PersonState},
    },
};

/// Entries of each cache.
const CACHED: usize = 100_000;

/// The caches.
pub(super) struct Standing {
    db: Db,
    clock: Clock,
    people: Cache<PersonId, Option<Arc<Person>>>,
    families: Cache<Uuid, Family>,
    /// Places that are held; that somebody is not in is never remembered, so that joining works at once.
    workboxes: Cache<(PersonId, ConversationId), ()>,
    sessions: Cache<(PersonId, SessionId), ()>,
}

/// A person as tokens see them.
#[derive(Debug)]
pub(super) struct Person {
    pub organization: OrgId,
    organization_active: bool,
    login: PersonId,
    kind: PersonKind,
    uuid: Uuid,
    name: String,
    /// What the role allows.
    pub permissions: Permissions,
    /// Tokens of another version are dead.
    pub version: i64,
    active: bool,
    removed: bool,
}

/// A sign-in family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// How it began.
    pub origin: Origin,
    over: bool,
    expires_at: Timestamp,
}

impl Family {
    /// What is not in the database, or nothing that we write.
    const UNKNOWN: Self = Self { origin: Origin::Password, over: true, expires_at: Timestamp(0) };

    fn new(origin: &str, expires_at: Timestamp, revoked: bool) -> Self {
        Origin::by_name(origin).map_or(Self::UNKNOWN, |origin| Self { origin, over: revoked, expires_at })
    }
}

/// What anybody of that kind and role may do.
pub(super) fn allowed(kind: PersonKind, role: &str) -> Permissions {
    match kind {
        PersonKind::Member => Permissions::of_role(role),
        PersonKind::Guest | PersonKind::Anonymous => Permissions::GUEST,
    }
}

/// The column `person.kind`.
pub(super) fn kind_of(text: &str) -> PersonKind {
    match text {
        "member" => PersonKind::Member,
        "guest" => PersonKind::Guest,
        _ => PersonKind::Anonymous,
    }
}

impl Person {
    fn new(row: PersonState) -> Self {
        let kind = kind_of(&row.kind);
        Self {
            organization: row.organization_id,
            organization_active: row.organization_active,
            login: row.login_id,
            kind,
            uuid: row.uuid,
            name: row.name,
            permissions: allowed(kind, &row.role),
            version: row.token_version,
            active: row.active,
            removed: row.removed_at.is_some(),
        }
    }

    /// Fails unless the person lives, is active and still honours tokens of that version and organisation.
    pub fn check(&self, version: i64, organization: OrgId) -> Result<()> {
        if self.removed || self.organization != organization || !self.organization_active {
            return Err(invalid("the person or organisation is gone"));
        }
        if !self.active {
            return Err(Error::new(Code::AccountDeactivated, "the account is switched off"));
        }
        if self.version != version {
            return Err(invalid("made before the person's tokens were revoked"));
        }
        Ok(())
    }

    /// A caller of that kind with everything that the role allows.
    pub fn caller(&self, id: PersonId, kind: TokenKind) -> Caller {
        Caller {
            kind,
            organization: self.organization,
            person: Some(id),
            login: Some(self.login),
            person_kind: self.kind,
            person_uuid: Some(self.uuid),
            name: self.name.clone(),
            acting: None,
            permissions: self.permissions,
            session: None,
            workbox: None,
            family: None,
            expires_at: Timestamp(0),
        }
    }
}

impl Standing {
    pub fn new(db: Db, clock: Clock, ttl: Duration) -> Self {
        Self {
            db,
            people: Cache::new(CACHED, ttl, clock.clone()),
            families: Cache::new(CACHED, ttl, clock.clone()),
            workboxes: Cache::new(CACHED, ttl, clock.clone()),
            sessions: Cache::new(CACHED, ttl, clock.clone()),
            clock,
        }
    }

    pub fn forget(&self, what: Revoked) {
        match what {
            Revoked::Person(person) | Revoked::Rights(person) => self.people.forget(&person),
            Revoked::Family(family) => self.families.forget(&family),
            Revoked::Workbox(person, conversation) => self.workboxes.forget(&(person, conversation)),
            Revoked::Session(person, session) => self.sessions.forget(&(person, session)),
            Revoked::Organization(_) => self.people.clear(),
            Revoked::ApiKey(_) => {}
        }
    }

    /// The person; the family is read along where neither is known, so that a first request costs one read.
    pub async fn person(&self, id: PersonId, family: Option<Uuid>) -> Result<Arc<Person>> {
        let known = match self.people.get(&id) {
            Some(known) => known,
            None => {
                let (person_mark, family_mark) = (self.people.mark(), self.families.mark());
                let row = store::person_state(&self.db, id, family).await?;
                if let (Some(family), Some(row)) = (family, &row) {
                    let read = match (&row.family_origin, row.family_expires_at) {
                        (Some(origin), Some(end)) => {
                            Family::new(origin, end, row.family_revoked_at.is_some())
                        }
                        _ => Family::UNKNOWN,
                    };
                    self.families.put(family, read, family_mark);
                }
                let person = row.map(Person::new).map(Arc::new);
                self.people.put(id, person.clone(), person_mark);
                person
            }
        };
        known.ok_or_else(|| invalid("no such person"))
    }

    pub async fn family(&self, id: Uuid) -> Result<Family> {
        let load = async {
            let row = store::family(&self.db, id).await?;
            Ok::<_, Error>(row.map_or(Family::UNKNOWN, |row| {
                Family::new(&row.origin, row.expires_at, row.revoked_at.is_some())
            }))
        };
        self.families.get_or_load(id, load).await
    }

    /// Fails when the sign-in is over.
    pub async fn check_family(&self, id: Uuid) -> Result<()> {
        let family = self.family(id).await?;
        if !family.over && self.clock.now() < family.expires_at {
            return Ok(());
        }
        Err(match family.origin {
            Origin::Link => link_over(),
            _ => invalid("the sign-in was revoked or is over"),
        })
    }

    /// Fails unless the person belongs to the session.
    pub async fn check_session(&self, person: PersonId, session: SessionId) -> Result<()> {
        let load = store::is_in_session(&self.db, session, person);
        if stands(&self.sessions, (person, session), load).await? {
            return Ok(());
        }
        Err(invalid("not in the session any more"))
    }

    /// Fails unless the person takes part in the help thread.
    pub async fn check_workbox(
        &self,
        person: PersonId,
        conversation: ConversationId,
        kind: PersonKind,
    ) -> Result<()> {
        let load = store::is_in_conversation(&self.db, conversation, person);
        if stands(&self.workboxes, (person, conversation), load).await? {
            return Ok(());
        }
        Err(if kind == PersonKind::Guest { link_over() } else { invalid("not in the help thread any more") })
    }
}

/// True when the place is held.
async fn stands<K: Copy + Eq + Hash>(
    places: &Cache<K, ()>,
    place: K,
    load: impl Future<Output = crate::store::Result<bool>>,
) -> Result<bool> {
    if places.get(&place).is_some() {
        return Ok(true);
    }
    let mark = places.mark();
    let held = load.await?;
    if held {
        places.put(place, (), mark);
    }
    Ok(held)
}

/// What a guest hears whose link is over.
fn link_over() -> Error {
    Error::new(Code::LinkExpired, "the link is over or was taken back")
}
