//! A live conversation: who is in it, where it stands, what was received and read. Pure: every method checks first and
//! changes only when all checks hold.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    base::clock::Timestamp,
    domain::{
        error::{Error, Result},
        ids::{ConversationId, MessageId, OrgId, ParticipantId, PersonId, StreamId},
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

/// Somebody's place in the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub participant: ParticipantId,
    /// A guest by link: sees nothing internal.
    pub guest: bool,
    /// Opened the thread.
    pub creator: bool,
    /// Has written something.
    pub participated: bool,
    /// Newest message received.
    pub received: MessageId,
    /// Newest message read.
    pub read: MessageId,
    /// What of the watermarks the others were told.
    pub announced: (MessageId, MessageId),
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
    /// Newest message that guests see.
    pub last_message: MessageId,
    /// Newest message of all.
    pub last_internal: MessageId,
    /// Grows with each change of the thread's own fields.
    pub version: i64,
    /// Who is in it now.
    pub members: BTreeMap<PersonId, Member>,
    announced_at: Timestamp,
}

/// At most four receipt events a second and conversation (contract: REALTIME section 3).
pub const RECEIPT_INTERVAL: Duration = Duration::from_millis(250);
/// From so many participants on, receipt events carry totals only.
pub const RECEIPT_DETAIL_LIMIT: usize = 100;

/// A participant's watermarks as announced: `(person, received, read)`.
pub type Receipt = (PersonId, MessageId, MessageId);

impl Conversation {
    /// A conversation as loaded; receipts that were not announced before are due at once.
    #[expect(clippy::too_many_arguments, reason = "one value per column of the row it is loaded from")]
    pub fn new(
        id: ConversationId,
        organization: OrgId,
        (stream, internal_stream): (StreamId, StreamId),
        status: Status,
        assigned_to: Option<PersonId>,
        (last_message, last_internal): (MessageId, MessageId),
        version: i64,
        members: BTreeMap<PersonId, Member>,
    ) -> Self {
        Self {
            id,
            organization,
            stream,
            internal_stream,
            status,
            assigned_to,
            last_message,
            last_internal,
            version,
            members,
            announced_at: Timestamp(0),
        }
    }

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

    /// A message of `author` was taken; true when it is the author's first.
    pub fn sent(&mut self, author: PersonId, id: MessageId, internal: bool) -> bool {
        self.last_internal = self.last_internal.max(id);
        if !internal {
            self.last_message = self.last_message.max(id);
        }
        self.members.get_mut(&author).is_some_and(|member| !std::mem::replace(&mut member.participated, true))
    }

    /// Raises the watermarks of `person`; `message` 0 or -1 stands for the newest that the person sees. `None` when
    /// nothing grew. A read message was received too.
    pub fn mark(
        &mut self,
        person: PersonId,
        message: MessageId,
        read: bool,
    ) -> Result<Option<(MessageId, MessageId)>> {
        let (last_message, last_internal) = (self.last_message, self.last_internal);
        let member = self.members.get_mut(&person).ok_or_else(|| Error::not_found("workbox"))?;
        let newest = if member.guest { last_message } else { last_internal };
        let message = if message.0 <= 0 { newest } else { message };
        if message > newest {
            return Err(Error::not_found("message"));
        }
        let before = (member.received, member.read);
        member.received = member.received.max(message);
        if read {
            member.read = member.read.max(message);
        }
        let after = (member.received, member.read);
        Ok((after != before).then_some(after))
    }

    /// When receipts are to be announced next; `None` when all are.
    pub fn receipts_due(&self) -> Option<Timestamp> {
        let open = self.members.values().any(|member| (member.received, member.read) != member.announced);
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
            let marks = (member.received, member.read);
            if marks != member.announced {
                member.announced = marks;
                receipts.push((*person, marks.0, marks.1));
            }
        }
        receipts
    }

    /// The newest message that all, or any, have received and read: `(all received, all read)`.
    pub fn common_marks(&self) -> (MessageId, MessageId) {
        let received = self.members.values().map(|member| member.received).min().unwrap_or_default();
        let read = self.members.values().map(|member| member.read).min().unwrap_or_default();
        (received, read)
    }

    /// Closes the thread.
    pub fn close(&mut self) -> Result<()> {
        if self.status == Status::Closed {
            return Err(Error::constraint("the workbox is closed already"));
        }
        self.status = Status::Closed;
        self.version += 1;
        Ok(())
    }

    /// Opens a closed thread again: assigned where somebody still works on it, reported otherwise.
    pub fn reopen(&mut self) -> Result<Status> {
        if self.status != Status::Closed {
            return Err(Error::constraint("the workbox is not closed"));
        }
        self.status = if self.assigned_to.is_some() { Status::Assigned } else { Status::Reported };
        self.version += 1;
        Ok(self.status)
    }

    /// Hands the thread to `person`, or to nobody.
    pub fn assign(&mut self, person: Option<PersonId>) -> Result<Status> {
        if self.status == Status::Closed {
            return Err(Error::constraint("the workbox is closed"));
        }
        if let Some(person) = person
            && self.member(person)?.guest
        {
            return Err(Error::invalid("a guest cannot be assigned"));
        }
        self.assigned_to = person;
        self.status = if person.is_some() { Status::Assigned } else { Status::Reported };
        self.version += 1;
        Ok(self.status)
    }

    /// Splits a new list of coworkers into who comes and who goes. Guests and the creator stay.
    pub fn coworkers_changed(&self, wanted: &[PersonId]) -> (Vec<PersonId>, Vec<PersonId>) {
        let added = wanted.iter().copied().filter(|person| !self.members.contains_key(person)).collect();
        let removed = self
            .members
            .iter()
            .filter(|(person, member)| !member.guest && !member.creator && !wanted.contains(person))
            .map(|(person, _)| *person)
            .collect();
        (added, removed)
    }

    /// Somebody comes in.
    pub fn add(&mut self, person: PersonId, participant: ParticipantId, guest: bool) {
        // What was written before somebody came counts as unread for them: they have not seen it.
        let member = Member {
            participant,
            guest,
            creator: false,
            participated: false,
            received: MessageId(0),
            read: MessageId(0),
            announced: (MessageId(0), MessageId(0)),
        };
        self.members.entry(person).or_insert(member);
    }

    /// Somebody is taken out.
    pub fn remove(&mut self, person: PersonId) -> Option<Member> {
        if self.assigned_to == Some(person) {
            self.assigned_to = None;
            if self.status == Status::Assigned {
                self.status = Status::Reported;
            }
        }
        self.members.remove(&person)
    }
}
