//! Attachments of help threads: files for messages of type Image, Video, Audio and Document.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        error::{Error, Result},
        ids::{AttachmentId, ConversationId},
    },
    http::{Cx, Json, Query, Seg, Upload, flexible},
    operations,
    service::attachments::{AttachmentView, NewAttachment, Place, Received},
};

operations! {
    base "/v1r1/workbox/attachments";
    /// The thread's attachments, oldest first. Guests see none that are internal.
    GET "" => 200 list_workbox_attachments(Query<Page>) -> Json<Entries>, Workbox + USE_WORKBOXES, fails NotFound;
    /// Upload a file for a message.
    POST "" => 200 create_workbox_attachment(Upload) -> Json<AttachmentView>, Workbox + USE_WORKBOXES [upload],
        fails NotFound;
    /// One attachment with a fresh signed address.
    GET "/{id}" => 200 get_workbox_attachment(Seg<AttachmentId>) -> Json<AttachmentView>, Workbox + USE_WORKBOXES,
        fails NotFound;
    /// Delete an attachment: by whoever made it, or an administrator.
    DELETE "/{id}" => 200 delete_workbox_attachment(Seg<AttachmentId>) -> Json<AttachmentView>,
        Workbox + USE_WORKBOXES, fails NotFound;
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default = "left_to_us", deserialize_with = "flexible::number")]
    limit: i64,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    after: Option<AttachmentId>,
}

fn left_to_us() -> i64 {
    -1
}

#[derive(Debug, Serialize)]
struct Entries {
    entries: Vec<AttachmentView>,
    /// Where the next page starts; null after the last one.
    after: Option<String>,
}

async fn list_workbox_attachments(cx: &Cx, Query(page): Query<Page>) -> Result<Json<Entries>> {
    let after = page.after.unwrap_or(AttachmentId(0));
    let service = &cx.services.attachments;
    let (entries, next) = service.list_of_thread(&cx.caller, thread(cx)?, after, page.limit).await?;
    Ok(Json(Entries { entries, after: next.map(|id| id.to_string()) }))
}

async fn create_workbox_attachment(cx: &Cx, form: Upload) -> Result<Json<AttachmentView>> {
    let thread = thread(cx)?;
    let form = Form::read(cx, Place::Thread(thread), form).await?;
    let service = &cx.services.attachments;
    let internal = form.flag("internal")?;
    let (new, received) = form.finish()?;
    Ok(Json(service.create_for_thread(&cx.caller, &cx.once, thread, (new, internal), received).await?))
}

async fn get_workbox_attachment(cx: &Cx, Seg(id): Seg<AttachmentId>) -> Result<Json<AttachmentView>> {
    Ok(Json(cx.services.attachments.get_of_thread(&cx.caller, thread(cx)?, id).await?))
}

async fn delete_workbox_attachment(cx: &Cx, Seg(id): Seg<AttachmentId>) -> Result<Json<AttachmentView>> {
    let (service, thread) = (&cx.services.attachments, thread(cx)?);
    service.delete_of_thread(&cx.caller, thread, id).await?;
    Ok(Json(service.get_of_thread(&cx.caller, thread, id).await?))
}

/// The thread that the token is for.
fn thread(cx: &Cx) -> Result<ConversationId> {
    cx.caller.workbox.ok_or_else(|| Error::forbidden("this needs a workbox's token"))
}

/// An upload form whose file is stored and whose fields are read. Fields may stand before or behind the file.
#[derive(Debug)]
pub(super) struct Form {
    received: Option<Received>,
    file_name: Option<String>,
    media_type: Option<String>,
    fields: Vec<(String, String)>,
}

impl Form {
    /// Reads the form to its end; its file (part `attachment`) goes into the store for `place`.
    pub(super) async fn read(cx: &Cx, place: Place, mut form: Upload) -> Result<Self> {
        let mut read = Self { received: None, file_name: None, media_type: None, fields: Vec::new() };
        while let Some(part) = form.next().await? {
            if part.name() != "attachment" {
                let name = part.name().to_owned();
                read.fields.push((name, part.text().await?));
            } else if read.received.is_some() {
                return Err(Error::invalid("body: attachment: one file at a time"));
            } else {
                read.file_name = part.file_name().map(str::to_owned);
                read.media_type = part.media_type();
                read.received = Some(cx.services.attachments.receive(&cx.caller, &place, part).await?);
            }
        }
        Ok(read)
    }

    /// A field; the last one where it was sent several times.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// A boolean field; false when it was not sent.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.field(name) {
            None | Some("" | "false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Error::invalid(format!("body: {name}: must be true or false"))),
        }
    }

    /// The file and its description, from the fields `name` and `mime_type` or else from the file's own part.
    pub(super) fn finish(self) -> Result<(NewAttachment, Received)> {
        let said = |field: &str| self.field(field).filter(|text| !text.is_empty()).map(str::to_owned);
        let missing = |field: &str| Error::invalid(format!("body: {field}: missing"));
        let name = said("name").or_else(|| self.file_name.clone()).ok_or_else(|| missing("name"))?;
        let mime_type =
            said("mime_type").or_else(|| self.media_type.clone()).ok_or_else(|| missing("mime_type"))?;
        let received = self.received.ok_or_else(|| missing("attachment"))?;
        Ok((NewAttachment { name, mime_type }, received))
    }
}
