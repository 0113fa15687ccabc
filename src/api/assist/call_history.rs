//! What happened in a call, as two lists of the contract: `hermes_call_event` and `call_event_stream`.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    base::clock::Timestamp,
    domain::ids::{CallId, PersonId},
    service::{attachments::AttachmentView, call_records::CallRecord, views::Avatar},
    store::sessions::PersonRow,
};

/// `brief_userV1`.
#[derive(Clone, Debug, Serialize)]
struct BriefUser {
    id: PersonId,
    name: String,
    avatar: Avatar,
}

impl BriefUser {
    fn of(person: &PersonRow) -> Self {
        Self { id: person.id, name: person.name().to_owned(), avatar: Avatar::default() }
    }
}

/// `call_event_stream`: one entry.
#[derive(Debug, Serialize)]
pub struct Entry {
    #[serde(rename = "type")]
    kind: &'static str,
    datetime: Timestamp,
    data: Data,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Request { from: Option<BriefUser>, to: Option<BriefUser>, is_group: bool, reason: String },
    Event { call_id: CallId, event_type: &'static str, participant: Option<BriefUser> },
    Attachment(Box<AttachedFile>),
}

/// `call_attachmentV1`.
#[derive(Debug, Serialize)]
struct AttachedFile {
    id: i64,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    mime_type: String,
    status: &'static str,
    deleted: bool,
    progress: i64,
    timestamp: i64,
    creator: BriefUser,
    path: Option<String>,
    signed_url: Option<String>,
    thumbnail: Option<String>,
}

impl AttachedFile {
    fn of(view: AttachmentView) -> Self {
        Self {
            id: view.id.0,
            kind: view.kind,
            name: view.name,
            mime_type: view.mime_type,
            status: "finished",
            deleted: view.deleted,
            progress: view.progress,
            timestamp: view.timestamp.unix_seconds(),
            creator: BriefUser { id: view.creator.id, name: view.creator.name, avatar: Avatar::default() },
            path: view.path,
            signed_url: view.signed_url,
            thumbnail: view.thumbnail,
        }
    }
}

/// Rings, comings and goings, attachments: in the order in which they happened.
pub fn stream(record: &CallRecord, attachments: Vec<AttachmentView>) -> Vec<Entry> {
    let user = |id: PersonId| record.people.get(&id).map(BriefUser::of);
    let event = |at: Timestamp, event_type: &'static str, person: Option<PersonId>| Entry {
        kind: "event",
        datetime: at,
        data: Data::Event { call_id: record.call.id.clone(), event_type, participant: person.and_then(user) },
    };
    let started_at = record.started_at();
    let rings = record.rings.iter().map(|ring| Entry {
        kind: "request",
        datetime: ring.created_at,
        data: Data::Request {
            from: user(ring.from_id),
            to: user(ring.to_id),
            is_group: false,
            reason: ring.state.clone(),
        },
    });
    let mut entries: Vec<Entry> = rings.collect();
    entries.push(event(started_at, "call_started", None));
    for stretch in &record.stretches {
        // Who waited for the call to start joined it when it did.
        let joined_at = stretch.joined_at.max(started_at);
        entries.push(event(joined_at, "participant_joined", Some(stretch.person_id)));
        if let Some(left_at) = stretch.left_at {
            entries.push(event(left_at, "participant_left", Some(stretch.person_id)));
        }
    }
    entries.extend(attachments.into_iter().map(|view| Entry {
        kind: "attachment",
        datetime: view.created_at,
        data: Data::Attachment(Box::new(AttachedFile::of(view))),
    }));
    // Stable: at one moment a start comes first, and the end is added last.
    entries.sort_by_key(|entry| entry.datetime);
    if let Some(ended_at) = record.call.ended_at {
        let place = entries.partition_point(|entry| entry.datetime <= ended_at);
        entries.insert(place, event(ended_at, "call_ended", None));
    }
    entries
}

/// `hermes_call_event`: times are numbers here. We collect no network statistics, so those are empty.
pub fn events(record: &CallRecord, now: Timestamp) -> Value {
    let call = &record.call;
    let person = |id: PersonId| record.people.get(&id);
    let name = |person: Option<&PersonRow>| person.map(|person| person.name().to_owned()).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of our times fit a double")]
    let seconds = |time: Timestamp| (time.0 / 1_000) as f64 / 1_000.0;
    let participants = record.participants();
    let parties: Vec<Value> = participants
        .iter()
        .map(|person| {
            json!({
                "id": person.id.to_string(),
                "name": person.name(),
                "email": person.email(),
                "username": person.username,
                "enterpriseId": person.organization_id.to_string(),
                "isAnonymous": person.is_anonymous(),
            })
        })
        .collect();
    let statistics: Vec<Value> = participants
        .iter()
        .map(|person| {
            let own = || record.stretches.iter().filter(|stretch| stretch.person_id == person.id);
            let first = own().map(|stretch| stretch.joined_at).min();
            let last = own().max_by_key(|stretch| stretch.joined_at);
            let device =
                json!({"appVersion": null, "deviceType": null, "deviceVersion": null, "networkType": null});
            let with = |extra: Value| {
                let mut object = device.clone();
                if let (Value::Object(object), Value::Object(extra)) = (&mut object, extra) {
                    object.extend(extra);
                }
                object
            };
            json!({
                "id": person.id.to_string(),
                "name": person.name(),
                "enterpriseId": person.organization_id.to_string(),
                "isDialer": person.id == call.dialer_id,
                "started": with(json!({"timestamp": first.map(Timestamp::unix_seconds)})),
                "ended": with(json!({
                    "timestamp": last.and_then(|stretch| stretch.left_at).map(Timestamp::unix_seconds),
                    "reason": last.and_then(|stretch| stretch.leave_reason.clone()),
                })),
                "network": {"avgQuality": null, "avgResult": null, "bandwidth": [], "packetLoss": []},
            })
        })
        .collect();
    let receiver = record.receiver();
    json!({
        "error": false,
        "call": {
            "callId": call.id,
            "session": call.id,
            "galdrSession": call.session_id,
            "openTokSession": null,
            "dialerId": call.dialer_id.to_string(),
            "dialerName": name(person(call.dialer_id)),
            "receiverId": receiver.map(|person| person.id.to_string()).unwrap_or_default(),
            "receiverName": name(receiver),
            "participants": parties,
            "intraEnterpriseCall": participants.iter().all(|person| person.organization_id == call.organization_id),
            "callDuration": record.duration(now),
            "reasonCallEnded": if call.ended_at.is_some() { "Call Ended" } else { "" },
            "timeCallStarted": seconds(record.started_at()),
            "timeCallEnded": call.ended_at.map(seconds),
            "timestamp": record.started_at().unix_seconds(),
            "lastEvaluatedTimestamp": null,
            "recordingStatus": call.recording_status,
            "recordingError": null,
            "recordingBucket": null,
            "recordingPath": null,
        },
        "stats": {
            "session": call.id,
            "timestamp": record.started_at().unix_seconds(),
            "overallQuality": null,
            "participantStats": statistics,
        },
    })
}
