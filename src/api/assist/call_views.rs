//! Calls as the contract shows them: `hermes_call` and its relatives, with what clients read beyond the seed
//! (SEMANTICS section 6.5).

use serde::Serialize;

use crate::{
    base::clock::Timestamp,
    domain::ids::{CallId, ConversationId, OrgId, PersonId, RingId, SessionId},
    service::{
        call_records::{CallRecord, Recent},
        views::Avatar,
    },
    store::{calls::RingRow, sessions::PersonRow},
};

/// What clients take for a call that went well.
const CALL_ENDED: &str = "Call Ended";

/// Unix seconds with milliseconds, as text.
fn seconds_text(time: Timestamp) -> String {
    format!("{}.{:03}", time.unix_seconds(), time.0.rem_euclid(1_000_000) / 1_000)
}

/// `hermes_call_user`, `hermes_call_participant`.
#[derive(Clone, Debug, Serialize)]
pub struct Party {
    id: String,
    name: String,
    email: String,
    username: Option<String>,
    #[serde(rename = "enterpriseId")]
    enterprise_id: String,
    #[serde(rename = "isAnonymous")]
    is_anonymous: bool,
}

impl Party {
    fn of(person: &PersonRow) -> Self {
        Self {
            id: person.id.to_string(),
            name: person.name().to_owned(),
            email: person.email().to_owned(),
            username: person.username.clone(),
            enterprise_id: person.organization_id.to_string(),
            is_anonymous: person.is_anonymous(),
        }
    }
}

/// `call_ratings`.
#[derive(Clone, Debug, Serialize)]
struct Rating {
    participant_id: String,
    rating: String,
}

fn ratings(record: &CallRecord) -> Vec<Rating> {
    let rating = |(person, rating): &(PersonId, i64)| Rating {
        participant_id: person.to_string(),
        rating: rating.to_string(),
    };
    record.ratings.iter().map(rating).collect()
}

/// An entry of `requests`: the history of one ring.
#[derive(Clone, Debug, Serialize)]
struct RequestHistory {
    request_id: RingId,
    requests: [RequestEntry; 1],
}

#[derive(Clone, Debug, Serialize)]
struct RequestEntry {
    from: String,
    to: String,
    timestamp: String,
    reason: String,
}

impl RequestHistory {
    fn of(ring: &RingRow) -> Self {
        let entry = RequestEntry {
            from: ring.from_id.to_string(),
            to: ring.to_id.to_string(),
            timestamp: seconds_text(ring.created_at),
            reason: ring.state.clone(),
        };
        Self { request_id: ring.id, requests: [entry] }
    }
}

/// `hermes_call`. `session` holds the call's id and both spellings of the dialer's are there: clients read them so.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HermesCall {
    session: CallId,
    #[serde(rename = "call_id")]
    call_id: CallId,
    #[serde(rename = "session_id")]
    session_id: SessionId,
    enterprise_id: String,
    dialer: Option<Party>,
    #[serde(rename = "dialderId")]
    dialder_id: String,
    dialer_id: String,
    dialer_name: String,
    receiver: Option<Party>,
    receiver_id: String,
    receiver_name: String,
    #[serde(rename = "owner_id")]
    owner_id: String,
    #[serde(rename = "owner_name")]
    owner_name: String,
    #[serde(rename = "owner_email")]
    owner_email: String,
    participants: Vec<Party>,
    time_call_started: String,
    time_call_ended: String,
    call_duration: u64,
    reason_call_ended: &'static str,
    timestamp: String,
    intra_enterprise_call: bool,
    recording_status: Option<String>,
    recording_url: Option<String>,
    recording_error: Option<String>,
    #[serde(rename = "archive_id")]
    archive_id: Option<String>,
    #[serde(rename = "has_attachments")]
    has_attachments: bool,
    ratings: Vec<Rating>,
    tags: Vec<String>,
    requests: Vec<RequestHistory>,
    request_for: String,
    groups: Vec<String>,
    #[serde(rename = "workbox_id")]
    workbox_id: Option<ConversationId>,
    #[serde(rename = "workbox_v2_id")]
    workbox_v2_id: Option<ConversationId>,
    #[serde(rename = "alt1_id")]
    alt1_id: Option<String>,
    #[serde(rename = "alt2_id")]
    alt2_id: Option<String>,
    #[serde(rename = "alt3_id")]
    alt3_id: Option<String>,
    #[serde(rename = "extra_info")]
    extra_info: Option<String>,
}

fn name_of(person: Option<&PersonRow>) -> String {
    person.map(|person| person.name().to_owned()).unwrap_or_default()
}

fn intra_enterprise(record: &CallRecord) -> bool {
    record.participants().iter().all(|person| person.organization_id == record.call.organization_id)
}

impl HermesCall {
    /// The record as of `now`.
    pub fn of(record: &CallRecord, now: Timestamp) -> Self {
        let call = &record.call;
        let person = |id: PersonId| record.people.get(&id);
        let (dialer, owner, receiver) = (person(call.dialer_id), person(call.owner_id), record.receiver());
        let started_at = record.started_at();
        Self {
            session: call.id.clone(),
            call_id: call.id.clone(),
            session_id: call.session_id,
            enterprise_id: call.organization_id.to_string(),
            dialer: dialer.map(Party::of),
            dialder_id: call.dialer_id.to_string(),
            dialer_id: call.dialer_id.to_string(),
            dialer_name: name_of(dialer),
            receiver: receiver.map(Party::of),
            receiver_id: receiver.map(|person| person.id.to_string()).unwrap_or_default(),
            receiver_name: name_of(receiver),
            owner_id: call.owner_id.to_string(),
            owner_name: name_of(owner),
            owner_email: owner.map(|person| person.email().to_owned()).unwrap_or_default(),
            participants: record.participants().into_iter().map(Party::of).collect(),
            time_call_started: seconds_text(started_at),
            time_call_ended: call.ended_at.map(seconds_text).unwrap_or_default(),
            call_duration: record.duration(now),
            reason_call_ended: if call.ended_at.is_some() { CALL_ENDED } else { "" },
            timestamp: started_at.date_time().format("%b %-d, %Y %H:%M").to_string(),
            intra_enterprise_call: intra_enterprise(record),
            recording_status: call.recording_status.clone(),
            recording_url: None,
            recording_error: None,
            archive_id: None,
            has_attachments: record.has_attachments,
            ratings: ratings(record),
            tags: record.tags.clone(),
            requests: record.rings.iter().map(RequestHistory::of).collect(),
            request_for: String::new(),
            groups: Vec::new(),
            workbox_id: call.conversation_id,
            workbox_v2_id: call.conversation_id,
            alt1_id: call.alt1_id.clone(),
            alt2_id: call.alt2_id.clone(),
            alt3_id: call.alt3_id.clone(),
            extra_info: call.extra_info.clone(),
        }
    }
}

/// `session_call`.
#[derive(Debug, Serialize)]
pub struct SessionCall {
    session_id: SessionId,
    call_id: CallId,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    duration: u64,
    complete: bool,
    successful: bool,
    dialer: Option<SessionCallUser>,
    receiver: Option<SessionCallUser>,
    recording_status: Option<String>,
    recording_url: Option<String>,
}

#[derive(Debug, Serialize)]
struct SessionCallUser {
    id: String,
    name: String,
    email: String,
}

impl SessionCall {
    /// The record as of `now`. A call that started was answered: it is successful once it is complete.
    pub fn of(record: &CallRecord, now: Timestamp) -> Self {
        let user = |person: &PersonRow| SessionCallUser {
            id: person.id.to_string(),
            name: person.name().to_owned(),
            email: person.email().to_owned(),
        };
        let call = &record.call;
        Self {
            session_id: call.session_id,
            call_id: call.id.clone(),
            start_time: record.started_at(),
            end_time: call.ended_at,
            duration: record.duration(now),
            complete: call.ended_at.is_some(),
            successful: call.ended_at.is_some(),
            dialer: record.people.get(&call.dialer_id).map(user),
            receiver: record.receiver().map(user),
            recording_status: call.recording_status.clone(),
            recording_url: None,
        }
    }
}

/// `recent_call`.
#[derive(Debug, Serialize)]
pub struct RecentCall {
    contact: Option<CallContact>,
    contact_name: String,
    duration: u64,
    has_attachments: bool,
    is_group: bool,
    outgoing: bool,
    participants: Vec<RecentParticipant>,
    ratings: Vec<Rating>,
    reason: String,
    start_time: Timestamp,
    status: bool,
    tags: Vec<String>,
    call_id: Option<CallId>,
    session_id: Option<SessionId>,
}

#[derive(Debug, Serialize)]
struct CallContact {
    active: bool,
    anonymous: bool,
    available: bool,
    avatar: Avatar,
    email: String,
    enterprise_ids: [OrgId; 1],
    favorite: bool,
    id: String,
    is_group: bool,
    name: String,
    status: String,
    tags: [String; 0],
    token: Option<String>,
    username: Option<String>,
}

/// `participant`.
#[derive(Debug, Serialize)]
struct RecentParticipant {
    id: String,
    name: String,
    email: String,
    username: Option<String>,
    title: Option<String>,
    location: Option<String>,
    #[serde(rename = "enterpriseId")]
    enterprise_id: OrgId,
    #[serde(rename = "isAnonymous")]
    is_anonymous: bool,
}

impl RecentCall {
    /// The entry as of `now`.
    pub fn of(recent: &Recent, now: Timestamp) -> Self {
        let contact = recent.contact.as_ref().map(|person| CallContact {
            active: person.active && !person.removed,
            anonymous: person.is_anonymous(),
            available: person.unavailable_expires_at.is_none_or(|until| until <= now),
            avatar: Avatar::default(),
            email: person.email().to_owned(),
            enterprise_ids: [person.organization_id],
            favorite: recent.favorite,
            id: person.id.to_string(),
            is_group: false,
            name: person.name().to_owned(),
            status: person.status.to_string(),
            tags: [],
            token: recent.token.clone(),
            username: person.username.clone(),
        });
        let participants = recent.call.iter().flat_map(CallRecord::participants);
        let participants = participants.map(|person| RecentParticipant {
            id: person.id.to_string(),
            name: person.name().to_owned(),
            email: person.email().to_owned(),
            username: person.username.clone(),
            title: person.title.clone(),
            location: person.location.clone(),
            enterprise_id: person.organization_id,
            is_anonymous: person.is_anonymous(),
        });
        Self {
            contact_name: name_of(recent.contact.as_ref()),
            contact,
            duration: recent.call.as_ref().map_or(0, |call| call.duration(now)),
            has_attachments: recent.call.as_ref().is_some_and(|call| call.has_attachments),
            is_group: false,
            outgoing: recent.outgoing,
            participants: participants.collect(),
            ratings: recent.call.as_ref().map(ratings).unwrap_or_default(),
            reason: recent.outcome.clone(),
            start_time: recent.call.as_ref().map_or(recent.at, CallRecord::started_at),
            status: recent.outcome == "accepted",
            tags: recent.call.as_ref().map(|call| call.tags.clone()).unwrap_or_default(),
            call_id: recent.call.as_ref().map(|call| call.call.id.clone()),
            session_id: recent.call.as_ref().map(|call| call.call.session_id),
        }
    }
}
