//! Identifiers as types of their own, so that a message's number cannot be used as a person's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An integer identifier of one kind of thing.
pub trait Id: Copy + Send + Sync + 'static {
    /// Name of its sequence (see the `sequence` table).
    const SEQUENCE: &'static str;
    /// The number as stored and shown.
    fn get(self) -> i64;
    /// Wraps a number that the sequence gave.
    fn from_number(number: i64) -> Self;
}

macro_rules! integer_ids {
    ($($(#[doc = $doc:literal])+ $name:ident = $sequence:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx_macros::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl Id for $name {
            const SEQUENCE: &'static str = $sequence;
            fn get(self) -> i64 { self.0 }
            fn from_number(number: i64) -> Self { Self(number) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )+
        /// The sequences of all integer identifiers.
        pub const SEQUENCES: &[&str] = &[$($sequence,)+];
    };
}

integer_ids! {
    /// An organisation (enterprise, site, workspace).
    OrgId = "organization";
    /// A person: user, alias, guest by link, anonymous visitor. All share one number space.
    PersonId = "person";
    /// A group of people of any kind.
    GroupId = "people_group";
    /// A push device.
    DeviceId = "device";
    /// A conversation: workbox or group chat.
    ConversationId = "conversation";
    /// A message; grows over all conversations, so not consecutive within one.
    MessageId = "message";
    /// Somebody's place in a conversation.
    ParticipantId = "participant";
    /// A stream of events.
    StreamId = "stream";
    /// A guest's link into a workbox.
    GuestLinkId = "guest_link";
    /// A custom field's definition.
    CustomFieldId = "custom_field";
    /// A procedure attached to a workbox.
    ProcedureLinkId = "procedure_link";
    /// A stored attachment.
    AttachmentId = "attachment";
    /// A comment on a call.
    CallCommentId = "call_comment";
    /// An API key (names the calling application).
    ApiKeyId = "api_key";
    /// A partner key (RSA, signs enterprise tokens).
    PartnerKeyId = "partner_key";
    /// A personal access token.
    AccessTokenId = "personal_access_token";
    /// A token signing key.
    SigningKeyId = "signing_key";
    /// An audit log row.
    AuditId = "audit_log";
    /// An outgoing e-mail or text message.
    NoticeId = "notice";
}

/// A session: people who can talk; a UUID on the wire.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx_macros::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct SessionId(pub Uuid);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl FromStr for SessionId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One ring to one person (a "video request").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx_macros::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct RingId(pub Uuid);

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stretch of video in a session: `call_` + UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx_macros::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct CallId(pub String);

impl CallId {
    /// The id of a new call.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(format!("call_{uuid}"))
    }
}
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallId {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Position of an event in its stream: 1, 2, 3 ...; 0 is "before the first".
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx_macros::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Offset(pub i64);
