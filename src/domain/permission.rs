//! Permissions: named bits. A token carries a mask; an operation names the bits it needs.

use std::ops::{BitAnd, BitOr, Sub};

use serde::{Deserialize, Serialize};

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx_macros::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Permissions(pub i64);

macro_rules! permissions {
    ($($(#[doc = $doc:literal])+ $constant:ident = $bit:literal $name:literal;)+) => {
        impl Permissions {
            $($(#[doc = $doc])+ pub const $constant: Self = Self(1 << $bit);)+
            /// Every permission with its name on the wire.
            pub const NAMES: &[(&str, Self)] = &[$(($name, Self::$constant),)+];
        }
    };
}

permissions! {
    /// See colleagues and contacts.
    VIEW_CONTACTS = 0 "view_contacts";
    /// Read the own account.
    VIEW_ACCOUNT = 1 "view_account";
    /// Change the own account.
    EDIT_ACCOUNT = 2 "edit_account";
    /// Be put into a session: what a public token is good for.
    ADD_TO_SESSION = 3 "add_to_session";
    /// Open sessions, ring, be in calls.
    CALL = 4 "call";
    /// Open and work in help threads.
    USE_WORKBOXES = 5 "use_workboxes";
    /// Make and remove personal access tokens.
    MANAGE_ACCESS_TOKENS = 6 "manage_access_tokens";
    /// List the organisation's users.
    VIEW_USERS = 16 "view_users";
    /// Create, change, remove the organisation's users.
    MANAGE_USERS = 17 "manage_users";
    /// Get tokens that act as another user.
    IMPERSONATE = 18 "impersonate";
    /// API keys and partner keys.
    MANAGE_KEYS = 19 "manage_keys";
    /// Call records of the whole organisation.
    VIEW_ALL_CALLS = 20 "view_all_calls";
    /// Change call records and attachments of the whole organisation.
    MANAGE_CALLS = 21 "manage_calls";
    /// Help threads of the whole organisation.
    VIEW_ALL_WORKBOXES = 22 "view_all_workboxes";
    /// Settings of the organisation, custom field definitions.
    MANAGE_ORGANIZATION = 23 "manage_organization";
}

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// What every member may do.
    pub const MEMBER: Self = Self(
        Self::VIEW_CONTACTS.0
            | Self::VIEW_ACCOUNT.0
            | Self::EDIT_ACCOUNT.0
            | Self::ADD_TO_SESSION.0
            | Self::CALL.0
            | Self::USE_WORKBOXES.0
            | Self::MANAGE_ACCESS_TOKENS.0,
    );
    /// What an administrator of the organisation may do besides.
    pub const ADMINISTRATOR: Self = Self(
        Self::MEMBER.0
            | Self::VIEW_USERS.0
            | Self::MANAGE_USERS.0
            | Self::IMPERSONATE.0
            | Self::MANAGE_KEYS.0
            | Self::VIEW_ALL_CALLS.0
            | Self::MANAGE_CALLS.0
            | Self::VIEW_ALL_WORKBOXES.0
            | Self::MANAGE_ORGANIZATION.0,
    );
    /// What a guest by link or an anonymous visitor may do.
    pub const GUEST: Self = Self(Self::VIEW_ACCOUNT.0 | Self::CALL.0 | Self::USE_WORKBOXES.0);
    /// What a public token (search results, session lists) is good for.
    pub const PUBLIC: Self = Self::ADD_TO_SESSION;

    /// True when all of `needed` are there.
    pub const fn contains(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// Names on the wire, in the order of the bits.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(_, bit)| self.contains(*bit)).map(|(name, _)| *name).collect()
    }

    /// The permission of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit)
    }

    /// What a role may do (`SiteAdmin`, `EnterpriseAdmin`, `GroupAdmin`, `User`).
    pub fn of_role(role: &str) -> Self {
        match role {
            "SiteAdmin" | "EnterpriseAdmin" => Self::ADMINISTRATOR,
            "GroupAdmin" => Self::MEMBER | Self::VIEW_USERS,
            _ => Self::MEMBER,
        }
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
impl BitAnd for Permissions {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
impl Sub for Permissions {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
