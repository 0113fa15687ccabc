//! Push devices of the caller.

use serde::Deserialize;

use super::success::Success;
use crate::{
    domain::error::Result,
    http::{Body, Cx, Json, Seg},
    operations,
    service::people::Device,
};

operations! {
    base "/v1r1/device";
    /// Register a device for pushes; one that was somebody else's becomes the caller's.
    POST "" => 200 register_device(Body<NewDevice>) -> Json<Success>, User, fails UnknownPlatform;
    /// Forget a device; the parameter is its push identifier.
    DELETE "/{device_id}" => 200 delete_device(Seg<String>) -> Json<Success>, User, fails UnknownDevice;
}

/// A device.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewDevice {
    device_id: String,
    platform: String,
    push_id: String,
}

async fn register_device(cx: &Cx, Body(device): Body<NewDevice>) -> Result<Json<Success>> {
    let NewDevice { device_id, platform, push_id } = device;
    let device = Device { device_id, platform, push_id };
    cx.services.people.register_device(&cx.caller, &device, &cx.once).await?;
    Ok(Json(Success::new("device registered")))
}

async fn delete_device(cx: &Cx, Seg(id): Seg<String>) -> Result<Json<Success>> {
    cx.services.people.remove_device(&cx.caller, &id).await?;
    Ok(Json(Success::new("device removed")))
}
