//! Where the actors live: one per live conversation and call session, thin shells around pure state machines.
//!
//! An actor is started on first use from what the database holds, owns its state while it is live, and stops when idle.
//! It does no I/O: it decides, hands an [`crate::journal::Append`] to the journal, and the waiter is answered after the
//! commit. Its state runs ahead of the commit; when a commit fails or the actor panics, the state is thrown away and
//! loaded again at the next use. Others never hold an `Addr`, only a [`Registry`] and keys.

mod call_facts;
pub mod call_session;
pub mod conversation;
mod flight;
mod metrics;
mod registry;
mod shell;

pub use flight::Flight;
pub use metrics::LiveMetrics;
pub use registry::{Ground, Loader, Registry, RegistryOptions};
pub use shell::{Arbiters, Env, Live};
