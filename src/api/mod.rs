//! The families of operations. Each mirrors its contract file; nothing here decides anything.

pub mod assist;
mod files;

use crate::http::{Family, operation};

/// Every family that is served.
pub static FAMILIES: &[&Family] = &[&assist::FAMILY];

/// All operations, for `switchboard operations` and the tests over the table.
pub fn operations() -> Vec<operation::Listed> {
    operation::list(FAMILIES)
}
