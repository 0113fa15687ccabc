//! Identity: tokens, signing in, accounts, keys; each security rule with an attempt to break it.

mod accounts;
mod keys;
mod sign_in;
mod tokens;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use prometheus_client::registry::Registry;
use serde_json::Value;
use switchboard::{
    base::{clock::Clock, random::Random, seal::Sealer, secret::Secret, tasks::Tasks},
    config::{Auth, Config},
    domain::{
        caller::{Caller, TokenKind},
        codes::Code,
        error::Result,
        ids::{Offset, OrgId, PersonId},
        once::Once,
    },
    journal::{self, Journal, JournalMetrics, JournalOptions, NodeEpoch},
    service::{
        access_tokens::AccessTokens,
        acting::Acting,
        keys::{self as key_service, Keys},
        notices::Notices,
        passwords::Passwords,
        people::{self as people_service, NewUser, People},
        provisioning::{Provisioned, Provisioning, ProvisioningParts},
        reachability::{NoConnections, Reachability},
        sign_in::{SignIn, SignInParts, TokenPair},
        signing_keys::SigningKeys,
        tokens::{Revocations, Revoked, Tokens},
    },
    store::{
        ids::Ids,
        organizations,
        people::{self, PersonRow},
        sql,
    },
};

use crate::harness::db::{START, TestDb};

pub const PASSWORD: &str = "correct horse";
pub const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// One installation with two organisations: Acme (administrator Ada, member Bob) and Other (administrator Otto).
#[expect(dead_code, reason = "all parts of a world, whichever its tests look at")]
pub struct World {
    pub db: TestDb,
    pub clock: Clock,
    pub random: Random,
    pub sealer: Sealer,
    pub ids: Ids,
    pub auth: Auth,
    pub tokens: Tokens,
    pub sign_in: Arc<SignIn>,
    pub people: People,
    pub keys: Keys,
    pub access_tokens: AccessTokens,
    pub acting: Acting,
    pub provisioning: Provisioning,
    pub acme: Provisioned,
    pub other: Provisioned,
    pub bob: PersonId,
    pub ended: Arc<Ended>,
}

/// What live sockets would be told.
#[derive(Default)]
pub struct Ended(Mutex<Vec<Revoked>>);

impl Revocations for Ended {
    fn revoked(&self, what: Revoked) {
        self.0.lock().unwrap().push(what);
    }
}

impl Ended {
    pub fn take(&self) -> Vec<Revoked> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text)
}

pub fn code<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => error.code(),
    }
}

impl World {
    pub async fn new(db: TestDb) -> Self {
        Self::with(db, "").await
    }

    /// With other settings, as TOML.
    pub async fn with(db: TestDb, settings: &str) -> Self {
        let cheap = format!("{settings}\n[auth]\nargon2_memory_kib = 64\nargon2_passes = 1\n");
        let auth = Config::with(if settings.contains("[auth]") { settings } else { &cheap }).unwrap().auth;
        let (clock, random) = (Clock::manual(START), Random::seeded(11));
        let tasks: Tasks = db.tasks();
        let sealer = Sealer::new(&[9; 32]);
        let ids = Ids::open(db.db.clone(), tasks.clone()).await.unwrap();
        let journal = Journal::start(
            db.db.clone(),
            NodeEpoch::claim(&db).await.unwrap(),
            JournalOptions { queue: 100, batch: 10 },
            random.clone(),
            Vec::new(),
            JournalMetrics::register(&mut Registry::default()),
            &tasks,
        );
        let signing =
            SigningKeys::open(db.db.clone(), ids.clone(), clock.clone(), random.clone(), sealer.clone());
        let tokens =
            Tokens::new(db.db.clone(), clock.clone(), random.clone(), auth.clone(), signing.await.unwrap());
        let ended = Arc::new(Ended::default());
        tokens.set_revocations(ended.clone());
        let passwords = Passwords::new(&auth, random.clone(), tasks.clone()).unwrap();
        let parts = SignInParts { auth: auth.clone(), tokens: tokens.clone(), passwords: passwords.clone() };
        let sign_in = Arc::new(SignIn::new(
            db.db.clone(),
            ids.clone(),
            clock.clone(),
            random.clone(),
            journal.clone(),
            parts,
        ));
        let keep = Duration::from_hours(24);
        let people = People::new(people_service::Parts {
            db: db.db.clone(),
            ids: ids.clone(),
            clock: clock.clone(),
            random: random.clone(),
            journal: journal.clone(),
            tokens: tokens.clone(),
            passwords: passwords.clone(),
            reachability: Reachability::new(db.db.clone(), Arc::new(NoConnections)),
            notices: Notices::new(db.db.clone(), ids.clone(), clock.clone(), random.clone(), sealer.clone()),
            invitation_life: Duration::from_hours(24),
            public_url: "http://help.test".to_owned(),
            keep,
        });
        let keys = Keys::new(key_service::Parts {
            db: db.db.clone(),
            ids: ids.clone(),
            clock: clock.clone(),
            random: random.clone(),
            sealer: sealer.clone(),
            tasks: tasks.clone(),
            tokens: tokens.clone(),
            sign_in: sign_in.clone(),
            keep,
        });
        let access_tokens = AccessTokens::new(
            db.db.clone(),
            ids.clone(),
            clock.clone(),
            random.clone(),
            journal.clone(),
            tokens.clone(),
            keep,
        );
        let acting = Acting::new(db.db.clone(), ids.clone(), clock.clone(), tokens.clone());
        let parts = ProvisioningParts {
            auth: auth.clone(),
            sealer: sealer.clone(),
            tokens: tokens.clone(),
            passwords,
        };
        let provisioning =
            Provisioning::new(db.db.clone(), ids.clone(), clock.clone(), random.clone(), journal, parts);
        let password = secret(PASSWORD);
        let acme = provisioning
            .create_organization("Acme", ("Ada", "ada@acme.test"), Some(&password))
            .await
            .unwrap();
        let other = provisioning
            .create_organization("Other", ("Otto", "otto@other.test"), Some(&password))
            .await
            .unwrap();
        sql("update organization set domains = $1").bind("[\"acme.test\"]").execute(&db.db).await.unwrap();
        let mut world = Self {
            db,
            clock,
            random,
            sealer,
            ids,
            auth,
            tokens,
            sign_in,
            people,
            keys,
            access_tokens,
            acting,
            provisioning,
            acme,
            other,
            bob: PersonId(0),
            ended,
        };
        world.bob = world.hire("Bob").await;
        world.ended.take();
        world
    }

    /// A member of Acme with the usual password and the address `<name>@acme.test`.
    pub async fn hire(&self, name: &str) -> PersonId {
        let new = NewUser {
            name: name.to_owned(),
            email: format!("{}@acme.test", name.to_lowercase()),
            password: Some(secret(PASSWORD)),
            ..NewUser::default()
        };
        self.people.create(&self.ada().await, new, &Once::none()).await.unwrap()
    }

    pub async fn enter(&self, login: &str) -> TokenPair {
        self.sign_in.password(login, &secret(PASSWORD), HOME).await.unwrap()
    }

    pub async fn user(&self, token: &str) -> Result<Caller> {
        self.tokens.verify(token, &[TokenKind::User]).await
    }

    /// The caller of a fresh user token.
    pub async fn caller(&self, login: &str) -> Caller {
        self.user(&self.enter(login).await.token).await.unwrap()
    }

    pub async fn enterprise(&self, token: &str) -> Result<Caller> {
        self.tokens.verify(token, &[TokenKind::Enterprise, TokenKind::Partner]).await
    }

    /// An administrator's enterprise token's caller.
    pub async fn ada(&self) -> Caller {
        self.administrator("ada@acme.test").await
    }

    pub async fn otto(&self) -> Caller {
        self.administrator("otto@other.test").await
    }

    async fn administrator(&self, login: &str) -> Caller {
        let token = self.sign_in.enterprise(login, &secret(PASSWORD), HOME).await.unwrap();
        self.enterprise(&token).await.unwrap()
    }

    pub async fn row(&self, id: PersonId) -> PersonRow {
        people::by_id(&self.db.db, id).await.unwrap().unwrap()
    }

    /// The events of an organisation's stream: type and data.
    pub async fn events(&self, organization: OrgId) -> Vec<(String, Value)> {
        let row = organizations::by_id(&self.db.db, organization).await.unwrap().unwrap();
        let events = journal::read_after(&self.db, row.stream_id, Offset(0), 100).await.unwrap();
        events
            .iter()
            .map(|event| {
                let body: Value = serde_json::from_str(&event.body).unwrap();
                (body["type"].as_str().unwrap().to_owned(), body["data"].clone())
            })
            .collect()
    }

    pub async fn count(&self, text: &'static str) -> i64 {
        let (count,): (i64,) = sql(text).one(&self.db.db).await.unwrap();
        count
    }
}
