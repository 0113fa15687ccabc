//! A live conversation: who is in it, where it stands, what was received and read. Pure: every method checks first and
//! changes only when all checks hold.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::tally::Tallying;
use crate::{
    base::clock::Timestamp,
    domain::{
        error::{Error, Result},
        ids::{ConversationId, CustomFieldId, MessageId, OrgId, ParticipantId, PersonId, StreamId},
    },
};

/// Where a help thread stands (contract: SEMANTICS section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// New; nobody has taken it.
    Reported,
    /// Somebody works on it.
    Assigned,
    /// Done.
    Closed,
}

impl Status {
    /// As stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "REPORTED",
            Self::Assigned => "ASSIGNED",
            Self::Closed => "CLOSED",
        }
    }

    /// The status of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Reported, Self::Assigned, Self::Closed].into_iter().find(|status| status.name() == name)
    }
}

/// Received and read up to: the watermarks of a participant. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Newest message received.
    pub received: MessageId,
    /// Newest message read.
    pub read: MessageId,
}

/// Somebody's place in the conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub participant: ParticipantId,
    /// A guest by link: sees nothing internal.
    pub guest: bool,
    /// Opened the thread.
    pub creator: bool,
    /// Has written something.
    pub participated: bool,
    /// The watermarks.
    pub marks: Marks,
    /// The watermarks as guests may know them: the newest message at or below that is not internal.
    pub shown: Marks,
    /// What of [`Self::marks`] the others were told.
    pub announced: Marks,
    /// What of [`Self::shown`] everybody was told.
    pub announced_shown: Marks,
}

/// What a thread says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Free text.
    pub title: String,
    /// Free text.
    pub description: String,
    /// Who opened it.
    pub created_by: PersonId,
    /// Name of who works on it; empty where nobody does.
    pub assigned_name: String,
    /// When it was opened.
    pub reported_at: Timestamp,
    /// When somebody first took it.
    pub assigned_at: Option<Timestamp>,
    /// When it was closed, while it is.
    pub closed_at: Option<Timestamp>,
    /// Its custom fields: JSON texts by definition.
    pub fields: BTreeMap<CustomFieldId, Arc<str>>,
}

/// The state of a live conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Its number.
    pub id: ConversationId,
    /// Whose it is.
    pub organization: OrgId,
    /// Stream of what everybody sees.
    pub stream: StreamId,
    /// Stream of what guests must not see.
    pub internal_stream: StreamId,
    /// Where it stands.
    pub status: Status,
    /// Who works on it.
    pub assigned_to: Option<PersonId>,
    /// What it says of itself.
    pub thread: Thread,
    /// Newest message that guests see.
    pub last_message: MessageId,
    /// Newest message of all.
    pub last_internal: MessageId,
    /// Grows with each change of the thread's own fields.
    pub version: i64,
    /// Who is in it now.
    pub members: BTreeMap<PersonId, Member>,
    /// When receipts were announced last.
    pub announced_at: Timestamp,
    /// Who wrote the newest messages, oldest first.
    pub recent: VecDeque<Written>,
    /// When messages are tallied.
    pub tallying: Tallying,
}

/// What a message means for its author and its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// It is the author's first.
    pub first: bool,
    /// A tally is to be taken with it.
    pub fills_block: bool,
}

/// A message by what receipts need to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The message.
    pub id: MessageId,
    /// Who wrote it.
    pub author: PersonId,
    /// Hidden from guests.
    pub internal: bool,
}

/// So many are remembered: whoever is further behind counts as not having received their own messages either.
pub const RECENT: usize = 100;

/// At most four receipt events a second and conversation (contract: REALTIME section 3).
pub const RECEIPT_INTERVAL: Duration = Duration::from_millis(250);
/// From so many participants on, receipt events carry totals only.
pub const RECEIPT_DETAIL_LIMIT: usize = 100;

/// A participant's watermarks that are to be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose.
    pub person: PersonId,
    /// As members know them.
    pub marks: Marks,
    /// As everybody may know them, where that is news.
    pub shown: Option<Marks>,
}

/// The message up to which somebody has received or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// The newest that the person sees.
    Newest,
    /// This one.
    Message {
        /// The message.
        id: MessageId,
        /// The newest at or below it that is not internal (0 = none).
        shown: MessageId,
    },
}

impl Conversation {
    /// The stream that carries what is `internal` or not.
    pub fn stream_for(&self, internal: bool) -> StreamId {
        if internal { self.internal_stream } else { self.stream }
    }

    /// The place of `person`; others are told that there is no such thread.
    pub fn member(&self, person: PersonId) -> Result<&Member> {
        self.members.get(&person).ok_or_else(|| Error::not_found("workbox"))
    }

    /// May `person` write a message now?
    pub fn may_send(&self, person: PersonId, internal: bool) -> Result<()> {
        let member = self.member(person)?;
        if internal && member.guest {
            return Err(Error::forbidden("guests cannot write internal messages"));
        }
        if self.status == Status::Closed {
            return Err(Error::constraint("the workbox is closed, reopen it to write"));
        }
        Ok(())
    }

    /// A message of `author` was taken.
    pub fn sent(&mut self, author: PersonId, id: MessageId, internal: bool) -> Sent {
        self.last_internal = self.last_internal.max(id);
        if !internal {
            self.last_message = self.last_message.max(id);
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Written { id, author, internal });
        let first = |member: &mut Member| !std::mem::replace(&mut member.participated, true);
        Sent { first: self.members.get_mut(&author).is_some_and(first), fills_block: self.tallying.sent(id) }
    }

    /// The message `id` was refused after all; `before` is what [`Self::last_message`] and [`Self::last_internal`] were,
    /// in case nothing newer is remembered. That may have been refused itself.
    pub fn unsent(&mut self, id: MessageId, before: (MessageId, MessageId)) {
        let known = self.recent.len();
        self.recent.retain(|written| written.id != id);
        // A state that was loaded meanwhile never held it.
        if self.recent.len() < known {
            self.tallying.unsent(id);
        }
        let newest = |open: bool| {
            let mut recent = self.recent.iter().rev();
            recent.find(|written| !(open && written.internal)).map(|written| written.id)
        };
        let (message, internal) = (newest(true).unwrap_or(before.0), newest(false).unwrap_or(before.1));
        if self.last_message == id {
            self.last_message = message;
        }
        if self.last_internal == id {
            self.last_internal = internal;
        }
    }

    /// Raises the watermarks of `person`. `None` when nothing grew. A read message was received too.
    pub fn mark(&mut self, person: PersonId, up_to: UpTo, read: bool) -> Result<Option<Marks>> {
        let (last_message, last_internal) = (self.last_message, self.last_internal);
        let member = self.members.get_mut(&person).ok_or_else(|| Error::not_found("workbox"))?;
        let newest = if member.guest { last_message } else { last_internal };
        let (message, shown) = match up_to {
            UpTo::Newest => (newest, last_message),
            UpTo::Message { id, .. } if id > newest => return Err(Error::not_found("message")),
            UpTo::Message { id, shown } => (id, shown),
        };
        let before = member.marks;
        member.marks.raise(message, read);
        member.shown.raise(shown, read);
        Ok((member.marks != before).then_some(member.marks))
    }

    /// When receipts are to be announced next; `None` when all are.
    pub fn receipts_due(&self) -> Option<Timestamp> {
        let open = self.members.values().any(|member| member.marks != member.announced);
        open.then(|| self.announced_at.plus(RECEIPT_INTERVAL))
    }

    /// Takes the receipts that are to be announced, when they are due.
    pub fn take_receipts(&mut self, now: Timestamp) -> Vec<Receipt> {
        if self.receipts_due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.announced_at = now;
        let mut receipts = Vec::new();
        for (person, member) in &mut self.members {
            if member.marks != member.announced {
                member.announced = member.marks;
                let shown = (member.shown != member.announced_shown).then_some(member.shown);
                member.announced_shown = member.shown;
                receipts.push(Receipt { person: *person, marks: member.marks, shown });
            }
        }
        receipts
    }

    /// How far all of the participants are, as everybody may know it: up to the newest message that all but its author
    /// have received, or read.
    pub fn common_shown(&self) -> Marks {
        let members = || self.members.iter().map(|(person, member)| (*person, member.shown));
        self.common(members, false)
    }

    /// How far all are who see internal messages, those messages counted.
    pub fn common_marks(&self) -> Marks {
        let members = || {
            let inside = self.members.iter().filter(|(_, member)| !member.guest);
            inside.map(|(person, member)| (*person, member.marks))
        };
        let (inside, shown) = (self.common(members, true), self.common_shown());
        Marks { received: inside.received.max(shown.received), read: inside.read.max(shown.read) }
    }

    fn common<I: Iterator<Item = (PersonId, Marks)>>(
        &self,
        members: impl Fn() -> I,
        internal: bool,
    ) -> Marks {
        let newest = |mark: fn(&Marks) -> MessageId| {
            let mut marks: Vec<_> = members().map(|(person, marks)| (mark(&marks), person)).collect();
            marks.sort_unstable();
            let (lowest, lagging) = marks.first().copied().unwrap_or_default();
            let next = marks.get(1).map_or(MessageId(i64::MAX), |(mark, _)| *mark);
            // What only the last one has not reached counts where that one wrote it.
            let reached = |written: &&Written| {
                written.internal == internal
                    && (written.id <= lowest || (written.id <= next && written.author == lagging))
            };
            let found = self.recent.iter().rev().find(reached).map(|written| written.id);
            // A mark that everybody may know stands on an open message; inside, on either kind.
            if internal { found.unwrap_or_default() } else { found.unwrap_or_default().max(lowest) }
        };
        Marks { received: newest(|marks| marks.received), read: newest(|marks| marks.read) }
    }

    /// Gives the thread another title.
    pub fn rename(&mut self, title: String) {
        self.thread.title = title;
        self.version += 1;
    }

    /// Closes the thread.
    pub fn close(&mut self, now: Timestamp) -> Result<()> {
        if self.status == Status::Closed {
            return Err(Error::constraint("the workbox is closed already"));
        }
        self.status = Status::Closed;
        self.thread.closed_at = Some(now);
        self.version += 1;
        Ok(())
    }

    /// Opens a closed thread again: assigned where somebody still works on it, reported otherwise.
    pub fn reopen(&mut self) -> Result<()> {
        if self.status != Status::Closed {
            return Err(Error::constraint("the workbox is not closed"));
        }
        self.status = if self.assigned_to.is_some() { Status::Assigned } else { Status::Reported };
        self.thread.closed_at = None;
        self.version += 1;
        Ok(())
    }

    /// Hands the thread to somebody (with their name), or to nobody; false when it was so before.
    pub fn assign(&mut self, person: Option<(PersonId, String)>, now: Timestamp) -> Result<bool> {
        if self.status == Status::Closed {
            return Err(Error::constraint("the workbox is closed"));
        }
        let (person, name) = person.map_or((None, String::new()), |(id, name)| (Some(id), name));
        if let Some(person) = person
            && self.member(person).map_err(|_| Error::invalid("only a participant can be assigned"))?.guest
        {
            return Err(Error::invalid("a guest cannot be assigned"));
        }
        if self.assigned_to == person {
            return Ok(false);
        }
        self.assigned_to = person;
        self.thread.assigned_name = name;
        self.status = if person.is_some() { Status::Assigned } else { Status::Reported };
        if person.is_some() {
            self.thread.assigned_at.get_or_insert(now);
        }
        self.version += 1;
        Ok(true)
    }

    /// Sets custom fields (`None` clears one).
    pub fn set_fields(&mut self, values: Vec<(CustomFieldId, Option<Arc<str>>)>) {
        for (field, value) in values {
            match value {
                Some(value) => self.thread.fields.insert(field, value),
                None => self.thread.fields.remove(&field),
            };
        }
        self.version += 1;
    }

    /// Splits a new list of coworkers into who comes and who goes. Guests, the creator and `caller` stay.
    pub fn coworkers_changed(&self, wanted: &[PersonId], caller: PersonId) -> (Vec<PersonId>, Vec<PersonId>) {
        let added = wanted.iter().copied().filter(|person| !self.members.contains_key(person)).collect();
        let stays = |person: PersonId, member: &Member| {
            member.guest || member.creator || person == caller || wanted.contains(&person)
        };
        let removed =
            self.members.iter().filter(|(id, member)| !stays(**id, member)).map(|(id, _)| *id).collect();
        (added, removed)
    }

    /// Somebody comes in, or back with the watermarks that they had. What was written before counts as unread.
    pub fn add(&mut self, person: PersonId, member: Member) {
        self.members.entry(person).or_insert(member);
    }

    /// Somebody is taken out; a thread that they worked on is nobody's then.
    pub fn remove(&mut self, person: PersonId) -> Option<Member> {
        let member = self.members.remove(&person)?;
        if self.assigned_to == Some(person) {
            self.assigned_to = None;
            self.thread.assigned_name = String::new();
            if self.status == Status::Assigned {
                self.status = Status::Reported;
            }
            self.version += 1;
        }
        Some(member)
    }
}

impl Marks {
    fn raise(&mut self, message: MessageId, read: bool) {
        self.received = self.received.max(message);
        if read {
            self.read = self.read.max(message);
        }
    }
}
