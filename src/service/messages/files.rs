//! Files that messages show. What is stored and told names the attachment and an address that gives no access by
//! itself; whoever reads the message over REST or rpc gets a fresh signed address in its place.

use serde_json::{Map, Value};

use super::{MessageView, Messages};
use crate::{
    domain::{
        caller::Caller,
        error::Result,
        ids::{AttachmentId, ConversationId, MessageId, OrgId},
    },
    journal::RowOp,
    store::attachments,
};

/// Types of messages that show a file.
const KINDS: &[&str] = &["Image", "Video", "Audio", "Document"];
const ADDRESS: &str = "url";
const NUMBER: &str = "attachment_id";
const NAME: &str = "attachment_uuid";

/// Metadata as they are stored, and the attachment that is to be deleted with the message.
pub(super) struct Reference {
    pub metadata: Value,
    pub attachment: Option<AttachmentId>,
}

/// The message owns the attachment from now on.
pub(super) fn show(attachment: AttachmentId, thread: ConversationId, message: MessageId) -> RowOp {
    RowOp::exec(attachments::show(attachment, thread, message))
}

impl Messages {
    /// Finds the attachment of the thread that metadata name, by `attachment_id` or by an address that we signed.
    pub(super) async fn refer(
        &self,
        caller: &Caller,
        thread: ConversationId,
        (kind, internal): (&str, bool),
        metadata: Value,
    ) -> Result<Reference> {
        let Some(files) = self.files.as_ref().filter(|_| KINDS.contains(&kind)) else {
            return Ok(Reference { metadata, attachment: None });
        };
        let Some(mut object) = object_of(&metadata) else {
            // Its check says what is wrong.
            return Ok(Reference { metadata, attachment: None });
        };
        // What it is called is ours to say.
        object.remove(NAME);
        let number = object.remove(NUMBER).and_then(|number| number.as_i64()).map(AttachmentId);
        let address = object.get(ADDRESS).and_then(Value::as_str).filter(|address| !address.is_empty());
        let Some(row) = files.to_show(caller, thread, (address, number), internal).await? else {
            return Ok(Reference { metadata: Value::Object(object), attachment: None });
        };
        object.insert(ADDRESS.to_owned(), files.lasting_address(row.id).into());
        object.insert(NUMBER.to_owned(), row.id.0.into());
        object.insert(NAME.to_owned(), row.uuid.to_string().into());
        object.entry("filename").or_insert_with(|| row.name.into());
        // Others may show it; with whom it was uploaded by it goes.
        let own = Some(row.creator_id) == caller.person;
        Ok(Reference { metadata: Value::Object(object), attachment: own.then_some(row.id) })
    }

    /// With a fresh address of the file that the message shows, for one reader.
    pub(super) fn addressed(&self, organization: OrgId, mut view: MessageView) -> MessageView {
        if let Some(files) = self.files.as_ref().filter(|_| KINDS.contains(&view.kind.as_str()))
            && let Ok(mut object) = serde_json::from_str::<Map<String, Value>>(&view.metadata)
            && let Some(file) = object.get(NAME).and_then(Value::as_str).and_then(|uuid| uuid.parse().ok())
        {
            object.insert(ADDRESS.to_owned(), files.address(organization, file).into());
            view.metadata = Value::Object(object).to_string();
        }
        view
    }
}

/// Metadata as an object, or as the JSON text that clients read back.
fn object_of(metadata: &Value) -> Option<Map<String, Value>> {
    match metadata {
        Value::Object(object) => Some(object.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}
