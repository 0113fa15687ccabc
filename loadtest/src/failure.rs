//! What can go wrong with one request.

use std::fmt;

/// Answers that do not say whether it took effect, of our own codes and of HTTP: an internal error, data that cannot be
/// reached (the commit may stand, though its answer was lost on the way from the database), time that ran out.
const UNDECIDED: [u32; 6] = [100, 431, 432, 500, 503, 504];

/// Why a request has no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server answered no: its code and stable name.
    Refused(u32, String),
    /// The connection ended before the answer: whether it took effect is unknown.
    Disconnected,
    /// This side ended the connection before the answer, as the scenario wanted it.
    Left,
    /// No answer in time: whether it took effect is unknown.
    TimedOut,
    /// The answer is not what the contract says.
    Unexpected(String),
}

impl Failure {
    /// A short name to count by.
    pub fn name(&self) -> String {
        match self {
            Self::Refused(code, name) => format!("{code} {name}"),
            Self::Disconnected => "disconnected".to_owned(),
            Self::Left => "left".to_owned(),
            Self::TimedOut => "timed out".to_owned(),
            Self::Unexpected(what) => format!("unexpected: {}", what.chars().take(80).collect::<String>()),
        }
    }

    /// Whether the request may have taken effect all the same.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Disconnected | Self::Left | Self::TimedOut => true,
            Self::Refused(code, _) => UNDECIDED.contains(code),
            Self::Unexpected(_) => false,
        }
    }

    /// The server's own code, where it answered.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused(code, _) => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl std::error::Error for Failure {}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Unexpected(error.to_string())
    }
}

/// What a request gives.
pub type Outcome<T> = Result<T, Failure>;
