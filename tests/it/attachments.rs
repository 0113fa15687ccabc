//! Attachments of calls and threads: rights, rows, files, events, signed addresses, and nothing left behind.

use std::{io, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use prometheus_client::registry::Registry;
use serde_json::Value;
use switchboard::{
    base::{
        clock::{Clock, Timestamp},
        master_key::MasterKey,
        random::Random,
        tasks::Tasks,
    },
    config::{self, Config},
    domain::{
        caller::{Caller, PersonKind, TokenKind},
        codes::Code,
        error::{Error, Result},
        event::StreamKind,
        ids::{AttachmentId, CallId, ConversationId, Offset, OrgId, PersonId, StreamId},
        once::{Once, Scope},
        permission::Permissions,
    },
    files::Files,
    journal::{self, Append, Journal, JournalMetrics, JournalOptions, NewStream, NodeEpoch},
    service::attachments::{AttachmentView, Attachments, CallMoment, Ground, NewAttachment, Place},
    store::{Db, ids::Ids, sql},
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::db::{START, TestDb, on_both};

const THREAD: ConversationId = ConversationId(40);
const SHOWN: StreamId = StreamId(1);
const INTERNAL: StreamId = StreamId(2);
const SESSION: StreamId = StreamId(3);

struct World {
    db: TestDb,
    service: Attachments,
    clock: Clock,
    folder: TempDir,
}

impl World {
    /// Ann and Bob and the guest Gil in a thread and a session with a call; Eve in neither; Otto elsewhere.
    async fn new(db: TestDb) -> Self {
        let (clock, folder) = (Clock::manual(START), tempfile::tempdir().unwrap());
        let (service, journal) = attachments_over(&db, &clock, &folder).await;
        let stream = |id, kind, channel: &str| NewStream {
            id,
            organization: OrgId(1),
            kind,
            channel: channel.to_owned(),
        };
        let streams = vec![
            stream(SHOWN, StreamKind::Workbox, "workbox:40"),
            stream(INTERNAL, StreamKind::Internal, "internal:40"),
            stream(SESSION, StreamKind::Session, "session:0"),
        ];
        journal.append(Append { streams, ..Append::default() }).await.unwrap();
        seed(&db).await;
        Self { db, service, clock, folder }
    }

    async fn events(&self, stream: StreamId) -> Vec<Value> {
        let events = journal::read_after(&self.db, stream, Offset(0), 100).await.unwrap();
        events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect()
    }

    fn files(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(self.folder.path())
    }

    async fn files_become(&self, number: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.files() != number {
            assert!(tokio::time::Instant::now() < deadline, "{} files", self.files());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn to_thread(&self, caller: &Caller, internal: bool, content: Vec<u8>) -> Result<AttachmentView> {
        self.to_thread_once(caller, &Once::none(), internal, bytes(content)).await
    }

    async fn to_thread_once(
        &self,
        caller: &Caller,
        once: &Once,
        internal: bool,
        content: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<AttachmentView> {
        let received = self.service.receive(caller, &Place::Thread(THREAD), content).await?;
        let new = NewAttachment { name: "notes.txt".to_owned(), mime_type: "text/plain".to_owned() };
        self.service.create_for_thread(caller, once, THREAD, (new, internal), received).await
    }

    async fn to_call(
        &self,
        caller: &Caller,
        name: &str,
        mime: &str,
        content: Vec<u8>,
    ) -> Result<AttachmentView> {
        let received = self.service.receive(caller, &Place::Call(call()), bytes(content)).await?;
        let new = NewAttachment { name: name.to_owned(), mime_type: mime.to_owned() };
        let moment = CallMoment { kind: "incall".to_owned(), at: START };
        self.service.create_for_call(caller, &Once::none(), &call(), (new, moment), received).await
    }

    /// What the address gives.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>> {
        let token = url.strip_prefix("http://files.test/files/").unwrap();
        let found = self.service.resolve(token).await?;
        let store = &self.service.files().store;
        let pieces: Vec<io::Result<Bytes>> = store.get(&found.path, None).await?.collect().await;
        Ok(pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect())
    }
}

/// What attachments stand on, over `db`, with files of at most a million bytes in `folder`.
async fn attachments_over(db: &Db, clock: &Clock, folder: &TempDir) -> (Attachments, Journal) {
    let (random, tasks) = (Random::seeded(7), Tasks::new(tokio::runtime::Handle::current()));
    let journal = Journal::start(
        db.clone(),
        NodeEpoch::claim(db).await.unwrap(),
        JournalOptions { queue: 100, batch: 10 },
        random.clone(),
        Vec::new(),
        JournalMetrics::register(&mut Registry::default()),
        &tasks,
    );
    let config = config::Files {
        url: format!("file://{}", folder.path().display()),
        max_bytes: 1_000_000,
        // However busy the machine is.
        thumbnail_seconds: Duration::from_mins(1),
        ..Config::with("").unwrap().files
    };
    let master = MasterKey::parse(&STANDARD.encode([7; 32])).unwrap();
    let files = Files::open(&config, &master, "http://files.test", tasks.runtime()).unwrap();
    let ground = Ground {
        db: db.clone(),
        journal: journal.clone(),
        ids: Ids::open(db.clone(), tasks).await.unwrap(),
        clock: clock.clone(),
        random,
        keep_outcomes: Duration::from_hours(24),
    };
    (Attachments::new(ground, files), journal)
}

fn call() -> CallId {
    CallId("call_1".to_owned())
}

fn bytes(content: Vec<u8>) -> impl Stream<Item = Result<Bytes>> + Send {
    let pieces: Vec<Result<Bytes>> =
        content.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

fn caller(id: i64, organization: i64, kind: PersonKind) -> Caller {
    Caller {
        kind: TokenKind::User,
        organization: OrgId(organization),
        person: Some(PersonId(id)),
        login: Some(PersonId(id)),
        person_kind: kind,
        person_uuid: Some(Uuid::from_u128(id.unsigned_abs().into())),
        name: format!("Person {id}"),
        acting: None,
        permissions: if kind == PersonKind::Member { Permissions::MEMBER } else { Permissions::GUEST },
        session: None,
        workbox: None,
        family: None,
        expires_at: Timestamp(i64::MAX),
    }
}

fn ann() -> Caller {
    caller(10, 1, PersonKind::Member)
}
fn bob() -> Caller {
    caller(11, 1, PersonKind::Member)
}
fn gil() -> Caller {
    caller(12, 1, PersonKind::Guest)
}
fn eve() -> Caller {
    caller(13, 1, PersonKind::Member)
}
fn otto() -> Caller {
    Caller { permissions: Permissions::ADMINISTRATOR, ..caller(14, 2, PersonKind::Member) }
}
fn admin() -> Caller {
    Caller { permissions: Permissions::ADMINISTRATOR, ..eve() }
}

async fn seed(db: &TestDb) {
    for (id, organization, kind) in
        [(10, 1, "member"), (11, 1, "member"), (12, 1, "guest"), (13, 1, "member"), (14, 2, "member")]
    {
        sql("insert into person (id, uuid, organization_id, login_id, kind, name, name_key, license, role, status, \
            on_call, active, first_login, token_version, stream_id, created_at, updated_at) \
            values ($1, $2, $3, $1, $4, $5, $5, 'expert', 'User', 100, false, true, false, 1, 0, 0, 0)")
        .bind(PersonId(id))
        .bind(Uuid::from_u128(id.unsigned_abs().into()))
        .bind(OrgId(organization))
        .bind(kind)
        .bind(format!("person {id}"))
        .execute(&db.db)
        .await
        .unwrap();
    }
    sql("insert into conversation (id, uuid, organization_id, kind, stream_id, internal_stream_id, title, description, \
        status, created_by, auto_created, reported_at, last_message_id, last_active_at, internal_message_id, \
        internal_active_at, version, created_at, updated_at) \
        values ($1, $2, 1, 'workbox', 1, 2, '', '', 'REPORTED', 10, false, 0, 0, 0, 0, 0, 1, 0, 0)")
    .bind(THREAD)
    .bind(Uuid::from_u128(40))
    .execute(&db.db)
    .await
    .unwrap();
    sql("insert into session (id, organization_id, stream_id, conversation_id, kind, pin, created_by, \
        created_at, updated_at) values ($1, 1, 3, 40, 'direct', '', 10, 0, 0)")
    .bind(Uuid::from_u128(50))
    .execute(&db.db)
    .await
    .unwrap();
    sql("insert into call (id, session_id, organization_id, conversation_id, dialer_id, owner_id, started_at, updated_at) \
        values ($1, $2, 1, 40, 10, 10, 0, 0)")
    .bind(call())
    .bind(Uuid::from_u128(50))
    .execute(&db.db)
    .await
    .unwrap();
    for (id, guest) in [(10, false), (11, false), (12, true)] {
        sql("insert into participant (id, conversation_id, person_id, guest, creator, important, has_participated, \
            joined_at, received_id, read_id, announced_received_id, announced_read_id) \
            values ($1, 40, $1, $2, false, false, false, 0, 0, 0, 0, 0)")
        .bind(PersonId(id))
        .bind(guest)
        .execute(&db.db)
        .await
        .unwrap();
        sql("insert into session_member (session_id, person_id, organizer, added_at) values ($1, $2, false, 0)")
            .bind(Uuid::from_u128(50))
            .bind(PersonId(id))
            .execute(&db.db)
            .await
            .unwrap();
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut file = io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.unwrap_err().code()
}

on_both! {
    async fn an_image_of_a_call_is_stored_told_and_served(db: TestDb) {
        let world = World::new(db).await;
        let content = png(800, 400);
        let made = world.to_call(&ann(), "../IMG 1.png", "image/png", content.clone()).await.unwrap();
        assert_eq!((made.name.as_str(), made.size, made.kind.as_str()), ("IMG 1.png", content.len() as i64, "incall"));
        assert_eq!(world.fetch(made.signed_url.as_deref().unwrap()).await.unwrap(), content);
        let small = world.fetch(made.thumbnail.as_deref().unwrap()).await.unwrap();
        assert_eq!(image::load_from_memory(&small).unwrap().width(), 320);
        for stream in [SESSION, SHOWN] {
            let events = world.events(stream).await;
            assert_eq!(events.len(), 1);
            assert_eq!((&events[0]["type"], &events[0]["actor"]["id"]), (&"attachment.created".into(), &10.into()));
            assert_eq!(events[0]["data"]["sha256"], made.sha256);
            assert!(events[0]["data"].get("signed_url").is_none() && events[0]["data"].get("thumbnail").is_none());
        }
        assert!(world.events(INTERNAL).await.is_empty());
        assert_eq!(world.service.list_of_call(&bob(), &call()).await.unwrap()[0].id, made.id);
    }

    async fn only_those_in_a_call_reach_its_attachments(db: TestDb) {
        let world = World::new(db).await;
        let made = world.to_call(&ann(), "a.txt", "text/plain", b"a".to_vec()).await.unwrap();
        for stranger in [eve(), otto(), gil()] {
            assert_eq!(code(world.to_call(&stranger, "a.txt", "text/plain", b"a".to_vec()).await), Code::NotFound);
            assert_eq!(code(world.service.list_of_call(&stranger, &call()).await), Code::NotFound);
            assert_eq!(code(world.service.get_of_call(&stranger, &call(), made.id).await), Code::NotFound);
            assert_eq!(code(world.service.delete_of_call(&stranger, &call(), made.id).await), Code::NotFound);
        }
        assert_eq!(code(world.service.delete_of_call(&bob(), &call(), made.id).await), Code::Authorization);
        assert_eq!(world.service.list_of_call(&admin(), &call()).await.unwrap().len(), 1);
        // A visitor who was in the call sees what was shared in it.
        sql("insert into call_participant (call_id, person_id, login_id, joined_at) values ($1, 12, 12, 0)")
            .bind(call())
            .execute(&world.db.db)
            .await
            .unwrap();
        assert_eq!(world.service.list_of_call(&gil(), &call()).await.unwrap().len(), 1);
        assert_eq!(world.files(), 1);
    }

    async fn what_is_internal_never_reaches_a_guest(db: TestDb) {
        let world = World::new(db).await;
        let hidden = world.to_thread(&ann(), true, b"hush".to_vec()).await.unwrap();
        let shown = world.to_thread(&gil(), false, b"hello".to_vec()).await.unwrap();
        assert_eq!(code(world.to_thread(&gil(), true, b"x".to_vec()).await), Code::Authorization);
        let list = async |who: Caller| -> Vec<AttachmentId> {
            let (list, _) = world.service.list_of_thread(&who, THREAD, AttachmentId(0), -1).await.unwrap();
            list.iter().map(|view| view.id).collect()
        };
        assert_eq!(list(bob()).await, [hidden.id, shown.id]);
        assert_eq!(list(admin()).await, [hidden.id, shown.id]);
        assert_eq!(list(gil()).await, [shown.id]);
        let (first, next) = world.service.list_of_thread(&bob(), THREAD, AttachmentId(0), 1).await.unwrap();
        assert_eq!((first[0].id, next), (hidden.id, Some(hidden.id)));
        assert_eq!(code(world.service.get_of_thread(&gil(), THREAD, hidden.id).await), Code::NotFound);
        assert_eq!(code(world.service.delete_of_thread(&gil(), THREAD, hidden.id).await), Code::NotFound);
        for stranger in [eve(), otto()] {
            let get = world.service.get_of_thread(&stranger, THREAD, shown.id).await;
            assert_eq!(code(get), Code::NotFound);
        }
        assert_eq!(world.events(SHOWN).await.len(), 1);
        assert_eq!(world.events(INTERNAL).await.len(), 1);
        assert_eq!(world.events(SHOWN).await[0]["actor"]["kind"], "guest");
    }

    async fn deleting_removes_the_file_and_kills_addresses(db: TestDb) {
        let world = World::new(db).await;
        let made = world.to_call(&ann(), "a.png", "image/png", png(400, 400)).await.unwrap();
        assert_eq!(world.files(), 2);
        let url = made.signed_url.unwrap();
        world.service.delete_of_call(&ann(), &call(), made.id).await.unwrap();
        world.service.delete_of_call(&ann(), &call(), made.id).await.unwrap();
        assert_eq!(code(world.fetch(&url).await), Code::NotFound);
        assert_eq!(code(world.fetch(&made.thumbnail.unwrap()).await), Code::NotFound);
        assert_eq!(world.files(), 0);
        let left = world.service.get_of_call(&ann(), &call(), made.id).await.unwrap();
        assert!(left.deleted && left.status == "deleted");
        assert_eq!((left.signed_url.as_deref(), left.thumbnail.as_deref(), left.path.as_deref()), (Some(""), Some(""), Some("")));
        let types: Vec<Value> = world.events(SESSION).await.iter().map(|event| event["type"].clone()).collect();
        assert_eq!(types, ["attachment.created", "attachment.deleted"]);
    }

    async fn files_of_a_deletion_that_crashed_go_at_the_next_start(db: TestDb) {
        let world = World::new(db).await;
        let made = world.to_thread(&ann(), false, b"a".to_vec()).await.unwrap();
        sql("update attachment set status = 'deleted', deleted_at = 1 where id = $1")
            .bind(made.id)
            .execute(&world.db.db)
            .await
            .unwrap();
        assert_eq!(world.files(), 1);
        world.service.sweep().await.unwrap();
        assert_eq!(world.files(), 0);
    }

    async fn what_is_refused_leaves_nothing(db: TestDb) {
        let world = World::new(db).await;
        let wrong: &[(&str, &str, Vec<u8>, Code)] = &[
            ("a.png", "image/png", b"<svg onload=alert(1)>".to_vec(), Code::ParametersInvalid),
            ("a.exe", "application/x-msdownload", b"MZ".to_vec(), Code::ParametersInvalid),
            ("a.txt", "text", b"a".to_vec(), Code::ParametersInvalid),
            ("/", "text/plain", b"a".to_vec(), Code::ParametersInvalid),
            ("a.txt", "text/plain", Vec::new(), Code::ParametersInvalid),
            ("a.txt", "text/plain", vec![0; 1_000_001], Code::TooLarge),
        ];
        for (name, mime, content, expected) in wrong {
            assert_eq!(code(world.to_call(&ann(), name, mime, content.clone()).await), *expected, "{name} {mime}");
        }
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(Error::new(Code::Timeout, "body: too slow"))]);
        let outcome = world.to_thread_once(&ann(), &Once::none(), false, broken).await;
        assert_eq!(code(outcome), Code::Timeout);
        world.files_become(0).await;
        assert!(world.service.list_of_call(&ann(), &call()).await.unwrap().is_empty());
        assert!(world.events(SESSION).await.is_empty());
    }

    async fn an_image_that_cannot_be_decoded_has_no_thumbnail(db: TestDb) {
        let world = World::new(db).await;
        let mut cut = png(100, 100);
        cut.truncate(60);
        let made = world.to_call(&ann(), "a.png", "image/png", cut).await.unwrap();
        assert_eq!(made.thumbnail.as_deref(), Some(""));
        assert!(made.signed_url.is_some_and(|url| !url.is_empty()));
    }

    async fn sending_twice_is_storing_once(db: TestDb) {
        let world = World::new(db).await;
        let scope = || Scope::new(OrgId(1), "10".to_owned(), "upload", "key-1").unwrap();
        let first = Once::first(scope(), [1; 32]);
        let made = world.to_thread_once(&ann(), &first, false, bytes(vec![1])).await;
        assert!(first.is_settled());
        let made = made.unwrap();
        let (outcome,): (String,) = sql("select outcome from idempotency").one(&world.db.db).await.unwrap();
        let again = Once::again(scope(), [1; 32], outcome);
        let replayed = world.to_thread_once(&ann(), &again, false, bytes(vec![1])).await;
        assert_eq!(replayed.unwrap().id, made.id);
        world.files_become(1).await;
    }

    async fn addresses_end_after_their_time(db: TestDb) {
        let world = World::new(db).await;
        let made = world.to_thread(&ann(), false, b"a".to_vec()).await.unwrap();
        world.clock.advance(Duration::from_secs(899));
        assert!(world.fetch(made.signed_url.as_deref().unwrap()).await.is_ok());
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(code(world.fetch(made.signed_url.as_deref().unwrap()).await), Code::LinkExpired);
        assert_eq!(code(world.service.resolve("nonsense").await), Code::NotFound);
    }
}
