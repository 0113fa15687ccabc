//! What is told and not stored: to the subscribers of a stream of ours, and to the bus (contract: REALTIME sections 3
//! and 6).

use std::sync::Arc;

use serde::Serialize;

use crate::{
    base::{
        clock::Clock,
        random::Random,
        trace::{self, Trace},
    },
    bus::{Bus, Message, envelope::Envelope, subject},
    domain::{
        event::{Actor, StreamKind, encode_body},
        ids::OrgId,
    },
    realtime::hub::{Audience, Hub},
};

/// Sends ephemeral events. Cheap to clone.
#[derive(Clone)]
pub struct Teller {
    hub: Hub,
    bus: Option<Arc<dyn Bus>>,
    clock: Clock,
    random: Random,
}

impl Teller {
    /// To the sockets of `hub` and, where there is one, to the bus.
    pub fn new(hub: Hub, bus: Option<Arc<dyn Bus>>, clock: Clock, random: Random) -> Self {
        Self { hub, bus, clock, random }
    }

    /// Tells the subscribers of `channel`, a stream of the organisation; id and time are ours.
    pub fn tell<T: Serialize + ?Sized>(
        &self,
        organization: OrgId,
        channel: &str,
        kind: &'static str,
        actor: Option<&Actor>,
        data: &T,
        audience: Audience,
    ) {
        let now = self.clock.now();
        let id = self.random.uuid_v7(now);
        let body = encode_body(id, kind, now, actor, true, data);
        if let Some(bus) = &self.bus
            && let Some((stream, stream_id)) = channel.split_once(':')
            && let Some(stream) = StreamKind::by_name(stream)
            && let Ok(body) = std::str::from_utf8(&body)
        {
            let envelope = Envelope {
                organization,
                stream,
                stream_id,
                epoch: None,
                offset: None,
                id,
                kind,
                time: now,
                trace: Some(trace::current().unwrap_or_else(|| Trace::begin(&self.random))),
                body,
            };
            let subject = subject::live(organization, stream, stream_id, kind);
            bus.publish_live(Message { subject, id, payload: envelope.encode() });
        }
        self.hub.publish_ephemeral(channel, body, audience);
    }
}
