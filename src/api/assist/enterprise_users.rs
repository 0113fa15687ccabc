//! Users of the organisation: listed, made, invited, changed, removed.

use serde::{Deserialize, Serialize};

use super::types::{EntryTokens, User, people_page, user, users};
use crate::{
    base::secret::Secret,
    domain::{
        error::{Error, Result},
        ids::{GroupId, PersonId},
        query::{ListQuery, Numbered},
    },
    http::{Body, Cx, Json, Nothing, Query, Seg, flexible},
    operations,
    service::people::{NewUser, UserChange},
    store::people::{self, Scope},
};

operations! {
    base "";
    /// The organisation's users.
    GET "/v1/enterprise/users" => 200 list_enterprise_users_v1(Query<ListQuery>) -> Json<Numbered<User>>,
        Enterprise + VIEW_USERS [no_store], fails InvalidLimit;
    /// The organisation's users.
    GET "/v1r1/enterprise/users" => 200 list_enterprise_users(Query<ListQuery>) -> Json<Numbered<User>>,
        Enterprise + VIEW_USERS [no_store], fails InvalidLimit;
    /// Create or invite a user.
    POST "/v1r1/enterprise/users" => 200 create_enterprise_user(Body<NewEnterpriseUser>) -> Json<Created>,
        Enterprise + MANAGE_USERS, fails NotFound | EmailTaken | UsernameTaken | InvalidEmail | InvalidName
        | InvalidUsername | InvalidPassword | InvalidNumber | Constraint;
    /// One of the organisation's users.
    GET "/v1r1/enterprise/users/{user_id}" => 200 get_enterprise_user(Seg<PersonId>) -> Json<User>,
        Enterprise + VIEW_USERS [no_store], fails NotFound;
    /// Change a user; lists of groups replace the present ones.
    PUT "/v1r1/enterprise/users/{user_id}" => 200 update_enterprise_user(Seg<PersonId>, Body<EnterpriseUserChange>)
        -> Json<User>, Enterprise + MANAGE_USERS [no_store], fails NotFound | UsernameTaken | InvalidName
        | InvalidUsername | InvalidNumber | Constraint;
    /// Remove a user for good.
    DELETE "/v1r1/enterprise/users/{user_id}" => 200 delete_enterprise_user(Seg<PersonId>) -> Nothing,
        Enterprise + MANAGE_USERS, fails NotFound | Constraint;
}

/// A new user.
#[derive(Debug, Deserialize)]
pub struct NewEnterpriseUser {
    email: String,
    name: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default, deserialize_with = "flexible::optional_numbers")]
    pod_ids: Option<Vec<GroupId>>,
    #[serde(default, deserialize_with = "flexible::optional_numbers")]
    admin_pod_ids: Option<Vec<GroupId>>,
    #[serde(default, deserialize_with = "flexible::optional_boolean")]
    invite: Option<bool>,
    #[serde(default, deserialize_with = "flexible::optional_boolean")]
    send_email: Option<bool>,
}

/// What changes of a user.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnterpriseUserChange {
    #[serde(deserialize_with = "flexible::optional_boolean")]
    active: Option<bool>,
    #[serde(deserialize_with = "flexible::optional_boolean")]
    on_call: Option<bool>,
    #[serde(deserialize_with = "flexible::optional_numbers")]
    pod_ids: Option<Vec<GroupId>>,
    #[serde(deserialize_with = "flexible::optional_numbers")]
    admin_pod_ids: Option<Vec<GroupId>>,
    license: Option<String>,
    location: Option<String>,
    name: Option<String>,
    phone: Option<String>,
    role: Option<String>,
    title: Option<String>,
    username: Option<String>,
}

/// `success` of the contract, and who was made.
#[derive(Debug, Serialize)]
pub struct Created {
    status: bool,
    message: &'static str,
    id: PersonId,
}

async fn list_enterprise_users_v1(cx: &Cx, query: Query<ListQuery>) -> Result<Json<Numbered<User>>> {
    page(cx, query).await.map(Json)
}

async fn list_enterprise_users(cx: &Cx, query: Query<ListQuery>) -> Result<Json<Numbered<User>>> {
    Ok(Json(page(cx, query).await?.map(User::in_words)))
}

async fn page(cx: &Cx, Query(query): Query<ListQuery>) -> Result<Numbered<User>> {
    let scope = Scope { inactive: true, ..Scope::default() };
    let page = people_page(cx, &cx.caller, &scope, &query).await?;
    let Numbered { entries, page, page_size, total_entries, total_pages } = page;
    let entries = users(cx, entries, EntryTokens::Acting).await?;
    Ok(Numbered { entries, page, page_size, total_entries, total_pages })
}

async fn create_enterprise_user(cx: &Cx, Body(new): Body<NewEnterpriseUser>) -> Result<Json<Created>> {
    let message = if new.invite == Some(true) { "user invited" } else { "user created" };
    let new = NewUser {
        name: new.name,
        email: new.email,
        username: new.username,
        title: new.title,
        location: new.location,
        phone: new.phone,
        license: new.license,
        role: new.role,
        password: new.password,
        pod_ids: new.pod_ids.unwrap_or_default(),
        admin_pod_ids: new.admin_pod_ids.unwrap_or_default(),
        invite: new.invite.unwrap_or(false),
        send_email: new.send_email.unwrap_or(false),
    };
    let id = cx.services.people.create(&cx.caller, new, &cx.once).await?;
    Ok(Json(Created { status: true, message, id }))
}

async fn get_enterprise_user(cx: &Cx, Seg(id): Seg<PersonId>) -> Result<Json<User>> {
    let row = people::in_organization(&cx.services.db, cx.caller.organization, id).await?;
    let row = row.filter(|row| row.kind == "member").ok_or_else(|| Error::not_found("user"))?;
    Ok(Json(user(cx, row, EntryTokens::Acting).await?.in_words()))
}

async fn update_enterprise_user(
    cx: &Cx,
    Seg(id): Seg<PersonId>,
    Body(change): Body<EnterpriseUserChange>,
) -> Result<Json<User>> {
    let change = UserChange {
        name: change.name,
        username: change.username,
        title: change.title,
        location: change.location,
        phone: change.phone,
        license: change.license,
        role: change.role,
        active: change.active,
        on_call: change.on_call,
        pod_ids: change.pod_ids,
        admin_pod_ids: change.admin_pod_ids,
    };
    let row = cx.services.people.change(&cx.caller, id, change).await?;
    Ok(Json(user(cx, row, EntryTokens::Acting).await?.in_words()))
}

async fn delete_enterprise_user(cx: &Cx, Seg(id): Seg<PersonId>) -> Result<Nothing> {
    cx.services.people.remove(&cx.caller, id).await?;
    Ok(Nothing)
}
