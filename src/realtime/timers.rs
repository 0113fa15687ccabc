//! What happens when a connection's timer fires: pings, missing pongs, silence, tokens that end.

use std::rc::Rc;

use super::{
    connection::{Connection, Life},
    disconnect::{close, unsubscribe},
    recovery,
    session::Phase,
    shard::Shard,
    subscription::Subscription,
};
use crate::base::clock::Timestamp;

/// Whether something ends, and in how many seconds.
pub(super) fn time_left(shard: &Shard, expires_at: Option<Timestamp>) -> (bool, u32) {
    match expires_at {
        Some(at) => {
            let left = at.since(shard.hub.clock.now()).as_secs().max(1);
            (true, u32::try_from(left).unwrap_or(u32::MAX))
        }
        None => (false, 0),
    }
}

/// The connection's timer fired.
pub(super) fn on_timer(shard: &Rc<Shard>, connection: &Rc<Connection>, now: u32) {
    let options = &shard.hub.options;
    if !connection.is_open() {
        if now >= connection.gone_at.get() {
            connection.life.set(Life::Dead);
            connection.wake();
        } else {
            shard.schedule(connection, connection.gone_at.get());
        }
        return;
    }
    let (phase, expires_at) = {
        let session = connection.session.borrow();
        (session.phase, session.expires_at)
    };
    match phase {
        Phase::New | Phase::Refused if now >= connection.ping_at.get() => {
            return shard.close(connection, close::STALE);
        }
        Phase::Connecting => connection.ping_at.set(shard.tick_after(options.stale_timeout)),
        Phase::Ready => {
            let pong_by = connection.pong_by.get();
            if pong_by != 0 && now >= pong_by {
                return shard.close(connection, close::NO_PONG);
            }
            if expires_at.is_some_and(|at| shard.hub.clock.now() >= at.plus(options.expiry_grace)) {
                return shard.close(connection, close::EXPIRED);
            }
            end_expired_subscriptions(shard, connection);
            if now >= connection.ping_at.get() {
                shard.push(connection, connection.wire.ping());
                if pong_by == 0 {
                    connection.pong_by.set(shard.tick_after(options.pong_timeout));
                }
                let leased = connection.lease.get();
                let pause = if leased { options.lease_ping_interval } else { options.ping_interval };
                connection.ping_at.set(shard.tick_after(pause));
            }
        }
        Phase::New | Phase::Refused => {}
    }
    set_timer(shard, connection);
}

fn end_expired_subscriptions(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let latest = shard.hub.clock.now().minus(shard.hub.options.expiry_grace);
    let over = |place: &Rc<Subscription>| place.facts.borrow().expires_at.is_some_and(|at| at <= latest);
    let places: Vec<_> =
        connection.session.borrow().subscriptions.iter().filter(|one| over(one)).cloned().collect();
    for place in places {
        recovery::end(shard, &place, unsubscribe::EXPIRED);
    }
}

/// Sets the timer to whatever comes first.
pub(super) fn set_timer(shard: &Shard, connection: &Connection) {
    let mut due = connection.ping_at.get();
    if connection.pong_by.get() != 0 {
        due = due.min(connection.pong_by.get());
    }
    let session = connection.session.borrow();
    let ends = session.subscriptions.iter().filter_map(|place| place.facts.borrow().expires_at);
    if let Some(at) = ends.chain(session.expires_at).min() {
        let left = at.plus(shard.hub.options.expiry_grace).since(shard.hub.clock.now());
        due = due.min(shard.tick_after(left));
    }
    shard.schedule(connection, due);
}
