//! Custom fields: their definitions, and their values in a thread.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{
    WorkboxView, Workboxes,
    view::{FieldView, ThreadEvent, field_values},
};
use crate::{
    domain::{
        caller::Caller,
        codes::Code,
        custom_field::{Choice, Definition, Kind, Mandatory},
        error::{Error, Result},
        ids::{ConversationId, CustomFieldId, OrgId},
        once::Once,
        permission::Permissions,
    },
    journal::{Append, Refusal, RowOp},
    service::tools::Tools,
    store::{
        conversations,
        custom_fields::{self, CustomFieldRow},
    },
};

/// Most definitions of an organisation.
const DEFINITIONS_LIMIT: usize = 200;

/// A value that somebody wants to set.
#[derive(Clone, Debug, Deserialize)]
pub struct FieldInput {
    /// The definition.
    #[serde(alias = "field_id", alias = "fieldId")]
    pub id: CustomFieldId,
    /// The value; null clears.
    #[serde(default)]
    pub value: Value,
}

/// What a definition is to say; `None` leaves what is there, or takes the default.
#[derive(Clone, Debug, Default)]
pub struct FieldDraft {
    /// Label.
    pub name: Option<String>,
    /// Explanation.
    pub description: Option<String>,
    /// TEXT, BOOLEAN, LIST; cannot change.
    pub kind: Option<Kind>,
    /// When it must be filled.
    pub mandatory: Option<Mandatory>,
    /// Not to be shown.
    pub hidden: Option<bool>,
    /// A list that takes several options.
    pub multi_select: Option<bool>,
    /// What a new thread begins with.
    pub default: Option<Value>,
    /// Options, with their ids where they have one.
    pub options: Option<Vec<(Option<i64>, String)>>,
    /// Place among the others.
    pub position: Option<i64>,
}

const NO_FIELD: Refusal = Refusal::new(Code::NotFound, "custom field not found");

impl Workboxes {
    /// The organisation's definitions, in display order.
    pub async fn field_definitions(&self, caller: &Caller) -> Result<Vec<FieldView>> {
        Ok(self.definitions_of(caller.organization).await?.into_iter().map(FieldView::from).collect())
    }

    /// Defines a field.
    pub async fn define_field(&self, caller: &Caller, draft: FieldDraft, once: &Once) -> Result<FieldView> {
        caller.require(Permissions::MANAGE_ORGANIZATION)?;
        if let Some(first) = once.replayed::<CustomFieldId>()? {
            return self.field_definition(caller.organization, first).await.map(FieldView::from);
        }
        let known = self.definitions_of(caller.organization).await?;
        if known.len() >= DEFINITIONS_LIMIT {
            return Err(Error::constraint(format!("at most {DEFINITIONS_LIMIT} custom fields")));
        }
        let last = known.iter().map(|field| field.position).max();
        let blank = Definition {
            id: self.tools.ids.next::<CustomFieldId>()?,
            name: String::new(),
            description: String::new(),
            kind: draft.kind.unwrap_or(Kind::Text),
            mandatory: Mandatory::Optional,
            hidden: false,
            multi_select: false,
            default: Value::Null,
            options: Vec::new(),
            position: last.map_or(1, |last| last.saturating_add(1)),
        };
        let definition = applied(blank, draft)?;
        let row = row_of(&definition);
        let now = self.tools.clock.now();
        let mut append = Append::default().with(custom_fields::insert(caller.organization, &row, now));
        Tools::remember(self.tools.keep_outcomes, &mut append, once, &definition.id, now);
        self.tools.journal.append(append).await?;
        Ok(definition.into())
    }

    /// Changes a definition; its type stays.
    pub async fn redefine_field(
        &self,
        caller: &Caller,
        id: CustomFieldId,
        draft: FieldDraft,
    ) -> Result<FieldView> {
        caller.require(Permissions::MANAGE_ORGANIZATION)?;
        let present = self.field_definition(caller.organization, id).await?;
        if draft.kind.is_some_and(|kind| kind != present.kind) {
            return Err(Error::invalid("type: cannot be changed"));
        }
        let definition = applied(present, draft)?;
        let row = row_of(&definition);
        let change = custom_fields::update(caller.organization, &row, self.tools.clock.now());
        self.write_one(change).await?;
        Ok(definition.into())
    }

    /// Removes a definition; values stay with their threads, unseen.
    pub async fn remove_field(&self, caller: &Caller, id: CustomFieldId) -> Result<()> {
        caller.require(Permissions::MANAGE_ORGANIZATION)?;
        self.write_one(custom_fields::remove(caller.organization, id, self.tools.clock.now())).await
    }

    async fn write_one(&self, stmt: crate::store::Stmt) -> Result<()> {
        let rows = vec![RowOp::exec_one(stmt, NO_FIELD)];
        self.tools.journal.append(Append { rows, ..Append::default() }).await.map(drop)
    }

    async fn field_definition(&self, organization: OrgId, id: CustomFieldId) -> Result<Definition> {
        let known = self.definitions_of(organization).await?;
        known.into_iter().find(|field| field.id == id).ok_or_else(|| Error::not_found("custom field"))
    }

    /// Sets values in a thread; those that are not named stay.
    pub async fn set_fields(
        &self,
        caller: &Caller,
        id: ConversationId,
        values: &[FieldInput],
    ) -> Result<WorkboxView> {
        let definitions = self.definitions_of(caller.organization).await?;
        let values = checked_values(&definitions, values)?;
        if let Some(field) = definitions.iter().find(|field| {
            field.mandatory == Mandatory::MandatoryOnCreation
                && values.iter().any(|(id, value)| *id == field.id && value.is_none())
        }) {
            let (id, name) = (field.id, &field.name);
            return Err(Error::constraint(format!("custom field {id} ({name}) must stay filled")));
        }
        self.change(caller, id, &Once::none(), move |state, change| {
            for (field, value) in &values {
                change.row(conversations::set_field(id, *field, value.as_deref()));
            }
            state.set_fields(values);
            change.row(conversations::save(state, change.now));
            let fields = field_values(&definitions, &state.thread.fields);
            let thread = ThreadEvent::new(state, &["fields"], change.now).with_fields(&fields);
            change.events.add(state.stream, "workbox.updated", &thread);
            Ok(())
        })
        .await
    }
}

/// The values in their one form, as JSON texts; the last of several for one field counts.
pub(super) fn checked_values(
    definitions: &[Definition],
    values: &[FieldInput],
) -> Result<Vec<(CustomFieldId, Option<Arc<str>>)>> {
    let mut checked: Vec<(CustomFieldId, Option<Arc<str>>)> = Vec::with_capacity(values.len());
    for FieldInput { id, value } in values {
        let definition = definitions
            .iter()
            .find(|field| field.id == *id)
            .ok_or_else(|| Error::invalid(format!("no custom field has the id {id}")))?;
        let value = definition.check(value)?.map(|value| Arc::from(value.to_string()));
        checked.retain(|(known, _)| known != id);
        checked.push((*id, value));
    }
    Ok(checked)
}

fn applied(present: Definition, draft: FieldDraft) -> Result<Definition> {
    let mut next = present;
    if let Some(name) = draft.name {
        name.trim().clone_into(&mut next.name);
    }
    next.description = draft.description.unwrap_or(next.description);
    next.mandatory = draft.mandatory.unwrap_or(next.mandatory);
    next.hidden = draft.hidden.unwrap_or(next.hidden);
    next.multi_select = draft.multi_select.unwrap_or(next.multi_select);
    next.position = draft.position.unwrap_or(next.position);
    if let Some(options) = draft.options {
        next.options = numbered(&next.options, options);
    }
    next.default = match draft.default {
        Some(default) => default,
        // An option that is gone cannot stay the default.
        None => next.shown(&next.default.to_string()),
    };
    next.checked()
}

/// Gives options without a number one that was not used among these before.
fn numbered(before: &[Choice], options: Vec<(Option<i64>, String)>) -> Vec<Choice> {
    let used = before.iter().map(|option| option.id).chain(options.iter().filter_map(|(id, _)| *id));
    let mut next = used.max().unwrap_or(0).max(0);
    options
        .into_iter()
        .map(|(id, name)| {
            let id = id.unwrap_or_else(|| {
                next = next.saturating_add(1);
                next
            });
            Choice { id, name: name.trim().to_owned() }
        })
        .collect()
}

fn row_of(definition: &Definition) -> CustomFieldRow {
    CustomFieldRow {
        id: definition.id,
        name: definition.name.clone(),
        description: definition.description.clone(),
        kind: definition.kind.name().to_owned(),
        mandatory: definition.mandatory.name().to_owned(),
        hidden: definition.hidden,
        multi_select: definition.multi_select,
        default_value: definition.default.to_string(),
        // Numbers and texts: serialisation cannot fail.
        options: serde_json::to_string(&definition.options).unwrap_or_else(|_| "[]".to_owned()),
        position: definition.position,
    }
}
