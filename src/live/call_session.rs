//! The actor of a call session: a thin shell around [`domain::machine::call`].
//!
//! An input is decided at once, its facts become one append (rows and events), and its caller is answered after the
//! commit, as is one whose input changed nothing: what it sees was decided before it. The state's deadlines run as the
//! actor's timer; they stand in the rows too, so a restart finds them ([`Sessions::wake_unfinished`]).
//!
//! [`domain::machine::call`]: crate::domain::machine::call

use std::{collections::HashMap, future::Future, pin::Pin};

use serde::Serialize;
use tokio::sync::oneshot;

use super::{Env, Live, Loader, Registry, call_facts};
use crate::{
    base::clock::{Clock, Timestamp},
    domain::{
        codes::Code,
        error::{Error, Result},
        event::Actor,
        ids::{ConversationId, OrgId, PersonId, SessionId, StreamId},
        machine::call::{Fact, Input, RecordingPolicy, Refusal, State, Timing, next_deadline, step},
        once::Once,
    },
    journal::{Append, Committed, RowOp},
    store::{Db, calls, idempotency, sessions},
};

/// A live session: the state that decides, and what its events and rows need besides.
pub struct CallSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub organization: OrgId,
    /// Its stream.
    pub stream: StreamId,
    /// The help thread it belongs to, with its stream.
    pub thread: Option<(ConversationId, StreamId)>,
    /// What decides.
    pub state: State,
    /// Names and inboxes of members, past ones included.
    pub people: HashMap<PersonId, sessions::PersonRow>,
}

/// An input with who acts and the records of people that it names.
pub struct Request {
    /// What happens.
    pub input: Input,
    /// Who acts, as shown in events.
    pub actor: Option<Actor>,
    /// Present records of people: new members, and whoever is to be shown as of now.
    pub people: Vec<sessions::PersonRow>,
    /// The claim of an idempotency key, and since when such claims count.
    pub once: (Once, Timestamp),
    /// How the call is recorded that may begin with this.
    pub policy: Option<RecordingPolicy>,
}

impl Request {
    /// A request of somebody.
    pub fn new(input: Input, actor: Option<Actor>) -> Self {
        Self { input, actor, people: Vec::new(), once: (Once::none(), Timestamp::default()), policy: None }
    }

    /// Brings records of people along.
    #[must_use]
    pub fn with_people(mut self, people: Vec<sessions::PersonRow>) -> Self {
        self.people = people;
        self
    }

    /// Remembers the answer under an idempotency key, in place of what is older than `keep_since`.
    #[must_use]
    pub fn once(mut self, once: &Once, keep_since: Timestamp) -> Self {
        self.once = (once.clone(), keep_since);
        self
    }
}

/// A function of the session, run by the actor.
pub type Command = Box<dyn FnOnce(&mut CallSession, &Env) + Send>;

impl CallSession {
    /// Decides, and makes the append that stores and tells it.
    fn apply(&mut self, request: Request, env: &Env) -> Result<(Append, Vec<Fact>), Refusal> {
        let now = env.now();
        let runs = self.state.call.as_ref().is_some_and(|call| call.started_at.is_some());
        if let Some(policy) = request.policy.filter(|_| !runs) {
            self.state.policy = policy;
        }
        let facts = step(&mut self.state, request.input, now)?;
        for person in request.people {
            self.people.insert(person.id, person);
        }
        let append = call_facts::append(self, &facts, request.actor.as_ref(), &env.random, now);
        Ok((append, facts))
    }
}

impl Live for CallSession {
    type Command = Command;
    const KIND: &'static str = "call_session";

    fn handle(&mut self, command: Command, env: &Env) {
        command(self, env);
    }

    fn tick(&mut self, env: &Env) {
        if let Ok((append, facts)) = self.apply(Request::new(Input::Tick, None), env)
            && !facts.is_empty()
        {
            env.flight.submit(append, |_| ());
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        next_deadline(&self.state)
    }
}

/// The live call sessions.
pub type Sessions = Registry<SessionId, CallSession>;

impl Sessions {
    /// Feeds an input and answers after the commit with what `reply` makes of the state right after the decision. An
    /// idempotency key remembers that answer, so it holds no token and no content.
    pub async fn decide<R: Serialize + Send + 'static>(
        &self,
        id: SessionId,
        request: Request,
        reply: impl FnOnce(&CallSession, &[Fact]) -> R + Send + 'static,
    ) -> Result<R> {
        let (once, keep_since) = request.once.clone();
        self.ask(id, move |sender: oneshot::Sender<Result<R>>| -> Command {
            Box::new(move |session, env| match session.apply(request, env) {
                Err(refusal) => drop(sender.send(Err(refusal.into()))),
                Ok((mut append, facts)) => {
                    let answer = reply(session, &facts);
                    let rows = idempotency::rows(&once, &answer, env.now(), keep_since);
                    append.rows.extend(rows.into_iter().map(RowOp::exec));
                    let done = move |outcome: Result<Committed>| {
                        // A caller that went away does not undo what is committed.
                        drop(sender.send(outcome.map(|_| answer)));
                    };
                    env.flight.submit(append, done);
                }
            })
        })
        .await
    }

    /// Renews the leases of a person; false when that person's frames do not matter (any more).
    pub async fn renew(&self, id: SessionId, person: PersonId) -> Result<bool> {
        self.ask(id, move |sender: oneshot::Sender<Result<bool>>| -> Command {
            Box::new(move |session, env| {
                // Leases live in memory only: a restart starts them anew.
                let _ = step(&mut session.state, Input::Renew(person), env.now());
                let _ = sender.send(Ok(session.state.is_attending(person)));
            })
        })
        .await
    }

    /// Looks at the state as it is now, commits under way included.
    pub async fn look<R: Send + 'static>(
        &self,
        id: SessionId,
        see: impl FnOnce(&CallSession) -> R + Send + 'static,
    ) -> Result<R> {
        self.ask(id, move |sender: oneshot::Sender<Result<R>>| -> Command {
            Box::new(move |session, _| drop(sender.send(Ok(see(session)))))
        })
        .await
    }

    /// Starts the actors of all sessions in which something rings or a call is open, so that their timers run. To be
    /// called before the node is ready.
    pub async fn wake_unfinished(&self, db: &Db) -> Result<()> {
        for session in calls::unfinished(db).await? {
            self.wake(session).await?;
        }
        Ok(())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotMember => Self::not_found("session"),
            Refusal::RingNotActive => {
                Self::new(Code::RingNotActive, "the ring was answered, cancelled or ran out before")
            }
            Refusal::CallNotActive => {
                Self::new(Code::CallNotActive, "no such call is running with these people")
            }
            Refusal::NotOwner => Self::forbidden("only the owner of the call may do this"),
            Refusal::Busy => Self::new(Code::Busy, "already in the call, under another name"),
            Refusal::Barred => Self::forbidden("removed from this call"),
            Refusal::RecordingFixed => Self::forbidden("the recording policy does not allow this"),
        }
    }
}

/// Loads sessions for their actors.
pub struct SessionLoader {
    db: Db,
    clock: Clock,
    timing: Timing,
}

impl SessionLoader {
    /// A loader of sessions whose rings and leases last as `timing` says.
    pub fn new(db: Db, clock: Clock, timing: Timing) -> Self {
        Self { db, clock, timing }
    }
}

impl Loader<SessionId, CallSession> for SessionLoader {
    fn load(&self, id: SessionId) -> Pin<Box<dyn Future<Output = Result<CallSession>> + Send + '_>> {
        Box::pin(async move {
            let row = sessions::find(&self.db, id).await?.ok_or_else(|| Error::not_found("session"))?;
            let members = sessions::members(&self.db, id).await?;
            let policy = RecordingPolicy::by_name(&row.recording_policy).unwrap_or_default();
            let mut state = calls::load_state(&self.db, id, policy, &members, self.timing).await?;
            // Cannot be refused.
            let _ = step(&mut state, Input::Restarted, self.clock.now());
            let thread = match row.conversation_id {
                None => None,
                Some(thread) => {
                    sessions::thread_stream(&self.db, thread).await?.map(|stream| (thread, stream))
                }
            };
            // Who was in the call or rings without being a member any more does not exist: removal ends both.
            let people = members.into_iter().map(|row| (row.person.id, row.person)).collect();
            Ok(CallSession {
                id,
                organization: row.organization_id,
                stream: row.stream_id,
                thread,
                state,
                people,
            })
        })
    }
}
