//! The one table of error codes. REST families and the socket spell them; nothing else invents one.

/// What an error means for the caller: decides the HTTP status of families that use statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong (400).
    Invalid,
    /// Not signed in, or with a dead or wrong token (401).
    Unauthenticated,
    /// Signed in, without the right (403).
    Forbidden,
    /// Absent, or foreign, which must look the same (404).
    NotFound,
    /// In conflict with the present state (409).
    Conflict,
    /// Too large (413).
    TooLarge,
    /// Too many attempts (429, with `Retry-After`).
    TooMany,
    /// Our side cannot right now; a retry can help (503).
    Unavailable,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal $name:literal $kind:ident;)+) => {
        /// Every error an operation can answer with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }
        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            /// The number on the socket (rpc error code, 400 and up) and in REST bodies.
            pub const fn number(self) -> u32 { match self { $(Self::$variant => $number,)+ } }
            /// The stable name: `message` of an rpc error.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)+ } }
            /// What it means for the caller.
            pub const fn kind(self) -> Kind { match self { $(Self::$variant => Kind::$kind,)+ } }
        }
    };
}

codes! {
    /// Missing, unreadable, unknown or revoked token, or one of the wrong kind.
    InvalidToken = 401 "invalid_token" Unauthenticated;
    /// The token's time is over: refresh and repeat.
    ExpiredToken = 1003 "expired_token" Unauthenticated;
    /// Wrong e-mail, username or password.
    Authentication = 402 "authentication" Unauthenticated;
    /// The token does not allow this.
    Authorization = 403 "authorization" Forbidden;
    /// No such thing here (or none that the caller may see).
    NotFound = 404 "not_found" NotFound;
    /// The path exists, the method does not.
    MethodInvalid = 405 "method_invalid" Invalid;
    /// A parameter or body field is missing, of the wrong type, out of range or unknown.
    ParametersInvalid = 406 "method_parameters_invalid" Invalid;
    /// Clashes with what is stored: same key or uuid with another content, or a state that forbids it.
    Constraint = 409 "constraint" Conflict;
    /// Body, file or frame beyond its limit.
    TooLarge = 413 "too_large" TooLarge;
    /// Too many attempts; see `Retry-After`.
    TooManyRequests = 429 "too_many_requests" TooMany;
    /// An owner's mailbox or a queue is full: try again.
    MailboxFull = 430 "mailbox_full" Unavailable;
    /// The database or another part is away: try again.
    Unavailable = 431 "data_unavailable" Unavailable;
    /// The request took too long to arrive or to answer.
    Timeout = 432 "timeout" Unavailable;
    /// The API key header is missing where one is required.
    MissingApiKey = 440 "missing_apikey" Unauthenticated;
    /// Unknown or revoked API key.
    InvalidApiKey = 441 "invalid_apikey" Unauthenticated;
    /// The account is switched off.
    AccountDeactivated = 442 "account_deactivated" Unauthenticated;
    /// The account's e-mail is not confirmed yet.
    AccountUnconfirmed = 443 "account_unconfirmed" Unauthenticated;
    /// The session token belongs to no session that the caller is in.
    SessionInvalid = 450 "session_invalid" Invalid;
    /// The ring was answered, cancelled or ran out before.
    RingNotActive = 451 "ring_not_active" Conflict;
    /// The person is in a call already.
    Busy = 452 "busy" Conflict;
    /// No such call is running.
    CallNotActive = 453 "call_not_active" Conflict;
    /// No expert is free.
    NoExpert = 454 "no_expert" Conflict;
    /// The e-mail address belongs to somebody.
    EmailTaken = 1001 "email_taken" Conflict;
    /// The username belongs to somebody.
    UsernameTaken = 460 "username_taken" Conflict;
    /// Not an e-mail address.
    InvalidEmail = 461 "invalid_email" Invalid;
    /// Empty, too long, or with characters that are not allowed.
    InvalidName = 462 "invalid_name" Invalid;
    /// Empty, too long, or with characters that are not allowed.
    InvalidUsername = 463 "invalid_username" Invalid;
    /// Breaks the password rules, or may not be set here.
    InvalidPassword = 464 "invalid_password" Invalid;
    /// Not one of the status numbers.
    InvalidStatus = 465 "invalid_status" Invalid;
    /// Not a phone number that can be dialled internationally.
    InvalidNumber = 1048 "invalid_number" Invalid;
    /// Not a message of a known type with its metadata.
    InvalidMessage = 466 "invalid_message" Invalid;
    /// The search term is too short or too long.
    InvalidSearchTerm = 467 "invalid_search_term" Invalid;
    /// A page size or limit outside its bounds.
    InvalidLimit = 468 "invalid_limit" Invalid;
    /// Not a usable tag.
    InvalidTag = 469 "invalid_tag" Invalid;
    /// Not an image that can be read.
    InvalidImage = 470 "invalid_image" Invalid;
    /// The link is over or was revoked.
    LinkExpired = 471 "link_expired" Invalid;
    /// No such push platform.
    UnknownPlatform = 472 "unknown_device_platform" Invalid;
    /// No such device.
    UnknownDevice = 473 "unknown_device_id" NotFound;
}
