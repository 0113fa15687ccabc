//! The families of operations. Each mirrors its contract file; nothing here decides anything.

pub mod assist;
mod files;

use crate::http::{Family, openapi::Contract, operation};

/// Every family that is served.
pub static FAMILIES: &[&Family] = &[&assist::FAMILY];

/// Contracts of the families whose operations come later.
pub static CONTRACTS: &[Contract] = &[
    Contract { name: "collab", texts: &[include_str!("../../docs/contract/collab.yaml")] },
    Contract { name: "scheduling", texts: &[include_str!("../../docs/contract/scheduling.yaml")] },
    Contract { name: "live-events", texts: &[include_str!("../../docs/contract/live-events.yaml")] },
    Contract { name: "training", texts: &[include_str!("../../docs/contract/training.yaml")] },
];

/// The contract of the family of that name.
pub fn contract(name: &str) -> Option<Contract> {
    let served = FAMILIES.iter().map(|family| family.document());
    served.chain(CONTRACTS.iter().copied()).find(|contract| contract.name == name)
}

/// All operations, for `switchboard operations` and the tests over the table.
pub fn operations() -> Vec<operation::Listed> {
    operation::list(FAMILIES)
}
