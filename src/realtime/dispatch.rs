//! What a shard does with the messages of the hub.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    disconnect::close,
    frame::Frame,
    greeting,
    hub::{Audience, Ephemeral, Message, Selector},
    presence,
    protocol::{MessagePush, Publication, Push, Reply, SubscribeRequest},
    recovery, session,
    shard::Shard,
    subscription::{Mode, Target},
};

/// Pause between the waves of a drain.
const WAVE: Duration = Duration::from_millis(50);

impl Shard {
    /// Does what the hub says.
    pub(super) fn handle(self: &Rc<Self>, message: Message) {
        match message {
            Message::Published(frames) => frames.iter().for_each(|frame| self.publish(frame)),
            Message::Ephemeral(event) => self.publish_ephemeral(&event),
            Message::Presence { channel, info, joined } => {
                if let Some(channel) = self.channel(&channel) {
                    presence::deliver(self, &channel, &info, joined);
                }
            }
            Message::Answer(to, continuation) => {
                if let Some(connection) = self.find(to) {
                    continuation(self, &connection);
                    session::answered(self, &connection);
                }
            }
            Message::Commands(to, frame) => {
                if let Some(connection) = self.find(to) {
                    session::receive(self, &connection, &frame);
                }
            }
            Message::Roll(channel, roll) => {
                if let Some(channel) = self.channel(&channel) {
                    roll.answer(&channel);
                }
            }
            Message::Census(prefix, answer) => {
                let channels = self.channels.borrow();
                let mine = channels.values().filter(|channel| channel.key.starts_with(&*prefix));
                let counts = mine.map(|channel| (channel.name().to_owned(), channel.places.borrow().len()));
                let _ = answer.send(counts.collect());
            }
            Message::Users(selector, answer) => {
                let selected = self.selected(&selector);
                let users = selected.iter().filter_map(|connection| {
                    connection.session.borrow().identity.as_ref().map(|identity| identity.user.clone())
                });
                let _ = answer.send(users.collect());
            }
            Message::Disconnect(selector, disconnect) => {
                self.sweeps.borrow_mut().note(&selector, disconnect);
                self.selected(&selector).iter().for_each(|connection| self.close(connection, disconnect));
            }
            Message::Unsubscribe(channel, selector, why) => {
                if let Some(channel) = self.channel(&channel) {
                    let places = channel.places.borrow().clone();
                    for place in places.iter().filter(|place| place.connection.is_selected(&selector)) {
                        recovery::end(self, place, why);
                    }
                }
            }
            Message::Subscribe(selector, channel) => {
                for connection in self.selected(&selector) {
                    let request =
                        SubscribeRequest { channel: channel.clone(), ..SubscribeRequest::default() };
                    recovery::begin(self, &connection, request, Target::Server);
                }
            }
            Message::Expire(selector, at) => {
                for connection in self.selected(&selector) {
                    greeting::expire(self, &connection, at);
                }
            }
            Message::Lease(to, held) => {
                if let Some(connection) = self.find(to) {
                    connection.lease.set(held);
                    if held {
                        let soon = self.tick_after(self.hub.options.lease_ping_interval);
                        connection.ping_at.set(connection.ping_at.get().min(soon));
                        self.schedule(&connection, soon);
                    }
                }
            }
            Message::Send(to, data) => {
                if let Some(connection) = self.find(to) {
                    let push = Push { message: Some(MessagePush { data }), ..Push::default() };
                    self.reply(&connection, Reply { push: Some(push), ..Reply::default() });
                }
            }
            Message::Drain(period) => {
                actix_rt::spawn(self.clone().drain(period));
            }
        }
    }

    async fn drain(self: Rc<Self>, period: Duration) {
        let all = self.selected(&Selector::Everyone);
        let waves = usize::try_from(period.as_millis() / WAVE.as_millis()).unwrap_or(1).max(1);
        for wave in all.chunks(all.len().div_ceil(waves).max(1)) {
            for connection in wave {
                self.close(connection, close::SHUTDOWN);
            }
            tokio::time::sleep(WAVE).await;
        }
    }

    fn publish(self: &Rc<Self>, frame: &Arc<Frame>) {
        let Some(channel) = self.channel(&frame.key) else { return };
        let mut pushes = 0;
        for place in channel.places.borrow().iter() {
            pushes += u64::from(recovery::deliver(self, place, frame));
        }
        self.hub.metrics.pushes.inc_by(pushes);
        self.broadcast.set(self.broadcast.get() + pushes);
    }

    fn publish_ephemeral(&self, event: &Ephemeral) {
        let Some(channel) = self.channel(&event.channel) else { return };
        // The position of each subscriber is repeated, since SDKs take the offset of whatever they get last.
        let mut frames: Vec<Frame> = Vec::new();
        for place in channel.places.borrow().iter().filter(|place| place.mode.get() == Mode::Live) {
            let wanted = match &event.audience {
                Audience::Everyone => true,
                Audience::Person(person) => place.connection.is_selected(&Selector::Person(*person)),
                Audience::Connections(some) => some.contains(&place.connection.id),
            };
            if !wanted || place.connection.out.borrow().bytes() > self.hub.options.queue_bytes / 2 {
                continue;
            }
            let offset = place.position.get();
            let number = place.facts.borrow().stream.map_or(0, |stream| stream.0.max(0));
            let known = frames.iter().position(|frame| (frame.offset, frame.id) == (offset, number));
            let index = known.unwrap_or_else(|| {
                let publication = Publication { data: event.data.clone(), offset, ..Publication::default() };
                frames.push(Frame::new(event.channel.clone(), number, publication));
                frames.len() - 1
            });
            self.push(&place.connection, frames[index].bytes(place.connection.wire, place.compact).clone());
            self.broadcast.set(self.broadcast.get() + 1);
        }
    }
}
