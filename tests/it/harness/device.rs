//! A device of somebody: a socket to the server that is always read, and everything that was pushed over it.
//!
//! What a device is told it notes per channel, and checks on the way: offsets go up by one, whatever happened in
//! between; what is ephemeral repeats the position. So a test asks what comes next on a channel, and at the end holds
//! everything that was seen against what is stored.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Nobody waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where somebody stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

/// A channel as a device knows it.
#[derive(Debug, Default)]
struct Place {
    epoch: String,
    /// Offset of the first event of `events`, less one.
    begun: u64,
    events: Vec<Value>,
    /// Of them, those that the test has looked at.
    looked_at: usize,
    fleeting: VecDeque<Value>,
}

impl Place {
    fn position(&self) -> u64 {
        self.begun + self.events.len() as u64
    }
}

/// What the task that owns the socket hears.
enum Heard {
    Message(Value),
    Closed(u16),
}

/// What it is told.
enum Order {
    Say(String),
    /// Reads nothing more, answers no ping, and leaves the connection open.
    Freeze,
}

/// A connected device.
pub struct Device {
    /// `data` of the connect reply.
    pub welcome: Value,
    orders: UnboundedSender<Order>,
    heard: UnboundedReceiver<Heard>,
    places: BTreeMap<String, Place>,
    next_id: u32,
    /// The server's last words, once it has closed.
    closed: Option<u16>,
}

impl Device {
    /// Connects with a token; the inboxes that come with it are followed from now on.
    pub async fn connect(server: impl Into<SocketAddr>, token: &str) -> Self {
        Self::come_back(server, token, &BTreeMap::new()).await
    }

    /// Connects with the positions that an earlier connection had, and catches up on all of them.
    pub async fn come_back(
        server: impl Into<SocketAddr>,
        token: &str,
        known: &BTreeMap<String, Position>,
    ) -> Self {
        let mut device = Self::open(server).await;
        let recover = |position: &Position| json!({ "recover": true, "epoch": position.epoch, "offset": position.offset });
        let inboxes = known.iter().filter(|(channel, _)| channel.starts_with("user:"));
        let subs: BTreeMap<&str, Value> =
            inboxes.map(|(channel, position)| (channel.as_str(), recover(position))).collect();
        let reply = device.call(json!({ "connect": { "token": token, "subs": subs } })).await;
        assert!(reply["error"].is_null(), "{reply}");
        device.welcome = reply["connect"]["data"].clone();
        for (channel, result) in reply["connect"]["subs"].as_object().into_iter().flatten() {
            let recovered = known.get(channel).map(|position| position.offset);
            device.take_place(channel, recovered, result);
        }
        for (channel, position) in known.iter().filter(|(channel, _)| !channel.starts_with("user:")) {
            device.follow_from(channel, position).await;
        }
        device
    }

    /// Opens a socket and says nothing.
    pub async fn open(server: impl Into<SocketAddr>) -> Self {
        let (socket, _) =
            connect_async(format!("ws://{}/connection/websocket", server.into())).await.unwrap();
        let ((orders, told), (say, heard)) = (unbounded_channel(), unbounded_channel());
        tokio::spawn(attend(socket, told, say));
        Self { welcome: Value::Null, orders, heard, places: BTreeMap::new(), next_id: 0, closed: None }
    }

    /// Follows a stream from its beginning.
    pub async fn follow_all(&mut self, channel: &str) {
        self.follow_from(channel, &Position { epoch: String::new(), offset: 0 }).await;
    }

    /// Follows a stream from a position on.
    pub async fn follow_from(&mut self, channel: &str, Position { epoch, offset }: &Position) {
        let request = json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset });
        let reply = self.call(json!({ "subscribe": request })).await;
        assert!(reply["error"].is_null(), "{channel}: {reply}");
        self.take_place(channel, Some(*offset), &reply["subscribe"]);
    }

    fn take_place(&mut self, channel: &str, recovered: Option<u64>, result: &Value) {
        let begun = result["offset"].as_u64().unwrap_or(0);
        if let Some(offset) = recovered {
            assert_eq!((&result["recovered"], begun), (&json!(true), offset), "{channel}: {result}");
        }
        let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
        let before = self.places.insert(channel.to_owned(), Place { epoch, begun, ..Place::default() });
        assert!(before.is_none(), "{channel} is followed already");
        for publication in result["publications"].as_array().into_iter().flatten() {
            self.note(channel, publication);
        }
    }

    /// Stops following a stream; where it stood, and what was seen of it.
    pub async fn leave(&mut self, channel: &str) -> (Position, Vec<Value>) {
        let reply = self.call(json!({ "unsubscribe": { "channel": channel } })).await;
        assert_eq!(reply["unsubscribe"], json!({}), "{reply}");
        let place = self.places.remove(channel).unwrap();
        (Position { epoch: place.epoch.clone(), offset: place.position() }, place.events)
    }

    /// Where it stands in everything that it follows.
    pub fn positions(&self) -> BTreeMap<String, Position> {
        let position = |place: &Place| Position { epoch: place.epoch.clone(), offset: place.position() };
        self.places.iter().map(|(channel, place)| (channel.clone(), position(place))).collect()
    }

    /// All events of a channel, and after which offset they begin.
    pub fn seen(&self, channel: &str) -> (u64, &[Value]) {
        let place = &self.places[channel];
        (place.begun, &place.events)
    }

    /// The channels that it follows.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The next event of a channel must be of that type; the whole event.
    pub async fn sees(&mut self, channel: &str, kind: &str) -> Value {
        while self.places[channel].looked_at == self.places[channel].events.len() {
            self.listen(&format!("{kind} on {channel}")).await;
        }
        let place = self.places.get_mut(channel).unwrap();
        let event = place.events[place.looked_at].clone();
        place.looked_at += 1;
        assert_eq!(event["type"], kind, "{channel}: {event}");
        event
    }

    /// The next ephemeral event of a channel must be of that type.
    pub async fn glimpses(&mut self, channel: &str, kind: &str) -> Value {
        while self.places[channel].fleeting.is_empty() {
            self.listen(&format!("{kind} on {channel}")).await;
        }
        let event = self.places.get_mut(channel).unwrap().fleeting.pop_front().unwrap();
        assert_eq!(event["type"], kind, "{channel}: {event}");
        event
    }

    /// Waits until the channel's stream was followed to that offset.
    pub async fn reaches(&mut self, channel: &str, offset: u64) {
        while self.places[channel].position() < offset {
            self.listen(&format!("offset {offset} of {channel}")).await;
        }
    }

    /// Nothing ephemeral came that the test has not looked at, besides the hints of inboxes, of which one may stand for
    /// several.
    pub fn glimpsed_all(&self) {
        let is_hint = |event: &Value| event["type"] == "unread" || event["type"] == "presence";
        for (channel, place) in &self.places {
            let unseen: Vec<_> = place
                .fleeting
                .iter()
                .filter(|event| !(channel.starts_with("user:") && is_hint(event)))
                .collect();
            assert!(unseen.is_empty(), "{channel}: {unseen:?}");
        }
    }

    /// Waits until the server closes; the code.
    pub async fn is_closed(&mut self) -> u16 {
        loop {
            match self.closed {
                Some(code) => return code,
                None => self.listen("a close").await,
            }
        }
    }

    /// The reply of an action.
    pub async fn rpc(&mut self, method: &str, data: Value) -> Value {
        let reply = self.call(json!({ "rpc": { "method": method, "data": data } })).await;
        assert!(reply["error"].is_null(), "{method} {data}: {reply}");
        reply["rpc"]["data"].clone()
    }

    /// The code of an action's refusal.
    pub async fn refused(&mut self, method: &str, data: Value) -> u64 {
        let reply = self.call(json!({ "rpc": { "method": method, "data": data } })).await;
        reply["error"]["code"].as_u64().unwrap_or_else(|| panic!("{method} {data}: {reply}"))
    }

    /// The reply to any command.
    pub async fn call(&mut self, mut command: Value) -> Value {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        self.say(&command.to_string());
        loop {
            match self.hear(&command.to_string()).await {
                Heard::Message(message) if message["id"] == self.next_id => return message,
                heard => self.take(heard),
            }
        }
    }

    /// Sends a frame of text as it is.
    pub fn say(&self, text: &str) {
        // To a socket that has closed nothing is said.
        let _ = self.orders.send(Order::Say(text.to_owned()));
    }

    /// Falls silent without closing, like a device whose network is gone.
    pub fn freeze(&self) {
        self.orders.send(Order::Freeze).ok().unwrap();
    }

    async fn listen(&mut self, what: &str) {
        let heard = self.hear(what).await;
        self.take(heard);
    }

    async fn hear(&mut self, what: &str) -> Heard {
        let heard = timeout(PATIENCE, self.heard.recv()).await;
        let heard = heard.unwrap_or_else(|_| panic!("waited for {what} in vain at {:?}", self.positions()));
        heard.unwrap_or_else(|| panic!("the socket is closed ({:?}), no {what} comes", self.closed))
    }

    fn take(&mut self, heard: Heard) {
        let message = match heard {
            Heard::Closed(code) => return self.closed = Some(code),
            Heard::Message(message) => message,
        };
        let push = &message["push"];
        let channel = push["channel"].as_str().unwrap_or_default();
        if push["pub"].is_object() {
            self.note(channel, &push["pub"]);
        } else if push["unsubscribe"].is_object() {
            self.places.remove(channel);
        } else {
            panic!("unexpected: {message}");
        }
    }

    fn note(&mut self, channel: &str, publication: &Value) {
        let place = self.places.get_mut(channel).unwrap_or_else(|| panic!("{channel} is not followed"));
        let (data, offset) = (&publication["data"], publication["offset"].as_u64().unwrap_or(0));
        if data["ephemeral"] == json!(true) {
            assert_eq!(offset, place.position(), "{channel}: {data}");
            return place.fleeting.push_back(data.clone());
        }
        assert_eq!(offset, place.position() + 1, "{channel}: {data}");
        place.events.push(data.clone());
    }
}

/// Reads, answers pings, says what it is told to say.
async fn attend(mut socket: Socket, mut told: UnboundedReceiver<Order>, say: UnboundedSender<Heard>) {
    loop {
        let message = tokio::select! {
            order = told.recv() => match order {
                Some(Order::Say(text)) => {
                    // What cannot be sent any more is told by the next read.
                    let _ = socket.send(Message::text(text)).await;
                    continue;
                }
                Some(Order::Freeze) => return frozen(socket, told).await,
                None => return,
            },
            message = socket.next() => message,
        };
        match message {
            Some(Ok(Message::Text(text))) if text == "{}" => drop(socket.send(Message::text("{}")).await),
            Some(Ok(Message::Text(text))) => {
                for line in text.lines() {
                    // A test that has ended listens no more.
                    let _ = say.send(Heard::Message(serde_json::from_str(line).unwrap()));
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |frame| frame.code.into());
                return drop(say.send(Heard::Closed(code)));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return drop(say.send(Heard::Closed(1006))),
        }
    }
}

/// Holds the socket until the device is dropped.
async fn frozen(socket: Socket, mut told: UnboundedReceiver<Order>) {
    while told.recv().await.is_some() {}
    drop(socket);
}
