//! What the socket asks of the rest of the server: [`Backend`] over the services.

mod channels;
mod ephemeral;
mod inboxes;
mod rpc;
mod tell;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::try_join;
use serde::Serialize;

pub use channels::Channel;
pub use inboxes::Inboxes;
pub use rpc::methods;
pub use tell::Teller;

use super::{
    disconnect::{close, error},
    hub::Hub,
    port::{
        Backend, ConnectGrant, ConnectionId, Direction, Future, Grant, Hello, Identity, Page, PageRequest,
        RefreshGrant, Refusal, SubscribeAsk,
    },
};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        secret::Secret,
    },
    domain::{
        caller::Caller,
        codes::{Code, Kind},
        error::Error,
        ids::{ConversationId, Offset, OrgId, PersonId},
    },
    journal::{self, Tails},
    service::{
        Services,
        calls::{ActiveCall, Incoming},
    },
    store::{Db, streams},
};

/// The services as the socket sees them. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    db: Db,
    tails: Tails,
    services: Arc<Services>,
    clock: Clock,
    random: Random,
    hub: Hub,
    teller: Teller,
    limits: Limits,
}

/// What a [`Gateway`] is made of.
pub struct Parts {
    /// For channels and pages of streams.
    pub db: Db,
    /// The newest events of streams that are being caught up on.
    pub tails: Tails,
    /// The use cases.
    pub services: Arc<Services>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The connections.
    pub hub: Hub,
    /// What is not stored goes out through it.
    pub teller: Teller,
    /// Bounds.
    pub limits: Limits,
}

/// What the connect reply tells of our bounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Largest frame that a client may send, in bytes.
    pub frame_bytes: usize,
    /// Most channels of one connection.
    pub subscriptions: usize,
    /// Publications of one recovery page.
    pub recovery_page: usize,
    /// Longest metadata of a message, in bytes.
    pub metadata_bytes: usize,
    /// How long an `idempotency_key` counts.
    #[serde(skip)]
    pub remember: Duration,
}

/// `data` of the connect reply (contract: REALTIME section 1).
#[derive(Serialize)]
struct Welcome<'a> {
    user: Option<WelcomeUser<'a>>,
    organization: WelcomeOrganization,
    server_time: Timestamp,
    limits: Limits,
    features: &'static [&'static str],
    rings: Vec<Incoming>,
    active_call: Option<ActiveCall>,
}

#[derive(Serialize)]
struct WelcomeUser<'a> {
    id: PersonId,
    name: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
struct WelcomeOrganization {
    id: OrgId,
}

const FEATURES: &[&str] = &["workboxes", "receipts", "rings", "calls", "attachments"];

impl Gateway {
    /// Wires it.
    pub fn new(parts: Parts) -> Self {
        let Parts { db, tails, services, clock, random, hub, teller, limits } = parts;
        Self { db, tails, services, clock, random, hub, teller, limits }
    }

    async fn welcome(&self, caller: &Caller) -> Result<Bytes, Error> {
        let (rings, active_call) = match caller.login {
            Some(login) => {
                let calls = &self.services.calls;
                try_join(calls.incoming(login), calls.active(login)).await?
            }
            None => (Vec::new(), None),
        };
        let welcome = Welcome {
            user: caller.person.map(|id| WelcomeUser {
                id,
                name: &caller.name,
                kind: if caller.is_outsider() { "guest" } else { "user" },
            }),
            organization: WelcomeOrganization { id: caller.organization },
            server_time: self.clock.now(),
            limits: self.limits,
            features: FEATURES,
            rings,
            active_call,
        };
        serde_json::to_vec(&welcome).map(Bytes::from).map_err(Error::unavailable)
    }

    async fn greet(&self, hello: Hello) -> Result<ConnectGrant, Refusal> {
        let key = hello.api_key.as_ref().map(Secret::expose);
        self.services.sign_in.application(key).await.map_err(refuse_token)?;
        let caller =
            self.services.tokens.verify_connection(hello.token.expose()).await.map_err(refuse_token)?;
        let (data, inboxes) = try_join(self.welcome(&caller), channels::inboxes(&self.db, &caller)).await?;
        let channels = inboxes.into_iter().map(crate::domain::event::user_channel).collect();
        let expires_at = expiry(&caller);
        Ok(ConnectGrant { identity: Identity::of(caller), data, channels, expires_at })
    }

    async fn renew(&self, identity: &Identity, token: &str) -> Result<RefreshGrant, Refusal> {
        let caller = self.services.tokens.verify_connection(token).await.map_err(refuse_token)?;
        let same = identity.caller.as_ref().is_some_and(|before| {
            before.person == caller.person
                && before.organization == caller.organization
                && before.kind == caller.kind
        });
        if !same {
            return Err(close::INVALID_TOKEN.into());
        }
        let expires_at = expiry(&caller);
        Ok(RefreshGrant { identity: Identity::of(caller), expires_at })
    }

    async fn admit(&self, ask: SubscribeAsk) -> Result<Grant, Refusal> {
        let Some(channel) = Channel::parse(&ask.channel) else { return Err(error::UNKNOWN_CHANNEL.into()) };
        let caller = ask.identity.caller().map_err(Refusal::of_channel)?;
        let row = channels::authorize(&self.db, caller, channel, &ask.channel)
            .await
            .map_err(Refusal::of_channel)?;
        Ok(granted(row, channel))
    }

    async fn position(&self, organization: OrgId, name: &str) -> Result<Grant, Refusal> {
        let Some(channel) = Channel::parse(name) else { return Err(error::UNKNOWN_CHANNEL.into()) };
        let row = streams::by_name(&self.db, organization, name).await.map_err(Error::from)?;
        row.map(|row| granted(row, channel)).ok_or_else(|| error::UNKNOWN_CHANNEL.into())
    }

    async fn page(&self, request: PageRequest) -> Result<Page, Refusal> {
        let limit = u32::try_from(request.limit).unwrap_or(u32::MAX);
        let from = Offset(i64::try_from(request.from).unwrap_or(i64::MAX));
        let page = match request.direction {
            Direction::After => self.tails.after(request.stream, from, limit).await?,
            Direction::Before => {
                let rows = journal::read_before(&self.db, request.stream, from, limit).await;
                let rows = rows.map_err(Error::from)?.into_iter();
                Arc::new(rows.map(|row| (row.offset, Bytes::from(row.body))).collect())
            }
        };
        let mut bytes = 0;
        let mut events = Vec::with_capacity(page.len());
        for (offset, body) in page.iter() {
            bytes += body.len();
            events.push((unsigned(*offset), body.clone()));
            if bytes >= request.bytes {
                break;
            }
        }
        Ok(Page { events })
    }
}

impl Backend for Gateway {
    fn connect(&self, hello: Hello) -> Future<ConnectGrant> {
        let this = self.clone();
        Box::pin(async move { this.greet(hello).await })
    }

    fn connected(&self, connection: ConnectionId, identity: Arc<Identity>) {
        if let Some(login) = login_of(&identity) {
            self.services.calls.connected(login, connection.client);
        }
    }

    fn refresh(&self, _: ConnectionId, identity: Arc<Identity>, token: Secret) -> Future<RefreshGrant> {
        let this = self.clone();
        Box::pin(async move { this.renew(&identity, token.expose()).await })
    }

    fn subscribe(&self, ask: SubscribeAsk) -> Future<Grant> {
        let this = self.clone();
        Box::pin(async move { this.admit(ask).await })
    }

    fn stream(&self, organization: OrgId, channel: String) -> Future<Grant> {
        let this = self.clone();
        Box::pin(async move { this.position(organization, &channel).await })
    }

    fn read(&self, request: PageRequest) -> Future<Page> {
        let this = self.clone();
        Box::pin(async move { this.page(request).await })
    }

    fn publish(
        &self,
        connection: ConnectionId,
        identity: Arc<Identity>,
        channel: String,
        data: Bytes,
    ) -> Future<()> {
        let this = self.clone();
        Box::pin(async move { this.publish_for(connection, &identity, &channel, &data).await })
    }

    fn rpc(
        &self,
        connection: ConnectionId,
        identity: Arc<Identity>,
        method: String,
        data: Bytes,
    ) -> Future<Bytes> {
        let this = self.clone();
        Box::pin(async move { this.act(connection, &identity, &method, &data).await })
    }

    fn alive(&self, connections: Vec<ConnectionId>) {
        self.services.calls.renew(connections.into_iter().map(|connection| connection.client));
    }

    fn disconnected(&self, connection: ConnectionId, identity: Arc<Identity>) {
        if let Some(login) = login_of(&identity) {
            self.services.calls.disconnected(login, connection.client);
        }
    }
}

/// The human being behind a connection.
fn login_of(identity: &Identity) -> Option<PersonId> {
    identity.caller.as_ref()?.login
}

/// A place in a stream that is whole for whoever may read it.
fn granted(row: streams::StreamRow, channel: Channel) -> Grant {
    let is_session = matches!(channel, Channel::Session(_));
    Grant {
        stream: Some(row.id),
        epoch: row.epoch.into(),
        head: unsigned(row.head),
        first_offset: unsigned(row.first_offset),
        visible_from: 1,
        presence: is_session,
        join_leave: is_session,
        info: Bytes::new(),
        data: Bytes::new(),
    }
}

/// A dead token is told so that the SDK fetches the next; a bad one ends the connection for good.
fn refuse_token(cause: Error) -> Refusal {
    match cause.code() {
        Code::ExpiredToken => error::TOKEN_EXPIRED.into(),
        code if matches!(
            code.kind(),
            Kind::Unauthenticated | Kind::Forbidden | Kind::NotFound | Kind::Invalid
        ) =>
        {
            close::INVALID_TOKEN.into()
        }
        _ => cause.into(),
    }
}

fn expiry(caller: &Caller) -> Option<Timestamp> {
    (caller.expires_at.0 > 0 && caller.expires_at.0 < i64::MAX).then_some(caller.expires_at)
}

fn unsigned(offset: Offset) -> u64 {
    u64::try_from(offset.0).unwrap_or(0)
}

/// The conversation of a channel that messages go to, and whether they are internal there.
fn conversation_of(channel: Channel) -> Option<(ConversationId, bool)> {
    match channel {
        Channel::Workbox(id) => Some((id, false)),
        Channel::Internal(id) => Some((id, true)),
        _ => None,
    }
}
