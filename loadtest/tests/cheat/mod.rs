//! A proxy that cheats. REST passes through untouched; of the sockets, one push or one command is treated badly.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{accept_async, connect_async, tungstenite::Message};

/// How it cheats.
#[derive(Clone, Copy, Debug)]
pub enum Cheat {
    /// Not at all.
    Nothing,
    /// A push never arrives at one subscriber.
    Lose,
    /// From this push on nothing arrives at one subscriber.
    LoseAllAfter(usize),
    /// A push arrives twice.
    Repeat,
    /// Two pushes change places.
    Swap,
    /// One subscriber sees another event than the others.
    Forge,
    /// A message is acknowledged, but never passed on.
    Acknowledge,
}

/// The push of the first connection that is treated badly.
const VICTIM: usize = 10;

/// Serves on a free port until the runtime ends.
pub async fn serve(cheat: Cheat, server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sockets = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, cheat, server, sockets.clone()));
        }
    });
    port
}

async fn pass(mut client: TcpStream, cheat: Cheat, server: u16, sockets: Arc<AtomicUsize>) {
    let mut head = [0; 64];
    let read = client.peek(&mut head).await.unwrap_or(0);
    if !head[..read].starts_with(b"GET /connection/websocket") {
        let Ok(mut upstream) = TcpStream::connect(("127.0.0.1", server)).await else { return };
        let _ = copy_bidirectional(&mut client, &mut upstream).await;
        return;
    }
    let is_victim = sockets.fetch_add(1, Ordering::Relaxed) == 0;
    let mut client = accept_async(client).await.unwrap();
    let (mut upstream, _) =
        connect_async(format!("ws://127.0.0.1:{server}/connection/websocket")).await.unwrap();
    let mut state = State { cheat, is_victim, pushes: 0, kept: None, sent: 0 };
    loop {
        tokio::select! {
            frame = client.next() => {
                let Some(Ok(frame)) = frame else { break };
                match state.command(&frame) {
                    Some(forged) => {
                        let _ = client.send(forged).await;
                    }
                    None => {
                        let _ = upstream.send(frame).await;
                    }
                }
            }
            frame = upstream.next() => {
                let Some(Ok(frame)) = frame else { break };
                match frame {
                    Message::Text(text) => {
                        let lines: Vec<_> = text.lines().flat_map(|line| state.line(line)).collect();
                        if !lines.is_empty() {
                            let _ = client.send(Message::text(lines.join("\n"))).await;
                        }
                    }
                    other => {
                        let _ = client.send(other).await;
                    }
                }
            }
        }
    }
    let _ = client.close(None).await;
}

struct State {
    cheat: Cheat,
    is_victim: bool,
    pushes: usize,
    kept: Option<String>,
    sent: usize,
}

impl State {
    /// A line of the server's, as the client shall see it.
    fn line(&mut self, line: &str) -> Vec<String> {
        let line = line.to_owned();
        if !self.is_victim || !line.starts_with(r#"{"push":{"channel":"workbox:"#) {
            return vec![line];
        }
        self.pushes += 1;
        match self.cheat {
            Cheat::Lose if self.pushes == VICTIM => vec![],
            Cheat::LoseAllAfter(last) if self.pushes > last => vec![],
            Cheat::Repeat if self.pushes == VICTIM => vec![line.clone(), line],
            Cheat::Forge if self.pushes == VICTIM => {
                let at = line.find(r#""data":{"id":""#).unwrap() + 14 + 30;
                // Six digits of the event's id.
                vec![format!("{}ffffff{}", &line[..at], &line[at + 6..])]
            }
            Cheat::Swap if self.pushes == VICTIM => {
                self.kept = Some(line);
                vec![]
            }
            _ => [Some(line), self.kept.take()].into_iter().flatten().collect(),
        }
    }

    /// The answer to a command that is not passed on.
    fn command(&mut self, frame: &Message) -> Option<Message> {
        let text = frame.to_text().ok()?;
        let command: Value = serde_json::from_str(text).ok()?;
        if !matches!(self.cheat, Cheat::Acknowledge) || command["rpc"]["method"] != "message.send" {
            return None;
        }
        self.sent += 1;
        if !self.is_victim || self.sent != 3 {
            return None;
        }
        let reply =
            serde_json::json!({ "id": command["id"], "rpc": { "data": { "id": 1_000_000, "offset": 3 } } });
        Some(Message::text(reply.to_string()))
    }
}
