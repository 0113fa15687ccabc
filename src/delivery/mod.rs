//! Delivery: what leaves for people by e-mail and text message.
//!
//! Notices are rows that were committed with the data they tell of (`service::notices`); a [`Courier`] per channel
//! sends those that are due, again after growing pauses, until they are sent or given up. Where a channel is not
//! configured its notices stay pending, for an operator to read (`switchboard admin outbox`).
//!
//! At least once: a crash between the provider's yes and our row sends a notice twice, with the same `Message-ID`. One
//! node delivers.

pub mod courier;
pub mod email;
pub mod sms;

use futures_util::future::BoxFuture;

use crate::service::notices::Outgoing;

pub use courier::Courier;

/// Why a notice was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A later attempt can succeed.
    #[error("{0}")]
    ForNow(String),
    /// None will: the recipient does not exist, say.
    #[error("{0}")]
    ForGood(String),
}

/// Takes notices of one channel away. Texts of refusals hold no link and no secret.
pub trait Carrier: Send + Sync + 'static {
    /// `email` or `sms`.
    fn channel(&self) -> &'static str;

    /// Hands a notice over; `sender` is the name of the organisation that it comes from. Done = the provider has it.
    fn carry<'a>(&'a self, sender: &'a str, notice: &'a Outgoing) -> BoxFuture<'a, Result<(), Refusal>>;
}
