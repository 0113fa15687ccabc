//! Remote assistance: `/api/v1`, `/api/v1r1`, `/auth/federate`. Contract: `docs/contract/assist.yaml`, what we add:
//! `docs/contract/assist-additions.yaml`.

mod access_tokens;
mod account;
mod api_keys;
mod attachments;
mod auth;
mod call_attachments;
mod call_history;
mod call_views;
mod calls;
mod colleagues;
mod custom_fields;
mod devices;
mod enterprise_calls;
mod enterprise_users;
mod enterprise_workboxes;
mod enterprises;
pub mod error;
mod guests;
mod impersonation;
mod messages;
mod partner_keys;
mod receipts;
mod registration;
mod rings;
mod search;
mod sessions;
mod success;
mod types;
mod workbox;
mod workboxes;

use crate::http::{
    Family,
    family::{Credentials, Head},
};

/// The family.
pub static FAMILY: Family = Family {
    name: "assist",
    base: "/api",
    prefixes: &["/api/v1/", "/api/v1r1/", "/auth/", "/files/"],
    tables: &[
        access_tokens::OPS,
        account::OPS,
        api_keys::OPS,
        attachments::OPS,
        auth::OPS,
        call_attachments::OPS,
        calls::OPS,
        colleagues::OPS,
        custom_fields::OPS,
        devices::OPS,
        enterprise_calls::OPS,
        enterprise_users::OPS,
        enterprise_workboxes::OPS,
        enterprises::OPS,
        guests::OPS,
        impersonation::OPS,
        messages::OPS,
        partner_keys::OPS,
        receipts::OPS,
        registration::OPS,
        rings::OPS,
        search::OPS,
        sessions::OPS,
        workbox::OPS,
        workboxes::OPS,
        auth::federate::OPS,
        super::files::OPS,
    ],
    contract: &[
        include_str!("../../../docs/contract/assist.yaml"),
        include_str!("../../../docs/contract/assist-additions.yaml"),
    ],
    headers: &[API_KEY],
    credentials,
    refuse: error::refuse,
};

const API_KEY: &str = "x-helplightning-api-key";

/// The token stands bare in `Authorization`; `Bearer ` before it is tolerated.
fn credentials<'a>(head: &Head<'a>) -> Credentials<'a> {
    let token = head.header("authorization").map(|value| {
        value
            .get(..7)
            .filter(|scheme| scheme.eq_ignore_ascii_case("bearer "))
            .map_or(value, |_| value[7..].trim_start())
    });
    Credentials { token, api_key: head.header(API_KEY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_bare() {
        let token = |value: &'static str| {
            let find = |name: &str| (name == "authorization").then_some(value);
            credentials(&Head::new(&find, "")).token.map(str::to_owned)
        };
        assert_eq!(token(" abc ").as_deref(), Some("abc"));
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token(""), None);
        assert_eq!(token("bearer").as_deref(), Some("bearer"));
    }
}
