//! Help threads (workboxes): finding and showing them; what changes them stands beside (`create`, `change`, `guests`,
//! `fields`, `procedures`). REST, rpc and jobs call this.
//!
//! Promises: nobody sees a thread of another organisation or one that they are not in (administrators apart); absent and
//! forbidden look alike. A page costs a fixed number of statements. Guests find nothing internal in any view.

mod change;
mod create;
mod fields;
mod guests;
pub mod links;
mod procedures;
pub mod view;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::Serialize;

use self::view::Parts;
pub use self::{
    create::NewWorkbox,
    fields::{FieldDraft, FieldInput},
    guests::{Invitation, Invited},
    procedures::{NewProcedure, ProcedureMove},
    view::{FieldView, WorkboxView},
};
use super::{
    messages::Messages,
    tokens::Tokens,
    tools::{Events, Tools, actor_of, check_scope},
};
use crate::{
    base::{clock::Timestamp, seal::Sealer},
    domain::{
        caller::Caller,
        codes::Code,
        custom_field::Definition,
        error::{Error, Result},
        event::Actor,
        ids::{ConversationId, OrgId, PersonId},
        machine::conversation::Conversation,
        once::Once,
        permission::Permissions,
        query::{CursorPage, Filter, decode_cursor},
    },
    journal::Append,
    live::{Env, conversation::Decision},
    service::messages::in_organization,
    store::{
        Stmt, custom_fields,
        workbox_views::{self as views, Reader, Selection, WorkboxRow},
    },
};

/// What a thread is called that the server makes for a call.
const CALL_TITLE: &str = "Call";

/// What a guest is told of the link, by e-mail or text message.
#[derive(Debug)]
pub struct GuestNotice<'a> {
    /// In whose name.
    pub organization: OrgId,
    /// Who invites.
    pub inviter: &'a str,
    /// The guest.
    pub guest: &'a str,
    /// Title of the thread.
    pub thread: &'a str,
    /// Words of the inviter; go into the e-mail only.
    pub message: Option<&'a str>,
    /// The whole link: a secret.
    pub link: &'a str,
    /// Address, where one is known.
    pub email: Option<&'a str>,
    /// Number in E.164, where one is known.
    pub phone: Option<&'a str>,
}

/// Writes notices to guests. Implemented over `service::notices` in `app`.
pub trait GuestNotices: Send + Sync + 'static {
    /// The rows of the notice, to be written in the commit that makes the link.
    fn rows<'a>(&'a self, notice: GuestNotice<'a>) -> BoxFuture<'a, Result<Vec<Stmt>>>;
}

/// What the use cases of threads are set to.
#[derive(Clone, Debug)]
pub struct WorkboxOptions {
    /// How people reach the server, without a slash at the end: links begin with it.
    pub public_url: String,
    /// How long a guest's link works.
    pub link_life: Duration,
}

/// Use cases of threads. Cheap to clone.
#[derive(Clone)]
pub struct Workboxes {
    tools: Tools,
    messages: Messages,
    tokens: Tokens,
    sealer: Sealer,
    notices: Arc<dyn GuestNotices>,
    options: Arc<WorkboxOptions>,
}

/// Status that lists can be asked for (contract).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusFilter {
    /// Everything.
    #[default]
    All,
    /// Everything that is not closed.
    Open,
    /// New.
    Reported,
    /// Somebody works on it.
    Assigned,
    /// Done.
    Closed,
}

impl StatusFilter {
    /// The filter of that name, in any case; nothing asks for everything.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "" | "ALL" => Self::All,
            "OPEN" => Self::Open,
            "REPORTED" => Self::Reported,
            "ASSIGNED" => Self::Assigned,
            "CLOSED" => Self::Closed,
            _ => return None,
        })
    }

    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Open => &["REPORTED", "ASSIGNED"],
            Self::Reported => &["REPORTED"],
            Self::Assigned => &["ASSIGNED"],
            Self::Closed => &["CLOSED"],
        }
    }
}

/// Which page of a list of threads.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// By status.
    pub status: StatusFilter,
    /// Conditions (SEMANTICS section 5.1).
    pub filter: Option<String>,
    /// Where to go on.
    pub after: Option<String>,
    /// Entries.
    pub limit: u32,
}

/// Counts of a person's threads (contract: `workboxes_info`).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Info {
    /// Not closed.
    pub open: i64,
    /// Closed.
    pub closed: i64,
    /// All.
    pub total: i64,
    /// Unread messages in open ones.
    pub unread_count_open: i64,
    /// Unread messages in closed ones.
    pub unread_count_closed: i64,
    /// Unread messages.
    pub unread_count_total: i64,
    /// Last activity in any of them.
    pub last_active_at: Option<Timestamp>,
}

/// The thread of a call (contract: `workbox_info`).
#[derive(Debug, Serialize)]
pub struct CallWorkbox {
    /// Made by the server for the call.
    pub auto_created: bool,
    /// Who opened it.
    pub owner_id: Option<PersonId>,
    /// The thread.
    pub workbox: WorkboxView,
}

/// Name of the list in cursors.
const LIST: &str = "workboxes";

impl Workboxes {
    /// Wires it.
    pub fn new(
        tools: Tools,
        messages: Messages,
        tokens: Tokens,
        sealer: Sealer,
        notices: Arc<dyn GuestNotices>,
        options: WorkboxOptions,
    ) -> Self {
        Self { tools, messages, tokens, sealer, notices, options: Arc::new(options) }
    }

    /// A page of the threads that the caller takes part in, most recently active first.
    pub async fn list(&self, caller: &Caller, request: &ListRequest) -> Result<CursorPage<WorkboxView>> {
        self.page(caller, person_reader(caller)?, request).await
    }

    /// A page of the organisation's threads.
    pub async fn list_all(&self, caller: &Caller, request: &ListRequest) -> Result<CursorPage<WorkboxView>> {
        caller.require(Permissions::VIEW_ALL_WORKBOXES)?;
        self.page(caller, Reader::Organization, request).await
    }

    async fn page(
        &self,
        caller: &Caller,
        reader: Reader,
        request: &ListRequest,
    ) -> Result<CursorPage<WorkboxView>> {
        let selection = Selection {
            // A guest has one thread, whatever else that number may be in one day.
            id: caller.workbox,
            status: request.status.names(),
            filter: Filter::parse(request.filter.as_deref(), reader.fields())?,
            after: decode_cursor(LIST, request.after.as_deref())?.map(|(at, id)| (Timestamp(at), id)),
        };
        let limit = i64::from(request.limit) + 1;
        let rows = views::page(&self.tools.db, reader, caller.organization, &selection, limit).await?;
        let page = CursorPage::new(LIST, rows, request.limit, |row| (row.last_active_at.0, row.id));
        Ok(CursorPage { entries: self.views(caller, reader, page.entries).await?, after: page.after })
    }

    /// One thread that the caller takes part in.
    pub async fn get(&self, caller: &Caller, id: ConversationId) -> Result<WorkboxView> {
        self.find(caller, person_reader(caller)?, id).await
    }

    /// One thread of the organisation.
    pub async fn get_any(&self, caller: &Caller, id: ConversationId) -> Result<WorkboxView> {
        caller.require(Permissions::VIEW_ALL_WORKBOXES)?;
        self.find(caller, Reader::Organization, id).await
    }

    async fn find(&self, caller: &Caller, reader: Reader, id: ConversationId) -> Result<WorkboxView> {
        check_scope(caller, id)?;
        let row = views::find(&self.tools.db, reader, caller.organization, id).await?;
        let mut found = self.views(caller, reader, row.into_iter().collect()).await?;
        found.pop().ok_or_else(|| Error::not_found("workbox"))
    }

    /// Counts of the caller's threads.
    pub async fn info(&self, caller: &Caller) -> Result<Info> {
        let mut info = Info::default();
        for row in views::count(&self.tools.db, caller.organization, caller.person()?).await? {
            let (count, unread) = if row.status == "CLOSED" {
                (&mut info.closed, &mut info.unread_count_closed)
            } else {
                (&mut info.open, &mut info.unread_count_open)
            };
            *count += row.total;
            *unread += row.unread;
            info.total += row.total;
            info.unread_count_total += row.unread;
            info.last_active_at = info.last_active_at.max(row.last_active_at);
        }
        Ok(info)
    }

    /// The thread that a call belongs to, where the caller takes part in it. A call outside all threads gets one of its
    /// own when somebody of it first asks.
    pub async fn of_call(&self, caller: &Caller, call: &str) -> Result<CallWorkbox> {
        let id = views::of_call(&self.tools.db, caller.organization, call).await?;
        let workbox = match id {
            Some(id) => self.get(caller, id).await?,
            None => self.open_for_call(caller, call).await?,
        };
        Ok(CallWorkbox {
            auto_created: workbox.auto_created,
            owner_id: workbox.created_by.as_ref().map(|person| person.id),
            workbox,
        })
    }

    /// Opens a thread for a call, with those of the organisation who were in it.
    async fn open_for_call(&self, caller: &Caller, call: &str) -> Result<WorkboxView> {
        let (db, absent) = (&self.tools.db, || Error::not_found("workbox"));
        let people = views::people_of_call(db, caller.organization, call).await?;
        let asks = caller.person()?;
        if caller.is_outsider() || !people.contains(&asks) {
            return Err(absent());
        }
        let new = NewWorkbox {
            title: CALL_TITLE.to_owned(),
            participants: people.into_iter().filter(|person| *person != asks).collect(),
            call: Some(call.to_owned()),
            ..NewWorkbox::default()
        };
        match self.create(caller, new, &Once::none()).await {
            // Two asked at once: the other one was quicker.
            Err(error) if error.code() == Code::Constraint => {
                let id = views::of_call(db, caller.organization, call).await?;
                self.get(caller, id.ok_or(error)?).await
            }
            outcome => outcome,
        }
    }

    /// The thread of the organisation that a call belongs to.
    pub async fn any_of_call(&self, caller: &Caller, call: &str) -> Result<WorkboxView> {
        let id = views::of_call(&self.tools.db, caller.organization, call).await?;
        self.get_any(caller, id.ok_or_else(|| Error::not_found("workbox"))?).await
    }

    /// The views of `rows`: eight statements, however many rows.
    async fn views(
        &self,
        caller: &Caller,
        reader: Reader,
        rows: Vec<WorkboxRow>,
    ) -> Result<Vec<WorkboxView>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let db = &self.tools.db;
        let guest = reader.is_guest();
        let ids: Vec<ConversationId> = rows.iter().map(|row| row.id).collect();
        let last = views::last_messages(db, &ids, guest).await?;
        let read = rows.iter().map(|row| (row.id, row.read_id)).collect();
        let parts = Parts {
            participants: views::participants(db, &ids).await?,
            guests: views::guests(db, &ids).await?,
            values: views::field_values(db, &ids).await?,
            procedures: views::procedures(db, &ids).await?,
            last_messages: self.messages.last_views(caller.organization, last, caller.person, &read).await?,
            definitions: self.definitions_of(caller.organization).await?,
            guest,
        };
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.id;
            let takes_part = caller.person.is_some_and(|person| {
                let mut places = parts.participants.iter().filter(|place| place.conversation_id == id);
                places.any(|place| place.person_id == person && place.removed_at.is_none())
            });
            let mut view = parts.view(row);
            if takes_part {
                view.token = Some(self.tokens.mint_workbox(caller, id).await?);
            }
            found.push(view);
        }
        Ok(found)
    }

    async fn definitions_of(&self, organization: OrgId) -> Result<Vec<Definition>> {
        let rows = custom_fields::list(&self.tools.db, organization).await?;
        Ok(rows.into_iter().map(Definition::from).collect())
    }

    /// Changes a thread on behalf of a member (not a guest) and shows it. `once` remembers that it was done.
    async fn change(
        &self,
        caller: &Caller,
        id: ConversationId,
        once: &Once,
        decide: impl FnOnce(&mut Conversation, &mut Change) -> Result<()> + Send + 'static,
    ) -> Result<WorkboxView> {
        self.change_as(caller, id, once, false, decide).await
    }

    /// As [`Self::change`]; guests may too where `guests` says so.
    async fn change_as(
        &self,
        caller: &Caller,
        id: ConversationId,
        once: &Once,
        guests: bool,
        decide: impl FnOnce(&mut Conversation, &mut Change) -> Result<()> + Send + 'static,
    ) -> Result<WorkboxView> {
        if once.replayed::<ConversationId>()?.is_some() {
            return self.get(caller, id).await;
        }
        check_scope(caller, id)?;
        let (me, organization) = (caller.person()?, caller.organization);
        let actor = Arc::new(actor_of(caller));
        let (keep, once) = (self.tools.keep_outcomes, once.clone());
        self.tools
            .conversations
            .decide(id, move |state, env| {
                in_organization(state, organization)?;
                if state.member(me)?.guest && !guests {
                    return Err(not_for_guests());
                }
                let mut change = Change::new(env, Some(actor));
                decide(state, &mut change)?;
                let now = change.now;
                let mut append = change.into_append();
                Tools::remember(keep, &mut append, &once, &id, now);
                Ok(Decision::new(append, ()))
            })
            .await?;
        self.get(caller, id).await
    }
}

fn not_for_guests() -> Error {
    Error::forbidden("guests may not do this")
}

/// What a change makes: events and rows at one moment.
struct Change {
    now: Timestamp,
    events: Events,
    rows: Append,
}

impl Change {
    fn new(env: &Env, actor: Option<Arc<Actor>>) -> Self {
        let now = env.now();
        Self { now, events: Events::new(&env.random, now, actor), rows: Append::default() }
    }

    /// Adds a row.
    fn row(&mut self, stmt: Stmt) {
        self.rows = std::mem::take(&mut self.rows).with(stmt);
    }

    fn into_append(self) -> Append {
        let mut append = self.events.into_append();
        append.streams = self.rows.streams;
        append.guards = self.rows.guards;
        append.rows = self.rows.rows;
        append
    }
}

fn person_reader(caller: &Caller) -> Result<Reader> {
    Ok(Reader::Person { id: caller.person()?, guest: caller.is_outsider() })
}
