//! Partner keys of the organisation: with them an integrator signs tokens of its own.

use serde::{Deserialize, Serialize};

use super::success::Success;
use crate::{
    base::clock::Timestamp,
    domain::{
        error::Result,
        ids::{OrgId, PartnerKeyId},
    },
    http::{Body, Cx, Json, Seg},
    operations,
    store::keys::PartnerKeyRow,
};

operations! {
    base "/v1r1/enterprise/partner_keys";
    /// The organisation's partner keys: their public halves.
    GET "" => 200 list_partner_keys() -> Json<Vec<PartnerKey>>, Enterprise + MANAGE_KEYS [no_store];
    /// Make a further pair: the private half stands in this reply only.
    POST "" => 200 create_partner_key(Body<PartnerKeyChange>) -> Json<PartnerKey>, Enterprise + MANAGE_KEYS
        [no_store], fails Constraint | NotFound;
    /// Change the description, or put the public half of a pair made elsewhere in its place.
    PUT "/{id}" => 200 update_partner_key(Seg<PartnerKeyId>, Body<PartnerKeyChange>) -> Json<PartnerKey>,
        Enterprise + MANAGE_KEYS [no_store], fails NotFound;
    /// Remove a partner key: tokens signed with it, and all that came of them, are dead.
    DELETE "/{id}" => 200 delete_partner_key(Seg<PartnerKeyId>) -> Json<Success>, Enterprise + MANAGE_KEYS,
        fails NotFound;
}

/// `enterprise_partner_public_key2` of the contract.
#[derive(Serialize)]
pub struct PartnerKey {
    success: bool,
    message: Pair,
}

#[derive(Serialize)]
struct Pair {
    id: PartnerKeyId,
    enterprise_id: OrgId,
    description: String,
    public_key: String,
    private_key: Option<String>,
    created_at: Timestamp,
}

impl PartnerKey {
    fn new(row: PartnerKeyRow, private_key: Option<String>) -> Self {
        let PartnerKeyRow { id, organization_id, description, public_key, created_at, .. } = row;
        let message =
            Pair { id, enterprise_id: organization_id, description, public_key, private_key, created_at };
        Self { success: true, message }
    }
}

/// What is said of a pair.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PartnerKeyChange {
    description: Option<String>,
    public_key: Option<String>,
}

async fn list_partner_keys(cx: &Cx) -> Result<Json<Vec<PartnerKey>>> {
    let rows = cx.services.keys.partner_keys(&cx.caller).await?;
    Ok(Json(rows.into_iter().map(|row| PartnerKey::new(row, None)).collect()))
}

async fn create_partner_key(cx: &Cx, Body(new): Body<PartnerKeyChange>) -> Result<Json<PartnerKey>> {
    let description = new.description.unwrap_or_default();
    let made = cx.services.keys.create_partner_key(&cx.caller, &description, &cx.once).await?;
    let private_key = made.private_key.map(|key| key.expose().to_owned());
    Ok(Json(PartnerKey::new(made.row, private_key)))
}

async fn update_partner_key(
    cx: &Cx,
    Seg(id): Seg<PartnerKeyId>,
    Body(change): Body<PartnerKeyChange>,
) -> Result<Json<PartnerKey>> {
    let PartnerKeyChange { description, public_key } = change;
    let keys = &cx.services.keys;
    let row = keys.update_partner_key(&cx.caller, id, description.as_deref(), public_key.as_deref()).await?;
    Ok(Json(PartnerKey::new(row, None)))
}

async fn delete_partner_key(cx: &Cx, Seg(id): Seg<PartnerKeyId>) -> Result<Json<Success>> {
    cx.services.keys.remove_partner_key(&cx.caller, id).await?;
    Ok(Json(Success::new("partner key removed")))
}
