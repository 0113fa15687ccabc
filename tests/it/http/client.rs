//! A client that shows what is on the wire: requests as text, responses as status, headers, body.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    notes,
    schema::{CONTRACT, Seen},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// One response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

/// A connection.
pub struct Connection(pub TcpStream);

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn write(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads one response; `bodiless` after HEAD.
    pub async fn read(&mut self, bodiless: bool) -> Response {
        timeout(PATIENCE, self.read_now(bodiless)).await.expect("an answer in time")
    }

    /// Reads until some text has come; what came.
    pub async fn until(&mut self, text: &str) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&bytes).contains(text) {
                assert!(
                    self.0.read_buf(&mut bytes).await.unwrap() > 0,
                    "the connection ended without {text}"
                );
            }
        };
        timeout(PATIENCE, reading).await.expect("it comes in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn read_now(&mut self, bodiless: bool) -> Response {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "the connection ended without an answer");
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut body = bytes.split_off(end + 4);
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length =
            headers.iter().find(|(name, _)| name == "content-length").map_or(0, |h| h.1.parse().unwrap());
        while !bodiless && body.len() < length {
            assert!(self.0.read_buf(&mut body).await.unwrap() > 0, "the body ended too early");
        }
        Response { status, headers, body }
    }
}

/// One request on a connection of its own. `head` is the request line and headers without `Host` and `Content-Length`.
/// What a served family's operation answers must fit its contract.
pub async fn send(address: SocketAddr, head: &str, body: impl AsRef<[u8]>) -> Response {
    let (response, judgement) = exchange(address, head, body).await;
    judgement.unwrap_or_else(|fault| panic!("{fault}"));
    response
}

/// As [`send`]; the response comes with what the contract says to it. All requests of the suite pass here.
pub async fn exchange(
    address: SocketAddr,
    head: &str,
    body: impl AsRef<[u8]>,
) -> (Response, Result<(), String>) {
    let response = perform(address, head, body.as_ref()).await;
    if let Ok(reply) = serde_json::from_slice(&response.body) {
        notes::secrets_of(&reply);
    }
    let mut line = head.split_whitespace();
    let judgement = CONTRACT.judge(Seen {
        method: line.next().unwrap_or_default(),
        path: line.next().unwrap_or_default(),
        status: response.status,
        content_type: response.header("content-type"),
        body: &response.body,
    });
    (response, judgement)
}

async fn perform(address: SocketAddr, head: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address).await;
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().flat_map(|line| [line.trim(), "\r\n"]).collect();
    let mut request = format!("{line} HTTP/1.1\r\nhost: x\r\n{headers}{length}\r\n").into_bytes();
    request.extend_from_slice(body);
    connection.write(request).await;
    let answer = timeout(PATIENCE, connection.read_now(line.starts_with("HEAD"))).await;
    answer.unwrap_or_else(|_| {
        panic!("no answer in time to {line:.200} with {:.200}", String::from_utf8_lossy(body))
    })
}
