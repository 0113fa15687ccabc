//! How attachments look.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    base::clock::Timestamp,
    domain::ids::{AttachmentId, CallId, ConversationId, PersonId},
    service::views::Avatar,
    store::attachments::AttachmentRow,
};

/// Who uploaded it (contract: `attachment_creator`).
#[derive(Clone, Debug, Serialize)]
pub struct Creator {
    /// The person.
    pub id: PersonId,
    /// Display name.
    pub name: String,
    /// Their picture; left out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
}

/// An attachment as shown: `call_attachmentV1R1` and `workbox_attachment` of the contract in one. In events the
/// addresses are left out.
#[derive(Clone, Debug, Serialize)]
pub struct AttachmentView {
    /// Its number.
    pub id: AttachmentId,
    /// Its UUID.
    pub uuid: Uuid,
    /// incall, postcall, recording, thread.
    #[serde(rename = "type")]
    pub kind: String,
    /// File name.
    pub name: String,
    /// Media type.
    pub mime_type: String,
    /// Bytes.
    pub size: i64,
    /// Checksum in hexadecimal digits.
    pub sha256: String,
    /// ready, deleted.
    pub status: String,
    /// Was deleted: its addresses are empty.
    pub deleted: bool,
    /// Of the upload, in percent.
    pub progress: i64,
    /// Hidden from guests.
    pub internal: bool,
    /// Its call.
    pub call_id: Option<CallId>,
    /// Its help thread.
    pub workbox_id: Option<ConversationId>,
    /// Who uploaded it.
    pub creator: Creator,
    /// When it happened (in the call).
    pub timestamp: Timestamp,
    /// Upload.
    pub created_at: Timestamp,
    /// Where it stands, for people; empty once deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Address of the file for a short time; empty once deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_url: Option<String>,
    /// Address of the small picture for a short time; empty where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
}

impl AttachmentView {
    /// Without addresses.
    pub(super) fn in_events(row: &AttachmentRow) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            kind: row.kind.clone(),
            name: row.name.clone(),
            mime_type: row.mime_type.clone(),
            size: row.size,
            sha256: hex::encode(&row.sha256),
            status: row.status.clone(),
            deleted: row.deleted_at.is_some(),
            progress: 100,
            internal: row.internal,
            call_id: row.call_id.clone(),
            workbox_id: row.conversation_id,
            creator: Creator { id: row.creator_id, name: row.creator_name.clone(), avatar: None },
            timestamp: row.occurred_at,
            created_at: row.created_at,
            path: None,
            signed_url: None,
            thumbnail: None,
        }
    }
}
