//! Who takes part: people with tokens, out of a file or made by an administrator.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    client::rest::Rest,
    failure::{Failure, Outcome},
};

/// Tokens are renewed when they have been used for this long: user tokens live ten minutes by default.
const RENEW: Duration = Duration::from_secs(8 * 60);
/// People made at once: each costs the server a password hash.
const AT_ONCE: usize = 8;

/// Answers that say "later": of our own codes, and of HTTP.
const BUSY: u32 = 431;
const TOO_MANY: u32 = 429;
const UNAVAILABLE: u32 = 503;
/// How often somebody is tried to be made.
const TRIES: u64 = 10;

/// A line of `switchboard admin create-users`, and of a ledger.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Login {
    /// Their number.
    pub id: i64,
    /// Their user token.
    pub token: String,
    /// Renews the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
    /// Help threads that they are in.
    #[serde(default)]
    pub workboxes: Vec<i64>,
}

/// Somebody who can sign in.
#[derive(Debug)]
pub struct Person {
    /// Their number.
    pub id: i64,
    rest: Rest,
    login: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    login: Login,
    since: Instant,
}

impl Person {
    /// Somebody who signed in just now.
    pub fn new(login: Login, rest: Rest) -> Arc<Self> {
        Arc::new(Self { id: login.id, rest, login: Mutex::new(Kept { login, since: Instant::now() }) })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log-in as it is now.
    pub fn login(&self) -> Login {
        self.kept().login.clone()
    }

    /// A token that is not about to expire.
    pub async fn token(&self) -> Outcome<String> {
        let refresh = {
            let kept = self.kept();
            match &kept.login.refresh {
                Some(refresh) if kept.since.elapsed() > RENEW => refresh.clone(),
                _ => return Ok(kept.login.token.clone()),
            }
        };
        let renewed =
            self.rest.post("/api/v1/auth/refresh", "", &json!({ "refresh_token": refresh })).await?;
        let text = |name: &str| renewed[name].as_str().map(str::to_owned);
        let token = text("token").ok_or_else(|| Failure::Unexpected("no token came".to_owned()))?;
        let mut kept = self.kept();
        kept.login.token.clone_from(&token);
        kept.login.refresh = text("refresh");
        kept.since = Instant::now();
        Ok(token)
    }

    /// The server said that the token is too old: the next one is fetched.
    pub fn expired(&self) {
        let mut kept = self.kept();
        kept.since = Instant::now().checked_sub(RENEW * 2).unwrap_or(kept.since);
    }
}

/// Reads JSON lines as `switchboard admin create-users` prints them.
pub fn read(file: &Path) -> Result<Vec<Login>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads JSON lines.
pub fn parse(text: &str) -> Result<Vec<Login>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))
        })
        .collect()
}

/// How an administrator is known.
#[derive(Clone, Debug)]
pub enum Administrator {
    /// A user token of theirs, or a personal access token.
    Key(String),
    /// Address and password.
    Password(String, String),
}

impl Administrator {
    /// Reads `demo.json` of `switchboard serve --demo`: the first person is the administrator.
    pub fn from_demo(file: &Path) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Demo {
            people: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            email: String,
            password: String,
        }
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let demo: Demo =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let first = demo.people.into_iter().next().ok_or("nobody stands in it")?;
        Ok(Self::Password(first.email, first.password))
    }
}

/// Makes `count` people, signed in.
pub async fn make(
    rest: &Rest,
    administrator: &Administrator,
    count: usize,
    run: &str,
) -> Outcome<Vec<Login>> {
    let (token, domain) = match administrator {
        Administrator::Key(key) => {
            let info = rest.get("/api/v1/info", key).await?;
            let email = info["email"].as_str().unwrap_or_default();
            (key.clone(), domain(email).to_owned())
        }
        Administrator::Password(email, password) => {
            let signed = json!({ "email": email, "password": password });
            let token = rest.post("/api/v1/enterprise/auth", "", &signed).await?;
            (token.as_str().unwrap_or_default().to_owned(), domain(email).to_owned())
        }
    };
    let one = |number: usize| {
        let (token, domain) = (&token, &domain);
        async move {
            let email = format!("loadtest-{run}-{number}@{domain}");
            let password = format!("loadtest-{run}-{number}-word");
            let new = json!({ "email": email, "name": format!("Load {number}"), "password": password });
            let made = patiently(rest, "/api/v1r1/enterprise/users", token, &new).await?;
            let id = made["id"].as_i64();
            let id = id.ok_or_else(|| Failure::Unexpected(format!("no id came: {made}")))?;
            let sign_in = json!({ "email": email, "password": password });
            let signed = patiently(rest, "/api/v1/auth", "", &sign_in).await?;
            let text = |name: &str| signed[name].as_str().map(str::to_owned);
            let token = text("token").ok_or_else(|| Failure::Unexpected("no token came".to_owned()))?;
            Ok(Login { id, token, refresh: text("refresh"), workboxes: Vec::new() })
        }
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// Asks again when the server is too busy (hashing passwords keeps it so): nothing is measured yet.
async fn patiently(rest: &Rest, path: &str, token: &str, body: &Value) -> Outcome<Value> {
    let mut tried = 0;
    loop {
        match rest.post(path, token, body).await {
            Err(Failure::Refused(BUSY | TOO_MANY | UNAVAILABLE, _)) if tried < TRIES => {
                tried += 1;
                tokio::time::sleep(Duration::from_millis(200 * tried)).await;
            }
            outcome => return outcome,
        }
    }
}

fn domain(email: &str) -> &str {
    email.rsplit_once('@').map_or("people.example", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_create_users_are_read() {
        let people = parse("{\"id\":2,\"email\":\"a@b\",\"token\":\"t\",\"workboxes\":[1,4]}\n\n").unwrap();
        assert_eq!((people[0].id, people[0].workboxes.as_slice()), (2, [1, 4].as_slice()));
        assert!(parse("{\"id\":2}\n").unwrap_err().starts_with("line 1"));
    }
}
