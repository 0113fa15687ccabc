//! A server's part that calls need, without the network: two organisations of a few people.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use prometheus_client::registry::Registry;
use serde_json::Value;
use switchboard::{
    base::{clock::Clock, random::Random, seal::Sealer},
    config::Config,
    domain::{
        caller::{Caller, TokenKind},
        event::{StreamKind, session_channel, user_channel},
        ids::{CallId, Offset, OrgId, PersonId, RingId, SessionId, StreamId},
        machine::call::Timing,
        once::Once,
    },
    journal::{self, Append, Journal, JournalMetrics, JournalOptions, NewStream, NodeEpoch},
    live::{
        Arbiters, Ground, LiveMetrics, RegistryOptions,
        call_session::{SessionLoader, Sessions as LiveSessions},
    },
    service::{
        attendance::Attendance,
        call_records::{self, CallRecords},
        calls::{self, Calls, Reached, Rung},
        reachability::{Connections, Reachability},
        sessions::{self, Sessions},
        signing_keys::SigningKeys,
        tokens::{Login, Origin, Tokens},
    },
    store::{Db, ids::Ids, organizations, people, sql},
};
use uuid::Uuid;

/// Short enough to wait for, long enough for a busy machine.
pub const TIMING: Timing = Timing {
    ring: Duration::from_millis(2_500),
    lease: Duration::from_millis(1_000),
    empty: Duration::from_millis(700),
};
const PATIENCE: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_hours(24);

pub const ANN: PersonId = PersonId(1_001);
pub const BEN: PersonId = PersonId(1_002);
pub const CARL: PersonId = PersonId(1_003);
/// The administrator.
pub const ADA: PersonId = PersonId(1_004);
/// Another face of Ben.
pub const BENEDICT: PersonId = PersonId(1_005);
/// Lives in another organisation.
pub const OTTO: PersonId = PersonId(1_006);

const PEOPLE: [(PersonId, &str, OrgId); 6] = [
    (ANN, "Ann", OrgId(1)),
    (BEN, "Ben", OrgId(1)),
    (CARL, "Carl", OrgId(1)),
    (ADA, "Ada", OrgId(1)),
    (BENEDICT, "Benedict", OrgId(1)),
    (OTTO, "Otto", OrgId(2)),
];

/// Who has a live connection.
#[derive(Default)]
pub struct Connected(Mutex<BTreeSet<PersonId>>);

impl Connected {
    pub fn set(&self, login: PersonId, there: bool) {
        let mut connected = self.0.lock().unwrap();
        if there {
            connected.insert(login)
        } else {
            connected.remove(&login)
        };
    }
}

impl Connections for Connected {
    fn is_connected(&self, login: PersonId) -> bool {
        self.0.lock().unwrap().contains(&login)
    }
}

/// The wired parts. Dropping it is a crash: nothing is told to stop.
pub struct World {
    pub db: Db,
    pub clock: Clock,
    pub connected: Arc<Connected>,
    pub live: LiveSessions,
    pub sessions: Sessions,
    pub calls: Calls,
    pub records: CallRecords,
    tokens: Tokens,
}

impl World {
    /// The people above, all connected.
    pub async fn new(db: &Db) -> Self {
        let world = Self::start(db).await;
        seed(&world.db, &world.journal_for_seed().await).await;
        for (person, ..) in PEOPLE {
            world.connected.set(person, true);
        }
        world
    }

    /// The server over what the database holds.
    pub async fn start(db: &Db) -> Self {
        let (clock, random) = (Clock::system(), Random::from_os());
        let tasks = switchboard::base::tasks::Tasks::new(tokio::runtime::Handle::current());
        let journal = journal_over(db, &random).await;
        let ground = Ground {
            arbiters: arbiters(),
            clock: clock.clone(),
            random: random.clone(),
            journal: journal.clone(),
            tasks: tasks.clone(),
            metrics: LiveMetrics::default(),
        };
        let options = RegistryOptions { mailbox: 100, idle: Duration::from_secs(60) };
        let loader = SessionLoader::new(db.clone(), clock.clone(), TIMING);
        let live = LiveSessions::new(loader, options, ground);
        let ids = Ids::open(db.clone(), tasks.clone()).await.unwrap();
        let sealer = Sealer::new(&[7; 32]);
        let keys =
            SigningKeys::open(db.clone(), ids.clone(), clock.clone(), random.clone(), sealer).await.unwrap();
        let config = Config::with(
            "[calls]\nstun_urls = ['stun:stun.test']\nturn_urls = ['turn:turn.test']\nturn_secret = 'secret'",
        )
        .unwrap();
        let tokens = Tokens::new(db.clone(), clock.clone(), random.clone(), config.auth, keys);
        let connected = Arc::new(Connected::default());
        let sessions = Sessions::new(sessions::Parts {
            db: db.clone(),
            ids: ids.clone(),
            clock: clock.clone(),
            random: random.clone(),
            journal: journal.clone(),
            live: live.clone(),
            tokens: tokens.clone(),
            max_members: 50,
            keep: DAY,
        });
        let calls = Calls::new(calls::Parts {
            db: db.clone(),
            clock: clock.clone(),
            random: random.clone(),
            live: live.clone(),
            sessions: sessions.clone(),
            reachability: Reachability::new(db.clone(), connected.clone()),
            config: config.calls,
            public_url: "https://calls.test".to_owned(),
            keep: DAY,
            attendance: Attendance::default(),
            tasks,
        });
        let records = CallRecords::new(call_records::Parts {
            db: db.clone(),
            ids,
            clock: clock.clone(),
            random,
            journal,
            tokens: tokens.clone(),
            keep: DAY,
        });
        Self { db: db.clone(), clock, connected, live, sessions, calls, records, tokens }
    }

    async fn journal_for_seed(&self) -> Journal {
        journal_over(&self.db, &Random::from_os()).await
    }

    /// A caller with a user token.
    pub async fn user(&self, person: PersonId) -> Caller {
        let row = people::by_id(&self.db, person).await.unwrap().unwrap();
        let login = Login::of(&row, None, Origin::Admin, None);
        let token = self.tokens.mint_user(&login, self.clock.now().plus(DAY)).unwrap();
        self.tokens.verify(&token, &[TokenKind::User]).await.unwrap()
    }

    /// The caller's own session token, verified.
    pub async fn in_session(&self, caller: &Caller, session: SessionId) -> Caller {
        let token = self.sessions.token(caller, session).await.unwrap();
        self.tokens.verify(&token, &[TokenKind::Session]).await.unwrap()
    }

    /// The session of these people, as the first of them opens it.
    pub async fn session(&self, people: &[PersonId]) -> SessionId {
        let creator = self.user(people[0]).await;
        self.sessions.create(&creator, &people[1..], false, &Once::none()).await.unwrap()
    }

    /// Rings all others; the ring of each who rings.
    pub async fn ring(&self, by: PersonId, session: SessionId, leased: bool) -> Vec<Rung> {
        let caller = self.user(by).await;
        self.calls.ring(&caller, session, None, leased, true, &Once::none()).await.unwrap()
    }

    /// Rings the one other member.
    pub async fn ring_one(&self, by: PersonId, session: SessionId) -> RingId {
        let rung = self.ring(by, session, false).await;
        assert_eq!(rung.len(), 1);
        assert_eq!(rung[0].state, Reached::Ringing);
        rung[0].request_id
    }

    /// A call of two: rung and accepted.
    pub async fn call(&self, by: PersonId, to: PersonId) -> (SessionId, CallId) {
        let session = self.session(&[by, to]).await;
        let ring = self.ring_one(by, session).await;
        let callee = self.user(to).await;
        (session, self.calls.accept(&callee, ring, &Once::none()).await.unwrap().call_id)
    }

    /// Type and data of all events of a stream; checks that offsets have no gap.
    pub async fn events(&self, channel: &str) -> Vec<(String, Value)> {
        let row: Option<(StreamId,)> =
            sql("select id from stream where name = $1").bind(channel).optional(&self.db).await.unwrap();
        let events = journal::read_after(&self.db, row.unwrap().0, Offset(0), 1_000).await.unwrap();
        for (position, event) in (1..).zip(&events) {
            assert_eq!(event.offset, Offset(position));
        }
        let body = |text: &str| serde_json::from_str::<Value>(text).unwrap()["data"].clone();
        events.into_iter().map(|event| (event.kind, body(&event.body))).collect()
    }

    pub async fn inbox(&self, person: PersonId) -> Vec<(String, Value)> {
        self.events(&user_channel(person)).await
    }

    pub async fn session_events(&self, session: SessionId) -> Vec<(String, Value)> {
        self.events(&session_channel(session)).await
    }

    /// Only the types.
    pub async fn session_types(&self, session: SessionId) -> Vec<String> {
        self.session_events(session).await.into_iter().map(|(kind, _)| kind).collect()
    }

    /// Waits until the session's stream holds such an event.
    pub async fn told(&self, session: SessionId, kind: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let events = self.session_events(session).await;
            if let Some((_, data)) = events.iter().rev().find(|(known, _)| known == kind) {
                return data.clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "no {kind} in {events:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The state that is stored of a ring.
    pub async fn ring_state(&self, ring: RingId) -> String {
        switchboard::store::calls::find_ring(&self.db, ring).await.unwrap().unwrap().state
    }
}

async fn journal_over(db: &Db, random: &Random) -> Journal {
    Journal::start(
        db.clone(),
        NodeEpoch::claim(db).await.unwrap(),
        JournalOptions { queue: 100, batch: 10 },
        random.clone(),
        Vec::new(),
        JournalMetrics::register(&mut Registry::default()),
        &switchboard::base::tasks::Tasks::new(tokio::runtime::Handle::current()),
    )
}

/// Threads for actors; they go with the test's process.
fn arbiters() -> Arc<Arbiters> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runner = actix::System::new();
        let arbiters = runner.block_on(async { Arc::new(Arbiters::start(1)) });
        sender.send(arbiters).unwrap();
        let _ = runner.run();
    });
    receiver.recv().unwrap()
}

async fn seed(db: &Db, journal: &Journal) {
    let now = Clock::system().now();
    let mut append = Append::default();
    let stream =
        |id: i64, organization, kind, channel| NewStream { id: StreamId(id), organization, kind, channel };
    for number in 1..=2 {
        let id = OrgId(number);
        let new = organizations::NewOrganization {
            id,
            uuid: Uuid::from_u128(number.unsigned_abs().into()),
            name: format!("Organisation {number}"),
            contact_email: None,
            domains: Vec::new(),
            stream: StreamId(900 + number),
            created_at: now,
        };
        organizations::insert(&new).execute(db).await.unwrap();
        append.streams.push(stream(900 + number, id, StreamKind::Org, format!("org:{id}")));
    }
    for (id, name, organization) in PEOPLE {
        let new = people::NewPerson {
            id,
            uuid: Uuid::from_u128(id.0.unsigned_abs().into()),
            organization,
            login: if id == BENEDICT { BEN } else { id },
            kind: "member",
            name: name.to_owned(),
            email: Some(format!("{}@example.com", name.to_lowercase())),
            username: None,
            title: None,
            location: None,
            phone: None,
            language: None,
            license: "team".to_owned(),
            role: if id == ADA { "EnterpriseAdmin" } else { "User" }.to_owned(),
            password_hash: None,
            active: true,
            confirmed_at: Some(now),
            invitation_sent_at: None,
            stream: StreamId(id.0),
            created_at: now,
        };
        people::insert(&new).execute(db).await.unwrap();
        append.streams.push(stream(id.0, organization, StreamKind::User, user_channel(id)));
    }
    journal.append(append).await.unwrap();
}
