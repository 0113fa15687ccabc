//! What members change about a thread: title, people, status, who works on it.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Change, WorkboxView, Workboxes,
    view::{ParticipantView, ThreadEvent},
};
use crate::{
    domain::{
        caller::Caller,
        custom_field::Mandatory,
        error::{Error, Result},
        ids::{ConversationId, ParticipantId, PersonId},
        machine::conversation::{Conversation, Member, Status},
        once::Once,
    },
    service::{sessions::follow_removal, tokens::Revoked},
    store::{
        conversations,
        people::{self, PersonRow},
    },
};

/// Longest title, in characters.
pub const TITLE_LIMIT: usize = 255;

/// `workbox.removed` in the inbox of somebody who has no business there any more.
#[derive(Serialize)]
struct RemovedEvent {
    id: ConversationId,
    workbox_id: ConversationId,
}

impl Workboxes {
    /// Sets the title.
    pub async fn set_title(&self, caller: &Caller, id: ConversationId, title: &str) -> Result<WorkboxView> {
        let title = checked_title(title)?;
        self.change(caller, id, &Once::none(), move |state, change| {
            state.rename(title);
            change.updated(state, &["title"]);
            Ok(())
        })
        .await
    }

    /// Makes `coworkers` the members of the thread, as a whole. Its creator, the caller and guests stay.
    pub async fn set_participants(
        &self,
        caller: &Caller,
        id: ConversationId,
        coworkers: Vec<PersonId>,
    ) -> Result<WorkboxView> {
        let me = caller.person()?;
        let people = self.members_of(caller, &coworkers).await?;
        let former = conversations::former_members(&self.tools.db, id).await?;
        let inboxes = conversations::inboxes(&self.tools.db, id).await?;
        let fresh: Vec<ParticipantId> = self.tools.ids.reserve(coworkers.len()).await?.collect();
        let removed = Arc::new(std::sync::OnceLock::new());
        let told = Arc::clone(&removed);
        let view = self
            .change(caller, id, &Once::none(), move |state, change| {
                let (added, gone) = state.coworkers_changed(&coworkers, me);
                let mut fresh = fresh.into_iter();
                for person in people.iter().filter(|person| added.contains(&person.id)) {
                    let place = former.get(&person.id).cloned().or_else(|| {
                        fresh.next().map(|participant| Member { participant, ..Member::default() })
                    });
                    // As many numbers were taken as people can come in.
                    let Some(place) = place else { continue };
                    change.row(conversations::add_participant(
                        place.participant,
                        id,
                        person.id,
                        place.guest,
                        place.creator,
                        change.now,
                    ));
                    let view = ParticipantView::of_new(person, &place, change.now);
                    state.add(person.id, place);
                    change.events.add(state.stream, "participant.added", &view);
                    let thread = ThreadEvent::new(state, &[], change.now);
                    change.events.add(person.stream_id, "workbox.added", &thread);
                }
                let assigned = state.assigned_to;
                for person in &gone {
                    let Some(place) = state.remove(*person) else { continue };
                    change.row(conversations::remove_participant(id, *person, change.now));
                    let gone = Gone { id: place.participant, user_id: *person, workbox_id: id };
                    change.events.add(state.stream, "participant.removed", &gone);
                    if let Some((_, inbox)) = inboxes.iter().find(|(known, _)| known == person) {
                        change.events.add(*inbox, "workbox.removed", &RemovedEvent { id, workbox_id: id });
                    }
                }
                if assigned != state.assigned_to {
                    change.tell(state, "workbox.unassigned", &["assigned_to", "status"]);
                }
                if !added.is_empty() || !gone.is_empty() {
                    change.row(conversations::save(state, change.now));
                }
                // Set once: the closure runs once.
                let _ = told.set(gone);
                Ok(())
            })
            .await?;
        for person in removed.get().into_iter().flatten() {
            self.tokens.revoke(Revoked::Workbox(*person, id));
            follow_removal(&self.tools.db, &self.tools.sessions, caller, id, *person).await?;
        }
        Ok(view)
    }

    /// Closes the thread, unless a field that must be filled by then is empty.
    pub async fn close(&self, caller: &Caller, id: ConversationId, once: &Once) -> Result<WorkboxView> {
        let definitions = self.definitions_of(caller.organization).await?;
        self.change(caller, id, once, move |state, change| {
            let missing: Vec<_> = definitions
                .iter()
                .filter(|field| field.mandatory == Mandatory::MandatoryOnClose)
                .filter(|field| {
                    state.thread.fields.get(&field.id).is_none_or(|value| field.shown(value).is_null())
                })
                .map(|field| format!("{} ({})", field.id, field.name))
                .collect();
            if state.status != Status::Closed && !missing.is_empty() {
                return Err(Error::constraint(format!(
                    "the workbox cannot be closed before these custom fields are filled: {}",
                    missing.join(", ")
                )));
            }
            state.close(change.now)?;
            change.row(conversations::save(state, change.now));
            change.tell(state, "workbox.closed", &["status", "closed_at"]);
            Ok(())
        })
        .await
    }

    /// Opens a closed thread again.
    pub async fn reopen(&self, caller: &Caller, id: ConversationId, once: &Once) -> Result<WorkboxView> {
        self.change(caller, id, once, move |state, change| {
            state.reopen()?;
            change.row(conversations::save(state, change.now));
            change.tell(state, "workbox.reopened", &["status", "closed_at"]);
            Ok(())
        })
        .await
    }

    /// Hands the thread to a participant, or to nobody.
    pub async fn assign(
        &self,
        caller: &Caller,
        id: ConversationId,
        person: Option<PersonId>,
        once: &Once,
    ) -> Result<WorkboxView> {
        let person = match person {
            Some(person) => self.members_of(caller, &[person]).await?.pop(),
            None => None,
        };
        self.change(caller, id, once, move |state, change| {
            let assignee = person.as_ref().map(|person| (person.id, person.name.clone()));
            if !state.assign(assignee, change.now)? {
                return Ok(());
            }
            change.row(conversations::save(state, change.now));
            let kind = if person.is_some() { "workbox.assigned" } else { "workbox.unassigned" };
            change.tell(state, kind, &["assigned_to", "status", "assigned_at"]);
            if let Some(person) = &person {
                let thread = ThreadEvent::new(state, &[], change.now);
                change.events.add(person.stream_id, "workbox.assigned", &thread);
            }
            Ok(())
        })
        .await
    }

    /// The rows of these active members of the caller's organisation; an error names the first who is none.
    pub(super) async fn members_of(&self, caller: &Caller, ids: &[PersonId]) -> Result<Vec<PersonRow>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = people::many(&self.tools.db, caller.organization, ids.iter().copied()).await?;
        let known =
            |id: &PersonId| rows.iter().any(|row| row.id == *id && row.active && row.kind == "member");
        match ids.iter().find(|id| !known(id)) {
            Some(stranger) => {
                Err(Error::invalid(format!("no user with the id {stranger} in this organisation")))
            }
            None => Ok(rows),
        }
    }
}

/// Who left.
#[derive(Serialize)]
struct Gone {
    id: ParticipantId,
    user_id: PersonId,
    workbox_id: ConversationId,
}

impl Change {
    /// Stores the thread and tells that it was updated.
    pub(super) fn updated(&mut self, state: &Conversation, changed: &[&'static str]) {
        self.row(conversations::save(state, self.now));
        self.tell(state, "workbox.updated", changed);
    }

    /// Tells of the thread as it stands now.
    pub(super) fn tell(&mut self, state: &Conversation, kind: &'static str, changed: &[&'static str]) {
        self.events.add(state.stream, kind, &ThreadEvent::new(state, changed, self.now));
    }
}

/// A title without control characters, within its limit.
pub(super) fn checked_title(title: &str) -> Result<String> {
    let title = title.trim();
    if title.chars().count() > TITLE_LIMIT || title.contains(char::is_control) {
        return Err(Error::invalid(format!(
            "title: at most {TITLE_LIMIT} characters, without control characters"
        )));
    }
    Ok(title.to_owned())
}
