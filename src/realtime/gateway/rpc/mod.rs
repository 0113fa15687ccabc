//! Actions over the socket: one table from method name to service call (contract: REALTIME section 4). Every one is a
//! REST operation too, and both run the same code. Any of them may carry an `idempotency_key`.

mod calls;
mod messages;
mod workboxes;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Gateway;
use crate::{
    base::{
        objects::Objects,
        trace::{self, Trace},
    },
    domain::{
        caller::{Caller, TokenKind},
        codes::Code,
        error::{Error, Result},
        ids::PersonId,
        once::{Once, Scope},
        permission::Permissions,
    },
    realtime::{
        disconnect::error,
        port::{ConnectionId, Identity, Refusal},
    },
    service::{people::Device, person_views::status_of},
    store::{idempotency, people},
};

/// What an action gets.
struct Ask<'a> {
    gateway: &'a Gateway,
    caller: &'a Caller,
    connection: ConnectionId,
    once: Once,
    data: &'a [u8],
}

type Action = for<'a> fn(Ask<'a>) -> BoxFuture<'a, Result<Value>>;

/// Method, the tokens it takes, the permission it needs, what runs.
type Row = (&'static str, &'static [TokenKind], Permissions, Action);

/// What somebody does as a person. Tokens of one place wander into other programs and stay in that place, as over REST.
const PERSON: &[TokenKind] = &[TokenKind::User];
/// What is done in a help thread: its own token is enough.
const THREAD: &[TokenKind] = &[TokenKind::User, TokenKind::Workbox];
/// What is done in a session: its own token is enough.
const TALK: &[TokenKind] = &[TokenKind::User, TokenKind::Session];
/// What is done in either.
const PLACE: &[TokenKind] = &[TokenKind::User, TokenKind::Workbox, TokenKind::Session];
/// What services do, too.
const SERVICE: &[TokenKind] = &[TokenKind::User, TokenKind::Enterprise, TokenKind::Partner];
/// Whatever lets one in.
const ANY: &[TokenKind] =
    &[TokenKind::User, TokenKind::Workbox, TokenKind::Session, TokenKind::Enterprise, TokenKind::Partner];

const ACTIONS: &[&[Row]] = &[messages::ACTIONS, workboxes::ACTIONS, calls::ACTIONS, OTHERS];

const OTHERS: &[Row] = &[
    ("presence.get", SERVICE, Permissions::VIEW_CONTACTS, |ask| Box::pin(presence(ask))),
    ("devices.register", PERSON, Permissions::EDIT_ACCOUNT, |ask| Box::pin(register_device(ask))),
    ("devices.remove", PERSON, Permissions::EDIT_ACCOUNT, |ask| Box::pin(remove_device(ask))),
    ("server.time", ANY, Permissions::NONE, |ask| Box::pin(async move { Ok(time(&ask)) })),
];

/// Names of all actions that are served, for the AsyncAPI document.
pub fn methods() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().copied().flatten().map(|(name, ..)| *name)
}

/// Fails unless the caller came with one of these tokens and has the permission.
fn allow(caller: &Caller, tokens: &[TokenKind], needed: Permissions) -> Result<()> {
    if !tokens.contains(&caller.kind) {
        return Err(Error::forbidden("this is not for a token of this kind"));
    }
    caller.require(needed)
}

impl Gateway {
    pub(super) async fn act(
        &self,
        connection: ConnectionId,
        identity: &Identity,
        method: &str,
        data: &[u8],
    ) -> std::result::Result<Bytes, Refusal> {
        let found = ACTIONS.iter().copied().flatten().find(|(name, ..)| *name == method);
        let Some((name, tokens, needed, action)) = found else { return Err(error::NOT_AVAILABLE.into()) };
        let caller = identity.caller()?;
        allow(caller, tokens, *needed)?;
        let once = self.once(caller, name, data).await?;
        let work = action(Ask { gateway: self, caller, connection, once, data });
        let value = trace::within(Trace::begin(&self.random), work).await?;
        Ok(serde_json::to_vec(&value).map_err(Error::unavailable)?.into())
    }

    /// The claim of an `idempotency_key` in the data.
    async fn once(&self, caller: &Caller, method: &'static str, data: &[u8]) -> Result<Once> {
        #[derive(Default, Deserialize)]
        struct Keyed {
            idempotency_key: Option<String>,
        }
        if !data.windows(KEY.len()).any(|window| window == KEY) {
            return Ok(Once::none());
        }
        let Some(key) = parse::<Keyed>(data)?.idempotency_key else { return Ok(Once::none()) };
        let scope = Scope::new(caller.organization, caller.label(), method, &key)?;
        let hash: [u8; 32] = Sha256::digest(data).into();
        let since = self.clock.now().minus(self.limits.remember);
        match idempotency::find(&self.db, &scope, since).await? {
            None => Ok(Once::first(scope, hash)),
            Some((before, outcome)) if before == hash => Ok(Once::again(scope, hash, outcome)),
            Some(_) => Err(Error::constraint("this idempotency_key was used for another request")),
        }
    }
}

const KEY: &[u8] = b"idempotency_key";

fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T> {
    let data = if data.is_empty() { b"{}" } else { data };
    T::deserialize(Objects(&mut serde_json::Deserializer::from_slice(data))).map_err(wrong)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn wrong(problem: serde_json::Error) -> Error {
    Error::new(Code::ParametersInvalid, format!("data: {problem}"))
}

fn to_value<T: Serialize>(value: T) -> Result<Value> {
    serde_json::to_value(value).map_err(Error::unavailable)
}

fn time(ask: &Ask<'_>) -> Value {
    json!({ "time": ask.gateway.clock.now(), "client": ask.connection.client })
}

/// Whether people of the caller's organisation can be reached, with their status.
async fn presence(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Of {
        users: Vec<PersonId>,
    }
    let Of { users } = parse(ask.data)?;
    if users.len() > PRESENCE_LIMIT {
        return Err(Error::invalid(format!("`users`: at most {PRESENCE_LIMIT} at once")));
    }
    let gateway = ask.gateway;
    let people = people::many(&gateway.db, ask.caller.organization, users).await?;
    let reachable = gateway.services.reachability.among(people.iter().map(|person| person.login_id)).await?;
    let now = gateway.clock.now();
    let users: Vec<Value> = people
        .iter()
        .map(|person| {
            let online = gateway.services.reachability.is_connected(person.login_id);
            let (reachable, status) = (reachable.contains(&person.login_id), status_of(person, now, online));
            json!({ "user_id": person.id, "reachable": reachable, "status": status })
        })
        .collect();
    Ok(json!({ "users": users }))
}

/// People of one `presence.get`.
const PRESENCE_LIMIT: usize = 100;

async fn register_device(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Registration {
        device_id: String,
        platform: String,
        push_id: String,
    }
    let Registration { device_id, platform, push_id } = parse(ask.data)?;
    let device = Device { device_id, platform, push_id };
    ask.gateway.services.people.register_device(ask.caller, &device, &ask.once).await?;
    Ok(json!({}))
}

async fn remove_device(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Which {
        push_id: String,
    }
    let Which { push_id } = parse(ask.data)?;
    ask.gateway.services.people.remove_device(ask.caller, &push_id).await?;
    Ok(json!({}))
}
