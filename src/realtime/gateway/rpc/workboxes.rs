//! `workbox.*` and `typing.set`.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ask, PERSON, PLACE, Row, THREAD, messages::place, parse, to_value};
use crate::{
    domain::{
        codes::Code,
        error::{Error, Result},
        ids::PersonId,
        permission::Permissions,
    },
    service::workboxes::{FieldInput, Invitation, ListRequest, NewWorkbox, StatusFilter},
};

pub(super) const ACTIONS: &[Row] = &[
    ("workbox.list", PERSON, Permissions::USE_WORKBOXES, |ask| Box::pin(list(ask))),
    ("workbox.get", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(get(ask))),
    ("workbox.create", PERSON, Permissions::USE_WORKBOXES, |ask| Box::pin(create(ask))),
    ("workbox.update", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(update(ask))),
    ("workbox.close", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(close(ask))),
    ("workbox.reopen", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(reopen(ask))),
    ("workbox.assign", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(assign(ask))),
    ("workbox.participants.set", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(set_participants(ask))),
    ("workbox.guest.invite", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(invite(ask))),
    ("workbox.guest.resend", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(resend(ask))),
    ("workbox.guest.revoke", THREAD, Permissions::USE_WORKBOXES, |ask| Box::pin(revoke(ask))),
    ("typing.set", PLACE, Permissions::USE_WORKBOXES, |ask| Box::pin(typing(ask))),
];

/// Page size of lists where the client leaves it to us, and the largest.
const PAGE: std::ops::RangeInclusive<u32> = 20..=100;

async fn list(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Page {
        status: Option<String>,
        filter: Option<String>,
        after: Option<String>,
        limit: Option<i64>,
    }
    let page: Page = parse(ask.data)?;
    let status = match page.status.as_deref() {
        None => StatusFilter::default(),
        Some(name) => StatusFilter::by_name(name)
            .ok_or_else(|| Error::invalid("`status` must be ALL, OPEN, REPORTED, ASSIGNED or CLOSED"))?,
    };
    let limit = match page.limit {
        None | Some(-1) => *PAGE.start(),
        Some(limit) => u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=*PAGE.end()).contains(limit))
            .ok_or_else(|| Error::new(Code::InvalidLimit, "`limit` must be 1 to 100, or -1"))?,
    };
    let request = ListRequest { status, filter: page.filter, after: page.after, limit };
    to_value(ask.gateway.services.workboxes.list(ask.caller, &request).await?)
}

async fn get(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    to_value(ask.gateway.services.workboxes.get(ask.caller, id).await?)
}

async fn create(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct New {
        #[serde(default)]
        title: String,
        #[serde(default)]
        description: String,
        #[serde(default, alias = "participants")]
        participant_ids: Vec<PersonId>,
        #[serde(default)]
        fields: Vec<FieldInput>,
    }
    let New { title, description, participant_ids, fields } = parse(ask.data)?;
    let new = NewWorkbox { title, description, participants: participant_ids, fields, call: None };
    to_value(ask.gateway.services.workboxes.create(ask.caller, new, &ask.once).await?)
}

async fn update(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Change {
        title: Option<String>,
        fields: Option<Vec<FieldInput>>,
    }
    let (id, _) = place(&ask)?;
    let workboxes = &ask.gateway.services.workboxes;
    let view = match parse(ask.data)? {
        Change { title: Some(title), fields: None } => workboxes.set_title(ask.caller, id, &title).await?,
        Change { title: None, fields: Some(fields) } => workboxes.set_fields(ask.caller, id, &fields).await?,
        Change { title: None, fields: None } => return Err(Error::invalid("`title` or `fields` is missing")),
        Change { .. } => return Err(Error::invalid("change `title` or `fields`, one at a time")),
    };
    to_value(view)
}

async fn close(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    to_value(ask.gateway.services.workboxes.close(ask.caller, id, &ask.once).await?)
}

async fn reopen(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    to_value(ask.gateway.services.workboxes.reopen(ask.caller, id, &ask.once).await?)
}

async fn assign(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct To {
        user_id: Option<PersonId>,
    }
    let (id, _) = place(&ask)?;
    let To { user_id } = parse(ask.data)?;
    // -1 stands for nobody, as in replies.
    let person = user_id.filter(|person| person.0 > 0);
    to_value(ask.gateway.services.workboxes.assign(ask.caller, id, person, &ask.once).await?)
}

async fn set_participants(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Coworkers {
        coworker_ids: Vec<PersonId>,
    }
    let (id, _) = place(&ask)?;
    let Coworkers { coworker_ids } = parse(ask.data)?;
    to_value(ask.gateway.services.workboxes.set_participants(ask.caller, id, coworker_ids).await?)
}

#[derive(Deserialize)]
struct Guest {
    #[serde(default)]
    name: String,
    email: Option<String>,
    phone: Option<String>,
    message: Option<String>,
    #[serde(default)]
    action: String,
    uuid: Option<Uuid>,
}

impl Guest {
    fn uuid(&self) -> Result<Uuid> {
        self.uuid.ok_or_else(|| Error::invalid("`uuid` of the guest is missing"))
    }

    fn invitation(self) -> Invitation {
        let Self { name, email, phone, message, action, .. } = self;
        Invitation { name, email, phone, message, action }
    }
}

async fn invite(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    let invitation = parse::<Guest>(ask.data)?.invitation();
    to_value(ask.gateway.services.workboxes.invite(ask.caller, id, invitation, &ask.once).await?)
}

async fn resend(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    let guest: Guest = parse(ask.data)?;
    let uuid = guest.uuid()?;
    let workboxes = &ask.gateway.services.workboxes;
    to_value(workboxes.resend(ask.caller, id, uuid, guest.invitation(), &ask.once).await?)
}

async fn revoke(ask: Ask<'_>) -> Result<Value> {
    let (id, _) = place(&ask)?;
    let uuid = parse::<Guest>(ask.data)?.uuid()?;
    to_value(ask.gateway.services.workboxes.revoke(ask.caller, id, uuid).await?)
}

async fn typing(ask: Ask<'_>) -> Result<Value> {
    #[derive(Deserialize)]
    struct Typing {
        channel: String,
        #[serde(default = "yes")]
        typing: bool,
    }
    let Typing { channel, typing } = parse(ask.data)?;
    ask.gateway.publish_ephemeral(ask.caller, &channel, "typing", &json!({ "typing": typing })).await?;
    Ok(json!({}))
}

fn yes() -> bool {
    true
}
