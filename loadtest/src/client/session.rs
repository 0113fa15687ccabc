//! The task of one client: connects, signs in, keeps its places, comes back when the connection ends.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    handshake::{Socket, closed, handshake},
    socket::{Answer, Client, Endpoint, Event, Listener, Order, Place},
    subscription::{Arrival, Subscription},
    wire::{Body, Command, Format, Incoming},
};
use crate::{
    failure::{Failure, Outcome},
    ledger::violation::Violation,
};

/// How long a server may be silent: it pings every 25 s at the latest.
const SILENCE: Duration = Duration::from_secs(60);
/// How long opening a connection may take.
const OPENING: Duration = Duration::from_secs(30);
/// Before a busy server is asked again.
const BUSY: Duration = Duration::from_millis(20);

enum Pending {
    Ask(Answer),
    Place(usize, Option<Answer>, Instant),
}

/// Why a connection ended.
enum End {
    Closed,
    Away,
    Lost(Failure),
}

/// One client's task.
pub(super) struct Session {
    client: Arc<Client>,
    endpoint: Arc<Endpoint>,
    listener: Arc<dyn Listener>,
    inbox: mpsc::UnboundedReceiver<Order>,
    subscriptions: Vec<Subscription>,
    pending: HashMap<u32, Pending>,
    next_id: u32,
    connected_us: u64,
    stall: Option<Duration>,
    /// What is answered while there is no connection.
    absence: Failure,
}

impl Session {
    /// A client that is not connected yet.
    pub(super) fn new(
        client: Arc<Client>,
        endpoint: Arc<Endpoint>,
        listener: Arc<dyn Listener>,
        inbox: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            client,
            endpoint,
            listener,
            inbox,
            subscriptions: Vec::new(),
            pending: HashMap::new(),
            next_id: 1,
            connected_us: 0,
            stall: None,
            absence: Failure::Disconnected,
        }
    }

    /// Connects, again and again, until it is told to end.
    pub(super) async fn live(mut self) {
        let (mut wanted, mut attempt, mut again) = (Instant::now(), 0_u32, false);
        loop {
            let end = match timeout(OPENING, self.open()).await {
                Ok(Ok(socket)) => {
                    self.listener.connected(&self.client, wanted.elapsed(), again);
                    (attempt, again) = (0, true);
                    self.client.online.store(true, Ordering::Relaxed);
                    let end = self.serve(socket).await;
                    self.client.online.store(false, Ordering::Relaxed);
                    end
                }
                Ok(Err(failure)) => {
                    self.listener.failed("connect", &failure);
                    End::Lost(failure)
                }
                Err(_) => {
                    self.listener.failed("connect", &Failure::TimedOut);
                    End::Lost(Failure::TimedOut)
                }
            };
            if !matches!(end, End::Closed) {
                self.absence = if matches!(end, End::Away) { Failure::Left } else { Failure::Disconnected };
                self.forget();
            }
            match end {
                // Its places were taken until now.
                End::Closed => break,
                End::Lost(failure) if is_final(&failure) => break,
                End::Away => {
                    if !self.wait_for_return().await {
                        break;
                    }
                    wanted = Instant::now();
                }
                End::Lost(_) => {
                    wanted = Instant::now();
                    attempt += 1;
                    // Spread by number, so that thousands do not come in step: 25 ms to 1.6 s.
                    let spread = 1.0 + (self.client.number * 37 % 100) as f64 / 100.0;
                    let pause = 25.0 * f64::from(1_u32 << attempt.min(5)) * spread;
                    if !self.pause(Duration::from_millis(pause as u64)).await {
                        break;
                    }
                }
            }
        }
        self.listener.ended(&self.client, std::mem::take(&mut self.subscriptions));
    }

    /// Nobody will answer what is pending.
    fn forget(&mut self) {
        for subscription in &mut self.subscriptions {
            subscription.active = false;
        }
        for (_, pending) in self.pending.drain() {
            if let Pending::Ask(answer) | Pending::Place(_, Some(answer), _) = pending {
                let _ = answer.send(Err(self.absence.clone()));
            }
        }
    }

    /// Takes orders while there is no connection. False at the end.
    fn offline(&mut self, order: Order) -> bool {
        match order {
            Order::Ask(_, answer) => {
                let _ = answer.send(Err(self.absence.clone()));
            }
            Order::Subscribe(channel, answer) => {
                self.place(&channel, false);
                let _ = answer.send(Err(self.absence.clone()));
            }
            Order::Where(answer) => self.tell_places(answer),
            Order::Close => return false,
            Order::Away | Order::Return | Order::Stall(_) => {}
        }
        true
    }

    fn tell_places(&self, answer: oneshot::Sender<Vec<Place>>) {
        let places = self.subscriptions.iter().map(|one| Place {
            channel: one.channel.clone(),
            offset: one.at.offset,
            active: one.active,
        });
        let _ = answer.send(places.collect());
    }

    async fn pause(&mut self, time: Duration) -> bool {
        let until = tokio::time::Instant::now() + time;
        loop {
            match tokio::time::timeout_at(until, self.inbox.recv()).await {
                Err(_) => return true,
                Ok(None) => return false,
                Ok(Some(order)) => {
                    if !self.offline(order) {
                        return false;
                    }
                }
            }
        }
    }

    async fn wait_for_return(&mut self) -> bool {
        while let Some(order) = self.inbox.recv().await {
            if matches!(order, Order::Return) {
                return true;
            }
            if !self.offline(order) {
                break;
            }
        }
        false
    }

    /// The index of a channel's place; made on first use.
    fn place(&mut self, channel: &str, server_side: bool) -> usize {
        if let Some(index) = self.subscriptions.iter().position(|one| &*one.channel == channel) {
            return index;
        }
        let mut one = Subscription::new(channel.into(), self.listener.log(channel), server_side);
        one.lenient = self.endpoint.lenient;
        self.subscriptions.push(one);
        self.subscriptions.len() - 1
    }

    /// Connects, signs in, and asks for the places that were there before.
    async fn open(&mut self) -> Outcome<Socket> {
        let mut socket = handshake(&self.endpoint).await?;
        let token = self.client.person.token().await?;
        let sides = self.subscriptions.iter().filter(|one| one.server_side);
        let positions = sides.filter_map(|one| one.since().map(|at| (one.channel.to_string(), at))).collect();
        let id = self.id();
        for message in self.endpoint.format.encode(id, &Command::Connect { token, positions }) {
            socket.send(message).await.map_err(|_| Failure::Disconnected)?;
        }
        let body = loop {
            let frame = match socket.next().await {
                Some(Ok(Message::Close(reason))) => return Err(closed(reason)),
                Some(Ok(frame)) => frame,
                Some(Err(_)) | None => return Err(Failure::Disconnected),
            };
            let mut answered = None;
            let read = self.endpoint.format.decode(&frame, |incoming| {
                if let Incoming::Reply(answer, outcome) = incoming
                    && answer == id
                {
                    answered = Some(outcome);
                }
            });
            read.map_err(|error| Failure::Unexpected(error.0))?;
            match answered {
                Some(Ok(body)) => break body,
                Some(Err((code, name))) => {
                    if code == 109 {
                        self.client.person.expired();
                    }
                    return Err(Failure::Refused(code, name));
                }
                None => {}
            }
        };
        self.connected_us = self.listener.now_us();
        for (channel, place) in body.subscriptions {
            let index = self.place(&channel, true);
            self.take_place(index, place);
        }
        let sides = (0..self.subscriptions.len()).filter(|index| !self.subscriptions[*index].server_side);
        for index in sides.collect::<Vec<_>>() {
            let message = self.subscribe(index, None);
            for message in message {
                socket.feed(message).await.map_err(|_| Failure::Disconnected)?;
            }
        }
        socket.flush().await.map_err(|_| Failure::Disconnected)?;
        Ok(socket)
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    fn subscribe(&mut self, index: usize, answer: Option<Answer>) -> Vec<Message> {
        let id = self.id();
        let one = &self.subscriptions[index];
        let command = Command::Subscribe { channel: one.channel.to_string(), since: one.since() };
        self.pending.insert(id, Pending::Place(index, answer, Instant::now()));
        self.endpoint.format.encode(id, &command)
    }

    async fn serve(&mut self, mut socket: Socket) -> End {
        let mut heard = Instant::now();
        loop {
            if let Some(time) = self.stall.take() {
                // Orders wait too: a program that hangs does nothing.
                tokio::time::sleep(time).await;
            }
            let quiet = SILENCE.saturating_sub(heard.elapsed());
            tokio::select! {
                order = self.inbox.recv() => {
                    match self.obey(order, &mut socket).await {
                        Ok(None) => {}
                        Ok(Some(end)) => return end,
                        Err(()) => return End::Lost(Failure::Disconnected),
                    }
                }
                frame = socket.next() => {
                    heard = Instant::now();
                    let failure = match frame {
                        Some(Ok(Message::Close(reason))) => Some(closed(reason)),
                        Some(Ok(frame)) => self.hear(&frame, &mut socket).await.err(),
                        Some(Err(_)) | None => Some(Failure::Disconnected),
                    };
                    if let Some(failure) = failure {
                        self.listener.failed("connection", &failure);
                        return End::Lost(failure);
                    }
                }
                () = tokio::time::sleep(quiet) => {
                    self.listener.failed("connection", &Failure::TimedOut);
                    return End::Lost(Failure::TimedOut);
                }
            }
        }
    }

    /// Does what was ordered, and what else has been by then, in one write.
    async fn obey(&mut self, first: Option<Order>, socket: &mut Socket) -> Result<Option<End>, ()> {
        let mut next = first;
        loop {
            match next {
                None | Some(Order::Close) => {
                    let _ = timeout(Duration::from_secs(2), socket.close(None)).await;
                    return Ok(Some(End::Closed));
                }
                Some(Order::Away) => return Ok(Some(End::Away)),
                Some(Order::Return) => {}
                Some(Order::Stall(time)) => self.stall = Some(time),
                Some(Order::Where(answer)) => self.tell_places(answer),
                Some(Order::Ask(command, answer)) => {
                    let id = self.id();
                    self.pending.insert(id, Pending::Ask(answer));
                    for message in self.endpoint.format.encode(id, &command) {
                        socket.feed(message).await.map_err(|_| ())?;
                    }
                }
                Some(Order::Subscribe(channel, answer)) => {
                    let index = self.place(&channel, false);
                    for message in self.subscribe(index, Some(answer)) {
                        socket.feed(message).await.map_err(|_| ())?;
                    }
                }
            }
            match self.inbox.try_recv() {
                Ok(order) => next = Some(order),
                Err(_) => break,
            }
        }
        socket.flush().await.map_err(|_| ())?;
        Ok(None)
    }

    async fn hear(&mut self, frame: &Message, socket: &mut Socket) -> Outcome<()> {
        if !frame.is_text() && !frame.is_binary() {
            return Ok(());
        }
        let (mut is_pinged, mut again, mut busy) = (false, Vec::new(), Vec::new());
        let format = self.endpoint.format;
        format
            .decode(frame, |incoming| match incoming {
                Incoming::Ping => is_pinged = true,
                Incoming::Reply(id, outcome) => busy.extend(self.replied(id, outcome)),
                Incoming::Publication { channel, offset, data } => self.published(channel, offset, data),
                Incoming::Unsubscribed { channel, code } => {
                    let known = self.subscriptions.iter().position(|one| &*one.channel == channel);
                    if let Some(index) = known {
                        self.subscriptions[index].active = false;
                    }
                    match known.filter(|_| code >= SUBSCRIBE_AGAIN) {
                        Some(index) => again.push(index),
                        None => {
                            let name = format!("unsubscribed from {channel}");
                            self.listener.failed("subscription", &Failure::Refused(code, name));
                        }
                    }
                }
                Incoming::Other => {}
            })
            .map_err(|error| Failure::Unexpected(error.0))?;
        for index in again {
            self.listener.interrupted();
            for message in self.subscribe(index, None) {
                socket.send(message).await.map_err(|_| Failure::Disconnected)?;
            }
        }
        if !busy.is_empty() {
            tokio::time::sleep(BUSY).await;
        }
        for (index, answer) in busy {
            for message in self.subscribe(index, answer) {
                socket.send(message).await.map_err(|_| Failure::Disconnected)?;
            }
        }
        if let Some(pong) = is_pinged.then(|| format.pong()).flatten() {
            socket.send(pong).await.map_err(|_| Failure::Disconnected)?;
        }
        Ok(())
    }

    /// Tells who asked. A place that is to be asked for again is given back.
    fn replied(&mut self, id: u32, outcome: Result<Body, (u32, String)>) -> Option<(usize, Option<Answer>)> {
        let outcome = outcome.map_err(|(code, name)| Failure::Refused(code, name));
        match self.pending.remove(&id) {
            None => {}
            Some(Pending::Ask(answer)) => {
                let _ = answer.send(outcome);
            }
            Some(Pending::Place(index, answer, _)) if self.is_busy(outcome.as_ref().err()) => {
                return Some((index, answer));
            }
            Some(Pending::Place(index, answer, asked)) => {
                let told = outcome.as_ref().map(|_| Body::default()).map_err(Clone::clone);
                match outcome {
                    Ok(body) => {
                        self.listener.subscribed(&self.client, asked.elapsed());
                        self.take_place(index, body);
                    }
                    Err(failure) => self.listener.failed("subscribe", &failure),
                }
                if let Some(answer) = answer {
                    let _ = answer.send(told);
                }
            }
        }
        None
    }

    /// Tinode refuses everybody but the first while it loads a topic, and its clients ask again.
    fn is_busy(&self, failure: Option<&Failure>) -> bool {
        self.endpoint.format == Format::Tinode
            && matches!(failure, Some(Failure::Refused(503, name)) if name == "locked")
    }

    fn take_place(&mut self, index: usize, body: Body) {
        let Some(one) = self.subscriptions.get_mut(index) else { return };
        one.taken(body.position, body.was_recovering, body.recovered);
        let channel = one.channel.clone();
        if one.reaches_target() {
            self.listener.reached_target(&self.client);
        }
        for (offset, data) in body.publications {
            self.published(&channel, offset, &data);
        }
    }

    fn published(&mut self, channel: &str, offset: u64, data: &[u8]) {
        let Some(one) = self.subscriptions.iter_mut().find(|one| &*one.channel == channel) else {
            let what = "a publication came from a channel that was not subscribed";
            let violation = Violation::new("no stranger", channel, what, vec![self.client.name()]);
            return self.listener.wrong(*violation);
        };
        let mut event = Event { channel, data, connected_us: self.connected_us, is_first: false };
        match one.arrived(|| self.client.name(), offset, data) {
            // Without a number there is no stream: another kind of server.
            Arrival::Event(is_first) => event.is_first = is_first,
            Arrival::Ephemeral if offset == 0 => {}
            Arrival::Ephemeral => return self.listener.heard(&self.client, &event),
            Arrival::Wrong(violation) => return self.listener.wrong(*violation),
        }
        let reached = one.reaches_target();
        self.listener.arrived(&self.client, &event);
        if reached {
            self.listener.reached_target(&self.client);
        }
    }
}

/// From this code on, SDKs take a place again that the server took away, and recover.
const SUBSCRIBE_AGAIN: u32 = 2500;

/// Codes after which a client must not come back.
fn is_final(failure: &Failure) -> bool {
    failure.code().is_some_and(|code| (3500..4000).contains(&code) || (4500..5000).contains(&code))
}
