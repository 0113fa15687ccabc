//! The demo.

use std::net::SocketAddr;

use super::{Kernel, StartError};

pub(super) async fn demo(_: &Kernel, _: SocketAddr) -> Result<String, StartError> {
    Ok(String::new())
}
