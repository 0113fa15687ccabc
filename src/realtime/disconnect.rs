//! The numbers of the protocol, each once: error codes, disconnect codes, unsubscribe codes.
//!
//! SDKs reconnect after 3000-3499 and 4000-4499 and stay away after 3500-3999 and 4500-4999; they subscribe again
//! after an unsubscribe of 2500 and above and stop below.

use std::borrow::Cow;

use super::protocol;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Disconnect {
    /// WebSocket close code, or `disconnect.code` where there is none.
    pub code: u16,
    /// Stable name, under 124 bytes.
    pub reason: &'static str,
}

impl Disconnect {
    const fn new(code: u16, reason: &'static str, _temporary: bool) -> Self {
        Self { code, reason }
    }

    /// Whether SDKs come back by themselves.
    pub const fn reconnects(self) -> bool {
        !matches!(self.code, 3500..=3999 | 4500..=4999)
    }
}

/// Why a subscription ends from the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unsubscribed {
    /// Code of the unsubscribe push.
    pub code: u32,
    /// Stable name.
    pub reason: &'static str,
}

impl Unsubscribed {
    const fn new(code: u32, reason: &'static str, _temporary: bool) -> Self {
        Self { code, reason }
    }
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    /// 100-113 of the protocol; from 400 up `domain::codes`.
    pub code: u32,
    /// Stable name.
    pub message: Cow<'static, str>,
    /// True where a retry can help.
    pub temporary: bool,
}

impl ProtocolError {
    const fn new(code: u32, message: &'static str, temporary: bool) -> Self {
        Self { code, message: Cow::Borrowed(message), temporary }
    }
}

impl From<ProtocolError> for protocol::Error {
    fn from(error: ProtocolError) -> Self {
        Self { code: error.code, message: error.message.into_owned(), temporary: error.temporary }
    }
}

impl From<crate::domain::error::Error> for ProtocolError {
    fn from(error: crate::domain::error::Error) -> Self {
        Self {
            code: error.code().number(),
            message: Cow::Borrowed(error.code().name()),
            temporary: error.is_temporary(),
        }
    }
}

macro_rules! table {
    ($type:ident: $($(#[doc = $doc:literal])+ $name:ident = $code:literal $text:literal $($temporary:ident)?;)+) => {
        use super::$type;
        $($(#[doc = $doc])+ pub const $name: $type = $type::new($code, $text, table!(@ $($temporary)?));)+
        /// The whole table.
        pub const ALL: &[$type] = &[$($name),+];
    };
    (@ temporary) => { true };
    (@) => { false };
}

/// Disconnects.
pub mod close {
    table! { Disconnect:
        /// The server stops; another takes over.
        SHUTDOWN = 3001 "shutdown";
        /// Something of ours failed.
        SERVER_ERROR = 3004 "internal server error";
        /// The token ended without a refresh.
        EXPIRED = 3005 "connection expired";
        /// A subscription's token ended without a refresh.
        SUBSCRIPTION_EXPIRED = 3006 "subscription expired";
        /// The client reads more slowly than it is sent to; it recovers what it missed.
        SLOW = 3008 "slow";
        /// An administrator or a change asks for a new connection.
        FORCE_RECONNECT = 3011 "force reconnect";
        /// A ping stayed unanswered.
        NO_PONG = 3012 "no pong";
        /// More commands per second than allowed.
        TOO_MANY_REQUESTS = 3013 "too many requests";
        /// Not a token, or a revoked one.
        INVALID_TOKEN = 3500 "invalid token";
        /// Not this protocol.
        BAD_REQUEST = 3501 "bad request";
        /// Connected, but never said `connect`.
        STALE = 3502 "stale";
        /// An administrator ended it for good.
        FORCE_NO_RECONNECT = 3503 "force disconnect";
        /// Too many connections.
        CONNECTION_LIMIT = 3504 "connection limit";
        /// Too many server-side subscriptions.
        CHANNEL_LIMIT = 3505 "channel limit";
        /// The token may not use the socket.
        PERMISSION_DENIED = 3507 "permission denied";
        /// Something that is not served and cannot be answered with an error.
        NOT_AVAILABLE = 3508 "not available";
        /// The sign-in behind the connection was revoked.
        REVOKED = 4500 "revoked";
    }
}

/// Ends of subscriptions.
pub mod unsubscribe {
    table! { Unsubscribed:
        /// The right to the stream is gone.
        PERMISSION_LOST = 2100 "permission_lost";
        /// The person was removed from what the stream is about.
        REMOVED = 2101 "removed";
        /// The link or token behind it was revoked.
        REVOKED = 2102 "revoked";
        /// What the stream is about has ended.
        CLOSED = 2103 "closed";
        /// The position was lost: subscribe again and recover.
        INSUFFICIENT_STATE = 2500 "insufficient state";
        /// The subscription's token ended: subscribe again with a new one.
        EXPIRED = 2501 "expired";
    }
}

/// Refusals of commands.
pub mod error {
    table! { ProtocolError:
        /// Something of ours failed.
        INTERNAL = 100 "internal server error" temporary;
        /// Not signed in.
        UNAUTHORIZED = 101 "unauthorized";
        /// No such channel.
        UNKNOWN_CHANNEL = 102 "unknown channel";
        /// Not allowed (or absent: both look alike).
        PERMISSION_DENIED = 103 "permission denied";
        /// No such command.
        METHOD_NOT_FOUND = 104 "method not found";
        /// Subscribed already.
        ALREADY_SUBSCRIBED = 105 "already subscribed";
        /// Too many of something.
        LIMIT_EXCEEDED = 106 "limit exceeded";
        /// A field is wrong.
        BAD_REQUEST = 107 "bad request";
        /// Not served here.
        NOT_AVAILABLE = 108 "not available";
        /// The token's time is over: get a new one.
        TOKEN_EXPIRED = 109 "token expired";
        /// Its time is over.
        EXPIRED = 110 "expired";
        /// Too many at once.
        TOO_MANY_REQUESTS = 111 "too many requests" temporary;
        /// Retention removed what was asked for, or the epoch is another.
        UNRECOVERABLE_POSITION = 112 "unrecoverable position";
        /// A page is being read already.
        CONCURRENT_PAGINATION = 113 "concurrent pagination" temporary;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame_and_codes_their_ranges() {
        for one in close::ALL {
            assert!(one.reason.len() <= 123);
            assert!((3000..5000).contains(&one.code));
        }
        assert!(unsubscribe::ALL.iter().all(|one| (2000..3000).contains(&one.code)));
        assert!(error::ALL.iter().zip(100..).all(|(one, code)| one.code == code));
        assert!(close::SLOW.reconnects() && !close::STALE.reconnects() && !close::REVOKED.reconnects());
    }

    #[test]
    fn errors_of_use_cases_keep_their_number_and_name() {
        let error = ProtocolError::from(crate::domain::error::Error::unavailable("database"));
        assert_eq!((error.code, error.message.as_ref(), error.temporary), (431, "data_unavailable", true));
    }
}
