//! What the use cases of threads are made with.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
    },
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{Actor, NewEvent},
        ids::{ConversationId, StreamId},
        once::Once,
    },
    journal::{Append, Journal, Refusal, RowOp},
    live::{call_session::Sessions, conversation::Conversations},
    store::{Db, idempotency, ids::Ids},
};

/// Database, identifiers, time, randomness, journal and the live conversations. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    /// Reads; writes go through the journal.
    pub db: Db,
    /// New identifiers.
    pub ids: Ids,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// What begins without an actor.
    pub journal: Journal,
    /// What has one.
    pub conversations: Conversations,
    /// The live sessions: who leaves a thread leaves its call.
    pub sessions: Sessions,
    /// How long outcomes under an `Idempotency-Key` are kept (`retention.idempotency_hours`).
    pub keep_outcomes: Duration,
}

impl Tools {
    /// Adds the rows that remember `outcome` under the request's key. To be used inside an actor, too.
    pub fn remember<T: Serialize>(
        keep: Duration,
        append: &mut Append,
        once: &Once,
        outcome: &T,
        now: Timestamp,
    ) {
        let twin = Refusal::new(Code::Constraint, "this Idempotency-Key is being used by another request");
        let rows = idempotency::rows(once, outcome, now, now.minus(keep));
        let last = rows.len().saturating_sub(1);
        for (position, row) in rows.into_iter().enumerate() {
            append.rows.push(if position == last {
                RowOp::exec_one(row, twin.clone())
            } else {
                RowOp::exec(row)
            });
        }
    }
}

/// Makes the events of one change: one moment, one actor, an id each.
pub struct Events {
    random: Random,
    now: Timestamp,
    actor: Option<Arc<Actor>>,
    list: Vec<NewEvent>,
}

impl Events {
    /// For a change at `now` by `actor`.
    pub fn new(random: &Random, now: Timestamp, actor: Option<Arc<Actor>>) -> Self {
        Self { random: random.clone(), now, actor, list: Vec::new() }
    }

    /// Adds an event.
    pub fn add<T: Serialize + ?Sized>(&mut self, stream: StreamId, kind: &'static str, data: &T) {
        let id = self.random.uuid_v7(self.now);
        self.list.push(NewEvent::new(stream, kind, id, self.now, self.actor.as_deref(), data));
    }

    /// The events as an append.
    pub fn into_append(self) -> Append {
        Append::of_events(self.list)
    }
}

/// Who did it, for events.
pub fn actor_of(caller: &Caller) -> Actor {
    let kind = match (caller.person, caller.is_outsider()) {
        (Some(_), false) => "user",
        (Some(_), true) => "guest",
        (None, _) => "enterprise",
    };
    let id = caller.person.map_or(caller.organization.0, |person| person.0);
    Actor { kind, id, name: caller.name.clone() }
}

/// Fails where the caller's token is good for another thread only.
pub fn check_scope(caller: &Caller, id: ConversationId) -> Result<()> {
    match caller.workbox {
        Some(only) if only != id => Err(Error::not_found("workbox")),
        _ => Ok(()),
    }
}
