//! The actor of a conversation: a thin shell around [`domain::machine::conversation::Conversation`].
//!
//! A command is a function of the state; what it decides is appended, and its caller is answered after the commit. The
//! one thing the actor does by itself is to announce receipts, at most four times a second.
//!
//! [`domain::machine::conversation::Conversation`]: crate::domain::machine::conversation::Conversation

use std::{future::Future, pin::Pin};

use serde::Serialize;
use tokio::sync::oneshot;

use super::{Env, Live, Loader, Registry};
use crate::{
    base::clock::Timestamp,
    domain::{
        error::{Error, Result},
        event::NewEvent,
        ids::{ConversationId, MessageId, PersonId},
        machine::{
            conversation::{Conversation, Marks, RECEIPT_DETAIL_LIMIT, Receipt},
            tally,
        },
    },
    journal::{Append, Committed},
    store::{Db, conversations},
};

/// What a command decided.
pub struct Decision<R> {
    /// What to store and tell.
    pub append: Append,
    /// True when the state is right even if the append is refused.
    pub harmless: bool,
    /// What the caller gets, given the offsets.
    pub reply: Box<dyn FnOnce(&Committed) -> R + Send>,
}

impl<R: Send + 'static> Decision<R> {
    /// A decision that the state already holds.
    pub fn new(append: Append, reply: R) -> Self {
        Self { append, harmless: false, reply: Box::new(move |_| reply) }
    }
}

/// A function of the state, run by the actor.
pub type Command = Box<dyn FnOnce(&mut Conversation, &Env) + Send>;

impl Live for Conversation {
    type Command = Command;
    const KIND: &'static str = "conversation";

    fn handle(&mut self, command: Command, env: &Env) {
        command(self, env);
        // The first receipt after a pause is announced at once.
        self.tick(env);
    }

    fn tick(&mut self, env: &Env) {
        let now = env.now();
        let receipts = self.take_receipts(now);
        if !receipts.is_empty() {
            env.flight.submit(announce(self, &receipts, env, now), |_| ());
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.receipts_due()
    }
}

/// The live conversations.
pub type Conversations = Registry<ConversationId, Conversation>;

impl Conversations {
    /// Runs `decide` on the state of `id` and answers after the commit of what it decided.
    pub async fn decide<R: Send + 'static>(
        &self,
        id: ConversationId,
        decide: impl FnOnce(&mut Conversation, &Env) -> Result<Decision<R>> + Send + 'static,
    ) -> Result<R> {
        self.ask(id, move |sender: oneshot::Sender<Result<R>>| -> Command {
            Box::new(move |state, env| match decide(state, env) {
                Err(error) => drop(sender.send(Err(error))),
                Ok(Decision { append, harmless, reply }) => {
                    let done = move |outcome: Result<Committed>| {
                        // A caller that went away does not undo what is committed.
                        drop(sender.send(outcome.map(|committed| reply(&committed))));
                    };
                    if harmless {
                        env.flight.submit_harmless(append, done);
                    } else {
                        env.flight.submit(append, done);
                    }
                }
            })
        })
        .await
    }
}

/// Loads conversations for their actors.
pub struct ConversationLoader {
    db: Db,
    block: i64,
}

impl ConversationLoader {
    /// With tallies of the usual size.
    pub fn new(db: Db) -> Self {
        Self { db, block: tally::BLOCK }
    }

    /// With tallies of so many messages.
    #[must_use]
    pub fn with_blocks_of(self, messages: i64) -> Self {
        Self { block: messages, ..self }
    }
}

impl Loader<ConversationId, Conversation> for ConversationLoader {
    fn load(&self, id: ConversationId) -> Pin<Box<dyn Future<Output = Result<Conversation>> + Send + '_>> {
        Box::pin(async move {
            let found = conversations::load(&self.db, id, self.block).await?;
            found.ok_or_else(|| Error::not_found("workbox"))
        })
    }
}

impl Conversations {
    /// Starts the actors of all conversations with receipts that nobody was told of. To be called before the node is
    /// ready.
    pub async fn wake_unannounced(&self, db: &Db) -> Result<()> {
        for id in conversations::unannounced(db).await? {
            self.wake(id).await?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct ReceiptView {
    user_id: PersonId,
    received_id: MessageId,
    read_id: MessageId,
}

#[derive(Serialize)]
struct ReceiptsUpdated {
    workbox_id: ConversationId,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    receipts: Vec<ReceiptView>,
    most_recent_all_received: MessageId,
    most_recent_all_read: MessageId,
}

/// `receipt.updated`, and the rows that remember what was announced. On the stream that guests see, watermarks stand on
/// messages that guests see; where that is not the whole truth, the internal stream tells it.
fn announce(state: &Conversation, receipts: &[Receipt], env: &Env, now: Timestamp) -> Append {
    let shown: Vec<_> = receipts.iter().filter_map(|r| r.shown.map(|marks| (r.person, marks))).collect();
    let whole: Vec<_> = receipts
        .iter()
        .filter(|r| state.members.get(&r.person).is_some_and(|member| member.shown != r.marks))
        .map(|r| (r.person, r.marks))
        .collect();
    let mut append = Append::default();
    for (stream, marks, all) in
        [(state.stream, shown, state.common_shown()), (state.internal_stream, whole, state.common_marks())]
    {
        if marks.is_empty() {
            continue;
        }
        let detailed = state.members.len() <= RECEIPT_DETAIL_LIMIT;
        let data = ReceiptsUpdated {
            workbox_id: state.id,
            receipts: marks
                .into_iter()
                .filter(|_| detailed)
                .map(|(user_id, Marks { received, read })| ReceiptView {
                    user_id,
                    received_id: received,
                    read_id: read,
                })
                .collect(),
            most_recent_all_received: all.received,
            most_recent_all_read: all.read,
        };
        append.events.push(NewEvent::new(
            stream,
            "receipt.updated",
            env.random.uuid_v7(now),
            now,
            None,
            &data,
        ));
    }
    for chunk in receipts.chunks(conversations::ANNOUNCED_CHUNK) {
        append = append.with(conversations::set_announced(state.id, chunk));
    }
    append
}
