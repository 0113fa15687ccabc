//! The task of one client: connects, signs in, keeps its places, comes back when the connection ends.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    handshake::handshake,
    questions::{PATIENCE, Question, Questions},
    socket::{Answer, Client, Endpoint, Event, Listener, Order, Place},
    subscription::{Arrival, Subscription},
    websocket::{Frame, Queue, Socket},
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

/// The code of a sign-in with a token that is too old.
const TOKEN_EXPIRED: u32 = 109;
/// The code of a normal end, and what stands for none.
const NORMAL: [u16; 2] = [1000, 1005];

/// Orders for a client.
type Inbox = mpsc::UnboundedReceiver<Order>;

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
    subscriptions: Vec<Subscription>,
    questions: Questions,
    /// Places that a busy server is to be asked for again.
    refused: Vec<(usize, Option<Answer>)>,
    /// The answer to the sign-in, when it has come.
    signed_in: Option<Outcome<()>>,
    /// What is to be written.
    queue: Queue,
    connected_us: u64,
    stall: Option<Duration>,
    /// What is answered while there is no connection.
    absence: Failure,
}

impl Session {
    /// A client that is not connected yet.
    pub(super) fn new(client: Arc<Client>, endpoint: Arc<Endpoint>, listener: Arc<dyn Listener>) -> Self {
        Self {
            client,
            endpoint,
            listener,
            subscriptions: Vec::new(),
            questions: Questions::default(),
            refused: Vec::new(),
            signed_in: None,
            queue: Queue::default(),
            connected_us: 0,
            stall: None,
            absence: Failure::Disconnected,
        }
    }

    /// Connects, again and again, until it is told to end.
    pub(super) async fn live(mut self, mut inbox: Inbox) {
        let (mut wanted, mut attempt, mut again) = (Instant::now(), 0_u32, false);
        loop {
            let end = match timeout(OPENING, Box::pin(self.open())).await {
                Ok(Ok(socket)) => {
                    self.listener.connected(&self.client, wanted.elapsed(), again);
                    (attempt, again) = (0, true);
                    self.client.online.store(true, Ordering::Relaxed);
                    let end = self.serve(socket, &mut inbox).await;
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
                    if !self.wait_for_return(&mut inbox).await {
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
                    if !self.pause(Duration::from_millis(pause as u64), &mut inbox).await {
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
        self.questions.forget(&self.absence);
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

    async fn pause(&mut self, time: Duration, inbox: &mut Inbox) -> bool {
        let until = tokio::time::Instant::now() + time;
        loop {
            match tokio::time::timeout_at(until, inbox.recv()).await {
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

    async fn wait_for_return(&mut self, inbox: &mut Inbox) -> bool {
        while let Some(order) = inbox.recv().await {
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
        (self.queue, self.signed_in) = (Queue::default(), None);
        self.send(&Command::Connect { token, positions }, Question::SignIn);
        loop {
            self.write(&mut socket).await?;
            match self.signed_in.take() {
                Some(outcome) => break outcome?,
                None => socket.read(|frame| self.hear(&frame)).await?,
            }
        }
        for index in 0..self.subscriptions.len() {
            if !self.subscriptions[index].server_side {
                self.subscribe(index, None);
            }
        }
        self.write(&mut socket).await?;
        Ok(socket)
    }

    /// Queues a command.
    fn send(&mut self, command: &Command, question: Question) {
        let number = self.questions.ask(question, Instant::now());
        self.endpoint.format.encode(number, command, &mut self.queue);
    }

    async fn write(&mut self, socket: &mut Socket) -> Outcome<()> {
        socket.write(&mut self.queue).await.map_err(|_| Failure::Disconnected)
    }

    fn subscribe(&mut self, index: usize, answer: Option<Answer>) {
        let one = &self.subscriptions[index];
        let command = Command::Subscribe { channel: one.channel.to_string(), since: one.since() };
        self.send(&command, Question::Place(index, answer));
    }

    async fn serve(&mut self, mut socket: Socket, inbox: &mut Inbox) -> End {
        let mut heard = Instant::now();
        // One timer for everything that is waited for, moved twice a minute.
        let watch = tokio::time::sleep(PATIENCE);
        tokio::pin!(watch);
        loop {
            if let Some(time) = self.stall.take() {
                // Orders wait too: a program that hangs does nothing.
                tokio::time::sleep(time).await;
            }
            let went = tokio::select! {
                order = inbox.recv() => match self.obey(order, inbox, &mut socket).await {
                    Ok(None) => Ok(()),
                    Ok(Some(end)) => return end,
                    Err(_) => return End::Lost(Failure::Disconnected),
                },
                read = socket.read(|frame| self.hear(&frame)) => {
                    heard = Instant::now();
                    match read {
                        Ok(()) => {
                            self.ask_again().await;
                            self.write(&mut socket).await
                        }
                        lost => lost,
                    }
                }
                () = &mut watch => match self.look(heard) {
                    Ok(next) => {
                        watch.as_mut().reset(next.into());
                        Ok(())
                    }
                    Err(silence) => Err(silence),
                },
            };
            if let Err(failure) = went {
                self.listener.failed("connection", &failure);
                return End::Lost(failure);
            }
        }
    }

    async fn ask_again(&mut self) {
        if !self.refused.is_empty() {
            tokio::time::sleep(BUSY).await;
        }
        for (index, answer) in std::mem::take(&mut self.refused) {
            self.subscribe(index, answer);
        }
    }

    /// Gives up on answers that are overdue, or on a silent server. Gives the time of the next look: nothing that is asked
    /// until then can be overdue before.
    fn look(&mut self, heard: Instant) -> Outcome<Instant> {
        let now = Instant::now();
        if heard + SILENCE <= now {
            return Err(Failure::TimedOut);
        }
        Ok(self.questions.give_up(now).min(heard + SILENCE))
    }

    /// Does what was ordered, and what else has been by then, in one write.
    async fn obey(
        &mut self,
        first: Option<Order>,
        inbox: &mut Inbox,
        socket: &mut Socket,
    ) -> Outcome<Option<End>> {
        let mut next = first;
        loop {
            match next {
                None | Some(Order::Close) => {
                    self.queue.close();
                    let _ = timeout(Duration::from_secs(2), self.write(socket)).await;
                    return Ok(Some(End::Closed));
                }
                Some(Order::Away) => return Ok(Some(End::Away)),
                Some(Order::Return) => {}
                Some(Order::Stall(time)) => self.stall = Some(time),
                Some(Order::Where(answer)) => self.tell_places(answer),
                Some(Order::Ask(command, answer)) => self.send(&command, Question::Ask(answer)),
                Some(Order::Subscribe(channel, answer)) => {
                    let index = self.place(&channel, false);
                    self.subscribe(index, Some(answer));
                }
            }
            match inbox.try_recv() {
                Ok(order) => next = Some(order),
                Err(_) => break,
            }
        }
        self.write(socket).await?;
        Ok(None)
    }

    /// Takes what a frame holds; what has to be answered is queued.
    fn hear(&mut self, frame: &Frame<'_>) -> Outcome<()> {
        match frame {
            Frame::Text(_) | Frame::Binary(_) => {
                let format = self.endpoint.format;
                format
                    .decode(frame, |incoming| self.take(incoming))
                    .map_err(|error| Failure::Unexpected(error.0))
            }
            Frame::Ping(bytes) => {
                self.queue.pong(bytes);
                Ok(())
            }
            Frame::Close(code, _) if NORMAL.contains(code) => Err(Failure::Disconnected),
            Frame::Close(code, reason) => Err(Failure::Refused(u32::from(*code), (*reason).to_owned())),
        }
    }

    fn take(&mut self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Ping => self.endpoint.format.pong(&mut self.queue),
            Incoming::Reply(id, outcome) => self.replied(id, outcome),
            Incoming::Publication { channel, offset, data } => self.published(channel, offset, data),
            Incoming::Unsubscribed { channel, code } => self.unsubscribed(channel, code),
            Incoming::Other => {}
        }
    }

    fn unsubscribed(&mut self, channel: &str, code: u32) {
        let known = self.subscriptions.iter().position(|one| &*one.channel == channel);
        if let Some(index) = known {
            self.subscriptions[index].active = false;
        }
        match known.filter(|_| code >= SUBSCRIBE_AGAIN) {
            Some(index) => {
                self.listener.interrupted();
                self.subscribe(index, None);
            }
            None => {
                let name = format!("unsubscribed from {channel}");
                self.listener.failed("subscription", &Failure::Refused(code, name));
            }
        }
    }

    /// Tells who asked.
    fn replied(&mut self, id: u32, outcome: Result<Body, (u32, String)>) {
        let outcome = outcome.map_err(|(code, name)| Failure::Refused(code, name));
        let Some((question, asked)) = self.questions.answered(id) else { return };
        match question {
            Question::SignIn => {
                if outcome.as_ref().is_err_and(|failure| failure.code() == Some(TOKEN_EXPIRED)) {
                    self.client.person.expired();
                }
                self.signed_in = Some(outcome.map(|body| self.welcome(body)));
            }
            Question::Ask(answer) => {
                let _ = answer.send(outcome);
            }
            Question::Place(index, answer) if self.is_busy(outcome.as_ref().err()) => {
                self.refused.push((index, answer));
            }
            Question::Place(index, answer) => {
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
    }

    /// Tinode refuses everybody but the first while it loads a topic, and its clients ask again.
    fn is_busy(&self, failure: Option<&Failure>) -> bool {
        self.endpoint.format == Format::Tinode
            && matches!(failure, Some(Failure::Refused(503, name)) if name == "locked")
    }

    /// The session is open; places of the server's own choice come with that.
    fn welcome(&mut self, body: Body) {
        self.connected_us = self.listener.now_us();
        for (channel, place) in body.subscriptions {
            let index = self.place(&channel, true);
            self.take_place(index, place);
        }
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
