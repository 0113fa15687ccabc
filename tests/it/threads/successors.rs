//! What a thread's owner had not come to when it stopped is done by its successor, in the same order: whoever asked
//! hears nothing of it.

use std::{future::poll_fn, pin::Pin, sync::mpsc, task::Poll};

use serde_json::json;
use switchboard::{
    domain::{
        codes::Code, error::Result, event::NewEvent, ids::ConversationId, machine::conversation::Conversation,
    },
    journal::{Append, Guard, Refusal},
    live::{Env, conversation::Decision},
    store::sql,
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::world::{BEN, World, code};
use crate::harness::db::on_both;

/// Commands that wait behind the one that is being done.
const WAITING: u64 = 20;

/// A thread's owner that does nothing else until it is released.
struct Busy {
    release: mpsc::Sender<()>,
    outcome: JoinHandle<Result<()>>,
}

impl Busy {
    /// It begins with `first` and ends with `last`.
    async fn keep(
        world: &World,
        thread: ConversationId,
        first: impl FnOnce(&mut Conversation, &Env) + Send + 'static,
        last: impl FnOnce() + Send + 'static,
    ) -> Self {
        let conversations = world.conversations.clone();
        let (release, released) = mpsc::channel();
        let (begun, begins) = oneshot::channel();
        let outcome = tokio::spawn(async move {
            conversations
                .decide(thread, move |state, env| {
                    state.rename("half done".to_owned());
                    first(state, env);
                    begun.send(()).unwrap();
                    released.recv().unwrap();
                    last();
                    Ok(Decision::new(Append::default(), ()))
                })
                .await
        });
        begins.await.unwrap();
        Self { release, outcome }
    }

    async fn end(self) -> Result<()> {
        self.release.send(()).unwrap();
        self.outcome.await.unwrap()
    }
}

/// Has the owner tell `number`; the answer is what the thread was called then.
fn tell(world: &World, thread: ConversationId, number: u64) -> impl Future<Output = Result<String>> {
    world.conversations.decide(thread, move |state, env| {
        let now = env.now();
        let data = json!({ "number": number });
        let event = NewEvent::new(state.stream, "workbox.updated", env.random.uuid_v7(now), now, None, &data);
        Ok(Decision::new(Append { events: vec![event], ..Append::default() }, state.thread.title.clone()))
    })
}

/// What the journal refuses.
fn refused() -> Append {
    let stmt = sql("select id from conversation where id = 0");
    let otherwise = Refusal::new(Code::Constraint, "as the test wants it");
    Append { guards: vec![Guard::Holds { stmt, otherwise }], ..Append::default() }
}

/// Fills the mailbox of a busy owner, lets it stop, and looks at what came of the commands.
async fn all_done_behind(world: &World, thread: ConversationId, stop: impl Future<Output = ()>) {
    let mut waiting: Vec<Pin<Box<_>>> =
        (0..WAITING).map(|number| Box::pin(tell(world, thread, number))).collect();
    for command in &mut waiting {
        // Where the owner is live, the first poll puts the command into its mailbox.
        let pending = poll_fn(|context| Poll::Ready(command.as_mut().poll(context).is_pending())).await;
        assert!(pending, "the owner is not busy");
    }
    stop.await;
    for command in waiting {
        assert_eq!(command.await.unwrap(), "The pump leaks");
    }
    let told = world.told(thread).await.into_iter().filter_map(|(_, data)| data["number"].as_u64());
    assert_eq!(told.collect::<Vec<_>>(), (0..WAITING).collect::<Vec<_>>());
}

on_both! {
    async fn after_a_panic(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let busy = Busy::keep(&world, thread, |_, _| (), || panic!("as the test wants it")).await;
        let stop = async { assert_eq!(code(busy.end().await), Code::Unavailable) };
        all_done_behind(&world, thread, stop).await;
    }

    async fn after_a_refusal(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (answer, answered) = oneshot::channel();
        let first = |_: &mut Conversation, env: &Env| {
            env.flight.submit(refused(), |outcome| answer.send(outcome.map(drop)).unwrap());
        };
        let busy = Busy::keep(&world, thread, first, || ()).await;
        // What the owner decides from here on rests on something that is not there.
        assert_eq!(code(answered.await.unwrap()), Code::Constraint);
        let stop = async { assert_eq!(code(busy.end().await), Code::Unavailable) };
        all_done_behind(&world, thread, stop).await;
    }
}
