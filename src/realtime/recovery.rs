//! The life of a subscription: asked for, granted, caught up, live, ended.
//!
//! A subscription takes its place in the hub *before* the backend is asked where the stream stands, so whatever is
//! committed after that answer is broadcast to it. While it is not live, broadcast frames are only remembered (the
//! newest ones, by reference); what was missed is read from the journal in pages, each when the connection's queue
//! has drained, one page of one subscription at a time. It goes live when its position meets the remembered frames:
//! below the position is a duplicate, the next offset is queued, anything above means that more must be read. So
//! there is no gap, no duplicate, and memory stays bounded however far a client is behind.

use std::{rc::Rc, sync::Arc};

use super::{
    commands,
    connection::Connection,
    disconnect::{ProtocolError, Unsubscribed, error, unsubscribe},
    frame::{Frame, as_difference},
    greeting,
    namespaces::{Admission, Namespaces},
    port::{Direction, Grant, Page, PageRequest, Refusal, SubscribeAsk},
    presence,
    protocol::{Publication, Push, Reply, SubscribeRequest, Unsubscribe},
    shard::Shard,
    subscription::{Delta, Facts, Mode, Pending, Subscription, Target},
    timers,
};
use crate::{base::secret::Secret, config::Namespace};

/// Takes a place in a channel for a client.
pub(super) fn begin(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    request: SubscribeRequest,
    target: Target,
) {
    if let Err(refusal) = check(shard, connection, &request) {
        greeting::subscribed(shard, connection, &request.channel, target, Err(refusal.into()));
        return;
    }
    let namespace = shard.hub.namespaces.of(&request.channel);
    let (place, ask) = {
        let mut session = connection.session.borrow_mut();
        let Some(identity) = session.identity.clone() else { return };
        let channel = match namespace {
            Some(_) => shard.open_channel(&Namespaces::key(identity.organization, &request.channel)),
            None => shard.open_channel(&request.channel),
        };
        let ask = SubscribeAsk {
            connection: connection.id,
            identity,
            channel: channel.key.clone(),
            token: Secret::new(request.token.as_str()),
            data: request.data.clone(),
            server_side: !matches!(target, Target::Command(_)),
        };
        let place = Subscription::new(session.new_key(), connection.clone(), channel, request, target);
        let place = Rc::new(place);
        session.subscriptions.push(place.clone());
        (place, ask)
    };
    shard.enter(&place);
    if let Some(namespace) = namespace {
        return match relayed(shard, &place, namespace, &ask) {
            Ok(admission) => granted(shard, &place, admission),
            Err(refusal) => fail(shard, &place, refusal),
        };
    }
    let key = place.key;
    let question = shard.hub.backend().subscribe(ask);
    shard.ask(connection, question, move |shard, connection, answer| {
        let place = connection.session.borrow().find_key(key);
        let Some(place) = place else { return };
        match answer {
            Ok(grant) => granted(shard, &place, grant.into()),
            Err(refusal) => fail(shard, &place, refusal),
        }
    });
}

fn relayed(
    shard: &Shard,
    place: &Subscription,
    namespace: &Namespace,
    ask: &SubscribeAsk,
) -> Result<Admission, Refusal> {
    let pending = place.pending.borrow();
    let pending = pending.as_ref().ok_or(error::INTERNAL)?;
    let (hub, now) = (&shard.hub, shard.hub.clock.now());
    hub.namespaces.admit(namespace, &ask.identity, &pending.request, ask.server_side, now)
}

fn check(shard: &Shard, connection: &Connection, request: &SubscribeRequest) -> Result<(), ProtocolError> {
    let options = &shard.hub.options;
    let session = connection.session.borrow();
    if request.kind != 0 {
        return Err(error::NOT_AVAILABLE);
    }
    if request.channel.len() > options.max_channel_bytes
        || request.channel.contains('\0')
        || request.tf.is_some()
    {
        return Err(error::BAD_REQUEST);
    }
    if session.find(&request.channel).is_some() {
        return Err(error::ALREADY_SUBSCRIBED);
    }
    if session.subscriptions.len() >= options.max_subscriptions {
        return Err(error::LIMIT_EXCEEDED);
    }
    Ok(())
}

/// What a granted request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// From here on; nothing is missing. `recovered` where the client asked and has everything.
    Live { position: u64, recovered: bool },
    /// Everything after this position is read first.
    Read { position: u64 },
    /// What was asked for is not there any more, or never was.
    Lost,
}

/// Where a subscription starts. `recovered: false` only when retention removed what is asked for, the epoch is
/// another, or the offset lies beyond the head. A stream that this subscriber may see from an offset on begins there.
fn start(request: &SubscribeRequest, grant: &Grant) -> Start {
    let floor = grant.visible_from.max(1) - 1;
    let head = grant.head.max(floor);
    if !request.recover || grant.stream.is_none() {
        return Start::Live { position: head, recovered: false };
    }
    let position = request.offset.max(floor);
    let same_epoch = request.epoch.is_empty() || *request.epoch == *grant.epoch;
    if !same_epoch || request.offset > grant.head || position + 1 < grant.first_offset {
        return Start::Lost;
    }
    if position >= head { Start::Live { position, recovered: true } } else { Start::Read { position } }
}

fn granted(shard: &Rc<Shard>, place: &Rc<Subscription>, admission: Admission) {
    let Admission { grant, relayed, delta, expires_at } = admission;
    *place.facts.borrow_mut() = Facts {
        stream: grant.stream,
        relayed,
        presence: grant.presence,
        join_leave: grant.join_leave,
        info: grant.info.clone(),
        expires_at,
    };
    if delta {
        place.delta.set(Delta::Agreed);
    }
    place.mode.set(Mode::Preparing);
    let begin = {
        let mut pending = place.pending.borrow_mut();
        let Some(pending) = pending.as_mut() else { return };
        let Pending { request, result, known_head, .. } = &mut **pending;
        let positioned = grant.stream.is_some();
        result.recoverable = positioned;
        result.positioned = positioned;
        result.was_recovering = request.recover;
        result.data = grant.data.clone();
        result.id = place.number();
        result.delta = delta;
        (result.expires, result.ttl) = timers::time_left(shard, expires_at);
        if positioned {
            result.epoch = grant.epoch.to_string();
            result.offset = grant.head;
        }
        *known_head = (*known_head).max(grant.head);
        let begin = start(request, &grant);
        if begin == Start::Lost && request.flag & SubscribeRequest::REJECT_UNRECOVERED != 0 {
            None
        } else {
            if begin != Start::Lost && request.recover && positioned {
                // SDKs take this for their position and then count on from the publications that follow.
                result.recovered = true;
                result.offset = request.offset;
            }
            Some(begin)
        }
    };
    match begin {
        None => fail(shard, place, error::UNRECOVERABLE_POSITION.into()),
        Some(Start::Live { position, .. }) => {
            place.position.set(position);
            complete(shard, place);
        }
        Some(Start::Lost) => {
            place.position.set(grant.head.max(grant.visible_from.max(1) - 1));
            complete(shard, place);
        }
        Some(Start::Read { position }) => {
            place.position.set(position);
            place.connection.session.borrow_mut().pages().push_back(place.key);
            next_page(shard, &place.connection);
        }
    }
}

/// Refuses a subscription and forgets it.
fn fail(shard: &Rc<Shard>, place: &Rc<Subscription>, refusal: Refusal) {
    let target = place.pending.borrow_mut().as_mut().and_then(|pending| pending.target.take());
    remove(shard, place);
    if let Some(target) = target {
        greeting::subscribed(shard, &place.connection, place.channel.name(), target, Err(refusal));
    }
}

/// Sends the reply, and goes live or on to the next page.
fn complete(shard: &Rc<Shard>, place: &Rc<Subscription>) {
    let outcome = {
        let mut pending = place.pending.borrow_mut();
        pending.as_mut().and_then(|p| p.target.take().map(|target| (target, std::mem::take(&mut p.result))))
    };
    if let Some((target, result)) = outcome
        && greeting::subscribed(shard, &place.connection, place.channel.name(), target, Ok(result))
    {
        join(shard, place);
    }
}

/// Goes live where the position meets what was broadcast meanwhile, or lets the next page be read. The client has
/// the reply.
pub(super) fn join(shard: &Rc<Shard>, place: &Rc<Subscription>) {
    let new = match place.mode.get() {
        Mode::Preparing => true,
        Mode::CatchingUp => false,
        Mode::Asking | Mode::Live | Mode::Gone => return,
    };
    let met = {
        let mut pending = place.pending.borrow_mut();
        let Some(pending) = pending.as_mut() else { return };
        drain_buffer(shard, place, pending)
    };
    if met {
        place.mode.set(Mode::Live);
        *place.pending.borrow_mut() = None;
    } else {
        place.mode.set(Mode::CatchingUp);
        place.connection.session.borrow_mut().pages().push_back(place.key);
    }
    if new {
        presence::announce(&shard.hub, place, true);
    }
    if !met {
        next_page(shard, &place.connection);
    }
}

/// Queues remembered frames that continue the position. True when nothing is missing any more.
fn drain_buffer(shard: &Rc<Shard>, place: &Subscription, pending: &mut Pending) -> bool {
    while let Some(frame) = pending.buffer.front() {
        let position = place.position.get();
        if frame.offset > position + 1 {
            break;
        }
        if frame.offset == position + 1 {
            shard.push(&place.connection, place.bytes(frame));
            place.position.set(frame.offset);
        }
        pending.buffer.pop_front();
    }
    place.position.get() >= pending.known_head
}

/// Reads the next page that one of the connection's subscriptions waits for, unless one is being read or its queue
/// still holds the last one.
pub(super) fn next_page(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let (place, request) = {
        let mut session = connection.session.borrow_mut();
        if session.reading_page || !connection.out.borrow().is_empty() {
            return;
        }
        loop {
            let Some(key) = session.next_page() else { return };
            let Some(place) = session.find_key(key) else { continue };
            let Some(stream) = place.facts.borrow().stream else { continue };
            session.reading_page = !place.facts.borrow().relayed;
            let options = &shard.hub.options;
            let request = PageRequest {
                stream,
                from: place.position.get(),
                direction: Direction::After,
                limit: options.recovery_page,
                bytes: options.page_bytes,
            };
            break (place, request);
        }
    };
    shard.hub.metrics.recovery_pages.inc();
    if place.facts.borrow().relayed {
        let publications = remembered(shard, &place, request.limit);
        take_page(shard, &place, Ok(publications));
        return next_page(shard, connection);
    }
    let key = place.key;
    let question = shard.hub.backend().read(request);
    shard.ask(connection, question, move |shard, connection, answer| {
        let place = {
            let mut session = connection.session.borrow_mut();
            session.reading_page = false;
            session.find_key(key)
        };
        if let Some(place) = place {
            take_page(shard, &place, answer.map(publications));
        }
        next_page(shard, connection);
    });
}

/// What a namespace still has of a channel above the place's position.
fn remembered(shard: &Shard, place: &Subscription, limit: usize) -> Vec<Publication> {
    let (hub, channel) = (&shard.hub, &place.channel);
    let Some(namespace) = hub.namespaces.of(channel.name()) else { return Vec::new() };
    hub.namespaces.page(namespace, &channel.key, place.position.get(), limit, hub.clock.now())
}

fn publications(page: Page) -> Vec<Publication> {
    let events = page.events.into_iter();
    events.map(|(offset, data)| Publication { data, offset, ..Publication::default() }).collect()
}

fn take_page(shard: &Rc<Shard>, place: &Rc<Subscription>, answer: Result<Vec<Publication>, Refusal>) {
    let outstanding = place.mode.get() == Mode::Preparing;
    let page = match answer {
        Ok(page) => page,
        Err(refusal) if outstanding => return fail(shard, place, refusal),
        Err(_) => return end(shard, place, unsubscribe::INSUFFICIENT_STATE),
    };
    let first = place.position.get() + 1;
    let contiguous = page.into_iter().zip(first..).take_while(|(one, expected)| one.offset == *expected);
    let options = &shard.hub.options;
    let events = contiguous.map(|(one, _)| one).take(options.recovery_page);
    let mut publications = commands::within(options.page_bytes, events);
    let Some(last) = publications.last().map(|publication| publication.offset) else {
        return lost(shard, place, outstanding);
    };
    place.position.set(last);
    if place.delta.get() != Delta::Off {
        for publication in &mut publications {
            *publication = as_difference(place.connection.wire, publication, None);
        }
        place.delta.set(Delta::Ready);
    }
    if outstanding {
        if let Some(pending) = place.pending.borrow_mut().as_mut() {
            pending.result.publications = publications;
        }
        complete(shard, place);
    } else {
        push_all(shard, place, &publications);
        join(shard, place);
    }
}

fn push_all(shard: &Rc<Shard>, place: &Subscription, publications: &[Publication]) {
    let (wire, number) = (place.connection.wire, place.number());
    for frame in wire.page(place.channel.name(), number, publications) {
        shard.push(&place.connection, frame);
    }
    shard.hub.metrics.pushes.inc_by(publications.len() as u64);
}

/// Retention removed what should have come next while the client was catching up.
fn lost(shard: &Rc<Shard>, place: &Rc<Subscription>, outstanding: bool) {
    if !outstanding {
        return end(shard, place, unsubscribe::INSUFFICIENT_STATE);
    }
    let rejected = {
        let mut pending = place.pending.borrow_mut();
        let Some(pending) = pending.as_mut() else { return };
        pending.result.recovered = false;
        pending.result.offset = pending.known_head;
        pending.buffer.clear();
        place.position.set(pending.known_head);
        pending.request.flag & SubscribeRequest::REJECT_UNRECOVERED != 0
    };
    if rejected {
        fail(shard, place, error::UNRECOVERABLE_POSITION.into());
    } else {
        complete(shard, place);
    }
}

/// Gives a broadcast frame to one subscriber. True when it was queued.
pub(super) fn deliver(shard: &Rc<Shard>, place: &Rc<Subscription>, frame: &Arc<Frame>) -> bool {
    match place.mode.get() {
        Mode::Live => {
            let position = place.position.get();
            if frame.offset == position + 1 || frame.offset == 0 {
                place.position.set(position.max(frame.offset));
                let push = place.bytes(frame);
                #[cfg(feature = "failpoints")]
                let Some(push) = super::faults::spoil(shard, place, push) else { return true };
                shard.push(&place.connection, push);
                return true;
            }
            if frame.offset > position {
                fall_behind(shard, place, frame);
            }
            false
        }
        Mode::Asking | Mode::Preparing | Mode::CatchingUp => {
            if frame.offset > 0 {
                place.remember(frame);
            }
            false
        }
        Mode::Gone => false,
    }
}

/// An event was missed between the journal and this shard: read it.
fn fall_behind(shard: &Rc<Shard>, place: &Rc<Subscription>, frame: &Arc<Frame>) {
    shard.hub.metrics.gaps.inc();
    *place.pending.borrow_mut() = Some(Box::new(Pending {
        target: None,
        request: SubscribeRequest::default(),
        result: super::protocol::SubscribeResult::default(),
        known_head: frame.offset,
        buffer: [frame.clone()].into(),
    }));
    place.mode.set(Mode::CatchingUp);
    place.connection.session.borrow_mut().pages().push_back(place.key);
    // The channel's places are being walked: the flusher asks for the page.
    shard.mark_dirty(&place.connection);
}

/// Ends a subscription from the server's side. One whose reply is outstanding is refused instead.
pub(super) fn end(shard: &Rc<Shard>, place: &Rc<Subscription>, why: Unsubscribed) {
    if !place.is_established() {
        return fail(shard, place, error::PERMISSION_DENIED.into());
    }
    remove(shard, place);
    let unsubscribe = Some(Unsubscribe { code: why.code, reason: why.reason.into() });
    let push = Push { channel: place.channel.name().to_owned(), unsubscribe, ..Push::default() };
    shard.reply(&place.connection, Reply { push: Some(push), ..Reply::default() });
}

/// Leaves a channel without a word.
pub(super) fn remove(shard: &Rc<Shard>, place: &Rc<Subscription>) {
    if place.mode.get() == Mode::Gone {
        return;
    }
    if place.is_established() {
        presence::announce(&shard.hub, place, false);
    }
    place.mode.set(Mode::Gone);
    shard.leave(place);
    place.connection.session.borrow_mut().subscriptions.retain(|other| other.key != place.key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::StreamId;

    fn grant(first_offset: u64, head: u64, visible_from: u64) -> Grant {
        Grant {
            stream: Some(StreamId(1)),
            epoch: "e".into(),
            head,
            first_offset,
            visible_from,
            presence: false,
            join_leave: false,
            info: bytes::Bytes::new(),
            data: bytes::Bytes::new(),
        }
    }

    fn recover(offset: u64, epoch: &str) -> SubscribeRequest {
        SubscribeRequest { recover: true, offset, epoch: epoch.into(), ..SubscribeRequest::default() }
    }

    #[test]
    fn where_subscriptions_start() {
        let live = |position| Start::Live { position, recovered: true };
        let read = |position| Start::Read { position };
        for (request, grant, expected) in [
            (SubscribeRequest::default(), grant(1, 5, 1), Start::Live { position: 5, recovered: false }),
            (recover(5, "e"), grant(1, 5, 1), live(5)),
            (recover(0, ""), grant(1, 0, 1), live(0)),
            (recover(0, ""), grant(1, 5, 1), read(0)),
            (recover(4, "other"), grant(1, 5, 1), Start::Lost),
            (recover(6, "e"), grant(1, 5, 1), Start::Lost),
            (recover(2, "e"), grant(4, 5, 1), Start::Lost),
            (recover(3, "e"), grant(4, 5, 1), read(3)),
            (recover(5, "e"), grant(6, 5, 1), live(5)),
            (recover(0, "e"), grant(1, 5, 4), read(3)),
            (recover(0, "e"), grant(1, 5, 6), live(5)),
            (recover(0, "e"), grant(6, 9, 4), Start::Lost),
        ] {
            assert_eq!(start(&request, &grant), expected, "{request:?} {grant:?}");
        }
    }
}
