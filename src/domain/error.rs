//! One transport-free error for all use cases. The outside text is written for the caller; the inside context is for
//! the log only and has no way out through `Display`.

use std::{fmt, time::Duration};

use super::codes::{Code, Kind};

/// Result of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case refused or failed.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    context: Option<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error with a text for the caller.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), context: None, retry_after: None }
    }

    /// A parameter or body field is wrong; say which and what would be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ParametersInvalid, message)
    }

    /// Absent or not visible to the caller: both look alike.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("{what} not found"))
    }

    /// The token lacks a right.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::Authorization, message)
    }

    /// Clash with the present state.
    pub fn constraint(message: impl Into<String>) -> Self {
        Self::new(Code::Constraint, message)
    }

    /// Something of ours is away; `context` goes to the log.
    pub fn unavailable(context: impl fmt::Display) -> Self {
        Self::new(Code::Unavailable, "the service cannot do this right now, try again").because(context)
    }

    /// Adds what the log should know and the caller must not.
    #[must_use]
    pub fn because(mut self, context: impl fmt::Display) -> Self {
        self.context = Some(context.to_string());
        self
    }

    /// When a retry can succeed.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text for the log.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// When a retry can succeed, where that is known.
    pub fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// True where the same request can succeed later (rpc `temporary`).
    pub fn is_temporary(&self) -> bool {
        matches!(self.code.kind(), Kind::Unavailable | Kind::TooMany)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Error {}
