//! What clients may publish: typing, pointers, strokes, freeze frames, and messages (SECURITY rule 18). Id, actor and
//! time are the server's.

use serde::Deserialize;
use serde_json::Value;

use super::{Channel, Gateway, channels};
use crate::{
    domain::{caller::Caller, codes::Code, error::Error, permission::Permissions},
    realtime::{
        disconnect::error,
        hub::Audience,
        port::{ConnectionId, Identity, Refusal},
    },
    service::tools::actor_of,
};

/// Whether a channel is of a kind.
type Fits = fn(Channel) -> bool;

/// Ephemeral types and the kinds of channel that they may go to.
const KINDS: &[(&str, Fits)] = &[
    ("typing", |channel| matches!(channel, Channel::Workbox(_) | Channel::Internal(_) | Channel::Session(_))),
    ("pointer", |channel| matches!(channel, Channel::Session(_))),
    ("annotation", |channel| matches!(channel, Channel::Session(_))),
    ("freeze", |channel| matches!(channel, Channel::Session(_))),
];

#[derive(Deserialize)]
struct Publication {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Value,
}

impl Gateway {
    pub(super) async fn publish_for(
        &self,
        _: ConnectionId,
        identity: &Identity,
        name: &str,
        data: &[u8],
    ) -> Result<(), Refusal> {
        let Some(channel) = Channel::parse(name) else { return Err(error::UNKNOWN_CHANNEL.into()) };
        let caller = identity.caller().map_err(Refusal::of_channel)?;
        let publication: Publication = serde_json::from_slice(data).map_err(|problem| {
            Error::new(Code::ParametersInvalid, "a publication is an object with a `type`").because(problem)
        })?;
        if publication.kind == "message" {
            return Ok(self.send_published(caller, channel, data).await?);
        }
        self.publish_ephemeral(caller, name, &publication.kind, &publication.data)
            .await
            .map_err(Refusal::of_channel)
    }

    /// Passes something on to a channel's subscribers, when the caller may.
    pub(super) async fn publish_ephemeral(
        &self,
        caller: &Caller,
        name: &str,
        kind: &str,
        data: &Value,
    ) -> Result<(), Error> {
        let channel = Channel::parse(name).ok_or_else(|| Error::not_found("channel"))?;
        let kind = KINDS
            .iter()
            .find(|(known, fits)| *known == kind && fits(channel))
            .map(|(kind, _)| *kind)
            .ok_or_else(|| {
                Error::new(
                    Code::ParametersInvalid,
                    "only typing, pointer, annotation, freeze and message go here",
                )
            })?;
        let needed = match channel {
            Channel::Session(_) => Permissions::CALL,
            _ => Permissions::USE_WORKBOXES,
        };
        caller.require(needed)?;
        channels::may_publish(&self.db, caller, channel).await?;
        self.teller.tell(caller.organization, name, kind, Some(&actor_of(caller)), data, Audience::Everyone);
        Ok(())
    }
}
