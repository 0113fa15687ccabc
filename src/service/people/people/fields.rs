//! Fields of an account: checked on the way in, compared on the way out.

use crate::{
    base::clock::Timestamp,
    domain::error::Result,
    service::addresses,
    store::people::{PersonChange, PersonRow},
};

pub(super) fn optional_text(field: &str, text: Option<&str>) -> Result<Option<String>> {
    Ok(changed_text(field, text)?.filter(|text| !text.is_empty()))
}

pub(super) fn changed_text(field: &str, text: Option<&str>) -> Result<Option<String>> {
    text.map(|text| addresses::short_text(field, text)).transpose()
}

pub(super) fn optional_phone(text: Option<&str>) -> Result<Option<String>> {
    Ok(changed_phone(text)?.filter(|text| !text.is_empty()))
}

/// An empty number clears it.
pub(super) fn changed_phone(text: Option<&str>) -> Result<Option<String>> {
    match text.map(str::trim) {
        None => Ok(None),
        Some("") => Ok(Some(String::new())),
        Some(text) => addresses::phone(text).map(Some),
    }
}

/// An empty username clears it.
pub(super) fn optional_username(text: Option<&str>) -> Result<Option<String>> {
    match text.map(str::trim) {
        None => Ok(None),
        Some("") => Ok(Some(String::new())),
        Some(text) => addresses::username(text).map(Some),
    }
}

/// The row after the change, as the database has it now.
pub(super) fn changed(before: &PersonRow, change: &PersonChange, now: Timestamp) -> PersonRow {
    let text = |new: &Option<String>, old: &Option<String>| match new {
        Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        None => old.clone(),
    };
    PersonRow {
        name: change.name.clone().unwrap_or_else(|| before.name.clone()),
        email: text(&change.email, &before.email),
        username: text(&change.username, &before.username),
        title: text(&change.title, &before.title),
        location: text(&change.location, &before.location),
        phone: text(&change.phone, &before.phone),
        language: text(&change.language, &before.language),
        license: change.license.clone().unwrap_or_else(|| before.license.clone()),
        role: change.role.clone().unwrap_or_else(|| before.role.clone()),
        status: change.status.unwrap_or(before.status),
        on_call: change.on_call.unwrap_or(before.on_call),
        active: change.active.unwrap_or(before.active),
        token_version: before.token_version + i64::from(change.ends_tokens),
        updated_at: now,
        ..before.clone()
    }
}

/// The names of the fields that a change touches.
pub(super) fn names_of(change: &PersonChange) -> Vec<&'static str> {
    [
        ("name", change.name.is_some()),
        ("email", change.email.is_some()),
        ("username", change.username.is_some()),
        ("title", change.title.is_some()),
        ("location", change.location.is_some()),
        ("phone", change.phone.is_some()),
        ("language", change.language.is_some()),
        ("license", change.license.is_some()),
        ("role_name", change.role.is_some()),
        ("password", change.password_hash.is_some()),
        ("status", change.status.is_some()),
        ("on_call", change.on_call.is_some()),
        ("active", change.active.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, touched)| touched.then_some(name))
    .collect()
}

/// Text that is safe in HTML.
pub(in crate::service) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
