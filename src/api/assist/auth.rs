//! Authentication: signing in, refreshing, looking into tokens.

use serde::{Deserialize, Serialize};

use super::types::Token;
use crate::{
    base::secret::Secret,
    domain::{
        caller::TokenKind,
        codes::Code,
        error::{Error, Result},
        permission::Permissions,
    },
    http::{Body, Cx, Json, Query},
    operations,
    service::{sign_in::TokenPair, tokens::Inspection},
};

operations! {
    base "";
    /// Sign in with e-mail address (or username) and password.
    POST "/v1/auth" => 200 sign_in_v1(Body<Credentials>) -> Json<TokenPair>, None [no_store],
        fails Authentication;
    /// A new token and refresh token for a refresh token. An expired token beside it does not matter.
    POST "/v1/auth/refresh" => 200 refresh_tokens(Body<Refresh>) -> Json<TokenPair>, None [no_store];
    /// Sign in with the same credentials, for an enterprise token.
    POST "/v1/enterprise/auth" => 200 sign_in_enterprise(Body<Credentials>) -> Json<String>, None [no_store],
        fails Authentication;
    /// A token for a visitor without an account.
    POST "/v1/anonymous/auth" => 200 sign_in_anonymous(Body<Visitor>) -> Json<Token>, None [no_store],
        fails InvalidName | NotFound;
    /// What a token says.
    GET "/v1/token/info" => 200 get_token_info(Query<Inspected>) -> Json<TokenInfo>, None;
    /// What a token says, and whether it is of a kind and allows what is asked.
    GET "/v1/token/validate" => 200 validate_token(Query<Inspected>) -> Json<ValidatedToken>, None;
    /// Sign in with e-mail address (or username) and password.
    POST "/v1r1/auth" => 200 sign_in(Body<Credentials>) -> Json<TokenPair>, None [no_store],
        fails Authentication;
    /// Sign in as the guest of a help thread's link.
    POST "/v1r1/auth/from_url" => 200 sign_in_from_url(Body<Link>) -> Json<TokenPair>, None [no_store],
        fails LinkExpired;
    /// Sign in with a personal access token; no refresh token comes back.
    POST "/v1r1/auth/pat" => 200 sign_in_with_access_token(Body<AccessToken>) -> Json<Token>, None [no_store],
        fails Authentication;
}

/// `POST /auth/federate`, at the host's root.
pub mod federate {
    use super::{Cx, Deserialize, Json, Result, Serialize};
    use crate::{http::Body, operations};

    operations! {
        base "";
        /// How the person behind an e-mail address signs in. Unknown addresses answer like known ones.
        POST "/auth/federate" => 200 federate(Body<Person>) -> Json<Way>, None [root];
    }

    /// The body.
    #[derive(Debug, Deserialize)]
    pub struct Person {
        #[expect(dead_code, reason = "must be there, and must make no difference")]
        email: String,
    }

    /// The reply.
    #[derive(Debug, Serialize)]
    pub struct Way {
        #[serde(rename = "type")]
        kind: &'static str,
    }

    async fn federate(cx: &Cx, _: Body<Person>) -> Result<Json<Way>> {
        cx.services.sign_in.federate(cx.request.remote)?;
        Ok(Json(Way { kind: "password" }))
    }
}

/// E-mail address or username, and password.
#[derive(Debug, Deserialize)]
pub struct Credentials {
    email: String,
    password: Secret,
}

/// A refresh token.
#[derive(Debug, Deserialize)]
pub struct Refresh {
    refresh_token: Secret,
}

/// A visitor.
#[derive(Debug, Deserialize)]
pub struct Visitor {
    #[serde(default)]
    display_name: String,
}

/// A guest's link, whole.
#[derive(Debug, Deserialize)]
pub struct Link {
    #[serde(default)]
    link_url: Secret,
}

/// A personal access token.
#[derive(Debug, Deserialize)]
pub struct AccessToken {
    token: Secret,
}

/// The token to look into, and what it should be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Inspected {
    token: Secret,
    resource_type: Option<String>,
    permission_category: Option<String>,
    permission_list: Vec<String>,
}

/// `token_info` of the contract.
#[derive(Debug, Serialize)]
pub struct TokenInfo {
    created_at: i64,
    expires_at: i64,
    issuer: &'static str,
    data: String,
    permissions: Vec<&'static str>,
    status: &'static str,
}

/// `validated_token_info` of the contract.
#[derive(Debug, Serialize)]
pub struct ValidatedToken {
    #[serde(flatten)]
    info: TokenInfo,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

async fn sign_in_v1(cx: &Cx, body: Body<Credentials>) -> Result<Json<TokenPair>> {
    sign_in(cx, body).await
}

async fn sign_in(cx: &Cx, Body(credentials): Body<Credentials>) -> Result<Json<TokenPair>> {
    let Credentials { email, password } = credentials;
    cx.services.sign_in.password(&email, &password, cx.request.remote).await.map(Json)
}

async fn refresh_tokens(cx: &Cx, Body(body): Body<Refresh>) -> Result<Json<TokenPair>> {
    cx.services.sign_in.refresh(&body.refresh_token).await.map(Json)
}

async fn sign_in_enterprise(cx: &Cx, Body(credentials): Body<Credentials>) -> Result<Json<String>> {
    let Credentials { email, password } = credentials;
    cx.services.sign_in.enterprise(&email, &password, cx.request.remote).await.map(Json)
}

async fn sign_in_anonymous(cx: &Cx, Body(visitor): Body<Visitor>) -> Result<Json<Token>> {
    let application = cx.services.keys.check_application(cx.request.headers.api_key.as_deref()).await?;
    let token = cx.services.sign_in.anonymous(&visitor.display_name, application, cx.request.remote).await?;
    Ok(Json(Token { token }))
}

async fn sign_in_from_url(cx: &Cx, Body(body): Body<Link>) -> Result<Json<TokenPair>> {
    cx.services.sign_in.link_attempt(cx.request.remote)?;
    let link = cx.services.workboxes.open_link(body.link_url.expose()).await?;
    cx.services.sign_in.link(&link).await.map(Json)
}

async fn sign_in_with_access_token(cx: &Cx, Body(body): Body<AccessToken>) -> Result<Json<Token>> {
    let token = cx.services.sign_in.access_token(&body.token, cx.request.remote).await?;
    Ok(Json(Token { token }))
}

async fn get_token_info(cx: &Cx, Query(query): Query<Inspected>) -> Result<Json<TokenInfo>> {
    Ok(Json(info(&inspect(cx, &query).await?)))
}

async fn validate_token(cx: &Cx, Query(query): Query<Inspected>) -> Result<Json<ValidatedToken>> {
    let inspection = inspect(cx, &query).await?;
    let kind = resource_type(inspection.kind);
    let inspection = Inspection { caller: Ok(inspection.caller?), ..inspection };
    if query.resource_type.as_deref().is_some_and(|wanted| wanted != kind) {
        return Err(Error::new(Code::InvalidToken, "the token is of another resource type"));
    }
    let needed = needed(&query)?;
    if !inspection.permissions.contains(needed) {
        return Err(Error::forbidden("the token does not allow all of this"));
    }
    Ok(Json(ValidatedToken { info: info(&inspection), id: inspection.id, kind }))
}

async fn inspect(cx: &Cx, query: &Inspected) -> Result<Inspection> {
    if query.token.expose().is_empty() {
        return Err(Error::invalid("query: token: missing"));
    }
    cx.services.tokens.inspect(query.token.expose()).await
}

fn info(inspection: &Inspection) -> TokenInfo {
    TokenInfo {
        created_at: inspection.issued_at,
        expires_at: inspection.expires_at,
        issuer: inspection.issuer,
        data: inspection.subject.clone(),
        permissions: inspection.permissions.names(),
        status: match &inspection.caller {
            Ok(_) => "valid",
            Err(error) if error.code() == Code::ExpiredToken => "expired",
            Err(_) => "revoked",
        },
    }
}

/// The contract's names: `user`, `enterprise` (`invitation` has no token here yet).
fn resource_type(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::User | TokenKind::UserRefresh | TokenKind::Public => "user",
        TokenKind::Enterprise | TokenKind::Partner => "enterprise",
        TokenKind::Session => "session",
        TokenKind::Workbox => "workbox",
    }
}

/// A category stands for what its members can do at least; names are those of the permissions.
fn needed(query: &Inspected) -> Result<Permissions> {
    let category = match query.permission_category.as_deref() {
        None | Some("") => Permissions::NONE,
        Some("owner") => Permissions::VIEW_ACCOUNT | Permissions::EDIT_ACCOUNT,
        Some("employee") => Permissions::VIEW_CONTACTS,
        Some(_) => return Err(Error::invalid("query: permission_category: owner or employee")),
    };
    query.permission_list.iter().try_fold(category, |all, name| {
        let permission = Permissions::by_name(name)
            .ok_or_else(|| Error::invalid(format!("query: permission_list: unknown permission {name}")))?;
        Ok(all | permission)
    })
}
