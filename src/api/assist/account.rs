//! The caller's own account.

use serde::{Deserialize, Serialize};

use super::types::{EntryTokens, User, user};
use crate::{
    base::secret::Secret,
    domain::error::{Error, Result},
    http::{Body, Cx, Json, Nothing, flexible},
    operations,
    service::people::OwnChange,
    store::people,
};

operations! {
    base "";
    /// The caller's account.
    GET "/v1/info" => 200 get_info() -> Json<User>, User + VIEW_ACCOUNT [no_store], fails NotFound;
    /// Change the caller's account.
    PUT "/v1/info" => 200 update_info(Body<InfoChange>) -> Json<User>, User + EDIT_ACCOUNT [no_store],
        fails NotFound | EmailTaken | UsernameTaken | InvalidEmail | InvalidName | InvalidUsername
        | InvalidPassword | InvalidStatus;
    /// Mark the caller unavailable, perhaps for so many seconds only.
    POST "/v1/info/unavailable" => 200 set_unavailable(Body<Absence>) -> Nothing, User + EDIT_ACCOUNT,
        fails NotFound;
    /// Mark the caller available again.
    DELETE "/v1/info/unavailable" => 200 set_available() -> Nothing, User + EDIT_ACCOUNT, fails NotFound;
    /// The caller's account with what the token allows.
    GET "/v1r1/user" => 200 get_user() -> Json<PersonalUser>, User + VIEW_ACCOUNT [no_store], fails NotFound;
    /// Change the caller's account.
    PUT "/v1r1/user" => 200 update_user(Body<AccountChange>) -> Json<PersonalUser>, User + EDIT_ACCOUNT [no_store],
        fails NotFound | EmailTaken | UsernameTaken | InvalidEmail | InvalidName | InvalidUsername
        | InvalidPassword | InvalidNumber;
}

/// What `PUT /v1/info` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct InfoChange {
    email: Option<String>,
    name: Option<String>,
    password: Option<Secret>,
    #[serde(deserialize_with = "flexible::optional_number")]
    status: Option<i64>,
    username: Option<String>,
}

/// What `PUT /v1r1/user` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AccountChange {
    email: Option<String>,
    #[serde(deserialize_with = "flexible::optional_boolean")]
    expert_on_call: Option<bool>,
    language: Option<String>,
    location: Option<String>,
    name: Option<String>,
    password: Option<Secret>,
    phone: Option<String>,
    title: Option<String>,
    username: Option<String>,
}

/// For how long, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Absence {
    #[serde(deserialize_with = "flexible::optional_number")]
    expires_after: Option<i64>,
    status_message: Option<String>,
}

/// `personal_user` of the contract.
#[derive(Serialize)]
pub struct PersonalUser {
    #[serde(flatten)]
    user: User,
    /// What this token allows; `permissions` are the account's.
    token_permissions: Vec<&'static str>,
    oauth2: OAuth2,
}

/// Where the person signs in instead of here: nowhere.
#[derive(Default, Serialize)]
struct OAuth2 {
    account_url: Option<String>,
    logout_url: Option<String>,
    provider: Option<String>,
}

async fn get_info(cx: &Cx) -> Result<Json<User>> {
    own(cx).await.map(Json)
}

async fn update_info(cx: &Cx, Body(change): Body<InfoChange>) -> Result<Json<User>> {
    let InfoChange { email, name, password, status, username } = change;
    let change = OwnChange { name, email, username, password, status, ..OwnChange::default() };
    let row = cx.services.people.change_own(&cx.caller, change).await?;
    user(cx, row, EntryTokens::Public).await.map(Json)
}

async fn set_unavailable(cx: &Cx, Body(absence): Body<Absence>) -> Result<Nothing> {
    let Absence { expires_after, status_message } = absence;
    let message = status_message.as_deref();
    cx.services.people.set_unavailable(&cx.caller, expires_after, message, &cx.once).await?;
    Ok(Nothing)
}

async fn set_available(cx: &Cx) -> Result<Nothing> {
    cx.services.people.set_available(&cx.caller).await?;
    Ok(Nothing)
}

async fn get_user(cx: &Cx) -> Result<Json<PersonalUser>> {
    Ok(personal(cx, own(cx).await?))
}

async fn update_user(cx: &Cx, Body(change): Body<AccountChange>) -> Result<Json<PersonalUser>> {
    let AccountChange { email, expert_on_call, language, location, name, password, phone, title, username } =
        change;
    let change = OwnChange {
        name,
        email,
        username,
        password,
        title,
        location,
        phone,
        language,
        on_call: expert_on_call,
        status: None,
    };
    let row = cx.services.people.change_own(&cx.caller, change).await?;
    Ok(personal(cx, user(cx, row, EntryTokens::Public).await?))
}

async fn own(cx: &Cx) -> Result<User> {
    let row = people::in_organization(&cx.services.db, cx.caller.organization, cx.caller.person()?).await?;
    user(cx, row.ok_or_else(|| Error::not_found("user"))?, EntryTokens::Public).await
}

fn personal(cx: &Cx, user: User) -> Json<PersonalUser> {
    let token_permissions = cx.caller.permissions.names();
    Json(PersonalUser { user: user.in_words(), token_permissions, oauth2: OAuth2::default() })
}
