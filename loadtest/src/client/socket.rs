//! A client: one socket that comes back by itself, with its subscriptions, from where it was.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::HeaderValue,
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    subscription::{Arrival, Subscription},
    wire::{Body, Command, Format, Incoming},
};
use crate::{
    failure::{Failure, Outcome},
    ledger::{stream::StreamLog, violation::Violation},
    people::Person,
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Answer = oneshot::Sender<Outcome<Body>>;

/// How long a server may be silent: it pings every 25 s at the latest.
const SILENCE: Duration = Duration::from_secs(60);
/// How long opening a connection may take.
const OPENING: Duration = Duration::from_secs(30);
/// How long an answer may take.
pub const ANSWER: Duration = Duration::from_secs(30);
/// Bytes per read: small, since there are thousands of sockets.
const READ_BUFFER: usize = 8 * 1024;

/// What clients tell of what happens to them.
pub trait Listener: Send + Sync + 'static {
    /// The common log of a channel's subscribers.
    fn log(&self, channel: &str) -> Arc<StreamLog>;
    /// An event arrived.
    fn arrived(&self, client: &Client, event: &Event<'_>);
    /// Something that is not stored arrived.
    fn heard(&self, client: &Client, event: &Event<'_>);
    /// Something that must not be.
    fn wrong(&self, violation: Violation);
    /// One of the client's channels has reached its log's target.
    fn reached_target(&self, client: &Client);
    /// A connection is open, `took` after it was wanted.
    fn connected(&self, client: &Client, took: Duration, again: bool);
    /// A place in a channel was taken.
    fn subscribed(&self, client: &Client, took: Duration);
    /// Connecting or subscribing failed, or a connection ended that should not have.
    fn failed(&self, what: &'static str, failure: &Failure);
    /// The time, in microseconds since the epoch.
    fn now_us(&self) -> u64;
    /// What is left of a client at its end.
    fn ended(&self, client: &Client, subscriptions: Vec<Subscription>);
}

/// Something that arrived.
#[derive(Debug)]
pub struct Event<'a> {
    /// Where.
    pub channel: &'a str,
    /// Its JSON.
    pub data: &'a [u8],
    /// When this connection was made, in microseconds since the epoch.
    pub connected_us: u64,
    /// Nobody of this process saw it before.
    pub is_first: bool,
}

/// What a client is told to do.
enum Order {
    Ask(Command, Answer),
    Subscribe(String, Answer),
    Away,
    Return,
    Stall(Duration),
    Where(oneshot::Sender<Vec<Place>>),
    Close,
}

/// Where a client stands in a channel.
#[derive(Clone, Debug)]
pub struct Place {
    /// The channel.
    pub channel: Arc<str>,
    /// The last event that was seen.
    pub offset: u64,
    /// The place is taken at present.
    pub active: bool,
}

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `ws://...`
    pub url: String,
    /// Header lines besides the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// The wire format.
    pub format: Format,
    /// Offsets are not judged.
    pub lenient: bool,
}

/// A client.
pub struct Client {
    /// Its number in this run.
    pub number: usize,
    /// Whose it is.
    pub person: Arc<Person>,
    orders: mpsc::UnboundedSender<Order>,
    online: AtomicBool,
}

impl Client {
    /// Starts it. The task ends after [`Client::close`].
    pub fn start(
        number: usize,
        person: Arc<Person>,
        endpoint: Arc<Endpoint>,
        listener: Arc<dyn Listener>,
    ) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let (orders, inbox) = mpsc::unbounded_channel();
        let client = Arc::new(Self { number, person, orders, online: AtomicBool::new(false) });
        let session = Session {
            client: client.clone(),
            endpoint,
            listener,
            inbox,
            subscriptions: Vec::new(),
            pending: HashMap::new(),
            next_id: 1,
            connected_us: 0,
            stall: None,
        };
        (client, tokio::spawn(session.live()))
    }

    /// Whether its connection is open.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// A name for people.
    pub fn name(&self) -> String {
        format!("client {} of person {}", self.number, self.person.id)
    }

    fn order(&self, order: Order) {
        // An ended client takes no orders; whoever waits for an answer is told by the dropped channel.
        let _ = self.orders.send(order);
    }

    async fn answer(&self, order: impl FnOnce(Answer) -> Order) -> Outcome<Body> {
        let (answer, answered) = oneshot::channel();
        self.order(order(answer));
        match timeout(ANSWER, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Failure::Disconnected),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Asks something and waits for the answer.
    pub async fn ask(&self, command: Command) -> Outcome<Body> {
        self.answer(|answer| Order::Ask(command, answer)).await
    }

    /// Calls an action and reads its answer.
    pub async fn rpc(&self, method: &'static str, data: serde_json::Value) -> Outcome<serde_json::Value> {
        let body = self.ask(Command::Rpc { method, data: data.to_string() }).await?;
        Ok(serde_json::from_slice(&body.data)?)
    }

    /// Takes a place in a channel, from now on for good.
    pub async fn subscribe(&self, channel: &str) -> Outcome<Body> {
        self.answer(|answer| Order::Subscribe(channel.to_owned(), answer)).await
    }

    /// Drops the connection without a word and stays away.
    pub fn go_away(&self) {
        self.order(Order::Away);
    }

    /// Comes back.
    pub fn come_back(&self) {
        self.order(Order::Return);
    }

    /// Stops reading for a while.
    pub fn stall(&self, time: Duration) {
        self.order(Order::Stall(time));
    }

    /// Where it stands in its channels.
    pub async fn places(&self) -> Vec<Place> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Where(answer));
        answered.await.unwrap_or_default()
    }

    /// Ends it.
    pub fn close(&self) {
        self.order(Order::Close);
    }
}

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

struct Session {
    client: Arc<Client>,
    endpoint: Arc<Endpoint>,
    listener: Arc<dyn Listener>,
    inbox: mpsc::UnboundedReceiver<Order>,
    subscriptions: Vec<Subscription>,
    pending: HashMap<u32, Pending>,
    next_id: u32,
    connected_us: u64,
    stall: Option<Duration>,
}

impl Session {
    async fn live(mut self) {
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
                let _ = answer.send(Err(Failure::Disconnected));
            }
        }
    }

    /// Takes orders while there is no connection. False at the end.
    fn offline(&mut self, order: Order) -> bool {
        match order {
            Order::Ask(_, answer) => {
                let _ = answer.send(Err(Failure::Disconnected));
            }
            Order::Subscribe(channel, answer) => {
                self.place(&channel, false);
                let _ = answer.send(Err(Failure::Disconnected));
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
        let mut is_pinged = false;
        let format = self.endpoint.format;
        format
            .decode(frame, |incoming| match incoming {
                Incoming::Ping => is_pinged = true,
                Incoming::Reply(id, outcome) => self.replied(id, outcome),
                Incoming::Publication { channel, offset, data } => self.published(channel, offset, data),
                Incoming::Unsubscribed { channel, code } => {
                    let known = self.subscriptions.iter_mut().find(|one| &*one.channel == channel);
                    if let Some(one) = known {
                        one.active = false;
                    }
                    let name = format!("unsubscribed from {channel}");
                    self.listener.failed("subscription", &Failure::Refused(code, name));
                }
                Incoming::Other => {}
            })
            .map_err(|error| Failure::Unexpected(error.0))?;
        if let Some(pong) = is_pinged.then(|| format.pong()).flatten() {
            socket.send(pong).await.map_err(|_| Failure::Disconnected)?;
        }
        Ok(())
    }

    fn replied(&mut self, id: u32, outcome: Result<Body, (u32, String)>) {
        let outcome = outcome.map_err(|(code, name)| Failure::Refused(code, name));
        match self.pending.remove(&id) {
            None => {}
            Some(Pending::Ask(answer)) => {
                let _ = answer.send(outcome);
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

async fn handshake(endpoint: &Endpoint) -> Outcome<Socket> {
    let unreadable = |error: String| Failure::Unexpected(error);
    let mut request = endpoint.url.as_str().into_client_request().map_err(|e| unreadable(e.to_string()))?;
    let mut header = |name: &'static str, value: &str| match HeaderValue::from_str(value) {
        Ok(value) => {
            request.headers_mut().insert(name, value);
            Ok(())
        }
        Err(error) => Err(unreadable(error.to_string())),
    };
    if let Some(protocol) = endpoint.format.sub_protocol() {
        header("sec-websocket-protocol", protocol)?;
    }
    for (name, value) in &endpoint.headers {
        header(name, value)?;
    }
    let uri = request.uri();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host, port)).await.map_err(|_| Failure::Disconnected)?;
    stream.set_nodelay(true).map_err(|_| Failure::Disconnected)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_frame_size(Some(64 << 20))
        .max_message_size(Some(64 << 20));
    let opened = client_async_tls_with_config(request, stream, Some(config), None).await;
    match opened {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            Err(Failure::Refused(u32::from(response.status().as_u16()), "handshake".to_owned()))
        }
        Err(_) => Err(Failure::Disconnected),
    }
}

fn closed(reason: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Failure {
    match reason {
        Some(frame) if frame.code != CloseCode::Normal => {
            Failure::Refused(u32::from(u16::from(frame.code)), frame.reason.to_string())
        }
        _ => Failure::Disconnected,
    }
}

/// Codes after which a client must not come back.
fn is_final(failure: &Failure) -> bool {
    failure.code().is_some_and(|code| (3500..4000).contains(&code) || (4500..5000).contains(&code))
}
