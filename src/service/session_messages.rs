//! Messages among the members of a session: what is said in a call. They stand in the session's stream and nowhere
//! else, so whoever reads the stream reads them; nobody marks, edits or deletes them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    messages::{Draft, check},
    sessions::Sessions,
    tools::{Tools, actor_of},
    views::BriefContact,
};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::NewEvent,
        ids::{MessageId, Offset, PersonId, SessionId},
    },
    journal::{Append, Refusal, RowOp},
    store::{
        people,
        sessions::{self, NewMessage, SentMessage},
    },
};

/// `message.created` of a session.
#[derive(Clone, Debug, Serialize)]
struct MessageView {
    id: MessageId,
    uuid: Uuid,
    session_id: SessionId,
    #[serde(rename = "type")]
    kind: &'static str,
    version: i64,
    metadata: String,
    sent_at: Timestamp,
    user: Option<BriefContact>,
    user_name: String,
}

/// A message as its sender gets it: the event's data, and where the event stands.
#[derive(Debug, Serialize)]
pub struct Sent {
    /// As in the event.
    #[serde(flatten)]
    message: serde_json::Map<String, serde_json::Value>,
    /// Its place in the stream.
    offset: Offset,
}

/// Use cases of messages in sessions. Cheap to clone.
#[derive(Clone)]
pub struct SessionMessages {
    tools: Tools,
    sessions: Sessions,
}

const REPEATED: Refusal = Refusal::new(Code::Constraint, "this uuid was used before");

impl SessionMessages {
    /// Wires it.
    pub fn new(tools: Tools, sessions: Sessions) -> Self {
        Self { tools, sessions }
    }

    /// Says something to the members. A `uuid` that the author used here before gives the first message again, or an
    /// error when the content differs.
    pub async fn send(&self, caller: &Caller, id: SessionId, draft: Draft) -> Result<Sent> {
        let session = self.sessions.visible(caller, id).await?;
        let author = caller.person()?;
        let checked = check(caller, draft)?;
        if checked.internal {
            return Err(Error::invalid("sessions have no internal messages"));
        }
        if let Some(uuid) = checked.uuid
            && let Some(first) = self.first(id, author, uuid, checked.hash).await?
        {
            return Ok(first);
        }
        let now = self.tools.clock.now();
        let new = NewMessage {
            session: id,
            author,
            uuid: checked.uuid.unwrap_or_else(|| self.tools.random.uuid_v7(now)),
            id: self.tools.ids.next()?,
            hash: checked.hash,
            now,
        };
        let view = MessageView {
            id: new.id,
            uuid: new.uuid,
            session_id: id,
            kind: checked.kind,
            version: checked.version,
            metadata: checked.metadata.to_string(),
            sent_at: checked.sent_at.map_or(now, |at| at.min(now)),
            user: people::brief(&self.tools.db, author).await?.map(|person| person.contact()),
            user_name: checked.username,
        };
        let (event, actor) = (self.tools.random.uuid_v7(now), actor_of(caller));
        let created = NewEvent::new(session.stream_id, "message.created", event, now, Some(&actor), &view);
        let body = created.body.clone();
        let mut append = Append::of_events(vec![created]);
        append.rows.push(RowOp::exec_one(sessions::insert_message(&new), REPEATED));
        append.rows.push(RowOp::Late(sessions::place_message(&new, session.stream_id, event)));
        append.rows.push(RowOp::exec(sessions::touch(id, now)));
        match self.tools.journal.append(append).await {
            Ok(committed) => sent(&body, committed.offset_in(session.stream_id).unwrap_or_default()),
            // Two twins at once: the other one was quicker.
            Err(error) if error.code() == Code::Constraint => {
                self.first(id, author, new.uuid, new.hash).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The message that `author` sent under this uuid before; an error when it was another one.
    async fn first(
        &self,
        session: SessionId,
        author: PersonId,
        uuid: Uuid,
        hash: [u8; 32],
    ) -> Result<Option<Sent>> {
        let found = sessions::find_message(&self.tools.db, session, author, uuid).await?;
        let Some(SentMessage { body_hash, stream_offset, data, .. }) = found else { return Ok(None) };
        if body_hash != hash {
            return Err(Error::constraint("this uuid was used for another message"));
        }
        sent(data.as_bytes(), stream_offset).map(Some)
    }
}

fn sent(body: &[u8], offset: Offset) -> Result<Sent> {
    #[derive(Deserialize)]
    struct Publication<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let publication: Publication<'_> = serde_json::from_slice(body).map_err(Error::unavailable)?;
    let message = serde_json::from_str(publication.data.get()).map_err(Error::unavailable)?;
    Ok(Sent { message, offset })
}
