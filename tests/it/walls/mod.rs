//! Walls: every operation is tried as nobody, with the wrong kind of token, expired, tampered with, without the
//! permission, from another organisation, and with broken bodies. Each must be refused in the right way, in the
//! family's shape, without any effect.
//!
//! The runner knows no server: whoever has one implements [`Target`]. [`estate`] is the real one, [`real`] tries it;
//! [`hostile`] sends it everything that a request can be wrong in; [`pages`] counts what its pages cost;
//! [`sockets`] tries the channels and actions of the socket.

pub mod estate;
mod hostile;
mod pages;
mod real;
mod sockets;
mod vanished;

use serde_json::{Value, json};
use switchboard::{
    domain::codes::Code,
    http::{Auth, Family, Method, Op},
};

use crate::harness::schema::{Contract, Seen, code_of};

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    /// `multipart/form-data`, with [`estate::BOUNDARY`].
    Form,
}

/// A body.
#[derive(Clone, Debug)]
pub struct Sent {
    pub kind: Kind,
    pub bytes: Vec<u8>,
}

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Of somebody who may do everything, in the organisation whose things are tried.
    Master,
    /// Of somebody in it with as few permissions as there are.
    Powerless,
    /// Of somebody who may do everything in another organisation.
    Foreigner,
    /// Like the master's, but its time is over.
    Expired,
}

/// A server to try.
pub trait Target {
    /// Sends a request and gives the response.
    async fn send(&self, request: Request) -> Response;

    /// A token of that kind (never [`Auth::None`] or [`Auth::UserOrEnterprise`]); `None` where there can be none.
    async fn token(&self, kind: Auth, whose: Whose) -> Option<String>;

    /// The header that carries a token of the family.
    fn token_header(&self, family: &Family) -> &'static str;

    /// A value of the master's organisation for a parameter of the operation's path.
    async fn parameter(&self, op: &Op, name: &str) -> String;

    /// The master's token for this operation, where it is another one than for the rest.
    fn own_token(&self, _: &Op) -> Option<String> {
        None
    }

    /// Tokens that no operation takes, by name.
    fn other_tokens(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// A value for a parameter of the operation's path that names nothing.
    fn absent(&self, _: &Op, _: &str) -> String {
        "999999999".to_owned()
    }

    /// The query of a request of the master's that works, with `?`.
    fn query(&self, _: &Op) -> String {
        String::new()
    }

    /// The body of a request of the master's that works; `None` for one that fits the contract.
    fn body(&self, _: &Op) -> Option<Sent> {
        None
    }

    /// True where the request names things of the master's organisation, besides what its token stands for.
    fn names_things(&self, op: &Op) -> bool {
        op.path.contains('{')
    }

    /// Something that changes with every effect: a digest of each table but tokens and audit,
    /// one a line.
    async fn fingerprint(&self) -> String;
}

const KINDS: &[Auth] = &[Auth::User, Auth::Enterprise, Auth::Session, Auth::Workbox];

/// Tries all operations; gives what is wrong.
pub async fn walls(target: &impl Target, families: &[&'static Family], contract: &Contract) -> Vec<String> {
    let mut faults = Vec::new();
    for family in families {
        for op in family.operations().filter(|op| op.auth != Auth::None) {
            let before = target.fingerprint().await;
            let trial = Trial { target, family, op, contract };
            trial.tokens(&mut faults).await;
            trial.rights(&mut faults).await;
            trial.bodies(&mut faults).await;
            let after = target.fingerprint().await;
            let changed: Vec<_> =
                after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
            if after != before {
                faults
                    .push(format!("{}: a refused request left something behind: {changed:?}", trial.name()));
            }
        }
    }
    faults
}

/// Tries all operations as the master: a wall that keeps everybody out proves nothing. What takes away comes last.
pub async fn doors(target: &impl Target, families: &[&'static Family], contract: &Contract) -> Vec<String> {
    let mut faults = Vec::new();
    for methods in [&[Method::Get][..], &[Method::Post], &[Method::Put, Method::Patch], &[Method::Delete]] {
        for family in families {
            for op in family.operations().filter(|op| methods.contains(&op.method)) {
                let trial = Trial { target, family, op, contract };
                let token = match (target.own_token(op), trial.right().next()) {
                    (Some(token), _) => Some(token),
                    (None, Some(kind)) => target.token(kind, Whose::Master).await,
                    (None, None) => None,
                };
                let response = trial.send(token.as_deref(), trial.body(), &mut faults).await;
                // Who is busy, or finds the ring over, was let in.
                let moment = [Some(Code::Busy), Some(Code::RingNotActive)].contains(&code_of(&response.body));
                if response.status >= 400 && !moment {
                    faults.push(format!("{} as the master: {}", trial.name(), show(&response)));
                }
            }
        }
    }
    faults
}

/// The operation's path with the target's parameters.
pub async fn filled(target: &impl Target, family: &Family, op: &Op) -> String {
    let mut path = String::new();
    for (number, piece) in op.full_path(family).split('{').enumerate() {
        match piece.split_once('}') {
            Some((name, rest)) if number > 0 => {
                path.push_str(&target.parameter(op, name).await);
                path.push_str(rest);
            }
            _ => path.push_str(piece),
        }
    }
    path
}

struct Trial<'a, T> {
    target: &'a T,
    family: &'static Family,
    op: &'static Op,
    contract: &'a Contract,
}

impl<T: Target> Trial<'_, T> {
    fn name(&self) -> String {
        format!("{} {}", self.op.method.name(), self.op.full_path(self.family))
    }

    /// The kinds that the operation takes.
    fn right(&self) -> impl Iterator<Item = Auth> {
        let op = self.op;
        KINDS.iter().copied().filter(move |kind| kind.kinds().iter().all(|kind| op.auth.accepts(*kind)))
    }

    async fn tokens(&self, faults: &mut Vec<String>) {
        let wrong = KINDS.iter().copied().filter(|kind| !self.right().any(|right| right == *kind));
        self.refused("as nobody", None, &[Code::InvalidToken], faults).await;
        self.refused("with nonsense", Some("nonsense".into()), &[Code::InvalidToken], faults).await;
        for kind in wrong {
            if let Some(token) = self.target.token(kind, Whose::Master).await {
                self.refused(
                    &format!("with a {} token", kind.name()),
                    Some(token),
                    &[Code::InvalidToken],
                    faults,
                )
                .await;
            }
        }
        for (name, token) in self.target.other_tokens() {
            self.refused(&format!("with a {name} token"), Some(token), &[Code::InvalidToken], faults).await;
        }
        for kind in self.right() {
            if let Some(token) = self.target.token(kind, Whose::Expired).await {
                self.refused("expired", Some(token), &[Code::ExpiredToken], faults).await;
            }
            if let Some(token) = self.target.token(kind, Whose::Master).await {
                for (how, token) in tampered(&token) {
                    self.refused(how, Some(token), &[Code::InvalidToken], faults).await;
                }
            }
        }
    }

    async fn rights(&self, faults: &mut Vec<String>) {
        for kind in self.right() {
            if self.op.permissions.0 != 0
                && let Some(token) = self.target.token(kind, Whose::Powerless).await
            {
                self.refused("without the permission", Some(token), &[Code::Authorization], faults).await;
            }
            // Without a name the token itself says whose things are meant.
            if self.target.names_things(self.op)
                && let Some(token) = self.target.token(kind, Whose::Foreigner).await
            {
                self.like_absent(&token, faults).await;
            }
        }
    }

    /// What is another organisation's looks like what is not there at all.
    async fn like_absent(&self, token: &str, faults: &mut Vec<String>) {
        let foreign = self.send(Some(token), self.body(), faults).await;
        if self.op.path.contains('{') {
            let mut path = self.op.full_path(self.family);
            while let Some((before, rest)) = path.split_once('{') {
                let (name, after) = rest.split_once('}').expect("a parameter has an end");
                path = format!("{before}{}{after}", self.target.absent(self.op, name));
            }
            let absent = self.send_to(path, Some(token), self.body(), faults).await;
            if (foreign.status, &foreign.body) != (absent.status, &absent.body) {
                faults.push(format!(
                    "{} from another organisation: {}, but what is absent: {}",
                    self.name(),
                    show(&foreign),
                    show(&absent)
                ));
            }
            return;
        }
        // A contact's token is bound to whom it was made for.
        let allowed = [
            Code::NotFound,
            Code::SessionInvalid,
            Code::LinkExpired,
            Code::ParametersInvalid,
            Code::InvalidToken,
            Code::CallNotActive,
            Code::RingNotActive,
        ];
        if foreign.status < 400 || !code_of(&foreign.body).is_some_and(|code| allowed.contains(&code)) {
            faults.push(format!("{} from another organisation: {}", self.name(), show(&foreign)));
        }
    }

    /// Broken JSON is refused; wrong types are refused or bent, but never an accident.
    async fn bodies(&self, faults: &mut Vec<String>) {
        let operation = self.contract.find(self.op.method.name(), &self.op.full_path(self.family));
        let Some(sample) = operation.and_then(|operation| self.contract.sample_body(operation)) else {
            return;
        };
        for kind in self.right() {
            let Some(token) = self.target.token(kind, Whose::Master).await else { continue };
            for broken in [&b"{\"a\":"[..], b"\xff\xfe", b"nonsense", &[b'['; 10_000]] {
                let body = Sent { kind: Kind::Json, bytes: broken.to_vec() };
                let response = self.send(Some(&token), Some(body), faults).await;
                if response.status < 400 || code_of(&response.body) != Some(Code::ParametersInvalid) {
                    let text = String::from_utf8_lossy(broken);
                    faults.push(format!("{}: took the body {text:.20}: {}", self.name(), show(&response)));
                }
            }
            for twisted in twisted(&sample) {
                let body = Sent { kind: Kind::Json, bytes: twisted.to_string().into_bytes() };
                let response = self.send(Some(&token), Some(body), faults).await;
                if response.status < 400 || code_of(&response.body).is_none() {
                    faults.push(format!("{}: took the body {twisted}: {}", self.name(), show(&response)));
                }
            }
        }
    }

    /// The target's body, or one that fits the contract.
    fn body(&self) -> Option<Sent> {
        self.target.body(self.op).or_else(|| {
            let operation = self.contract.find(self.op.method.name(), &self.op.full_path(self.family))?;
            let sample = self.contract.sample_body(operation)?;
            Some(Sent { kind: Kind::Json, bytes: sample.to_string().into_bytes() })
        })
    }

    async fn refused(&self, how: &str, token: Option<String>, allowed: &[Code], faults: &mut Vec<String>) {
        let response = self.send(token.as_deref(), self.body(), faults).await;
        let code = code_of(&response.body);
        if response.status < 400 || !code.is_some_and(|code| allowed.contains(&code)) {
            faults.push(format!("{} {how}: wanted {allowed:?}, got {}", self.name(), show(&response)));
        }
    }

    async fn send(&self, token: Option<&str>, body: Option<Sent>, faults: &mut Vec<String>) -> Response {
        let path = filled(self.target, self.family, self.op).await + &self.target.query(self.op);
        self.send_to(path, token, body, faults).await
    }

    async fn send_to(
        &self,
        path: String,
        token: Option<&str>,
        body: Option<Sent>,
        faults: &mut Vec<String>,
    ) -> Response {
        let content_type = match body.as_ref().map(|body| body.kind) {
            Some(Kind::Form) => format!("multipart/form-data; boundary={}", estate::BOUNDARY),
            _ => "application/json".to_owned(),
        };
        let mut headers = vec![("content-type".to_owned(), content_type)];
        if let Some(token) = token {
            headers.push((self.target.token_header(self.family).to_owned(), token.to_owned()));
        }
        let method = self.op.method.name();
        let response = self
            .target
            .send(Request { method, path: path.clone(), headers, body: body.map(|body| body.bytes) })
            .await;
        let judged = self.contract.judge(Seen {
            method,
            path: &path,
            status: response.status,
            content_type: response.content_type.as_deref(),
            body: &response.body,
        });
        faults.extend(judged.err());
        if response.status >= 500 {
            faults.push(format!("{}: an accident: {}", self.name(), show(&response)));
        }
        response
    }
}

fn show(response: &Response) -> String {
    format!("{} {:.200}", response.status, String::from_utf8_lossy(&response.body))
}

/// The token with another signature, without one, and with its claims changed.
fn tampered(token: &str) -> Vec<(&'static str, String)> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { return Vec::new() };
    let mut other = signature.to_owned().into_bytes();
    let first = if other.first() == Some(&b'A') { b'B' } else { b'A' };
    if let Some(byte) = other.first_mut() {
        *byte = first;
    }
    let other = String::from_utf8(other).unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let changed = URL_SAFE_NO_PAD.decode(claims).ok().and_then(|bytes| {
        let mut claims: Value = serde_json::from_slice(&bytes).ok()?;
        claims["exp"] = json!(4_000_000_000_i64);
        Some(URL_SAFE_NO_PAD.encode(claims.to_string()))
    });
    let mut forms = vec![
        ("with another signature", format!("{head}.{claims}.{other}")),
        ("without a signature", format!("{head}.{claims}.")),
        ("with alg none", format!("{none}.{claims}.")),
        ("with alg none and a signature", format!("{none}.{claims}.{signature}")),
    ];
    forms.extend(changed.map(|claims| ("with changed claims", format!("{head}.{claims}.{signature}"))));
    forms
}

/// The sample with all fields of a type that none of them has, and something that is no object at all.
fn twisted(sample: &Value) -> Vec<Value> {
    let wrong = json!([[{ "wrong": true }]]);
    match sample {
        Value::Object(fields) if !fields.is_empty() => {
            vec![fields.keys().map(|name| (name.clone(), wrong.clone())).collect(), json!(7), json!("text")]
        }
        Value::Array(_) => vec![json!({ "wrong": 1 }), wrong, json!(7)],
        _ => Vec::new(),
    }
}
