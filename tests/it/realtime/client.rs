//! A client of the protocol that hides nothing.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u32,
    pushes: VecDeque<Value>,
    /// Messages that came in one frame with another.
    more: VecDeque<Value>,
    /// Whether pings are answered.
    pub pongs: bool,
    /// Pings seen.
    pub pings: usize,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    pub async fn open(address: SocketAddr) -> Self {
        let request = format!("ws://{address}/connection/websocket").into_client_request().unwrap();
        let (socket, _) = connect_async(request).await.unwrap();
        Self { socket, next_id: 0, pushes: VecDeque::new(), more: VecDeque::new(), pongs: true, pings: 0 }
    }

    pub async fn connect(&mut self, token: &str) -> Value {
        let reply = self.call(json!({"connect": {"token": token}})).await;
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        reply["connect"].clone()
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends to a server that may have closed already.
    pub async fn try_send(&mut self, command: &Value) {
        let _ = self.socket.send(Message::text(command.to_string())).await;
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends a command and waits for its reply; pushes on the way are kept.
    pub async fn call(&mut self, mut command: Value) -> Value {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        self.send_text(&command.to_string()).await;
        self.reply(self.next_id).await
    }

    pub async fn subscribe(&mut self, request: Value) -> Value {
        self.call(json!({"subscribe": request})).await
    }

    /// The reply to command `id`.
    pub async fn reply(&mut self, id: u32) -> Value {
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
            assert!(message["id"].is_null(), "unexpected reply {message}");
            self.pushes.push_back(message["push"].clone());
        }
    }

    /// The next push.
    pub async fn push(&mut self) -> Value {
        match self.pushes.pop_front() {
            Some(push) => push,
            None => self.receive().await["push"].clone(),
        }
    }

    /// The next reply or push.
    pub async fn receive(&mut self) -> Value {
        if let Some(message) = self.more.pop_front() {
            return message;
        }
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something in time");
            match message.expect("an open socket").expect("a whole message") {
                Message::Text(text) if text == "{}" => {
                    self.pings += 1;
                    if self.pongs {
                        self.send_text("{}").await;
                    }
                }
                Message::Text(text) => {
                    let mut messages = text.lines().map(|line| serde_json::from_str(line).unwrap());
                    let first = messages.next().unwrap();
                    self.more.extend(messages);
                    return first;
                }
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The raw next message.
    pub async fn raw(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("in time").unwrap().unwrap()
    }

    /// Waits for the end, ignoring all before.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Text(text))) if text == "{}" => self.pings += 1,
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Nothing arrives for a while.
    pub async fn silent(&mut self) {
        assert!(self.pushes.is_empty() && self.more.is_empty(), "{:?}", self.pushes);
        let something = tokio::time::timeout(Duration::from_millis(80), self.socket.next()).await;
        assert!(something.is_err(), "{something:?}");
    }
}

/// Offsets of publications, in a reply or among pushes.
pub fn offsets(publications: &Value) -> Vec<u64> {
    let list = publications.as_array().cloned().unwrap_or_default();
    list.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

impl Client {
    /// As [`Client::call`], but publications before the reply move `position` on instead of being kept.
    pub async fn call_in_order(&mut self, command: Value, position: &mut u64) -> Value {
        let reply = self.call(command).await;
        for push in std::mem::take(&mut self.pushes) {
            assert_eq!(push["pub"]["offset"], *position + 1, "before the reply");
            *position += 1;
        }
        reply
    }
}
