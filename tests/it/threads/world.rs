//! A server's part that threads need, without the network: two organisations of a few people.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use switchboard::{
    base::{clock::Clock, random::Random, seal::Sealer, tasks::Tasks},
    config::Config,
    domain::{
        caller::{Caller, TokenKind},
        codes::Code,
        error::Result,
        event::{StreamKind, internal_channel, user_channel, workbox_channel},
        ids::{ConversationId, MessageId, Offset, OrgId, PersonId, StreamId},
        machine::call::Timing,
        once::{Once, Scope},
    },
    journal::{self, Append, Journal, JournalMetrics, JournalOptions, NewStream, NodeEpoch},
    live::{
        Arbiters, Ground, LiveMetrics, RegistryOptions,
        call_session::{SessionLoader, Sessions},
        conversation::{ConversationLoader, Conversations},
    },
    service::{
        messages::{Draft, MessageView, Messages},
        signing_keys::SigningKeys,
        tokens::{Login, Origin, Tokens},
        tools::Tools,
        unread::Unread,
        workboxes::{
            GuestNotice, GuestNotices, Invitation, ListRequest, NewWorkbox, WorkboxOptions, WorkboxView,
            Workboxes,
        },
    },
    store::{Db, Stmt, ids::Ids, organizations, people, sql},
};
use uuid::Uuid;

const DAY: Duration = Duration::from_hours(24);
/// Messages of a block that is tallied: few, so that every longer thread has some.
pub const BLOCK: usize = 5;
/// How long guests' links work here.
pub const LINK_LIFE: Duration = Duration::from_hours(48);

pub const ANN: PersonId = PersonId(1_001);
pub const BEN: PersonId = PersonId(1_002);
pub const CARL: PersonId = PersonId(1_003);
/// The administrator.
pub const ADA: PersonId = PersonId(1_004);
/// Lives in another organisation.
pub const OTTO: PersonId = PersonId(1_006);

const PEOPLE: [(PersonId, &str, OrgId); 5] = [
    (ANN, "Ann", OrgId(1)),
    (BEN, "Ben", OrgId(1)),
    (CARL, "Carl", OrgId(1)),
    (ADA, "Ada", OrgId(1)),
    (OTTO, "Otto", OrgId(2)),
];

/// The links that were sent.
#[derive(Default)]
pub struct Sent(Mutex<Vec<String>>);

impl Sent {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl GuestNotices for Sent {
    fn rows<'a>(&'a self, notice: GuestNotice<'a>) -> BoxFuture<'a, Result<Vec<Stmt>>> {
        self.0.lock().unwrap().push(notice.link.to_owned());
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// The wired parts. Dropping it is a crash: nothing is told to stop.
pub struct World {
    pub db: Db,
    pub clock: Clock,
    pub sent: Arc<Sent>,
    pub messages: Messages,
    pub workboxes: Workboxes,
    pub conversations: Conversations,
    pub tokens: Tokens,
}

impl World {
    /// The people above.
    pub async fn new(db: &Db) -> Self {
        seed(db).await;
        Self::start(db).await
    }

    /// The server over what the database holds.
    pub async fn start(db: &Db) -> Self {
        Self::at(db, Clock::system()).await
    }

    /// With a clock of the test's.
    pub async fn at(db: &Db, clock: Clock) -> Self {
        let random = Random::from_os();
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let journal = journal_over(db, &random, &tasks).await;
        let ground = Ground {
            arbiters: arbiters(),
            clock: clock.clone(),
            random: random.clone(),
            journal: journal.clone(),
            tasks: tasks.clone(),
            metrics: LiveMetrics::default(),
        };
        let options = RegistryOptions { mailbox: 1_000, idle: Duration::from_secs(60) };
        let loader = ConversationLoader::new(db.clone()).with_blocks_of(i64::try_from(BLOCK).unwrap());
        let conversations = Conversations::new(loader, options, ground.clone());
        let loader = SessionLoader::new(db.clone(), clock.clone(), Timing::default());
        let sessions = Sessions::new(loader, options, ground);
        let ids = Ids::open(db.clone(), tasks).await.unwrap();
        let sealer = Sealer::new(&[7; 32]);
        let keys = SigningKeys::open(db.clone(), ids.clone(), clock.clone(), random.clone(), sealer.clone());
        let auth = Config::with("").unwrap().auth;
        let tokens = Tokens::new(db.clone(), clock.clone(), random.clone(), auth, keys.await.unwrap());
        let tools = Tools {
            db: db.clone(),
            ids,
            clock: clock.clone(),
            random,
            journal,
            conversations: conversations.clone(),
            sessions,
            keep_outcomes: DAY,
        };
        let messages = Messages::new(tools.clone(), Unread::default());
        let sent = Arc::new(Sent::default());
        let options = WorkboxOptions { public_url: "https://help.test".to_owned(), link_life: LINK_LIFE };
        let notices = Arc::clone(&sent);
        let workboxes = Workboxes::new(tools, messages.clone(), tokens.clone(), sealer, notices, options);
        Self { db: db.clone(), clock, sent, messages, workboxes, conversations, tokens }
    }

    /// A caller with a user token.
    pub async fn user(&self, person: PersonId) -> Caller {
        let row = people::by_id(&self.db, person).await.unwrap().unwrap();
        let login = Login::of(&row, None, Origin::Admin, None);
        let token = self.tokens.mint_user(&login, self.clock.now().plus(DAY)).unwrap();
        self.tokens.verify(&token, &[TokenKind::User]).await.unwrap()
    }

    /// The caller of a workbox token.
    pub async fn in_workbox(&self, view: &WorkboxView) -> Caller {
        self.tokens.verify(view.token.as_deref().unwrap(), &[TokenKind::Workbox]).await.unwrap()
    }

    /// A thread of Ann with these people.
    pub async fn thread(&self, others: &[PersonId]) -> ConversationId {
        let new = NewWorkbox {
            title: "The pump leaks".to_owned(),
            participants: others.to_vec(),
            ..NewWorkbox::default()
        };
        self.workboxes.create(&self.user(ANN).await, new, &Once::none()).await.unwrap().id
    }

    /// A guest of the thread who has opened the link.
    pub async fn guest(&self, thread: ConversationId, name: &str) -> Caller {
        let ann = self.user(ANN).await;
        let invitation = Invitation { name: name.to_owned(), ..Invitation::default() };
        let invited = self.workboxes.invite_silently(&ann, thread, invitation, &Once::none()).await.unwrap();
        self.enter(&invited.link).await
    }

    /// The guest of a link, signed in.
    pub async fn enter(&self, link: &str) -> Caller {
        let opened = self.workboxes.open_link(link).await.unwrap();
        let row = people::by_id(&self.db, opened.person_id).await.unwrap().unwrap();
        let login = Login::of(&row, None, Origin::Link, Some(opened.conversation_id));
        let token = self.tokens.mint_user(&login, opened.expires_at).unwrap();
        self.tokens.verify(&token, &[TokenKind::User]).await.unwrap()
    }

    pub async fn send(&self, caller: &Caller, thread: ConversationId, text: &str) -> MessageView {
        self.messages.send(caller, thread, draft(text), &Once::none()).await.unwrap()
    }

    pub async fn whisper(&self, caller: &Caller, thread: ConversationId, text: &str) -> MessageView {
        let draft = Draft { internal: true, ..draft(text) };
        self.messages.send(caller, thread, draft, &Once::none()).await.unwrap()
    }

    pub async fn read(&self, caller: &Caller, thread: ConversationId, message: MessageId) {
        self.messages.mark(caller, thread, message, true, &Once::none()).await.unwrap();
    }

    pub async fn view(&self, caller: &Caller, thread: ConversationId) -> WorkboxView {
        self.workboxes.get(caller, thread).await.unwrap()
    }

    /// Numbers of the threads that a list shows.
    pub async fn listed(&self, caller: &Caller, request: ListRequest) -> Vec<ConversationId> {
        let request = ListRequest { limit: request.limit.max(20), ..request };
        let page = self.workboxes.list(caller, &request).await.unwrap();
        page.entries.iter().map(|entry| entry.id).collect()
    }

    /// Type and data of all events of a stream; checks that offsets have no gap.
    pub async fn events(&self, channel: &str) -> Vec<(String, Value)> {
        let row: Option<(StreamId,)> =
            sql("select id from stream where name = $1").bind(channel).optional(&self.db).await.unwrap();
        let events = journal::read_after(&self.db, row.unwrap().0, Offset(0), 10_000).await.unwrap();
        for (position, event) in (1..).zip(&events) {
            assert_eq!(event.offset, Offset(position));
        }
        let body = |text: &str| serde_json::from_str::<Value>(text).unwrap()["data"].clone();
        events.into_iter().map(|event| (event.kind, body(&event.body))).collect()
    }

    /// What everybody in the thread is told.
    pub async fn told(&self, thread: ConversationId) -> Vec<(String, Value)> {
        self.events(&workbox_channel(thread)).await
    }

    /// What guests are not told.
    pub async fn told_inside(&self, thread: ConversationId) -> Vec<(String, Value)> {
        self.events(&internal_channel(thread)).await
    }

    pub async fn inbox(&self, person: PersonId) -> Vec<String> {
        self.events(&user_channel(person)).await.into_iter().map(|(kind, _)| kind).collect()
    }
}

pub fn draft(text: &str) -> Draft {
    Draft {
        uuid: None,
        kind: "Text".to_owned(),
        metadata: json!({ "message": text }),
        version: 2,
        internal: false,
        sent_at: None,
        username: None,
    }
}

/// The first use of an `Idempotency-Key`.
pub fn once(caller: &Caller, operation: &'static str, key: &str) -> Once {
    Once::first(Scope::new(caller.organization, caller.label(), operation, key).unwrap(), [1; 32])
}

/// A repeated use, with what the first one left in the database.
pub async fn again(db: &Db, caller: &Caller, operation: &'static str, key: &str) -> Once {
    let scope = Scope::new(caller.organization, caller.label(), operation, key).unwrap();
    let (hash, outcome): (Vec<u8>, String) =
        sql("select request_hash, outcome from idempotency where idempotency_key = $1")
            .bind(key)
            .one(db)
            .await
            .unwrap();
    Once::again(scope, hash.try_into().unwrap(), outcome)
}

pub fn code<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => error.code(),
    }
}

async fn journal_over(db: &Db, random: &Random, tasks: &Tasks) -> Journal {
    Journal::start(
        db.clone(),
        NodeEpoch::claim(db).await.unwrap(),
        JournalOptions { queue: 1_000, batch: 100 },
        random.clone(),
        Vec::new(),
        JournalMetrics::register(&mut Registry::default()),
        tasks,
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

async fn seed(db: &Db) {
    let (now, random) = (Clock::system().now(), Random::from_os());
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let journal = journal_over(db, &random, &tasks).await;
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
            stream: StreamId(1_000_900 + number),
            created_at: now,
        };
        append = append.with(organizations::insert(&new));
        append.streams.push(stream(1_000_900 + number, id, StreamKind::Org, format!("org:{id}")));
    }
    for (id, name, organization) in PEOPLE {
        let new = people::NewPerson {
            id,
            uuid: Uuid::from_u128(id.0.unsigned_abs().into()),
            organization,
            login: id,
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
            stream: StreamId(1_000_000 + id.0),
            created_at: now,
        };
        append = append.with(people::insert(&new));
        append.streams.push(stream(1_000_000 + id.0, organization, StreamKind::User, user_channel(id)));
    }
    journal.append(append).await.unwrap();
}
