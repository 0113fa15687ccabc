//! Reads the truth back: whole histories over the socket, messages and counts by REST.

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    compare::Shown,
    fold::{Fold, text_of},
};
use crate::{
    client::{
        rest::Rest,
        socket::{Client, Event, Listener},
        subscription::Subscription,
        wire::{Command, Format, Position},
    },
    failure::{Failure, Outcome},
    ledger::{stream::StreamLog, violation::Violation},
    people::{Login, Person},
    target::Target,
};

/// How long one waits for a connection.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a busy server is asked again.
const PATIENCE: Duration = Duration::from_secs(90);
/// Messages of one REST page.
const PAGE: usize = 100;

/// Nobody who only reads history is told anything.
struct Deaf;

impl Listener for Deaf {
    fn log(&self, channel: &str) -> Arc<StreamLog> {
        Arc::new(StreamLog::new(channel))
    }
    fn arrived(&self, _: &Client, _: &Event<'_>) {}
    fn heard(&self, _: &Client, _: &Event<'_>) {}
    fn wrong(&self, _: Violation) {}
    fn reached_target(&self, _: &Client) {}
    fn connected(&self, _: &Client, _: Duration, _: bool) {}
    fn subscribed(&self, _: &Client, _: Duration) {}
    fn interrupted(&self) {}
    fn failed(&self, _: &'static str, _: &Failure) {}
    fn now_us(&self) -> u64 {
        0
    }
    fn ended(&self, _: &Client, _: Vec<Subscription>) {}
}

/// Reads in the name of the people who took part.
pub struct Reader {
    rest: Rest,
    people: HashMap<i64, Arc<Person>>,
    /// The last one used: most of what one person may read comes in a row.
    socket: Option<(i64, Arc<Client>, JoinHandle<()>)>,
}

impl Reader {
    /// Reads in the name of these people.
    pub fn new(rest: &Rest, logins: &[Login]) -> Self {
        let people = logins.iter().map(|login| (login.id, Person::new(login.clone(), rest.clone())));
        Self { rest: rest.clone(), people: people.collect(), socket: None }
    }

    /// Somebody who took part.
    pub fn person(&self, id: i64) -> Outcome<&Arc<Person>> {
        self.people
            .get(&id)
            .ok_or_else(|| Failure::Unexpected(format!("the ledger has no log-in of person {id}")))
    }

    async fn socket(&mut self, id: i64) -> Outcome<Arc<Client>> {
        if let Some((known, client, _)) = &self.socket
            && *known == id
            && client.is_online()
        {
            return Ok(client.clone());
        }
        self.close().await;
        let endpoint = Arc::new(Target::Switchboard.endpoint(self.rest.base(), Format::Json, None));
        let (client, task) = Client::start(0, self.person(id)?.clone(), endpoint, Arc::new(Deaf));
        let began = tokio::time::Instant::now();
        while !client.is_online() {
            if began.elapsed() > CONNECT {
                return Err(Failure::TimedOut);
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.socket = Some((id, client.clone(), task));
        Ok(client)
    }

    /// Ends the connection.
    pub async fn close(&mut self) {
        if let Some((_, client, task)) = self.socket.take() {
            client.close();
            let _ = task.await;
        }
    }

    /// Reads the whole history of a channel as this person; a violation ends the reading.
    pub async fn fold(&mut self, channel: &str, person: i64) -> Outcome<Result<Fold, Box<Violation>>> {
        let mut fold = Fold::new(channel);
        loop {
            let since = Position { offset: fold.last, epoch: String::new() };
            let page = Command::History { channel: channel.to_owned(), since, limit: -1 };
            let body = patiently(async || self.socket(person).await?.ask(page.clone()).await).await?;
            for (offset, data) in &body.publications {
                if let Err(violation) = fold.event(*offset, data) {
                    return Ok(Err(violation));
                }
            }
            if body.publications.is_empty() || fold.last >= body.position.offset {
                return Ok(fold.head(body.position.offset));
            }
        }
    }

    /// A help thread as this person sees it.
    pub async fn workbox(&self, workbox: i64, person: i64) -> Outcome<Value> {
        let token = self.person(person)?.token().await?;
        let path = format!("/api/v1r1/workboxes/{workbox}");
        patiently(async || self.rest.get(&path, &token).await).await
    }

    /// All messages of the help thread that this token is for.
    pub async fn messages(&self, token: &str) -> Outcome<Vec<Shown>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1r1/workbox/messages?limit={PAGE}{after}");
            let page = patiently(async || self.rest.get(&path, token).await).await?;
            for entry in page["entries"].as_array().into_iter().flatten() {
                all.push(Shown {
                    id: entry["id"].as_i64().unwrap_or_default(),
                    uuid: entry["uuid"].as_str().unwrap_or_default().to_owned(),
                    person: entry["user"]["id"].as_i64().unwrap_or_default(),
                    text: text_of(&entry["metadata"]),
                    deleted: entry["deleted"].as_bool().unwrap_or_default(),
                });
            }
            match page["after"].as_str() {
                Some(next) if !next.is_empty() => after = format!("&after={}", escaped(next)),
                _ => return Ok(all),
            }
        }
    }
}

/// Asks again while the server is too busy to answer: reading twice changes nothing.
pub async fn patiently<T>(mut ask: impl AsyncFnMut() -> Outcome<T>) -> Outcome<T> {
    let began = tokio::time::Instant::now();
    loop {
        match ask().await {
            Err(failure) if failure.is_unknown() && began.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(300)).await;
            }
            outcome => return outcome,
        }
    }
}

/// A value in a query.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
