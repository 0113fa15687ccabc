//! The envelope of an event on the bus: CloudEvents 1.0, structured JSON.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    base::{clock::Timestamp, trace::Trace},
    domain::{
        event::StreamKind,
        ids::{Offset, OrgId},
    },
};

/// `Content-Type` of a message on the bus.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// What an envelope says about an event.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Whose data it is.
    pub organization: OrgId,
    /// The kind of its stream.
    pub stream: StreamKind,
    /// The stream's channel behind the colon.
    pub stream_id: &'a str,
    /// The stream's epoch; `None` for an ephemeral event.
    pub epoch: Option<&'a str>,
    /// Its place in the stream; `None` for an ephemeral event.
    pub offset: Option<Offset>,
    /// The event's id.
    pub id: Uuid,
    /// `message.created` and so on.
    pub kind: &'a str,
    /// When it happened.
    pub time: Timestamp,
    /// The request it came of; `None` for events of before traces were kept.
    pub trace: Option<Trace>,
    /// The publication's `data` as JSON text.
    pub body: &'a str,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: Timestamp,
    orgid: OrgId,
    #[serde(skip_serializing_if = "Option::is_none")]
    streamepoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streamoffset: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<Trace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl Envelope<'_> {
    /// The whole event.
    pub fn encode(&self) -> Bytes {
        self.write(serde_json::from_str(self.body).ok())
    }

    /// The event without its `data`, for a bus that does not take one of its size: readers learn that it happened and
    /// read the stream from `streamoffset`.
    pub fn encode_without_data(&self) -> Bytes {
        self.write(None)
    }

    fn write(&self, data: Option<&RawValue>) -> Bytes {
        let event = CloudEvent {
            specversion: "1.0",
            id: self.id,
            source: source(self.organization, self.stream, self.stream_id),
            kind: format!("switchboard.{}", self.kind),
            subject: format!("{}:{}", self.stream.name(), self.stream_id),
            time: self.time,
            orgid: self.organization,
            streamepoch: self.epoch,
            streamoffset: self.offset,
            traceparent: self.trace,
            datacontenttype: data.map(|_| "application/json"),
            data,
        };
        // A struct with string keys: serialisation cannot fail.
        serde_json::to_vec(&event).unwrap_or_default().into()
    }
}

fn source(organization: OrgId, stream: StreamKind, id: &str) -> String {
    match stream {
        StreamKind::User => format!("/organizations/{organization}/users/{id}"),
        StreamKind::Org => format!("/organizations/{organization}"),
        StreamKind::Workbox => format!("/organizations/{organization}/workboxes/{id}"),
        StreamKind::Internal => format!("/organizations/{organization}/workboxes/{id}/internal"),
        StreamKind::Session => format!("/organizations/{organization}/sessions/{id}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_event_travels_whole() {
        let body = r#"{"id":"x","type":"message.created","data":{"text":"é"}}"#;
        let envelope = Envelope {
            organization: OrgId(12),
            stream: StreamKind::Workbox,
            stream_id: "42",
            epoch: Some("abc"),
            offset: Some(Offset(7)),
            id: Uuid::nil(),
            kind: "message.created",
            time: Timestamp(1_800_000_000_123_456),
            trace: Trace::from_bytes(&[0xab; 25]),
            body,
        };
        let sent: Value = serde_json::from_slice(&envelope.encode()).unwrap();
        let expected = json!({
            "specversion": "1.0", "id": Uuid::nil(), "source": "/organizations/12/workboxes/42",
            "type": "switchboard.message.created", "subject": "workbox:42", "time": "2027-01-15T08:00:00.123456Z",
            "orgid": 12, "streamepoch": "abc", "streamoffset": 7,
            "traceparent": format!("00-{}-{}-ab", "ab".repeat(16), "ab".repeat(8)), "datacontenttype": "application/json",
            "data": serde_json::from_str::<Value>(body).unwrap(),
        });
        assert_eq!(sent, expected);
        let bare: Value = serde_json::from_slice(&envelope.encode_without_data()).unwrap();
        assert!(bare.get("data").is_none() && bare["streamoffset"] == 7);
    }
}
