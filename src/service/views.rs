//! How people look to others, in every reply that shows one.

use serde::Serialize;

use crate::domain::ids::PersonId;

/// Addresses of somebody's picture under all keys that clients read; null without a picture, but always there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Avatar {
    /// Full size.
    pub original: Option<String>,
    /// Full size.
    pub full: Option<String>,
    /// Full size.
    pub url: Option<String>,
    /// Small.
    pub thumb: Option<String>,
}

/// `brief_contact` of the contract.
#[derive(Clone, Debug, Serialize)]
pub struct BriefContact {
    /// The person.
    pub id: PersonId,
    /// Display name.
    pub name: String,
    /// Log-in name.
    pub username: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Where they are.
    pub location: Option<String>,
    /// Their picture; left out of events, where no signed address may stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
}
