//! Notices on their way: a real SMTP server, an HTTP provider, outages, retries, links that stand nowhere in the open.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use switchboard::{
    base::{clock::Clock, random::Random, seal::Sealer, secret::Secret},
    delivery::{Carrier, Courier, Refusal, email::Smtp, sms::SmsProvider},
    domain::ids::{NoticeId, OrgId},
    service::notices::{LINK, Notices, Outgoing},
    store::{
        ids::Ids,
        notices::{self, NewNotice, NoticeRow},
        sql,
    },
};
use uuid::Uuid;

use crate::harness::{
    db::{START, TestDb, on_both},
    smtp::SmtpSink,
};

const LINK_TARGET: &str = "https://help.example.org/guest/1?sig=secret&action=a";

struct World {
    db: TestDb,
    clock: Clock,
    random: Random,
    sealer: Sealer,
    notices: Notices,
}

impl World {
    async fn new(db: TestDb) -> Self {
        let (clock, random, sealer) = (Clock::manual(START), Random::seeded(3), Sealer::new(&[5; 32]));
        let ids = Ids::open(db.db.clone(), db.tasks()).await.unwrap();
        let notices = Notices::new(db.db.clone(), ids, clock.clone(), random.clone(), sealer.clone());
        sql("insert into organization (id, uuid, name, description, active, auto_accept, domains, time_zone, settings, \
            stream_id, created_at, updated_at) values (1, $1, 'Pümpe & Co', '', true, false, '[]', 'UTC', '{}', 1, 0, 0)")
        .bind(Uuid::nil())
        .execute(&db.db)
        .await
        .unwrap();
        Self { db, clock, random, sealer, notices }
    }

    /// Writes a notice as a use case does: a place for the link, the link sealed.
    async fn write(&self, id: i64, channel: &'static str, recipient: &str) {
        notices::insert(NewNotice {
            id: NoticeId(id),
            organization: OrgId(1),
            kind: "guest_link",
            channel,
            recipient,
            subject: "Ann lädt Sie ein",
            body_text: &format!("Hello,\n\ncome in: {LINK}\n"),
            body_html: &format!("<p>come in: <a href=\"{LINK}\">here</a></p>"),
            sealed_link: Some(self.sealer.seal("notice.sealed_link", LINK_TARGET.as_bytes(), &self.random)),
            now: self.clock.now(),
        })
        .execute(&self.db.db)
        .await
        .unwrap();
    }

    fn courier(&self, carrier: impl Carrier, attempts: u32) -> Courier {
        Courier::new(
            self.db.db.clone(),
            self.notices.clone(),
            self.clock.clone(),
            self.random.clone(),
            attempts,
            Arc::new(carrier),
        )
    }

    async fn row(&self, id: i64) -> NoticeRow {
        let rows = notices::list(&self.db, Some(OrgId(1)), 100).await.unwrap();
        rows.into_iter().find(|row| row.id == NoticeId(id)).unwrap()
    }
}

/// Refuses for now until it is told otherwise.
#[derive(Clone, Default)]
struct Moody(Arc<Mutex<(bool, u32)>>);

impl Carrier for Moody {
    fn channel(&self) -> &'static str {
        "email"
    }
    fn carry<'a>(&'a self, _: &'a str, _: &'a Outgoing) -> BoxFuture<'a, Result<(), Refusal>> {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let outcome = if state.0 { Ok(()) } else { Err(Refusal::ForNow("away".to_owned())) };
        Box::pin(std::future::ready(outcome))
    }
}

on_both! {
    async fn an_e_mail_arrives_whole_and_once(db: TestDb) {
        let Some(sink) = SmtpSink::start() else { return };
        let world = World::new(db).await;
        world.write(1, "email", "gil@example.org").await;
        assert!(!world.row(1).await.body_text.contains("secret"), "the link stands in the open");
        assert!(world.notices.newest(None, 10).await.unwrap()[0].text.contains(LINK_TARGET));

        let smtp = Smtp::new(&Secret::new(sink.url()), "Switchboard <no-reply@switchboard.example>").unwrap();
        let courier = world.courier(smtp, 3);
        assert_eq!(courier.deliver_due().await.unwrap(), 1);
        let message = sink.next();
        assert_eq!(message["to"][0], "gil@example.org");
        let header = |name: &str| message["headers"][name].as_str().unwrap().to_owned();
        assert_eq!(header("subject"), "Ann lädt Sie ein");
        assert!(header("from").contains("Pümpe & Co") && header("from").contains("no-reply@switchboard.example"));
        assert_eq!(header("message-id"), "<notice-1-1@switchboard.example>");
        assert_eq!(header("auto-submitted"), "auto-generated");
        assert!(message["parts"]["text/plain"].as_str().unwrap().contains(LINK_TARGET));
        assert!(message["parts"]["text/html"].as_str().unwrap().contains("sig=secret&amp;action=a\">here"));
        let row = world.row(1).await;
        assert_eq!((row.state.as_str(), row.attempts, row.sealed_link, row.sent_at), ("sent", 1, None, Some(START)));
        assert_eq!(courier.deliver_due().await.unwrap(), 0);
        assert!(sink.is_empty());
    }

    async fn what_is_refused_for_now_is_tried_again_and_for_good_is_not(db: TestDb) {
        let Some(sink) = SmtpSink::start() else { return };
        let world = World::new(db).await;
        world.write(1, "email", "later@example.org").await;
        world.write(2, "email", "gone@example.org").await;
        world.write(3, "email", "no address").await;
        let smtp = Smtp::new(&Secret::new(sink.url()), "no-reply@switchboard.example").unwrap();
        let courier = world.courier(smtp, 3);
        assert_eq!(courier.deliver_due().await.unwrap(), 3);
        let states = [world.row(1).await.state, world.row(2).await.state, world.row(3).await.state];
        assert_eq!(states, ["pending", "failed", "failed"]);
        assert!(world.row(1).await.last_error.unwrap().contains("greylisted"));
        assert_eq!(courier.deliver_due().await.unwrap(), 0, "before its time");
        world.clock.advance(Duration::from_secs(10));
        assert_eq!(courier.deliver_due().await.unwrap(), 1);
        assert_eq!(sink.next()["to"][0], "later@example.org");
        assert_eq!(world.row(1).await.state, "sent");
        assert_eq!(world.row(1).await.last_error, None);
    }

    async fn attempts_come_to_an_end(db: TestDb) {
        let world = World::new(db).await;
        world.write(1, "email", "gil@example.org").await;
        let moody = Moody::default();
        let courier = world.courier(moody.clone(), 4);
        let mut pauses = Vec::new();
        while world.row(1).await.state == "pending" {
            let before = world.clock.now();
            world.clock.advance(world.row(1).await.next_attempt_at.since(before));
            courier.deliver_due().await.unwrap();
            pauses.push(world.row(1).await.next_attempt_at.since(world.clock.now()).as_secs());
        }
        assert_eq!(moody.0.lock().unwrap().1, 4);
        assert!(pauses[0] >= 5 && pauses[1] >= 20 && pauses[2] >= 80 && pauses[2] < 100, "{pauses:?}");
        assert_eq!((world.row(1).await.state.as_str(), world.row(1).await.attempts), ("failed", 4));
    }

    async fn the_worker_runs_until_the_server_stops(db: TestDb) {
        let world = World::new(db).await;
        let moody = Moody::default();
        moody.0.lock().unwrap().0 = true;
        let (courier, tasks) = (world.courier(moody, 3), world.db.tasks());
        let working = tokio::spawn(courier.run(tasks.clone()));
        for id in 1..=60 {
            world.write(id, "email", "gil@example.org").await;
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while notices::next_due(&world.db, "email").await.unwrap().is_some() {
            assert!(tokio::time::Instant::now() < deadline, "not all were sent");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tasks.stop(Duration::from_secs(1)).await;
        working.await.unwrap();
    }

    async fn a_text_message_goes_to_the_provider(db: TestDb) {
        let world = World::new(db).await;
        let (url, asked) = provider(&["503 Service Unavailable", "302 Found", "200 OK", "422 Unprocessable"]);
        world.write(1, "sms", "+4930123456").await;
        let courier = world.courier(SmsProvider::new(&url, &Secret::new("hush")).unwrap(), 5);
        for _ in 0..3 {
            courier.deliver_due().await.unwrap();
            world.clock.advance(Duration::from_mins(10));
        }
        assert_eq!((world.row(1).await.state.as_str(), world.row(1).await.attempts), ("sent", 3));
        world.write(2, "sms", "+4930123457").await;
        courier.deliver_due().await.unwrap();
        assert_eq!(world.row(2).await.state, "failed");
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 4, "a redirect was followed");
        let request = asked[2].to_lowercase();
        assert!(request.starts_with("post /sms?key=1 http/1.1"));
        assert!(request.contains("authorization: bearer hush") && request.contains("idempotency-key: notice-1-1"));
        assert!(request.contains("\"to\":\"+4930123456\"") && request.contains("sig=secret"));
        assert!(!world.row(2).await.last_error.unwrap().contains("key=1"));
    }
}

/// An HTTP server that answers with these statuses, one after the other, and remembers what it was asked.
fn provider(statuses: &[&str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/sms?key=1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (statuses, remembered): (Vec<String>, _) =
        (statuses.iter().map(|&status| status.to_owned()).collect(), Arc::clone(&asked));
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("\"}") {
                let read = stream.read(&mut buffer).unwrap();
                assert_ne!(read, 0, "the request ended early");
                request.extend_from_slice(&buffer[..read]);
            }
            remembered.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            write!(
                stream,
                "HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
        }
    });
    (url, asked)
}
