//! Registration: whoever was invited takes the account over. There are no accounts outside organisations.

use serde::Deserialize;

use crate::{
    base::secret::Secret,
    domain::error::{Error, Result},
    http::{Body, Cx, Nothing},
    operations,
};

operations! {
    base "";
    /// Take over the account that an invitation is for.
    POST "/v1/register" => 200 register_v1(Body<Registration>) -> Nothing, None [no_store],
        fails LinkExpired | InvalidEmail | InvalidName | InvalidPassword | NotFound;
    /// Take over the account that an invitation is for.
    POST "/v1r1/register" => 200 register(Body<Registration>) -> Nothing, None [no_store],
        fails LinkExpired | InvalidEmail | InvalidName | InvalidPassword | NotFound;
}

/// The body of both.
#[derive(Debug, Deserialize)]
pub struct Registration {
    invitation_token: Option<Secret>,
    user_info: UserInfo,
}

/// Who it is.
#[derive(Debug, Deserialize)]
pub struct UserInfo {
    email: String,
    name: String,
    password: Secret,
}

async fn register_v1(cx: &Cx, body: Body<Registration>) -> Result<Nothing> {
    register(cx, body).await
}

async fn register(cx: &Cx, Body(registration): Body<Registration>) -> Result<Nothing> {
    cx.services.sign_in.link_attempt(cx.request.remote)?;
    let Registration { invitation_token, user_info: UserInfo { email, name, password } } = registration;
    let token = invitation_token.ok_or_else(|| Error::forbidden("accounts are made by invitation"))?;
    cx.services.people.accept(&token, &email, &name, &password).await?;
    Ok(Nothing)
}
