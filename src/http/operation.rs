//! An operation as data: what it is called, where it stands, who may use it, what can go wrong, and the function.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Cx, Family, Reply};
use crate::domain::{
    caller::TokenKind,
    codes::{Code, Kind},
    error::Error,
    permission::Permissions,
};

/// How an operation runs: on the owned runtime, after everything was checked that the row declares.
pub type Call = fn(Cx) -> BoxFuture<'static, Result<Reply, Error>>;

/// A request method that operations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates or acts; takes an `Idempotency-Key`.
    Post,
    /// Replaces or changes.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// As rows of a table spell it.
    pub const GET: Self = Self::Get;
    /// As rows of a table spell it.
    pub const POST: Self = Self::Post;
    /// As rows of a table spell it.
    pub const PUT: Self = Self::Put;
    /// As rows of a table spell it.
    pub const PATCH: Self = Self::Patch;
    /// As rows of a table spell it.
    pub const DELETE: Self = Self::Delete;

    /// The method's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method of that name; HEAD is answered by GET.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" | "HEAD" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }
}

/// The kind of token that an operation takes. What the token allows is a matter of [`Op::permissions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// No token; one that is sent is not looked at.
    None,
    /// A person's.
    User,
    /// An organisation's, or one signed by its partner key.
    Enterprise,
    /// Either of the two.
    UserOrEnterprise,
    /// A session's.
    Session,
    /// A workbox's.
    Workbox,
}

impl Auth {
    /// Every kind.
    pub const ALL: &[Self] =
        &[Self::None, Self::User, Self::Enterprise, Self::UserOrEnterprise, Self::Session, Self::Workbox];

    /// The token kinds that do.
    pub const fn kinds(self) -> &'static [TokenKind] {
        match self {
            Self::None => &[],
            Self::User => &[TokenKind::User],
            Self::Enterprise => &[TokenKind::Enterprise, TokenKind::Partner],
            Self::UserOrEnterprise => &[TokenKind::User, TokenKind::Enterprise, TokenKind::Partner],
            Self::Session => &[TokenKind::Session],
            Self::Workbox => &[TokenKind::Workbox],
        }
    }

    /// True when a token of `kind` does.
    pub fn accepts(self, kind: TokenKind) -> bool {
        self.kinds().contains(&kind)
    }

    /// The `x-auth` of the contract files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::User => "user",
            Self::Enterprise => "enterprise",
            Self::UserOrEnterprise => "user_or_enterprise",
            Self::Session => "session",
            Self::Workbox => "workbox",
        }
    }
}

/// What a row says besides the grammar's fixed parts, as `[no_store, limit(65_536)]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The reply holds a token or secret: nobody on the way may keep it.
    pub no_store: bool,
    /// Takes `multipart/form-data` as a stream of up to the configured upload size.
    pub upload: bool,
    /// Bytes of a body; `None` = `http.body_limit`.
    pub limit: Option<usize>,
    /// A POST that changes nothing: there is no outcome to remember under an `Idempotency-Key`.
    pub reads: bool,
    /// The path stands at the host's root, without the family's base.
    pub root: bool,
    /// Opened by browsers, which send no header of ours: the application's key is not asked for.
    pub keyless: bool,
}

impl Options {
    /// Nothing special.
    pub const fn new() -> Self {
        Self { no_store: false, upload: false, limit: None, reads: false, root: false, keyless: false }
    }
    /// Sets [`Options::no_store`].
    #[must_use]
    pub const fn no_store(mut self) -> Self {
        self.no_store = true;
        self
    }
    /// Sets [`Options::upload`].
    #[must_use]
    pub const fn upload(mut self) -> Self {
        self.upload = true;
        self
    }
    /// Sets [`Options::limit`].
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }
    /// Sets [`Options::reads`].
    #[must_use]
    pub const fn reads(mut self) -> Self {
        self.reads = true;
        self
    }
    /// Sets [`Options::root`].
    #[must_use]
    pub const fn root(mut self) -> Self {
        self.root = true;
        self
    }
    /// Sets [`Options::keyless`].
    #[must_use]
    pub const fn keyless(mut self) -> Self {
        self.keyless = true;
        self
    }
}

/// One operation: a row of a family's table.
#[derive(Debug)]
pub struct Op {
    /// Unique name: metrics label, log field, scope of idempotency keys.
    pub id: &'static str,
    /// What it does, for people.
    pub doc: &'static str,
    /// Request method.
    pub method: Method,
    /// Path template within the family, `{name}` for parameters.
    pub path: &'static str,
    /// Kind of token.
    pub auth: Auth,
    /// What the token must allow.
    pub permissions: Permissions,
    /// HTTP status of a success.
    pub status: u16,
    /// How it can fail, besides [`Op::UNIVERSAL`].
    pub codes: &'static [Code],
    /// See [`Options`].
    pub options: Options,
    /// The function.
    pub call: Call,
}

impl Op {
    /// Failures that the dispatcher itself, or any use of the database, can answer with: no row declares them.
    pub const UNIVERSAL: &[Code] = &[
        Code::InvalidToken,
        Code::ExpiredToken,
        Code::Authorization,
        Code::MissingApiKey,
        Code::InvalidApiKey,
        Code::AccountDeactivated,
        Code::MethodInvalid,
        Code::ParametersInvalid,
        Code::TooLarge,
        Code::TooManyRequests,
        Code::MailboxFull,
        Code::Unavailable,
        Code::Timeout,
    ];

    /// True when the operation may fail this way.
    pub fn declares(&self, code: Code) -> bool {
        self.codes.contains(&code)
            || Self::UNIVERSAL.contains(&code)
            // A key used again with another body.
            || (code.kind() == Kind::Conflict && code == Code::Constraint && self.takes_key())
    }

    /// True where an `Idempotency-Key` counts.
    pub fn takes_key(&self) -> bool {
        self.method == Method::Post && self.auth != Auth::None && !self.options.reads
    }

    /// The whole path template, with the family's base.
    pub fn full_path(&self, family: &Family) -> String {
        if self.options.root { self.path.to_owned() } else { format!("{}{}", family.base, self.path) }
    }
}

/// A row of `switchboard operations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Request method.
    pub method: &'static str,
    /// Whole path template.
    pub path: String,
    /// The family's name.
    pub family: &'static str,
    /// Kind of token.
    pub auth: &'static str,
    /// Unique name.
    pub id: &'static str,
    /// Names of the permissions that the token needs.
    pub permissions: Vec<&'static str>,
    /// What it does.
    pub doc: String,
}

/// All operations of the families, in the order of their tables.
pub fn list(families: &[&'static Family]) -> Vec<Listed> {
    families
        .iter()
        .flat_map(|family| {
            family.operations().map(|op| Listed {
                method: op.method.name(),
                path: op.full_path(family),
                family: family.name,
                auth: op.auth.name(),
                id: op.id,
                permissions: op.permissions.names(),
                doc: op.doc.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned(),
            })
        })
        .collect()
}

/// Declares a section's operations: a `pub static OPS: &[Op]`.
///
/// ```text
/// operations! {
///     base "/v1r1/rooms";
///     /// Create a room.
///     POST   ""        => 200 create_room(Body<NewRoom>)       -> Json<Room>, User + CALL, fails RoomExists;
///     /// Read one room.
///     GET    "/{room}" => 200 get_room(Seg<RoomId>)            -> Json<Room>, User, fails NotFound;
///     /// A key of a room.
///     POST   "/{room}/key" => 200 room_key(Seg<RoomId>)        -> Json<Key>, User + CALL [no_store], fails NotFound;
/// }
/// async fn create_room(cx: &Cx, Body(new): Body<NewRoom>) -> Result<Json<Room>> { .. }
/// ```
///
/// After the token kind stand the permissions that the token needs (`+ CALL + USE_WORKBOXES`), then [`Options`] in
/// brackets, then the failures besides [`Op::UNIVERSAL`]. Arguments are taken in order; several [`Seg`](super::Seg)s
/// take the path's parameters from left to right.
#[macro_export]
macro_rules! operations {
    (base $base:literal; $(
        $(#[doc = $doc:literal])+
        $method:ident $path:literal => $status:literal $name:ident($($arg:ty),* $(,)?) -> $out:ty,
        $auth:ident $(+ $permission:ident)* $([$($option:ident $(($value:expr))?),+ $(,)?])?
        $(, fails $($code:ident)|+)?;
    )*) => {
        /// The operations of this section.
        pub static OPS: &[$crate::http::Op] = &[$($crate::http::Op {
            id: stringify!($name),
            doc: concat!($($doc, "\n"),+),
            method: $crate::http::Method::$method,
            path: concat!($base, $path),
            auth: $crate::http::Auth::$auth,
            permissions: $crate::http::Permissions(
                $crate::http::Permissions::NONE.0 $(| $crate::http::Permissions::$permission.0)*
            ),
            status: $status,
            codes: &[$($($crate::http::Code::$code),+)?],
            options: $crate::http::Options::new()$($(.$option($($value)?))+)?,
            call: |cx| Box::pin(async move {
                let args = $crate::http::Args::new(&cx);
                let _ = &args;
                let out: $out = $name(&cx $(, <$arg as $crate::http::Arg>::take(&args)?)*).await?;
                $crate::http::Render::render(out, $status)
            }),
        }),*];
    };
}
