//! What people add to a call: attachments, comments, ratings, tags.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::{attachments::Form, success::Success};
use crate::{
    base::clock::Timestamp,
    domain::{
        codes::Code,
        error::{Error, Result},
        ids::{CallCommentId, CallId, PersonId},
    },
    http::{Body, Cx, Json, Seg, Upload, args::Opt, flexible},
    operations,
    service::{
        attachments::{AttachmentView, CallMoment, NewAttachment, Place},
        call_records::Comment,
        views::Avatar,
    },
};

/// Bytes of an attachment that comes as base64 in a JSON body.
const EMBEDDED_LIMIT: usize = 1024 * 1024;

operations! {
    base "/v1r1/user/calls/{call_id}";
    /// All attachments of a call, deleted ones marked.
    GET "/attachments" => 200 list_call_attachments(Seg<CallId>) -> Json<Vec<AttachmentView>>, User [no_store],
        fails NotFound;
    /// Attach a file to a call.
    POST "/attachments" => 200 create_call_attachment(Seg<CallId>, Opt<Upload>, Opt<Body<Embedded>>)
        -> Json<AttachmentView>, User + CALL [no_store, upload, limit(1_500_000)], fails NotFound;
    /// The comments on a call, the oldest first.
    GET "/comments" => 200 list_call_comments(Seg<CallId>) -> Json<Vec<CommentView>>, User, fails NotFound;
    /// Comment on a call.
    POST "/comments" => 200 create_call_comment(Seg<CallId>, Body<NewComment>) -> Json<CommentView>, User + CALL,
        fails NotFound;
    /// Rate a call with one to five; a second rating replaces the first.
    POST "/rating" => 200 rate_call(Seg<CallId>, Body<NewRating>) -> Json<Success>, User + CALL, fails NotFound;
    /// Add tags to a call.
    POST "/tags" => 200 add_call_tags(Seg<CallId>, Body<Vec<String>>) -> Json<Success>, User + CALL,
        fails NotFound | InvalidTag;
    /// Put these tags in place of the present ones.
    PUT "/tags" => 200 replace_call_tags(Seg<CallId>, Body<Vec<String>>) -> Json<Success>, User + CALL,
        fails NotFound | InvalidTag;
}

/// An attachment in a JSON body.
#[derive(Debug, Deserialize)]
struct Embedded {
    attachment: String,
    name: String,
    mime_type: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "flexible::optional_number")]
    timestamp: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct NewComment {
    comment: String,
}

#[derive(Debug, Deserialize)]
struct NewRating {
    #[serde(deserialize_with = "flexible::number")]
    rating: i64,
}

/// `call_comment`.
#[derive(Debug, Serialize)]
struct CommentView {
    id: CallCommentId,
    comment: String,
    creator: Vec<CommentCreator>,
    enterprise_id: String,
    inserted_at: Timestamp,
    updated_at: Timestamp,
}

/// `comments_creator`.
#[derive(Debug, Serialize)]
struct CommentCreator {
    id: PersonId,
    name: String,
    username: Option<String>,
    avatar: Avatar,
}

impl From<Comment> for CommentView {
    fn from(Comment { row, author }: Comment) -> Self {
        let creator = author.map(|person| CommentCreator {
            id: person.id,
            name: person.name().to_owned(),
            username: person.username.clone(),
            avatar: Avatar::default(),
        });
        Self {
            id: row.id,
            comment: row.comment,
            creator: creator.into_iter().collect(),
            enterprise_id: row.organization_id.to_string(),
            inserted_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

async fn list_call_attachments(cx: &Cx, Seg(id): Seg<CallId>) -> Result<Json<Vec<AttachmentView>>> {
    Ok(Json(cx.services.attachments.list_of_call(&cx.caller, &id).await?))
}

async fn create_call_attachment(
    cx: &Cx,
    Seg(call): Seg<CallId>,
    Opt(form): Opt<Upload>,
    Opt(embedded): Opt<Body<Embedded>>,
) -> Result<Json<AttachmentView>> {
    let view = match (form, embedded) {
        (Some(form), _) => attach_form(cx, &call, form).await?,
        (None, Some(Body(embedded))) => attach_embedded(cx, &call, embedded).await?,
        (None, None) => return Err(Error::invalid("body: send it as multipart/form-data")),
    };
    Ok(Json(view))
}

async fn attach_form(cx: &Cx, call: &CallId, form: Upload) -> Result<AttachmentView> {
    let form = Form::read(cx, Place::Call(call.clone()), form).await?;
    let kind = form.field("type").ok_or_else(|| Error::invalid("body: type: missing"))?.to_owned();
    let at = match form.field("timestamp") {
        Some(text) if !text.is_empty() => seconds(text)?,
        _ => cx.services.call_records.now(),
    };
    let (new, received) = form.finish()?;
    let attachments = &cx.services.attachments;
    attachments.create_for_call(&cx.caller, &cx.once, call, (new, CallMoment { kind, at }), received).await
}

async fn attach_embedded(cx: &Cx, call: &CallId, embedded: Embedded) -> Result<AttachmentView> {
    let content = STANDARD
        .decode(embedded.attachment.trim())
        .map_err(|_| Error::invalid("attachment: neither a form's file nor base64"))?;
    if content.len() > EMBEDDED_LIMIT {
        return Err(Error::new(Code::TooLarge, "attachment: larger files come as multipart/form-data"));
    }
    let new = NewAttachment { name: embedded.name, mime_type: embedded.mime_type };
    let now = cx.services.call_records.now();
    let moment = CallMoment { kind: embedded.kind, at: embedded.timestamp.map_or(now, moment_of) };
    let (attachments, content) = (&cx.services.attachments, stream::iter([Ok(Bytes::from(content))]));
    let received = attachments.receive(&cx.caller, &Place::Call(call.clone()), content).await?;
    attachments.create_for_call(&cx.caller, &cx.once, call, (new, moment), received).await
}

fn seconds(text: &str) -> Result<Timestamp> {
    let seconds: f64 = text.trim().parse().map_err(|_| Error::invalid("timestamp: unix seconds"))?;
    Ok(moment_of(seconds))
}

/// Unix seconds, perhaps with a fraction; absurd ones become the nearest time that there is.
fn moment_of(seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    Timestamp((seconds * 1_000_000.0) as i64)
}

async fn list_call_comments(cx: &Cx, Seg(id): Seg<CallId>) -> Result<Json<Vec<CommentView>>> {
    let comments = cx.services.call_records.comments(&cx.caller, &id).await?;
    Ok(Json(comments.into_iter().map(CommentView::from).collect()))
}

async fn create_call_comment(
    cx: &Cx,
    Seg(id): Seg<CallId>,
    Body(new): Body<NewComment>,
) -> Result<Json<CommentView>> {
    let comment = cx.services.call_records.comment(&cx.caller, &id, &new.comment, &cx.once).await?;
    Ok(Json(comment.into()))
}

async fn rate_call(cx: &Cx, Seg(id): Seg<CallId>, Body(new): Body<NewRating>) -> Result<Json<Success>> {
    cx.services.call_records.rate(&cx.caller, &id, new.rating, &cx.once).await?;
    Ok(Json(Success::new("the rating was saved")))
}

async fn add_call_tags(
    cx: &Cx,
    Seg(id): Seg<CallId>,
    Body(tags): Body<Vec<String>>,
) -> Result<Json<Success>> {
    cx.services.call_records.set_tags(&cx.caller, &id, tags, false, &cx.once).await?;
    Ok(Json(Success::new("the tags were added")))
}

async fn replace_call_tags(
    cx: &Cx,
    Seg(id): Seg<CallId>,
    Body(tags): Body<Vec<String>>,
) -> Result<Json<Success>> {
    cx.services.call_records.set_tags(&cx.caller, &id, tags, true, &cx.once).await?;
    Ok(Json(Success::new("the tags were replaced")))
}
