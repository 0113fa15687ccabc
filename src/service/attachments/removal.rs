//! How attachments go: with their rows, events and files, at once or by the sweep.

use std::time::Duration;

use super::{Attachments, Target, view::AttachmentView};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        codes::Code,
        error::Result,
        event::NewEvent,
        ids::{AttachmentId, ConversationId, MessageId},
    },
    files::thumbnail,
    journal::{Append, Refusal, RowOp},
    store::attachments::{self as rows, AttachmentRow},
};

/// Attachments, or files, that the sweep removes at once.
const SWEEP_PAGE: i64 = 100;
/// An upload that began longer ago has failed.
const FAILED_AFTER: Duration = Duration::from_hours(24);

/// What a message shows, to be deleted with it.
pub(in crate::service) struct Shown {
    /// The attachments as they are told to be gone.
    pub told: Vec<AttachmentView>,
    /// What belongs into the commit of the deletion.
    pub rows: Vec<RowOp>,
    /// What lies in the file store, to be removed after the commit.
    pub files: Vec<AttachmentRow>,
}

/// Remembers where the events stand that name an attachment, for the day when its message is deleted.
pub(super) fn placed(attachment: AttachmentId, events: &[NewEvent]) -> Vec<RowOp> {
    let place = |event: &NewEvent| RowOp::Late(rows::place_event(attachment, event.stream, event.id));
    events.iter().map(place).collect()
}

impl Attachments {
    /// Removes files of attachments that were deleted right before a crash, and of uploads that a crash cut off.
    pub async fn sweep(&self) -> Result<()> {
        loop {
            let page = rows::unremoved(&self.ground.db, SWEEP_PAGE).await?;
            for row in &page {
                self.remove_files(row).await?;
            }
            if page.is_empty() {
                break;
            }
        }
        let before = self.ground.clock.now().minus(FAILED_AFTER);
        loop {
            let page = rows::uploads_left(&self.ground.db, before, SWEEP_PAGE).await?;
            for path in &page {
                self.files.store.delete_all_of(path, thumbnail::ENDINGS).await?;
                rows::end_upload(path).execute(&self.ground.db).await?;
            }
            if page.is_empty() {
                return Ok(());
            }
        }
    }

    /// What a message shows, with all that deleting it takes.
    pub(in crate::service) async fn shown_by(
        &self,
        thread: ConversationId,
        message: MessageId,
        now: Timestamp,
    ) -> Result<Shown> {
        let files = rows::of_message(&self.ground.db, thread, message).await?;
        let mut shown = Shown {
            told: Vec::new(),
            rows: vec![RowOp::exec(rows::delete_of_message(thread, message, now))],
            files: Vec::new(),
        };
        for mut row in files {
            for (stream, offset) in rows::events(&self.ground.db, row.id).await? {
                shown.rows.push(RowOp::Rewrite { stream, stmt: rows::clear_event(stream, offset) });
            }
            if row.deleted_at.is_some() {
                // Told already; only its name was left.
                continue;
            }
            row.deleted_at = Some(now);
            "deleted".clone_into(&mut row.status);
            row.name.clear();
            shown.told.push(AttachmentView::in_events(&row));
            shown.files.push(row);
        }
        Ok(shown)
    }

    /// Removes the files of a message that was deleted; what resists is left to the sweep.
    pub(in crate::service) async fn remove_shown(&self, files: Vec<AttachmentRow>) {
        for row in files {
            if let Err(error) = self.remove_files(&row).await {
                tracing::warn!(%error, context = error.context(), "the files of a deleted attachment are still there");
            }
        }
    }

    pub(super) async fn delete(&self, caller: &Caller, Target { mut row, streams }: Target) -> Result<()> {
        if row.deleted_at.is_some() {
            return Ok(());
        }
        let now = self.ground.clock.now();
        row.deleted_at = Some(now);
        "deleted".clone_into(&mut row.status);
        let events = self.events(caller, &row, streams, "attachment.deleted", now);
        let refusal = Refusal::new(Code::NotFound, "attachment not found");
        let places = placed(row.id, &events);
        let mut append = Append::of_events(events);
        append.rows.push(RowOp::exec_one(rows::mark_deleted(row.organization_id, row.id, now), refusal));
        append.rows.extend(places);
        self.ground.journal.append(append).await?;
        // It is deleted for everybody already. Files that resist are tried again at the next start.
        if let Err(error) = self.remove_files(&row).await {
            tracing::warn!(%error, context = error.context(), "the files of a deleted attachment are still there");
        }
        Ok(())
    }

    async fn remove_files(&self, row: &AttachmentRow) -> Result<()> {
        for path in row.thumbnail_path.iter().chain([&row.path]) {
            self.files.store.delete(path).await?;
        }
        Ok(rows::files_removed(&self.ground.db, row.id).await?)
    }
}
