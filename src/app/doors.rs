//! Ports of lower layers, answered by others: what `http` asks of services and store, what `service` tells sockets.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    base::clock::Clock,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{internal_channel, session_channel, workbox_channel},
        once::Scope,
    },
    http::{
        Auth,
        family::{Authenticate, Credentials},
        idempotency::{Outcomes, Remembered},
    },
    realtime::{Hub, Selector, close, unsubscribe},
    service::{
        Services,
        tokens::{Revocations, Revoked},
    },
    store::{Db, idempotency},
};

/// Verifies credentials.
pub(super) struct Door(pub Arc<Services>);

impl Authenticate for Door {
    fn authenticate<'a>(
        &'a self,
        _family: &'static str,
        credentials: Credentials<'a>,
        wanted: Auth,
    ) -> BoxFuture<'a, Result<Option<Caller>>> {
        async move {
            self.0.sign_in.application(credentials.api_key).await?;
            if wanted == Auth::None {
                return Ok(None);
            }
            let token =
                credentials.token.ok_or_else(|| Error::new(Code::InvalidToken, "the token is missing"))?;
            self.0.tokens.verify(token, wanted.kinds()).await.map(Some)
        }
        .boxed()
    }
}

/// Finds remembered outcomes.
pub(super) struct Memory {
    pub db: Db,
    pub clock: Clock,
    /// How long outcomes count.
    pub keep: Duration,
}

impl Outcomes for Memory {
    fn find<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Option<Remembered>>> {
        async move {
            let found = idempotency::find(&self.db, scope, self.clock.now().minus(self.keep)).await?;
            let Some((hash, outcome)) = found else { return Ok(None) };
            let hash = hash.try_into().map_err(|_| Error::unavailable("an idempotency row holds no hash"))?;
            Ok(Some(Remembered { hash, outcome }))
        }
        .boxed()
    }
}

/// The sockets of those whose time is over.
#[derive(Clone)]
pub(super) struct Crowd(pub Hub);

impl Revocations for Crowd {
    fn revoked(&self, what: Revoked) {
        let hub = &self.0;
        match what {
            Revoked::Person(person) => {
                hub.disconnect(&Selector::Person(person), close::REVOKED);
                hub.disconnect(&Selector::Actor(person), close::REVOKED);
            }
            // Comes back with the same token and gets what it allows now.
            Revoked::Rights(person) => {
                hub.disconnect(&Selector::Person(person), close::FORCE_RECONNECT);
                hub.disconnect(&Selector::Actor(person), close::FORCE_RECONNECT);
            }
            Revoked::Family(family) => hub.disconnect(&Selector::Family(family), close::REVOKED),
            Revoked::Organization(organization) => {
                hub.disconnect(&Selector::Organization(organization), close::FORCE_RECONNECT);
            }
            Revoked::Workbox(person, id) => {
                for channel in [workbox_channel(id), internal_channel(id)] {
                    hub.unsubscribe(&channel, &Selector::Person(person), unsubscribe::REMOVED);
                }
            }
            Revoked::Session(person, id) => {
                hub.unsubscribe(&session_channel(id), &Selector::Person(person), unsubscribe::REMOVED);
            }
            // Names an application and authorises nothing: who is connected was let in by a token.
            Revoked::ApiKey(_) => {}
        }
    }
}
