//! Procedures that people run in a thread; an app keeps their steps, we keep where they stand.

use super::{WorkboxView, Workboxes, view::ProcedureView};
use crate::{
    base::clock::Timestamp,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::{ConversationId, PersonId, ProcedureLinkId},
        once::Once,
    },
    journal::{Refusal, RowOp},
    store::{
        conversations,
        procedures::{self, ProcedureRow},
    },
};

/// Longest state and reference, in characters.
const TEXT_LIMIT: usize = 255;
/// Longest address, in characters.
const URL_LIMIT: usize = 2_048;
/// The state that takes a procedure out of the thread.
const DELETED: &str = "DELETED";
/// The state of a procedure that begins without one.
const BEGIN: &str = "STARTED";

/// A procedure that somebody starts in a thread.
#[derive(Clone, Debug, Default)]
pub struct NewProcedure {
    /// The procedure.
    pub procedure: i64,
    /// Its version.
    pub version: i64,
    /// Who runs it; the caller where missing.
    pub owner: Option<PersonId>,
    /// Where it stands.
    pub state: Option<String>,
    /// The app's reference.
    pub task_uuid: Option<String>,
    /// Where the app keeps its values. Never fetched.
    pub values_url: Option<String>,
    /// Run without a connection.
    pub offline: bool,
    /// When it was started; now where missing.
    pub action_time: Option<Timestamp>,
}

/// A step of a procedure.
#[derive(Clone, Debug)]
pub struct ProcedureMove {
    /// Its place in the thread.
    pub id: ProcedureLinkId,
    /// Where it stands now; `DELETED` takes it out of the thread.
    pub state: Option<String>,
    /// The app's reference.
    pub task_uuid: Option<String>,
    /// When it moved; now where missing.
    pub action_time: Option<Timestamp>,
}

impl Workboxes {
    /// Attaches a procedure. Guests may, since a link can ask them to run one.
    pub async fn add_procedure(
        &self,
        caller: &Caller,
        id: ConversationId,
        new: NewProcedure,
        once: &Once,
    ) -> Result<WorkboxView> {
        let state_name = checked("state", new.state, TEXT_LIMIT)?.unwrap_or_else(|| BEGIN.to_owned());
        let task_uuid = checked("task_uuid", new.task_uuid, TEXT_LIMIT)?;
        let values_url = checked("values_url", new.values_url, URL_LIMIT)?;
        if new.procedure < 1 || new.version < 0 {
            return Err(Error::invalid("procedure_id and procedure_version: needs positive numbers"));
        }
        let link = self.tools.ids.next::<ProcedureLinkId>()?;
        let owner_id = match new.owner {
            Some(owner) => owner,
            None => caller.person()?,
        };
        self.change_as(caller, id, once, true, move |state, change| {
            state.member(owner_id).map_err(|_| Error::invalid("owner_id: not in this workbox"))?;
            let row = ProcedureRow {
                conversation_id: id,
                id: link,
                procedure_id: new.procedure,
                procedure_version: new.version,
                owner_id,
                state: state_name,
                task_uuid,
                values_url,
                offline: new.offline,
                action_time: Some(new.action_time.unwrap_or(change.now)),
                created_at: change.now,
                updated_at: change.now,
            };
            change.row(procedures::insert(&row));
            change.row(conversations::save(state, change.now));
            change.events.add(state.stream, "procedure.updated", &ProcedureView::for_event(row));
            Ok(())
        })
        .await
    }

    /// Moves a procedure on.
    pub async fn move_procedure(
        &self,
        caller: &Caller,
        id: ConversationId,
        step: ProcedureMove,
    ) -> Result<WorkboxView> {
        let state_name = checked("state", step.state, TEXT_LIMIT)?;
        let task_uuid = checked("task_uuid", step.task_uuid, TEXT_LIMIT)?;
        self.get(caller, id).await?;
        let gone = Refusal::new(Code::NotFound, "procedure not found");
        let row = procedures::find(&self.tools.db, id, step.id).await?.ok_or_else(|| gone.clone())?;
        self.change_as(caller, id, &Once::none(), true, move |state, change| {
            let row = ProcedureRow {
                state: state_name.unwrap_or(row.state),
                task_uuid: task_uuid.or(row.task_uuid),
                action_time: Some(step.action_time.unwrap_or(change.now)),
                updated_at: change.now,
                ..row
            };
            let removed = row.state.eq_ignore_ascii_case(DELETED);
            change.rows.rows.push(RowOp::exec_one(procedures::change(&row, removed), gone));
            change.row(conversations::save(state, change.now));
            change.events.add(state.stream, "procedure.updated", &ProcedureView::for_event(row));
            Ok(())
        })
        .await
    }
}

/// A text within its limit; an empty one counts as missing.
fn checked(name: &str, text: Option<String>, limit: usize) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.chars().count() > limit || text.contains(char::is_control) {
        return Err(Error::invalid(format!(
            "{name}: at most {limit} characters, without control characters"
        )));
    }
    Ok(Some(text))
}
