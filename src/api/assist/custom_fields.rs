//! Custom fields of help threads: definitions (our own operations) and how values are sent.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::success::Success;
use crate::{
    domain::{
        custom_field::{Kind, Mandatory},
        error::Result,
        ids::CustomFieldId,
    },
    http::{Body, Cx, Json, Seg, flexible},
    operations,
    service::workboxes::{FieldDraft, FieldInput, FieldView},
};

operations! {
    base "/v1r1/enterprise/custom_fields";
    /// The definitions of custom fields, in display order.
    GET "" => 200 list_custom_fields() -> Json<Vec<FieldView>>, Enterprise + VIEW_ALL_WORKBOXES;
    /// Define a custom field.
    POST "" => 200 create_custom_field(Body<Draft>) -> Json<FieldView>, Enterprise + MANAGE_ORGANIZATION;
    /// Change a definition; fields that are left out stay. The type cannot change.
    PUT "/{id}" => 200 update_custom_field(Seg<CustomFieldId>, Body<Draft>) -> Json<FieldView>,
        Enterprise + MANAGE_ORGANIZATION, fails NotFound;
    /// Remove a definition; values that were set stay with their threads, unseen.
    DELETE "/{id}" => 200 delete_custom_field(Seg<CustomFieldId>) -> Json<Success>,
        Enterprise + MANAGE_ORGANIZATION, fails NotFound;
}

/// Values of custom fields as they are sent: objects with `id` (or `field_id`) and `value`.
#[derive(Debug, Default)]
pub(super) struct Values(pub Vec<FieldInput>);

/// Reads [`Values`]: a list, or one object; null is none.
pub(super) fn field_inputs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
    #[derive(Deserialize)]
    struct Input {
        #[serde(alias = "field_id", alias = "fieldId", deserialize_with = "flexible::number")]
        id: CustomFieldId,
        #[serde(default)]
        value: Value,
    }
    let inputs: Vec<Input> = flexible::one_or_many(deserializer)?;
    Ok(Values(inputs.into_iter().map(|Input { id, value }| FieldInput { id, value }).collect()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Draft {
    name: Option<String>,
    description: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    mandatory: Option<Mandatory>,
    #[serde(deserialize_with = "flexible::optional_boolean")]
    hidden: Option<bool>,
    #[serde(rename = "multiSelect", alias = "multi_select", deserialize_with = "flexible::optional_boolean")]
    multi_select: Option<bool>,
    #[serde(rename = "defaultValue", alias = "default_value", deserialize_with = "present")]
    default: Option<Value>,
    options: Option<Vec<Choice>>,
    #[serde(deserialize_with = "flexible::optional_number")]
    position: Option<i64>,
}

/// An option: its name, or an object with the number that it has had.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Choice {
    Bare(String),
    Numbered {
        #[serde(default, deserialize_with = "flexible::optional_number")]
        id: Option<i64>,
        name: String,
    },
}

/// Tells null (no default any more) from a missing field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some).map_err(D::Error::custom)
}

impl From<Draft> for FieldDraft {
    fn from(draft: Draft) -> Self {
        let options = draft.options.map(|options| {
            let pair = |option| match option {
                Choice::Bare(name) => (None, name),
                Choice::Numbered { id, name } => (id, name),
            };
            options.into_iter().map(pair).collect()
        });
        Self {
            name: draft.name,
            description: draft.description,
            kind: draft.kind,
            mandatory: draft.mandatory,
            hidden: draft.hidden,
            multi_select: draft.multi_select,
            default: draft.default,
            options,
            position: draft.position,
        }
    }
}

async fn list_custom_fields(cx: &Cx) -> Result<Json<Vec<FieldView>>> {
    Ok(Json(cx.services.workboxes.field_definitions(&cx.caller).await?))
}

async fn create_custom_field(cx: &Cx, Body(draft): Body<Draft>) -> Result<Json<FieldView>> {
    Ok(Json(cx.services.workboxes.define_field(&cx.caller, draft.into(), &cx.once).await?))
}

async fn update_custom_field(
    cx: &Cx,
    Seg(id): Seg<CustomFieldId>,
    Body(draft): Body<Draft>,
) -> Result<Json<FieldView>> {
    Ok(Json(cx.services.workboxes.redefine_field(&cx.caller, id, draft.into()).await?))
}

async fn delete_custom_field(cx: &Cx, Seg(id): Seg<CustomFieldId>) -> Result<Json<Success>> {
    cx.services.workboxes.remove_field(&cx.caller, id).await?;
    Ok(Json(Success::new("The custom field was removed.")))
}
