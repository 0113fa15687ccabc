//! How messages look.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, MessageId, Offset},
    journal::MessageRow,
    service::views::{Avatar, BriefContact},
    store::{messages::StoredMessage, people::BriefPerson},
};

/// A message as shown (contract: `workbox_message`).
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// Its number.
    pub id: MessageId,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its conversation.
    pub workbox_id: ConversationId,
    /// `Text` ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of the metadata format.
    pub version: i64,
    /// JSON as a string.
    pub metadata: String,
    /// Hidden from guests.
    pub internal: bool,
    /// The client's time of sending.
    pub sent_at: Timestamp,
    /// Who wrote it.
    pub user: Option<BriefContact>,
    /// The name it was written under.
    pub user_name: String,
    /// Was edited.
    pub edited: bool,
    /// Last edit.
    pub edited_at: Option<Timestamp>,
    /// Was deleted.
    pub deleted: bool,
    /// Deletion.
    pub deleted_at: Option<Timestamp>,
    /// Read by the caller; not in events, which look alike to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<bool>,
    /// Offset of its `message.created` event; not in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
}

impl MessageView {
    /// With the author's picture, as replies (not events) show it.
    pub(super) fn with_avatar(mut self) -> Self {
        if let Some(user) = &mut self.user {
            user.avatar = Some(Avatar::default());
        }
        self
    }

    pub(super) fn of_row(row: &MessageRow, author: &BriefPerson) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            workbox_id: row.conversation,
            kind: row.kind.to_owned(),
            version: row.version,
            metadata: row.metadata.to_string(),
            internal: row.internal,
            sent_at: row.sent_at,
            user: Some(author.contact()),
            user_name: row.author_name.clone(),
            edited: false,
            edited_at: None,
            deleted: false,
            deleted_at: None,
            read: None,
            offset: None,
        }
    }

    pub(super) fn of_stored(row: StoredMessage, author: Option<&BriefPerson>) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            workbox_id: row.conversation_id,
            kind: row.kind,
            version: row.version,
            metadata: row.metadata,
            internal: row.internal,
            sent_at: row.sent_at,
            user: author.map(BriefPerson::contact),
            user_name: row.author_name,
            edited: row.edited_at.is_some(),
            edited_at: row.edited_at,
            deleted: row.deleted_at.is_some(),
            deleted_at: row.deleted_at,
            read: None,
            offset: Some(row.stream_offset),
        }
    }
}

impl BriefPerson {
    /// As shown in messages and events.
    pub fn contact(&self) -> BriefContact {
        BriefContact {
            id: self.id,
            name: self.name.clone(),
            username: self.username.clone(),
            title: self.title.clone(),
            location: self.location.clone(),
            avatar: None,
        }
    }
}
