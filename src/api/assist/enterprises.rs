//! The organisations that the caller belongs to, each with an enterprise token.

use serde::Serialize;

use crate::{
    domain::{
        error::{Error, Result},
        ids::OrgId,
        query::{Condition, Field, Filter, Kind, ListQuery, Numbered, Operator, Scalar},
    },
    http::{Cx, Json, Query},
    operations,
    store::{
        organizations::{self, OrganizationRow},
        people,
    },
};

operations! {
    base "/v1/enterprises";
    /// The caller's organisations with enterprise tokens that allow what the caller may do.
    GET "" => 200 list_enterprises(Query<ListQuery>) -> Json<Numbered<Enterprise>>, User + VIEW_ACCOUNT [no_store],
        fails InvalidLimit | NotFound;
}

/// `enterpriseV1` of the contract.
#[derive(Serialize)]
pub struct Enterprise {
    id: OrgId,
    name: String,
    description: String,
    active: bool,
    auto_accept: bool,
    contact_name: Option<String>,
    contact_email: Option<String>,
    contact_phone: Option<String>,
    domains: Vec<String>,
    time_zone: String,
    max_users: Option<String>,
    user_count: i64,
    active_user_count: i64,
    branding_locked: bool,
    lock_devices: bool,
    translation_file_url: Option<String>,
    token: String,
}

const FIELDS: &[Field] = &[
    Field::new("id", "id", Kind::Int),
    Field::new("name", "name", Kind::Text),
    Field::new("active", "active", Kind::Bool),
];

async fn list_enterprises(cx: &Cx, Query(query): Query<ListQuery>) -> Result<Json<Numbered<Enterprise>>> {
    let list = query.parse(FIELDS)?;
    let services = &cx.services;
    let row = organizations::by_id(&services.db, cx.caller.organization).await?;
    let row = row.ok_or_else(|| Error::not_found("enterprise"))?;
    // A sign-in belongs to one organisation: the list has one entry, which the filter keeps or not.
    let kept = keeps(&list.filter, &row);
    let total = i64::from(kept);
    let mut entries = Vec::new();
    if kept && list.page.offset() == 0 {
        let (user_count, active_user_count) = people::count(&services.db, row.id).await?;
        let token = services.tokens.mint_enterprise_for(&cx.caller).await?;
        entries.push(Enterprise {
            id: row.id,
            domains: row.domain_list(),
            name: row.name,
            description: row.description,
            active: row.active,
            auto_accept: row.auto_accept,
            contact_name: row.contact_name,
            contact_email: row.contact_email,
            contact_phone: row.contact_phone,
            time_zone: row.time_zone,
            max_users: row.max_users.map(|most| most.to_string()),
            user_count,
            active_user_count,
            branding_locked: false,
            lock_devices: false,
            translation_file_url: None,
            token,
        });
    }
    Ok(Json(Numbered::new(list.page, entries, total)))
}

fn keeps(filter: &Filter, row: &OrganizationRow) -> bool {
    filter.conditions.iter().all(|condition| holds(condition, row))
}

/// The same comparisons as in SQL, on one row.
fn holds(condition: &Condition, row: &OrganizationRow) -> bool {
    let any = |test: &dyn Fn(&Scalar) -> bool| condition.values.iter().any(test);
    let compare = |value: &Scalar| match (condition.field.key, value) {
        ("id", Scalar::Int(number)) => Some(row.id.0.cmp(number)),
        ("name", Scalar::Text(text)) => Some(row.name.to_lowercase().cmp(&text.to_lowercase())),
        ("active", Scalar::Bool(yes)) => Some(row.active.cmp(yes)),
        _ => None,
    };
    any(&|value| match (condition.operator, compare(value)) {
        (Operator::Equal | Operator::In, Some(order)) => order.is_eq(),
        (Operator::NotEqual, Some(order)) => order.is_ne(),
        (Operator::Greater, Some(order)) => order.is_gt(),
        (Operator::AtLeast, Some(order)) => order.is_ge(),
        (Operator::Less, Some(order)) => order.is_lt(),
        (Operator::AtMost, Some(order)) => order.is_le(),
        (Operator::Like, Some(_)) => matches!(value, Scalar::Text(text) if like(&row.name, text)),
        (_, None) => false,
    })
}

/// `%` stands for any text; case does not matter.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_lowercase(), pattern.to_lowercase());
    let mut parts = pattern.split('%');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, fits) in [
            ("acme", true),
            ("a%", true),
            ("%ME", true),
            ("%c%", true),
            ("a%e%x", false),
            ("%", true),
            ("x%", false),
            ("", false),
        ] {
            assert_eq!(like("Acme", pattern), fits, "{pattern}");
        }
    }
}
