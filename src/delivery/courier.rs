//! The worker that hands due notices of one channel to its carrier.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};

use super::{Carrier, Refusal};
use crate::{
    base::{clock::Clock, random::Random, tasks::Tasks},
    service::notices::Notices,
    store::{
        Db, StoreError,
        notices::{self, NoticeRow},
    },
};

/// Between two looks at the table.
const POLL: Duration = Duration::from_secs(1);
/// Notices of one look.
const PAGE: i64 = 50;
/// Notices under way at once.
const AT_ONCE: usize = 4;
/// Time for one attempt.
const ATTEMPT: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(6);
/// Characters of an error that are kept.
const ERROR_LENGTH: usize = 300;

/// Sends the notices of one channel.
pub struct Courier {
    db: Db,
    notices: Notices,
    clock: Clock,
    random: Random,
    attempts: u32,
    carrier: Arc<dyn Carrier>,
}

impl Courier {
    /// `attempts` is how often a notice is tried before it counts as failed (`notices.attempts`).
    pub fn new(
        db: Db,
        notices: Notices,
        clock: Clock,
        random: Random,
        attempts: u32,
        carrier: Arc<dyn Carrier>,
    ) -> Self {
        Self { db, notices, clock, random, attempts, carrier }
    }

    /// Works until the server stops; what is under way then is finished.
    pub async fn run(self, tasks: Tasks) {
        while !tasks.is_stopping() {
            match self.deliver_due().await {
                // More may wait than fitted on the page.
                Ok(done) if done > 0 => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, channel = self.carrier.channel(), "notices wait"),
            }
            tokio::select! {
                () = tasks.stopping() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// One look: tries what is due now; gives the number of notices tried.
    pub async fn deliver_due(&self) -> Result<usize, StoreError> {
        let due = notices::due(&self.db, self.carrier.channel(), self.clock.now(), PAGE).await?;
        let tried = due.len();
        let mut outcomes =
            stream::iter(due.into_iter().map(|row| self.deliver(row))).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            outcome?;
        }
        Ok(tried)
    }

    async fn deliver(&self, row: NoticeRow) -> Result<(), StoreError> {
        let (id, attempt) = (row.id, row.attempts.saturating_add(1));
        let sender = row.organization_name.clone();
        let notice = self.notices.whole(row);
        let carried = tokio::time::timeout(ATTEMPT, self.carrier.carry(&sender, &notice)).await;
        let now = self.clock.now();
        match carried.unwrap_or_else(|_| Err(Refusal::ForNow("no answer in time".to_owned()))) {
            Ok(()) => notices::sent(&self.db, id, now).await,
            Err(Refusal::ForNow(why)) if attempt < i64::from(self.attempts) => {
                let pause = self.pause(attempt);
                tracing::info!(
                    notice.id = id.0,
                    attempt,
                    error = why,
                    "a notice could not be sent, it is tried again"
                );
                notices::retry(&self.db, id, now.plus(pause), &shortened(&why)).await
            }
            Err(Refusal::ForNow(why) | Refusal::ForGood(why)) => {
                tracing::warn!(notice.id = id.0, attempt, error = why, "a notice is given up");
                notices::failed(&self.db, id, &shortened(&why)).await
            }
        }
    }

    /// 5 s, 20 s, 80 s ... up to 6 h, each up to a fifth longer, so that retries do not come together.
    fn pause(&self, attempt: i64) -> Duration {
        let steps = u32::try_from(attempt - 1).unwrap_or(0).min(10);
        let pause = FIRST_PAUSE.saturating_mul(4_u32.saturating_pow(steps)).min(LONGEST_PAUSE);
        let fifth = u64::try_from(pause.as_millis() / 5).unwrap_or(0);
        pause + Duration::from_millis(self.random.below(fifth))
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(ERROR_LENGTH).collect()
}
