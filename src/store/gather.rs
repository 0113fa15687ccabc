//! Small reads that many ask for at once: what is asked while a read is under way is gathered, and read together by
//! the next statement.
//!
//! A statement on SQLite costs two trips between threads, and on PostgreSQL one over the network, however little it
//! reads. A thousand people who come back at the same moment ask the same few questions; with this they cost a few
//! statements instead of thousands, while somebody who asks alone waits for nobody but, on SQLite, the few who ask something else
//! of this kind: they share a connection, so that more is gathered meanwhile. A read begins after everybody whose
//! question it answers has asked.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{FromRow, Row as _, postgres::PgRow, sqlite::SqliteRow};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Bulk, Db, Result, Row, StoreError,
    calls::{PresentCall, RingRow},
    messages::Watermark,
    people::Face,
    stmt::Tuple,
    streams::StreamRow,
    tokens::PersonState,
};
use crate::domain::ids::{ConversationId, OrgId, PersonId};

/// Questions of one statement at most.
const TOGETHER: usize = 256;

/// One kind of question: `K` asks, any number of `R` is the answer.
///
/// Its [`Bulk`] selects `v.column1 as asked` and the columns of `R`, which is read by name: no tuple. `column1` numbers
/// the questions.
pub(super) struct Gather<K, R>(Mutex<State<K, R>>);

struct State<K, R> {
    waiting: Vec<(K, Answer<R>)>,
    /// A task reads.
    reading: bool,
}

type Answer<R> = oneshot::Sender<Result<Vec<R>>>;

/// The gathers of a database: what a connection asks when it comes back.
#[derive(Default)]
pub(super) struct Gathers {
    pub faces: Gather<PersonId, Face>,
    pub people: Gather<(PersonId, Option<Uuid>), PersonState>,
    pub places: Gather<(OrgId, ConversationId, PersonId), Watermark>,
    pub presence: Gather<PersonId, PresentCall>,
    pub rings: Gather<PersonId, RingRow>,
    pub streams: Gather<(OrgId, String), StreamRow>,
}

impl<K, R> Default for Gather<K, R> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: Vec::new(), reading: false }))
    }
}

/// A row of an answer with the number of its question.
struct Asked<R> {
    number: i64,
    row: R,
}

impl<'r, R: FromRow<'r, SqliteRow>> FromRow<'r, SqliteRow> for Asked<R> {
    fn from_row(row: &'r SqliteRow) -> sqlx::Result<Self> {
        Ok(Self { number: row.try_get("asked")?, row: R::from_row(row)? })
    }
}

impl<'r, R: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Asked<R> {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self { number: row.try_get("asked")?, row: R::from_row(row)? })
    }
}

/// What is asked: the statement, how a key's values follow the number of its question, and where its gather is.
pub(super) struct Question<K: 'static, R: 'static> {
    /// The statement.
    pub bulk: &'static Bulk,
    /// The values of a key.
    pub fill: fn(Tuple, &K) -> Tuple,
    /// Which of the database's gathers.
    pub gather: fn(&Gathers) -> &Gather<K, R>,
}

impl<K: 'static, R: 'static> Clone for Question<K, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: 'static, R: 'static> Copy for Question<K, R> {}

impl<K: Send + Sync + 'static, R: Row + Send + Unpin + 'static> Question<K, R> {
    /// All rows for `key`.
    pub(super) async fn ask(self, db: &Db, key: K) -> Result<Vec<R>> {
        let (sender, receiver) = oneshot::channel();
        let begins = {
            let mut state = (self.gather)(db.gathers()).lock();
            state.waiting.push((key, sender));
            !mem::replace(&mut state.reading, true)
        };
        if begins {
            let db = db.clone();
            db.runtime()
                .clone()
                .spawn(async move { self.read_all(Reading { db: &db, question: self }).await });
        }
        receiver.await.unwrap_or_else(|_| Err(StoreError::busy()))
    }

    async fn read_all(self, reading: Reading<'_, K, R>) {
        while reading.is_asked() {
            // The connection first: who asks while others have it is read together with those before.
            let reader = reading.db.gatherer().await;
            let (keys, answers) = reading.take();
            let numbered: Vec<(usize, K)> = keys.into_iter().enumerate().collect();
            let fill = |v: Tuple, (number, key): &(usize, K)| {
                (self.fill)(v.bind(i64::try_from(*number).unwrap_or(i64::MAX)), key)
            };
            let rows = match reader {
                Ok(mut reader) => self.bulk.read::<_, Asked<R>>(&mut reader, &numbered, fill).await,
                Err(error) => Err(error),
            };
            match rows {
                Ok(rows) => {
                    let mut found: HashMap<i64, Vec<R>> = HashMap::new();
                    for Asked { number, row } in rows {
                        found.entry(number).or_default().push(row);
                    }
                    for (number, answer) in (0..).zip(answers) {
                        // Whoever went away needs no answer.
                        let _ = answer.send(Ok(found.remove(&number).unwrap_or_default()));
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for answer in answers {
                        let _ = answer.send(Err(StoreError::shared(Arc::clone(&error))));
                    }
                }
            }
        }
    }
}

/// Held by the task that reads: however it ends, the next question can begin another.
struct Reading<'d, K: 'static, R: 'static> {
    db: &'d Db,
    question: Question<K, R>,
}

impl<K, R> Reading<'_, K, R> {
    /// Whether there are questions; where there are none the task ends, in the same moment in which the next one may begin.
    fn is_asked(&self) -> bool {
        let mut state = (self.question.gather)(self.db.gathers()).lock();
        state.reading = !state.waiting.is_empty();
        state.reading
    }

    /// The next questions.
    fn take(&self) -> (Vec<K>, Vec<Answer<R>>) {
        let mut state = (self.question.gather)(self.db.gathers()).lock();
        let count = state.waiting.len().min(TOGETHER);
        state.waiting.drain(..count).unzip()
    }
}

impl<K, R> Drop for Reading<'_, K, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = (self.question.gather)(self.db.gathers()).lock();
            // Those who wait are told by their dropped senders.
            *state = State { waiting: Vec::new(), reading: false };
        }
    }
}

impl<K, R> Gather<K, R> {
    fn lock(&self) -> MutexGuard<'_, State<K, R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
