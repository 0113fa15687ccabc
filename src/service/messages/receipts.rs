//! Receipts: what was received and read, by whom.

use serde::Serialize;

use super::{Messages, in_organization};
use crate::{
    domain::{
        caller::Caller,
        error::Result,
        ids::{ConversationId, MessageId, PersonId},
        machine::conversation::UpTo,
        once::Once,
    },
    journal::{Append, MarkerRow, RowOp},
    live::conversation::Decision,
    service::tools::{Tools, check_scope},
    store::messages::{self, Probe},
};

/// The caller's watermarks after a mark.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Marks {
    /// Newest message received.
    pub received_id: MessageId,
    /// Newest message read.
    pub read_id: MessageId,
    /// Messages of others beyond that.
    pub unread: i64,
}

/// Received and read flags of one participant for one message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReceiptStatus {
    /// Who.
    pub user_id: PersonId,
    /// Has received it.
    pub received: bool,
    /// Has read it.
    pub read: bool,
}

/// How far some, and all, of the participants are (contract: `workbox_receipt_status`).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ThreadReceipts {
    /// Newest message that somebody besides its author has received.
    pub most_recent_partial_received: Option<MessageId>,
    /// Newest message that everybody has received.
    pub most_recent_all_received: Option<MessageId>,
    /// Newest message that somebody besides its author has read.
    pub most_recent_partial_read: Option<MessageId>,
    /// Newest message that everybody has read.
    pub most_recent_all_read: Option<MessageId>,
}

impl Messages {
    /// Raises the caller's watermarks up to `message` (0 or -1: the newest that the caller sees).
    pub async fn mark(
        &self,
        caller: &Caller,
        id: ConversationId,
        message: MessageId,
        read: bool,
        once: &Once,
    ) -> Result<Marks> {
        let person = caller.person()?;
        check_scope(caller, id)?;
        if once.replayed::<()>()?.is_some() {
            return self.marks(caller, id).await;
        }
        let up_to = if message.0 <= 0 {
            UpTo::Newest
        } else {
            let reader = self.reader(caller, id).await?;
            let stored = self.visible(reader, id, message).await?;
            let shown = if stored.internal {
                let open = Probe { up_to: message, internal: Some(false), ..Probe::default() };
                messages::newest(&self.tools.db, id, &[open]).await?.first().copied().flatten()
            } else {
                Some(message)
            };
            UpTo::Message { id: message, shown: shown.unwrap_or_default() }
        };
        let (organization, keep, once) = (caller.organization, self.tools.keep_outcomes, once.clone());
        self.tools
            .conversations
            .decide(id, move |state, env| {
                in_organization(state, organization)?;
                let grown = state.mark(person, up_to, read)?;
                let mut append = Append::default();
                if let Some(marks) = grown {
                    let (received, read) = (marks.received, marks.read);
                    append.rows.push(RowOp::Marker(MarkerRow { conversation: id, person, received, read }));
                }
                Tools::remember(keep, &mut append, &once, &(), env.now());
                // Nothing to store waits all the same: what it repeats may still be on its way to the disk.
                Ok(Decision::new(append, ()))
            })
            .await?;
        if read {
            self.unread.read(id, person);
        }
        self.marks(caller, id).await
    }

    /// The caller's watermarks and how much is unread behind them.
    async fn marks(&self, caller: &Caller, id: ConversationId) -> Result<Marks> {
        let reader = self.reader(caller, id).await?;
        let unread = messages::unread(&self.tools.db, id, reader.person, reader.read, !reader.guest).await?;
        Ok(Marks { received_id: reader.received, read_id: reader.read, unread })
    }

    /// Who has received and read a message.
    pub async fn receipts_of(
        &self,
        caller: &Caller,
        id: ConversationId,
        message: MessageId,
    ) -> Result<Vec<ReceiptStatus>> {
        let reader = self.reader(caller, id).await?;
        let stored = self.visible(reader, id, message).await?;
        let marks = messages::watermarks(&self.tools.db, id).await?;
        Ok(marks
            .into_iter()
            .filter(|mark| !(stored.internal && mark.guest))
            .map(|mark| {
                let author = mark.person_id == stored.author_id;
                ReceiptStatus {
                    user_id: mark.person_id,
                    received: author || mark.received_id >= stored.id,
                    read: author || mark.read_id >= stored.id,
                }
            })
            .collect())
    }

    /// How far the participants are. A message counts as received (or read) by all when everybody who can see it, its
    /// author apart, is at or beyond it; by some, when anybody but its author is.
    pub async fn thread_receipts(&self, caller: &Caller, id: ConversationId) -> Result<ThreadReceipts> {
        let reader = self.reader(caller, id).await?;
        let places = messages::watermarks(&self.tools.db, id).await?;
        // Guests take no part in internal messages, so the two sides are looked at apart.
        let sides: &[bool] = if reader.guest { &[false] } else { &[false, true] };
        let mut probes = Vec::new();
        for internal in sides {
            let places = places.iter().filter(|place| !(*internal && place.guest));
            let received = places.clone().map(|place| (place.received_id, place.person_id)).collect();
            let read = places.map(|place| (place.read_id, place.person_id)).collect();
            for marks in [received, read] {
                probes.extend(furthest_and_common(marks, *internal));
            }
        }
        let found = messages::newest(&self.tools.db, id, &probes).await?;
        // Four probes per kind of mark: two for "some", two for "all".
        let newest = |kind: usize, part: usize| {
            (0..sides.len())
                .flat_map(|side| {
                    let at = side * 8 + kind * 4 + part * 2;
                    found.get(at..at + 2).unwrap_or_default().iter().copied().flatten()
                })
                .max()
        };
        Ok(ThreadReceipts {
            most_recent_partial_received: newest(0, 0),
            most_recent_all_received: newest(0, 1),
            most_recent_partial_read: newest(1, 0),
            most_recent_all_read: newest(1, 1),
        })
    }
}

/// For one kind of mark: probes for the newest message that some have passed, and that all have.
///
/// Beyond the second highest mark only one person has passed a message: it counts where somebody else wrote it. Beyond
/// the lowest mark only one person has not: it counts where that person wrote it, up to the second lowest.
fn furthest_and_common(mut marks: Vec<(MessageId, PersonId)>, internal: bool) -> [Probe; 4] {
    marks.sort_unstable();
    let place = |at: usize| marks.get(at).copied();
    let internal = Some(internal);
    let (highest, leader) = marks.last().copied().unwrap_or_default();
    let second_highest = marks.len().checked_sub(2).and_then(place).unwrap_or_default().0;
    let (lowest, lagging) = place(0).unwrap_or_default();
    let second_lowest = place(1).map_or(MessageId(i64::MAX), |(mark, _)| mark);
    [
        Probe { up_to: second_highest, internal, ..Probe::default() },
        Probe { up_to: highest, above: second_highest, internal, not_by: Some(leader), ..Probe::default() },
        Probe { up_to: lowest, internal, ..Probe::default() },
        Probe { up_to: second_lowest, above: lowest, internal, by: Some(lagging), ..Probe::default() },
    ]
}
