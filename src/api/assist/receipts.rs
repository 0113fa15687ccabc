//! Who has received and read what in a help thread.

use super::workbox::thread;
use crate::{
    domain::{error::Result, ids::MessageId},
    http::{Cx, Json, Seg},
    operations,
    service::{
        messages::{ReceiptStatus, ThreadReceipts},
        workboxes::WorkboxView,
    },
};

operations! {
    base "/v1r1/workbox";
    /// How far some, and all, of the participants are.
    GET "/receipt_status" => 200 get_workbox_receipts() -> Json<ThreadReceipts>, Workbox + USE_WORKBOXES,
        fails NotFound;
    /// Who has received and read one message.
    GET "/messages/{message_id}/receipt_status" => 200 get_message_receipts(Seg<MessageId>) -> Json<Vec<ReceiptStatus>>,
        Workbox + USE_WORKBOXES, fails NotFound;
    /// Move the caller's read marker up to a message; -1 or 0 stands for the newest.
    POST "/messages/{message_id}/last_read_message" => 200 set_last_read_message(Seg<MessageId>) -> Json<WorkboxView>,
        Workbox + USE_WORKBOXES [no_store], fails NotFound;
}

async fn get_workbox_receipts(cx: &Cx) -> Result<Json<ThreadReceipts>> {
    Ok(Json(cx.services.messages.thread_receipts(&cx.caller, thread(cx)?).await?))
}

async fn get_message_receipts(cx: &Cx, Seg(message): Seg<MessageId>) -> Result<Json<Vec<ReceiptStatus>>> {
    Ok(Json(cx.services.messages.receipts_of(&cx.caller, thread(cx)?, message).await?))
}

async fn set_last_read_message(cx: &Cx, Seg(message): Seg<MessageId>) -> Result<Json<WorkboxView>> {
    let thread = thread(cx)?;
    cx.services.messages.mark(&cx.caller, thread, message, true, &cx.once).await?;
    Ok(Json(cx.services.workboxes.get(&cx.caller, thread).await?))
}
