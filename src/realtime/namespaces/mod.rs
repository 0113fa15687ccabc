//! Channels of applications: a relay in memory, with a little history where the configuration says so.
//!
//! They share everything with streams but the journal: places, positions, recovery in pages, presence. A channel
//! belongs to an organisation; two organisations that use the same name do not meet. Nothing here survives the
//! process, which the epoch of a channel says honestly.

mod keys;
mod memory;
mod tokens;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;

use self::{
    memory::Memory,
    tokens::{Claims, Tokens},
};
use super::{
    commands,
    disconnect::error,
    frame::Frame,
    hub::{Hub, Message},
    options::Options,
    port::{ConnectGrant, Grant, Identity, RefreshGrant, Refusal},
    protocol::{HistoryRequest, HistoryResult, Publication, SubscribeRequest},
};
use crate::{
    base::{
        clock::Timestamp,
        outbound::{Named, Outbound},
        random::Random,
        tasks::Tasks,
    },
    config::{Namespace, ServerKey},
    domain::ids::{OrgId, StreamId},
};

/// Stands for the stream of a channel that is kept in memory.
const IN_MEMORY: StreamId = StreamId(-1);
/// Channels in memory up to which nobody looks for forgotten ones.
const SWEEP_ABOVE: usize = 1_024;

/// A granted place, of a stream or of a namespace.
pub(super) struct Admission {
    pub(super) grant: Grant,
    pub(super) relayed: bool,
    pub(super) delta: bool,
    pub(super) expires_at: Option<Timestamp>,
}

impl From<Grant> for Admission {
    fn from(grant: Grant) -> Self {
        Self { grant, relayed: false, delta: false, expires_at: None }
    }
}

/// Where a channel stands after a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) epoch: Arc<str>,
}

/// What one wants to know or do in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Publish,
    History,
    Presence,
}

/// See the module.
pub(super) struct Namespaces {
    all: Vec<Namespace>,
    default: Option<Namespace>,
    insecure: Option<OrgId>,
    server_keys: Vec<ServerKey>,
    tokens: Tokens,
    random: Random,
    channels: DashMap<Arc<str>, Arc<Mutex<Memory>>>,
}

impl Namespaces {
    pub(super) fn new(options: &Options, random: Random) -> Self {
        let all = options.namespaces.clone();
        let default = all.iter().find(|one| one.name == options.default_namespace).cloned();
        Self {
            default,
            all,
            insecure: options.insecure,
            server_keys: options.server_keys.clone(),
            tokens: Tokens::new(&options.tokens),
            random,
            channels: DashMap::new(),
        }
    }

    /// Fetches keys of backends that stand at an address, and keeps them up to date.
    pub(super) fn follow_keys(&self, tasks: &Tasks) {
        for set in self.tokens.key_sets() {
            let client = match Outbound::new(Named::ByOperator) {
                Ok(client) => client,
                Err(error) => return tracing::error!(%error, "keys of realtime.tokens cannot be fetched"),
            };
            let stopping = tasks.stopping();
            tasks.spawn("backend keys", async move {
                tokio::select! { () = stopping => {}, () = set.follow(&client) => {} }
            });
        }
    }

    /// The namespace of a channel; `None` for streams and unknown names.
    pub(super) fn of(&self, channel: &str) -> Option<&Namespace> {
        match channel.split_once(':') {
            Some((name, _)) => self.all.iter().find(|one| one.name == name),
            None => self.default.as_ref(),
        }
    }

    /// What the hub knows a channel of a namespace by.
    pub(super) fn key(organization: OrgId, channel: &str) -> Arc<str> {
        format!("{organization}\0{channel}").into()
    }

    /// Whose server key this is.
    pub(super) fn server(&self, key: &crate::base::secret::Secret) -> Option<&ServerKey> {
        // Every key is compared, so that time tells nothing.
        self.server_keys.iter().fold(None, |found, one| if one.key == *key { Some(one) } else { found })
    }

    /// True where backends may call at all.
    pub(super) fn has_servers(&self) -> bool {
        !self.server_keys.is_empty()
    }

    /// Lets a user of an application in. `None` when the token is not one of an application's backend.
    pub(super) fn greet(&self, token: &str, now: Timestamp) -> Option<Result<ConnectGrant, Refusal>> {
        if token.is_empty() {
            let organization = self.insecure?;
            let identity = Identity { user: String::new(), organization, caller: None, info: Bytes::new() };
            let data = Bytes::new();
            return Some(Ok(ConnectGrant { identity, data, channels: Vec::new(), expires_at: None }));
        }
        match self.tokens.read(token) {
            Ok(found) => found.map(|(organization, claims)| self.admit_user(organization, claims, now)),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    fn admit_user(
        &self,
        organization: OrgId,
        claims: Claims,
        now: Timestamp,
    ) -> Result<ConnectGrant, Refusal> {
        let expires_at = claims.expires_at(now)?;
        if claims.channel.is_some() {
            return Err(super::close::INVALID_TOKEN.into());
        }
        let channels = claims.channels.iter().filter(|channel| self.of(channel).is_some()).cloned().collect();
        let info = claims.info();
        let identity = Identity { user: claims.sub, organization, caller: None, info };
        Ok(ConnectGrant { identity, data: Bytes::new(), channels, expires_at })
    }

    /// Refreshes a user of an application. `None` when the token is not one of an application's backend.
    pub(super) fn refresh(&self, token: &str, now: Timestamp) -> Option<Result<RefreshGrant, Refusal>> {
        let grant = match self.tokens.read(token) {
            Ok(found) => found.map(|(organization, claims)| self.admit_user(organization, claims, now))?,
            Err(refusal) => Err(refusal),
        };
        Some(grant.map(|ConnectGrant { identity, expires_at, .. }| RefreshGrant { identity, expires_at }))
    }

    /// Decides on a subscription. `invited` where the server subscribes the client.
    pub(super) fn admit(
        &self,
        namespace: &Namespace,
        identity: &Identity,
        request: &SubscribeRequest,
        invited: bool,
        now: Timestamp,
    ) -> Result<Admission, Refusal> {
        let mut info = Bytes::new();
        let mut expires_at = None;
        if !request.token.is_empty() {
            let claims = self.subscription_token(identity, &request.channel, &request.token)?;
            expires_at = claims.expires_at(now)?;
            info = claims.info();
        } else if !invited && !self.opens(namespace.allow_subscribe_for_client, identity) {
            return Err(error::PERMISSION_DENIED.into());
        }
        let mut grant = Grant {
            stream: None,
            epoch: "".into(),
            head: 0,
            first_offset: 1,
            visible_from: 1,
            presence: namespace.presence,
            join_leave: namespace.join_leave,
            info,
            data: Bytes::new(),
        };
        if keeps_history(namespace) {
            let memory = self.memory(&Self::key(identity.organization, &request.channel), now);
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.prune(namespace, now);
            grant.stream = Some(IN_MEMORY);
            grant.epoch = memory.epoch();
            grant.head = memory.head();
            grant.first_offset = memory.first_offset();
        }
        let delta = !request.delta.is_empty() && namespace.allowed_delta_types.contains(&request.delta);
        Ok(Admission { grant, relayed: true, delta, expires_at })
    }

    /// Checks a subscription's next token and returns its end.
    pub(super) fn refresh_subscription(
        &self,
        identity: &Identity,
        channel: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Refusal> {
        self.subscription_token(identity, channel, token)?.expires_at(now)
    }

    fn subscription_token(&self, identity: &Identity, channel: &str, token: &str) -> Result<Claims, Refusal> {
        match self.tokens.read(token)? {
            Some((organization, claims))
                if organization == identity.organization
                    && claims.channel.as_deref() == Some(channel)
                    && claims.sub == identity.user =>
            {
                Ok(claims)
            }
            _ => Err(error::PERMISSION_DENIED.into()),
        }
    }

    /// Whether a client may do something in a channel.
    pub(super) fn check(
        &self,
        namespace: &Namespace,
        identity: &Identity,
        wish: Wish,
        subscribed: bool,
    ) -> Result<(), Refusal> {
        let (served, client, subscriber) = match wish {
            Wish::Publish => {
                (true, namespace.allow_publish_for_client, namespace.allow_publish_for_subscriber)
            }
            Wish::History => (
                keeps_history(namespace),
                namespace.allow_history_for_client,
                namespace.allow_history_for_subscriber,
            ),
            Wish::Presence => (
                namespace.presence,
                namespace.allow_presence_for_client,
                namespace.allow_presence_for_subscriber,
            ),
        };
        if !served {
            return Err(error::NOT_AVAILABLE.into());
        }
        if subscriber && subscribed || self.opens(client, identity) {
            return Ok(());
        }
        Err(error::PERMISSION_DENIED.into())
    }

    /// Guests by link see their thread only, whatever a namespace allows.
    fn opens(&self, allowed: bool, identity: &Identity) -> bool {
        let outsider = identity.caller.as_ref().is_some_and(crate::domain::caller::Caller::is_outsider);
        self.insecure.is_some() || allowed && !outsider
    }

    /// A page of what is kept of a channel.
    pub(super) fn page(
        &self,
        namespace: &Namespace,
        key: &str,
        after: u64,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Publication> {
        let Some(memory) = self.channels.get(key).map(|memory| memory.value().clone()) else {
            return Vec::new();
        };
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.prune(namespace, now);
        memory.after(after).take(limit).cloned().collect()
    }

    /// Answers `history`.
    pub(super) fn history(
        &self,
        namespace: &Namespace,
        organization: OrgId,
        request: &HistoryRequest,
        (most, bytes): (usize, usize),
        now: Timestamp,
    ) -> Result<HistoryResult, Refusal> {
        let memory = self.memory(&Self::key(organization, &request.channel), now);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.prune(namespace, now);
        let since = request.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && *since.epoch != *memory.epoch()) {
            return Err(error::UNRECOVERABLE_POSITION.into());
        }
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).min(most);
        let publications = if request.reverse {
            let before = since.map_or(u64::MAX, |since| since.offset);
            commands::within(bytes, memory.before(before).take(limit).cloned())
        } else {
            let after = since.map_or(0, |since| since.offset);
            commands::within(bytes, memory.after(after).take(limit).cloned())
        };
        Ok(HistoryResult { publications, epoch: memory.epoch().to_string(), offset: memory.head() })
    }

    /// Forgets what is kept of a channel; its numbers go on.
    pub(super) fn forget(&self, key: &str) {
        if let Some(memory) = self.channels.get(key) {
            memory.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Sends a publication to the channel's subscribers and keeps it where the namespace keeps history.
    pub(super) fn publish(
        &self,
        hub: &Hub,
        namespace: &Namespace,
        key: &Arc<str>,
        mut publication: Publication,
        (delta, keep): (bool, bool),
    ) -> Position {
        let now = hub.clock.now();
        let keeps = keeps_history(namespace) && keep;
        let deltas = !namespace.allowed_delta_types.is_empty();
        if !keeps && !deltas {
            let frame = Arc::new(Frame::new(key.clone(), 0, publication));
            broadcast(hub, frame);
            return Position { offset: 0, epoch: "".into() };
        }
        let memory = self.memory(key, now);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let before = memory.replace_last(publication.data.clone()).filter(|_| delta);
        let position = if keeps {
            publication.offset = memory.append(publication.clone(), now);
            memory.prune(namespace, now);
            Position { offset: publication.offset, epoch: memory.epoch() }
        } else {
            Position { offset: 0, epoch: "".into() }
        };
        let frame = if deltas {
            Frame::with_differences(key.clone(), publication, before)
        } else {
            Frame::new(key.clone(), 0, publication)
        };
        // Still under the lock: subscribers get a channel's publications in the order of their numbers.
        broadcast(hub, Arc::new(frame));
        position
    }

    fn memory(&self, key: &Arc<str>, now: Timestamp) -> Arc<Mutex<Memory>> {
        if let Some(memory) = self.channels.get(key) {
            return memory.value().clone();
        }
        if self.channels.len() > SWEEP_ABOVE && self.channels.len().is_power_of_two() {
            self.sweep(now);
        }
        let memory = self.channels.entry(key.clone());
        memory
            .or_insert_with(|| Arc::new(Mutex::new(Memory::new(self.random.token::<6>().into(), now))))
            .clone()
    }

    /// Drops channels that keep nothing any more. Whoever still has a position there learns it by the new epoch.
    fn sweep(&self, now: Timestamp) {
        self.channels.retain(|key, memory| {
            let Some(namespace) = self.of(super::frame::wire_name(key)) else { return false };
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.prune(namespace, now);
            !memory.is_forgotten(now)
        });
    }
}

fn keeps_history(namespace: &Namespace) -> bool {
    namespace.history_size > 0 && !namespace.history_seconds.is_zero()
}

fn broadcast(hub: &Hub, frame: Arc<Frame>) {
    let frames: Arc<[_]> = Arc::new([frame]);
    hub.broadcast(|| Message::Published(frames.clone()));
}
