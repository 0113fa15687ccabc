//! Integer ids out of memory: blocks are reserved in the table `sequence` before any of their numbers is used, so that
//! none is used twice, whatever is killed when. Numbers of a killed process are lost; a clean stop gives them back.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Db, Result, StoreError, sql, statements::statements};
use crate::{
    base::tasks::Tasks,
    domain::{
        self,
        codes::Code,
        error::Error,
        ids::{Id, MessageId, SEQUENCES},
    },
};

statements! {
    /// Continued by the rows, then by [`RESERVE_END`].
    RESERVE = "insert into sequence (name, next) values ($1, 1 + $2)";
    RELEASE = "update sequence set next = $3 where name = $1 and next = $2";
}

/// `excluded.next - 1` is the size of the block.
const RESERVE_END: &str =
    " on conflict (name) do update set next = sequence.next + excluded.next - 1 returning name, next";

/// Messages come by thousands per second; one block has to last while the next is fetched.
const MESSAGE_BLOCK: i64 = 10_000;
const BLOCK: i64 = 100;
/// A sequence that ran dry takes twice as many the next time, up to this.
const LARGEST_BLOCK: i64 = 20_000;

/// Hands out ids, each once. Cheap to clone.
#[derive(Clone)]
pub struct Ids(Arc<Inner>);

struct Inner {
    db: Db,
    tasks: Tasks,
    sequences: HashMap<&'static str, Mutex<Sequence>>,
}

/// Numbers `next..end`, with those reserved meanwhile in `spare`.
#[derive(Debug)]
struct Sequence {
    next: i64,
    end: i64,
    spare: Option<(i64, i64)>,
    block: i64,
    refilling: bool,
}

impl Sequence {
    fn take(&mut self, count: i64) -> Option<i64> {
        if self.end - self.next < count {
            // What is left of the old block goes unused when several are wanted in one piece.
            (self.next, self.end) = self.spare.take_if(|(next, end)| *end - *next >= count)?;
        }
        let first = self.next;
        self.next += count;
        Some(first)
    }

    fn needs_refill(&self) -> bool {
        !self.refilling && self.spare.is_none() && self.end - self.next <= self.block / 2
    }
}

/// Consecutive ids that were reserved together.
#[derive(Clone, Debug)]
pub struct IdRange<T> {
    next: i64,
    end: i64,
    kind: PhantomData<T>,
}

impl<T: Id> Iterator for IdRange<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let id = self.next;
        (id < self.end).then(|| {
            self.next += 1;
            T::from_number(id)
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.end - self.next).unwrap_or(0);
        (left, Some(left))
    }
}

impl<T: Id> ExactSizeIterator for IdRange<T> {}

impl Ids {
    /// Reserves a first block of every sequence, in one statement.
    pub async fn open(db: Db, tasks: Tasks) -> Result<Self> {
        let blocks: Vec<_> = SEQUENCES.iter().map(|name| (*name, first_block(name))).collect();
        let ends = reserve(&db, &blocks).await?;
        let sequences = blocks
            .into_iter()
            .map(|(name, block)| {
                let end = *ends.get(name).ok_or_else(|| StoreError::setup("a sequence gave no numbers"))?;
                let sequence = Sequence { next: end - block, end, spare: None, block, refilling: false };
                Ok((name, Mutex::new(sequence)))
            })
            .collect::<Result<_>>()?;
        Ok(Self(Arc::new(Inner { db, tasks, sequences })))
    }

    /// A fresh id, at once; the next block is fetched in the background when half of one is used. Fails as "mailbox
    /// full" where ids are taken faster than blocks arrive: take many by [`Ids::reserve`].
    pub fn next<T: Id>(&self) -> domain::error::Result<T> {
        let mut sequence = self.sequence::<T>();
        let taken = sequence.take(1);
        if taken.is_none() {
            sequence.block = (sequence.block * 2).min(LARGEST_BLOCK);
        }
        if sequence.needs_refill() {
            sequence.refilling = true;
            self.refill(T::SEQUENCE, sequence.block);
        }
        match taken {
            Some(number) => Ok(T::from_number(number)),
            None => Err(Error::new(Code::MailboxFull, "too many new things at once, try again")
                .because(format!("the sequence {} ran dry", T::SEQUENCE))),
        }
    }

    /// `count` consecutive ids, waiting for the database when memory has not so many.
    pub async fn reserve<T: Id>(&self, count: usize) -> domain::error::Result<IdRange<T>> {
        let count = i64::try_from(count).map_err(|_| Error::invalid("too many at once"))?;
        let range = |first| IdRange { next: first, end: first + count, kind: PhantomData };
        let taken = {
            let mut sequence = self.sequence::<T>();
            let taken = if count <= sequence.block / 4 { sequence.take(count) } else { None };
            if sequence.needs_refill() {
                sequence.refilling = true;
                self.refill(T::SEQUENCE, sequence.block);
            }
            taken
        };
        if let Some(first) = taken {
            return Ok(range(first));
        }
        let ends = reserve(&self.0.db, &[(T::SEQUENCE, count)]).await?;
        let end = *ends.get(T::SEQUENCE).ok_or_else(|| StoreError::setup("a sequence gave no numbers"))?;
        Ok(range(end - count))
    }

    /// Gives back what was not used, sequence by sequence, where nobody reserved after us. For a clean stop, when
    /// nobody takes ids any more; the few taken later fail.
    pub async fn release(&self) -> Result<()> {
        let mut tx = self.0.db.begin().await?;
        for (name, sequence) in &self.0.sequences {
            let (first, end) = {
                let mut sequence = lock(sequence);
                let current = (sequence.next, sequence.end);
                let given = match sequence.spare.take() {
                    Some((next, end)) if next == current.1 => (current.0, end),
                    Some(spare) => spare,
                    None => current,
                };
                // A block that is still on its way is kept away from the empty range.
                (sequence.next, sequence.end, sequence.refilling) = (given.1, given.1, true);
                given
            };
            if first < end {
                sql(RELEASE).bind(*name).bind(end).bind(first).execute(&mut tx).await?;
            }
        }
        tx.commit().await
    }

    fn sequence<T: Id>(&self) -> MutexGuard<'_, Sequence> {
        lock(self.0.sequences.get(T::SEQUENCE).expect("every Id stands in SEQUENCES"))
    }

    fn refill(&self, name: &'static str, block: i64) {
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn("ids.refill", async move {
            let result = reserve(&inner.db, &[(name, block)]).await;
            let mut sequence = lock(inner.sequences.get(name).expect("every Id stands in SEQUENCES"));
            sequence.refilling = false;
            match result {
                Ok(ends) => sequence.spare = ends.get(name).map(|end| (end - block, *end)),
                Err(error) => tracing::warn!(sequence = name, %error, "no new ids for now"),
            }
        });
    }
}

fn first_block(name: &str) -> i64 {
    if name == MessageId::SEQUENCE { MESSAGE_BLOCK } else { BLOCK }
}

fn lock(sequence: &Mutex<Sequence>) -> MutexGuard<'_, Sequence> {
    sequence.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves each named sequence on by its count, for good; gives the new ends (a block is `end - count..end`).
async fn reserve(db: &Db, blocks: &[(&'static str, i64)]) -> Result<HashMap<String, i64>> {
    let mut blocks = blocks.iter();
    let Some((name, count)) = blocks.next() else { return Ok(HashMap::new()) };
    let mut statement = sql(RESERVE).bind(*name).bind(*count);
    for (name, count) in blocks {
        statement = statement.push(", (").push_bind(*name).push(", 1 + ").push_bind(*count).push(")");
    }
    let rows: Vec<(String, i64)> = statement.push(RESERVE_END).all(db).await?;
    Ok(rows.into_iter().collect())
}
