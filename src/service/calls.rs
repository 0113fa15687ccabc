//! Ringing, answering, being in a call (contract: REALTIME section 5). REST and rpc run the same functions.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    attendance::{Attendance, Place, Release},
    call_replies::{entered, rung},
    ice::{self, GssInfo},
    reachability::Reachability,
    sessions::{Sessions, within_token},
    tools::actor_of,
};
use crate::{
    base::{clock::Clock, random::Random, tasks::Tasks},
    config,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::{CallId, ConversationId, PersonId, RingId, SessionId},
        machine::{
            call::{Fact, Input, RecordingPolicy},
            ring::{Callee, DeclineReason, Reach, Who},
        },
        once::Once,
        permission::Permissions,
    },
    live::call_session::{CallSession, Request, Sessions as LiveSessions},
    store::{
        Db, calls,
        sessions::{self as rows, PersonRow},
    },
};

pub use super::call_replies::{
    ActiveCall, Entered, Incoming, JoinReply, Media, PersonView, Present, Reached, Rung,
};

/// Longest text that goes with a declined ring, in characters.
const MESSAGE_LIMIT: usize = 255;

/// What [`Calls`] is built from.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The actors.
    pub live: LiveSessions,
    /// Sessions and their tokens.
    pub sessions: Sessions,
    /// Who can be rung.
    pub reachability: Reachability,
    /// Timers, media servers.
    pub config: config::Calls,
    /// `http.public_url`, without a slash at the end.
    pub public_url: String,
    /// How long an idempotency key counts.
    pub keep: Duration,
    /// Which connections hold a place.
    pub attendance: Attendance,
    /// Where renewals run.
    pub tasks: Tasks,
}

/// Rings and calls. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<Parts>);

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Calls")
    }
}

impl Calls {
    /// The service.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Rings `users`, or all other members of the session. `leased`: the caller asks over a connection that the server
    /// watches, so the rings end when it is lost.
    pub async fn ring(
        &self,
        caller: &Caller,
        session: SessionId,
        users: Option<&[PersonId]>,
        leased: bool,
        video: bool,
        once: &Once,
    ) -> Result<Vec<Rung>> {
        if let Some(rung) = once.replayed()? {
            return Ok(rung);
        }
        let by = talker(caller)?;
        self.0.sessions.visible(caller, session).await?;
        let members = rows::members(&self.0.db, session).await?;
        let people: Vec<PersonRow> = members.into_iter().map(|member| member.person).collect();
        let wanted = |person: &&PersonRow| {
            person.id != by.person && users.is_none_or(|users| users.contains(&person.id))
        };
        let called: Vec<&PersonRow> = people.iter().filter(wanted).collect();
        if users.is_some_and(|users| users.iter().any(|id| people.iter().all(|person| person.id != *id))) {
            return Err(Error::not_found("user"));
        }
        let callees = self.callees(session, &called).await?;
        let ids: Vec<PersonId> = callees.iter().map(|callee| callee.who.person).collect();
        let input = Input::Ring { by, leased, callees, video, invite: false };
        let request = self.request(caller, input, once).with_people(people);
        let reply = move |session: &CallSession, facts: &[Fact]| rung(&session.state, by.person, &ids, facts);
        self.0.live.decide(session, request, reply).await
    }

    /// Rings people into the running call `call`; they become members of the session.
    pub async fn invite(
        &self,
        caller: &Caller,
        session: SessionId,
        call: &CallId,
        people: &[PersonId],
        once: &Once,
    ) -> Result<Vec<Rung>> {
        if let Some(rung) = once.replayed()? {
            return Ok(rung);
        }
        let by = talker(caller)?;
        self.0.sessions.visible(caller, session).await?;
        let wanted = call.clone();
        let members = self
            .0
            .live
            .look(session, move |live| {
                let call = live.state.call.as_ref().filter(|call| call.id == wanted)?;
                call.participants.contains_key(&by.person).then_some(live.state.members.len())
            })
            .await?
            .ok_or_else(not_running)?;
        let people: BTreeSet<PersonId> = people.iter().copied().collect();
        if members + people.len() > self.0.config.max_members {
            return Err(Error::invalid(format!(
                "a session holds at most {} people",
                self.0.config.max_members
            )));
        }
        let records = self.0.sessions.callable(caller, &people).await?;
        let callees = self.callees(session, &records.iter().collect::<Vec<_>>()).await?;
        let ids: Vec<PersonId> = people.into_iter().collect();
        let input = Input::Ring { by, leased: false, callees, video: true, invite: true };
        let request = self.request(caller, input, once).with_people(records);
        let reply = move |session: &CallSession, facts: &[Fact]| rung(&session.state, by.person, &ids, facts);
        self.0.live.decide(session, request, reply).await
    }

    /// Answers a ring: the caller is in the call from now on, with a lease to connect within.
    pub async fn accept(&self, caller: &Caller, ring: RingId, once: &Once) -> Result<Entered> {
        if let Some(entered) = once.replayed()? {
            return Ok(entered);
        }
        let by = talker(caller)?;
        let session = self.ring_for(caller, by, ring).await?;
        let input = Input::Accept { by, ring, fresh: CallId::from_uuid(self.0.random.uuid()) };
        self.enter(session, by.login, self.request(caller, input, once)).await
    }

    /// Turns a ring down; gives its session.
    pub async fn decline(
        &self,
        caller: &Caller,
        ring: RingId,
        reason: DeclineReason,
        message: Option<String>,
        once: &Once,
    ) -> Result<()> {
        if once.replayed::<()>()?.is_some() {
            return Ok(());
        }
        if message.as_ref().is_some_and(|message| message.chars().count() > MESSAGE_LIMIT) {
            return Err(Error::invalid(format!("message: at most {MESSAGE_LIMIT} characters")));
        }
        let by = talker(caller)?;
        let session = self.ring_for(caller, by, ring).await?;
        let input = Input::Decline { by, ring, reason, message };
        self.0.live.decide(session, self.request(caller, input, once), |_, _| ()).await
    }

    /// Takes one ring of the caller back.
    pub async fn cancel(&self, caller: &Caller, ring: RingId, once: &Once) -> Result<()> {
        if once.replayed::<()>()?.is_some() {
            return Ok(());
        }
        let by = talker(caller)?;
        let row = calls::find_ring(&self.0.db, ring).await?.filter(|row| row.from_id == by.person);
        let session = row.ok_or_else(ring_over)?.session_id;
        within_token(caller, session)?;
        let input = Input::Cancel { by: by.person, ring: Some(ring) };
        self.0.live.decide(session, self.request(caller, input, once), |_, _| ()).await
    }

    /// Takes all rings of the caller in a session back; fine when there is none.
    pub async fn cancel_all(&self, caller: &Caller, session: SessionId) -> Result<()> {
        let by = talker(caller)?;
        self.0.sessions.visible(caller, session).await?;
        let input = Input::Cancel { by: by.person, ring: None };
        self.0.live.decide(session, self.request(caller, input, &Once::none()), |_, _| ()).await
    }

    /// Enters the session's call, waits for one, or takes the place up again. The lease is the asking connection's to
    /// renew.
    pub async fn join(&self, caller: &Caller, session: SessionId) -> Result<JoinReply> {
        let by = talker(caller)?;
        let row = self.0.sessions.visible(caller, session).await?;
        let stream = self.0.sessions.position(&row).await?;
        let input = Input::Join { by, fresh: CallId::from_uuid(self.0.random.uuid()) };
        let request = self.request(caller, input, &Once::none());
        let Entered { call_id, session_id, scene, .. } = self.enter(session, by.login, request).await?;
        Ok(JoinReply {
            call_id,
            session_id,
            started: scene.started,
            owner_id: scene.owner,
            participants: scene.participants,
            token: self.0.sessions.token(caller, session).await?,
            ice_servers: ice::servers(&self.0.config, &caller.label(), self.0.clock.now()),
            media: Media { kind: "p2p" },
            stream,
        })
    }

    /// Leaves a call.
    pub async fn leave(&self, caller: &Caller, call: &CallId) -> Result<()> {
        self.on_call(caller, call, |by, call| Input::Leave { by, call }).await
    }

    /// Ends a call for all.
    pub async fn end(&self, caller: &Caller, call: &CallId) -> Result<()> {
        self.on_call(caller, call, |by, call| Input::End { by, call }).await
    }

    /// Puts somebody out of a call; coming back takes an invitation.
    pub async fn remove(&self, caller: &Caller, call: &CallId, person: PersonId) -> Result<()> {
        self.on_call(caller, call, |by, call| Input::Remove { by, call, person }).await
    }

    /// Makes somebody else the owner of a call.
    pub async fn transfer_owner(&self, caller: &Caller, call: &CallId, to: PersonId) -> Result<()> {
        self.on_call(caller, call, |by, call| Input::TransferOwner { by, call, to }).await
    }

    /// Begins a recording.
    pub async fn start_recording(&self, caller: &Caller, call: &CallId) -> Result<()> {
        let recording = self.0.random.uuid();
        self.on_call(caller, call, |by, call| Input::StartRecording { by, call, recording }).await
    }

    /// Ends the recording.
    pub async fn stop_recording(&self, caller: &Caller, call: &CallId) -> Result<()> {
        self.on_call(caller, call, |by, call| Input::StopRecording { by, call }).await
    }

    /// The session in whose call both the caller and `to` are: where a ~`signal` between them passes.
    pub async fn signal_route(&self, caller: &Caller, call: &CallId, to: PersonId) -> Result<SessionId> {
        let by = talker(caller)?;
        let session = self.session_of(caller, call).await?;
        let wanted = call.clone();
        let both = self
            .0
            .live
            .look(session, move |live| {
                live.state.call.as_ref().is_some_and(|call| {
                    call.id == wanted
                        && call.participants.contains_key(&by.person)
                        && call.participants.contains_key(&to)
                })
            })
            .await?;
        if both { Ok(session) } else { Err(not_running()) }
    }

    /// A connection of that human being has begun: the person can be rung.
    pub fn connected(&self, login: PersonId, client: Uuid) {
        if self.0.attendance.connected(login, client) {
            self.0.reachability.changed(login);
        }
    }

    /// A connection has ended.
    pub fn disconnected(&self, login: PersonId, client: Uuid) {
        if self.0.attendance.disconnected(login, client) {
            self.0.reachability.changed(login);
        }
    }

    /// The connection holds the person's place in the session from now on: what is heard from it renews the lease.
    /// `release` is called once it holds none.
    pub fn attend(&self, client: Uuid, session: SessionId, person: PersonId, release: Release) {
        self.0.attendance.hold(client, (session, person), release, self.0.clock.now());
    }

    /// Something was heard from these connections: renews the leases of the places that they hold. Does not wait; places
    /// that do not exist any more are given up.
    pub fn renew(&self, clients: impl IntoIterator<Item = Uuid>) {
        let now = self.0.clock.now();
        let places: Vec<(Uuid, Place)> = clients
            .into_iter()
            .flat_map(|client| {
                self.0.attendance.heard(client, now).into_iter().map(move |place| (client, place))
            })
            .collect();
        if places.is_empty() {
            return;
        }
        let this = self.clone();
        self.0.tasks.spawn("renew-leases", async move {
            let renewals = places.into_iter().map(|(client, (session, person))| {
                let this = &this;
                async move {
                    match this.renew_lease(session, person).await {
                        Ok(true) => {}
                        // Cannot tell now: the next frame tries again.
                        Err(error) if error.is_temporary() => {}
                        Ok(false) | Err(_) => this.0.attendance.give_up(client, (session, person)),
                    }
                }
            });
            join_all(renewals).await;
        });
    }

    /// Renews the leases of a person in a session: false when the person is neither in the call nor ringing.
    pub async fn renew_lease(&self, session: SessionId, person: PersonId) -> Result<bool> {
        self.0.live.renew(session, person).await
    }

    /// Where media servers and the socket are, with the caller's own session token.
    pub async fn auth(&self, caller: &Caller, session: SessionId) -> Result<GssInfo> {
        let token = self.0.sessions.token(caller, session).await?;
        Ok(GssInfo::new(&self.0.public_url, token))
    }

    /// As [`Calls::auth`] for the face that a ring was for, whichever face of that person answered.
    pub async fn auth_as(&self, caller: &Caller, session: SessionId, face: PersonId) -> Result<GssInfo> {
        self.auth(&Caller { person: Some(face), ..caller.clone() }, session).await
    }

    /// What rings for a human being, by any face.
    pub async fn incoming(&self, login: PersonId) -> Result<Vec<Incoming>> {
        let rings = calls::open_rings_to(&self.0.db, login).await?;
        if rings.is_empty() {
            return Ok(Vec::new());
        }
        let people = rings.iter().flat_map(|ring| [ring.from_id, ring.to_id]).collect::<BTreeSet<_>>();
        let people = rows::people(&self.0.db, people).await?;
        let threads: HashMap<SessionId, Option<ConversationId>> =
            rows::threads(&self.0.db, rings.iter().map(|ring| ring.session_id)).await?.into_iter().collect();
        let view = |id: PersonId| {
            let name = people.iter().find(|person| person.id == id).map(|person| person.name().to_owned());
            PersonView { id, name: name.unwrap_or_default() }
        };
        Ok(rings
            .into_iter()
            .map(|ring| Incoming {
                request_id: ring.id,
                session_id: ring.session_id,
                workbox_id: threads.get(&ring.session_id).copied().flatten(),
                from: view(ring.from_id),
                to: view(ring.to_id),
                video: ring.video,
                expires_at: ring.expires_at,
            })
            .collect())
    }

    /// The call that a human being is in, by any face.
    pub async fn active(&self, login: PersonId) -> Result<Option<ActiveCall>> {
        let Some(call_id) = calls::present_call(&self.0.db, login).await? else { return Ok(None) };
        let session = calls::session_of(&self.0.db, &call_id).await?;
        Ok(session.map(|session_id| ActiveCall { call_id, session_id }))
    }

    fn request(&self, caller: &Caller, input: Input, once: &Once) -> Request {
        let keep_since = self.0.clock.now().minus(self.0.keep);
        Request::new(input, Some(actor_of(caller))).once(once, keep_since)
    }

    /// Who of `people` can be rung: in no other call, and within reach.
    async fn callees(&self, session: SessionId, people: &[&PersonRow]) -> Result<Vec<Callee>> {
        let here = calls::open_call(&self.0.db, session).await?.map(|call| call.id);
        let elsewhere: BTreeSet<PersonId> =
            calls::present(&self.0.db, people.iter().map(|person| person.login_id))
                .await?
                .into_iter()
                .filter(|(_, call)| here.as_ref() != Some(call))
                .map(|(login, _)| login)
                .collect();
        let reachable = self.0.reachability.among(people.iter().map(|person| person.login_id)).await?;
        let now = self.0.clock.now();
        let callees = people.iter().map(|person| Callee {
            who: Who { person: person.id, login: person.login_id },
            ring: RingId(self.0.random.uuid_v7(now)),
            reach: if elsewhere.contains(&person.login_id) {
                Reach::Busy
            } else if person.active && !person.removed && reachable.contains(&person.login_id) {
                Reach::Free
            } else {
                Reach::Unreachable
            },
        });
        Ok(callees.collect())
    }

    /// The session of a ring that is for this human being; other people's rings look as if they were over.
    async fn ring_for(&self, caller: &Caller, by: Who, ring: RingId) -> Result<SessionId> {
        let row = calls::find_ring(&self.0.db, ring).await?.filter(|row| row.to_login_id == by.login);
        let session = row.ok_or_else(ring_over)?.session_id;
        within_token(caller, session)?;
        Ok(session)
    }

    async fn session_of(&self, caller: &Caller, call: &CallId) -> Result<SessionId> {
        let session = calls::session_of(&self.0.db, call).await?.ok_or_else(not_running)?;
        within_token(caller, session)?;
        Ok(session)
    }

    async fn on_call(
        &self,
        caller: &Caller,
        call: &CallId,
        input: impl FnOnce(PersonId, CallId) -> Input,
    ) -> Result<()> {
        let by = talker(caller)?;
        let session = self.session_of(caller, call).await?;
        let request = self.request(caller, input(by.person, call.clone()), &Once::none());
        self.0.live.decide(session, request, |_, _| ()).await
    }

    /// Feeds an input that puts people into the call of `session`; what they ring elsewhere ends with it.
    async fn enter(&self, session: SessionId, login: PersonId, mut request: Request) -> Result<Entered> {
        let policy = rows::recording_policy(&self.0.db, session).await?;
        request.policy = policy.as_deref().and_then(RecordingPolicy::by_name);
        let reply = move |session: &CallSession, facts: &[Fact]| entered(session, login, facts);
        let entered = self.0.live.decide(session, request, reply).await?.ok_or_else(not_running)?;
        for who in &entered.scene.arrived {
            for other in calls::sessions_ringing_from(&self.0.db, who.person).await? {
                if other == session {
                    continue;
                }
                let cancel = Request::new(Input::Cancel { by: who.person, ring: None }, None);
                if let Err(error) = self.0.live.decide(other, cancel, |_, _| ()).await {
                    tracing::warn!(session.id = %other, %error, "rings of a person now in a call go on");
                }
            }
        }
        Ok(entered)
    }
}

/// Who asks, if allowed to call.
fn talker(caller: &Caller) -> Result<Who> {
    caller.require(Permissions::CALL)?;
    let person = caller.person()?;
    Ok(Who { person, login: caller.login.unwrap_or(person) })
}

fn ring_over() -> Error {
    Error::new(Code::RingNotActive, "the ring was answered, cancelled or ran out before")
}

fn not_running() -> Error {
    Error::new(Code::CallNotActive, "no such call is running with these people")
}
