//! Pushes that are treated badly on purpose ([`crate::base::failpoint`]).

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;

use super::{port::ConnectionId, shard::Shard, subscription::Subscription};
use crate::base::failpoint::failpoint;

thread_local! {
    /// The push that changes places with the next one of its subscription.
    static HELD: RefCell<Option<(ConnectionId, u32, Bytes)>> = const { RefCell::new(None) };
}

/// What is queued to a subscriber in place of a push, if anything.
pub(super) fn spoil(shard: &Shard, place: &Rc<Subscription>, push: Bytes) -> Option<Bytes> {
    failpoint!("hub.drop-push", return None);
    let whose = (place.connection.id, place.key);
    failpoint!("hub.swap-pushes", {
        HELD.set(Some((whose.0, whose.1, push)));
        return None;
    });
    let held = HELD.with_borrow_mut(|held| held.take_if(|(connection, key, _)| (*connection, *key) == whose));
    let Some((_, _, held)) = held else { return Some(push) };
    shard.push(&place.connection, push);
    Some(held)
}
