//! A client: one socket that comes back by itself, with its subscriptions, from where it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    questions::PATIENCE,
    session::Session,
    subscription::Subscription,
    wire::{Body, Command, Format},
};
use crate::{
    failure::{Failure, Outcome},
    ledger::{stream::StreamLog, violation::Violation},
    people::Person,
};

/// Who waits for an answer.
pub(super) type Answer = oneshot::Sender<Outcome<Body>>;

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
    /// The server took a place away that is to be taken again.
    fn interrupted(&self);
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
pub(super) enum Order {
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
    pub(super) online: AtomicBool,
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
        let session = Session::new(client.clone(), endpoint, listener);
        (client, tokio::spawn(session.live(inbox)))
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

    /// Asks something and waits for the answer, or until the session gives up.
    pub async fn ask(&self, command: Command) -> Outcome<Body> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Ask(command, answer));
        answered.await.unwrap_or(Err(Failure::Disconnected))
    }

    /// Calls an action and reads its answer.
    pub async fn rpc(&self, method: &'static str, data: serde_json::Value) -> Outcome<serde_json::Value> {
        let body = self.ask(Command::Rpc { method, data: data.to_string() }).await?;
        Ok(serde_json::from_slice(&body.data)?)
    }

    /// Takes a place in a channel, from now on for good.
    pub async fn subscribe(&self, channel: &str) -> Outcome<Body> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Subscribe(channel.to_owned(), answer));
        match timeout(PATIENCE, answered).await {
            Ok(answer) => answer.unwrap_or(Err(Failure::Disconnected)),
            Err(_) => Err(Failure::TimedOut),
        }
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
