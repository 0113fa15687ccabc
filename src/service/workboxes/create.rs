//! Threads that begin.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    FieldInput, WorkboxView, Workboxes,
    change::checked_title,
    view::{ParticipantView, ThreadEvent, field_values},
};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        codes::Code,
        custom_field::Mandatory,
        error::{Error, Result},
        event::{StreamKind, internal_channel, workbox_channel},
        ids::{ConversationId, ParticipantId, PersonId, StreamId},
        machine::conversation::{Conversation, Member, Status, Thread},
        once::Once,
    },
    journal::{Append, Guard, NewStream, Refusal},
    service::tools::{Events, Tools, actor_of},
    store::conversations::{self, NewConversation},
};

/// Longest description, in characters.
const DESCRIPTION_LIMIT: usize = 4_000;
/// Most people of a new thread.
const PEOPLE_LIMIT: usize = 1_000;

const CALL_TAKEN: Refusal = Refusal::new(Code::Constraint, "the call has a workbox");

/// A thread that somebody wants to open.
#[derive(Debug, Default)]
pub struct NewWorkbox {
    /// Free text.
    pub title: String,
    /// Free text.
    pub description: String,
    /// Members besides the caller.
    pub participants: Vec<PersonId>,
    /// Values of custom fields.
    pub fields: Vec<FieldInput>,
    /// The call that the server makes it for: then no field is asked for.
    pub call: Option<String>,
}

impl Workboxes {
    /// Opens a thread; the caller is its first member.
    pub async fn create(&self, caller: &Caller, new: NewWorkbox, once: &Once) -> Result<WorkboxView> {
        if let Some(first) = once.replayed::<ConversationId>()? {
            return self.get(caller, first).await;
        }
        let creator = caller.person()?;
        if caller.is_outsider() {
            return Err(Error::forbidden("guests cannot open threads"));
        }
        if new.description.chars().count() > DESCRIPTION_LIMIT || new.description.contains('\0') {
            return Err(Error::invalid(format!("description: at most {DESCRIPTION_LIMIT} characters")));
        }
        let mut wanted = vec![creator];
        wanted.extend(new.participants.iter().copied().filter(|id| *id != creator));
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.len() > PEOPLE_LIMIT {
            return Err(Error::invalid(format!("participant_ids: at most {PEOPLE_LIMIT}")));
        }
        let people = self.members_of(caller, &wanted).await?;
        let definitions = self.definitions_of(caller.organization).await?;
        let fields = first_values(&definitions, &new.fields, new.call.is_some())?;

        let tools = &self.tools;
        let id = tools.ids.next::<ConversationId>()?;
        let streams = (tools.ids.next::<StreamId>()?, tools.ids.next::<StreamId>()?);
        let places = tools.ids.reserve::<ParticipantId>(people.len()).await?;
        let now = tools.clock.now();
        let state = Conversation {
            id,
            organization: caller.organization,
            stream: streams.0,
            internal_stream: streams.1,
            status: Status::Reported,
            assigned_to: None,
            thread: Thread {
                title: checked_title(&new.title)?,
                description: new.description,
                created_by: creator,
                reported_at: now,
                fields,
                ..Thread::default()
            },
            last_message: <_>::default(),
            last_internal: <_>::default(),
            version: 1,
            members: BTreeMap::new(),
            announced_at: Timestamp(0),
            recent: <_>::default(),
            tallying: <_>::default(),
        };

        let mut events = Events::new(&tools.random, now, Some(Arc::new(actor_of(caller))));
        let mut rows = vec![conversations::insert(&NewConversation {
            id,
            uuid: tools.random.uuid_v7(now),
            organization: caller.organization,
            streams,
            title: &state.thread.title,
            description: &state.thread.description,
            creator,
            call: new.call.as_deref(),
            now,
        })];
        let mut participants = Vec::with_capacity(people.len());
        for (person, participant) in people.iter().zip(places) {
            let member = Member { participant, creator: person.id == creator, ..Member::default() };
            rows.push(conversations::add_participant(participant, id, person.id, false, member.creator, now));
            participants.push(ParticipantView::of_new(person, &member, now));
        }
        for (field, value) in &state.thread.fields {
            rows.push(conversations::set_field(id, *field, Some(value)));
        }
        let values = field_values(&definitions, &state.thread.fields);
        let thread = ThreadEvent::new(&state, &[], now).with_participants(&participants).with_fields(&values);
        events.add(streams.0, "workbox.created", &thread);
        for person in &people {
            events.add(person.stream_id, "workbox.added", &ThreadEvent::new(&state, &[], now));
        }
        let mut append = rows.into_iter().fold(events.into_append(), Append::with);
        append.streams = [
            (streams.0, StreamKind::Workbox, workbox_channel(id)),
            (streams.1, StreamKind::Internal, internal_channel(id)),
        ]
        .map(|(id, kind, channel)| NewStream { id, organization: caller.organization, kind, channel })
        .into();
        append.guards.extend(
            new.call
                .as_deref()
                .map(|call| Guard::Holds { stmt: conversations::call_is_free(call), otherwise: CALL_TAKEN }),
        );
        Tools::remember(tools.keep_outcomes, &mut append, once, &id, now);
        tools.journal.append(append).await?;
        self.get(caller, id).await
    }
}

/// The values that a thread begins with: those sent, defaults for the rest. What is mandatory must be there, unless
/// the server opens the thread by itself.
fn first_values(
    definitions: &[crate::domain::custom_field::Definition],
    sent: &[FieldInput],
    by_itself: bool,
) -> Result<BTreeMap<crate::domain::ids::CustomFieldId, Arc<str>>> {
    let sent = super::fields::checked_values(definitions, sent)?;
    let mut values = BTreeMap::new();
    let mut missing = Vec::new();
    for field in definitions {
        let value = match sent.iter().find(|(id, _)| *id == field.id) {
            Some((_, value)) => value.clone(),
            None => (!field.default.is_null()).then(|| Arc::from(field.default.to_string())),
        };
        match value {
            Some(value) => drop(values.insert(field.id, value)),
            None if field.mandatory == Mandatory::MandatoryOnCreation => {
                missing.push(format!("{} ({})", field.id, field.name));
            }
            None => {}
        }
    }
    if !missing.is_empty() && !by_itself {
        let missing = missing.join(", ");
        return Err(Error::invalid(format!(
            "custom_fields: these must be filled from the beginning: {missing}"
        )));
    }
    Ok(values)
}
