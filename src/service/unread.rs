//! Where somebody's number of unread messages may have changed since they were told: what the ephemeral event
//! `unread` of inboxes is made from.

use crate::{
    base::changes::Changes,
    domain::ids::{ConversationId, PersonId},
    journal::{AfterCommit, Commit},
};

/// Whom a change of a thread concerns: one person, or (`None`) everybody in it.
pub type Concerned = Option<PersonId>;

/// See the module. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Unread(Changes<ConversationId, Concerned>);

impl Unread {
    /// A person has read more of a thread.
    pub fn read(&self, conversation: ConversationId, person: PersonId) {
        self.0.note(conversation, Some(person));
    }

    /// What is to be told.
    pub fn changes(&self) -> &Changes<ConversationId, Concerned> {
        &self.0
    }
}

impl AfterCommit for Unread {
    fn committed(&self, commit: &Commit) {
        for event in &commit.events {
            if matches!(event.kind, "message.created" | "message.deleted")
                && let Some((_, id)) = event.channel.split_once(':')
                && let Ok(id) = id.parse()
            {
                self.0.note(ConversationId(id), None);
            }
        }
    }
}
