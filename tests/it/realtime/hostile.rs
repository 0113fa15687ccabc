//! Bytes that no client of good will sends.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Client, Server,
    raw::{KEY, head, request},
};

#[tokio::test(flavor = "multi_thread")]
async fn handshakes() {
    let server = Server::start().await;
    let key_line = format!("Sec-WebSocket-Key: {KEY}\n");
    for (change, status) in [
        (vec![], "101"),
        (vec![("/connection/websocket", "/connection/websocket?x=1")], "101"),
        (vec![("Host: h\n", "Host: h\nOrigin: http://h\n")], "101"),
        (vec![("Host: h\n", "Host: h\nOrigin: http://evil\n")], "403"),
        (vec![("Host: h\n", "Host: h\nOrigin: null\n")], "403"),
        (vec![("/connection/websocket", "/")], "404"),
        (vec![("GET", "POST")], "405"),
        (vec![("Version: 13", "Version: 8")], "426"),
        (vec![(key_line.as_str(), "")], "400"),
        (vec![(KEY, "short")], "400"),
        (vec![("Connection: Upgrade\n", "")], "400"),
        (vec![("Upgrade\n", "keep-alive, Upgrade\n"), ("Upgrade: websocket", "UPGRADE: WebSocket")], "101"),
        (vec![("Upgrade: websocket\n", "")], "404"),
        (vec![("Upgrade: websocket", "Upgrade: h2c")], "404"),
        (vec![("HTTP/1.1", "HTTP/1.0")], "400"),
        (vec![("Version: 13", "Version: 13, 8")], "426"),
        (vec![("Sec-WebSocket-Version: 13\n", "")], "426"),
        (vec![(key_line.as_str(), &format!("{key_line}{key_line}"))], "400"),
        (vec![("Host: h\n", "Host: h\nSec-WebSocket-Version: 8\n")], "426"),
        (vec![("Host: h\n", "Host: h\nSec-WebSocket-Protocol: chat, superchat\n")], "101"),
    ] {
        let (_socket, answer) = request(server.address, &head(&change)).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{change:?}: {answer}");
        assert!(!answer.to_lowercase().contains("extensions"));
        if status == "101" {
            assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        }
    }
    // One list of protocols may stand in several headers.
    let protocols = "Host: h\nSec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: x, centrifuge-protobuf\n";
    let (_socket, answer) = request(server.address, &head(&[("Host: h\n", protocols)])).await;
    assert!(answer.to_lowercase().contains("sec-websocket-protocol: centrifuge-protobuf\r\n"), "{answer}");
    let deflate = head(&[("Host: h\n", "Host: h\nSec-WebSocket-Extensions: permessage-deflate\n")]);
    let (_socket, answer) = request(server.address, &deflate).await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("deflate"));
}

/// Writes raw frames after a handshake and returns the code of the close frame that answers.
async fn close_code_after(address: SocketAddr, bytes: &[u8]) -> u16 {
    let (mut socket, _) = request(address, &head(&[])).await;
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server did not hang up");
    let close = answer.iter().position(|byte| *byte == 0x88).expect("a close frame");
    u16::from_be_bytes([answer[close + 2], answer[close + 3]])
}

#[tokio::test(flavor = "multi_thread")]
async fn frames() {
    let server = Server::start().await;
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(payload);
        frame
    };
    for (bytes, code) in [
        (vec![0x81, 2, b'{', b'}'], 1002),
        (masked(0xc1, b"{}"), 1002),
        (masked(0x83, b"{}"), 1002),
        (masked(0x80, b"{}"), 1002),
        (masked(0x09, b""), 1002),
        (masked(0x82, b"{}"), 1003),
        (masked(0x81, &[b'"', 0xff, b'"']), 1007),
        (masked(0x81, b""), 3501),
        (masked(0x81, b"\n\n"), 3501),
        (masked(0x81, b"{}"), 3501),
        (masked(0x81, b"[1]"), 3501),
        (masked(0x81, br#"{"id":1,"rpc":{"method":"echo"}}"#), 3501),
        (masked(0x88, &[3, 0xe8]), 1000),
        (masked(0x88, &[0x0f, 0xa0]), 4000),
        (masked(0x88, &[1]), 1002),
        (masked(0x88, b""), 1000),
        ([vec![0x81, 0xff], vec![0x7f; 8], vec![0; 4]].concat(), 1009),
        ([masked(0x01, b"{"), masked(0x81, b"}")].concat(), 1002),
    ] {
        assert_eq!(close_code_after(server.address, &bytes).await, code, "{bytes:?}");
    }
    server.until("no connection", || server.hub.connection_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_do_not_belong() {
    let server = Server::start().await;
    for text in [
        r#"{"id":9,"connect":{"token":"7"}}"#,
        r#"{"id":9}"#,
        r#"{"rpc":{"method":"echo"}}"#,
        r#"{"id":9,"unknown":{}}"#,
        r#"{"id":9,"publish":{"data":{}}}"#,
        r#"{"id":9,"history":{}}"#,
        r#"{"id":9,"refresh":{}}"#,
        r#"{"id":4294967296,"ping":{}}"#,
        "nonsense",
    ] {
        let mut client = server.join(7).await;
        client.send_text(text).await;
        assert_eq!(client.closed().await, 3501, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_control_frames_and_dribbled_bytes_are_taken() {
    let server = Server::start().await;
    let mut client = server.join(7).await;
    client.send(Message::Ping("hello".into())).await;
    assert_eq!(client.raw().await, Message::Pong("hello".into()));

    let (mut socket, _) = request(server.address, &head(&[])).await;
    let command = json!({"id": 1, "connect": {"token": "7"}}).to_string();
    let (one, two) = command.as_bytes().split_at(10);
    let mut bytes = vec![0x01, 0x8a, 0, 0, 0, 0];
    bytes.extend(one);
    bytes.extend([0x89, 0x80, 0, 0, 0, 0]);
    bytes.extend([0x80, 0x80 | u8::try_from(two.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(two);
    for byte in bytes {
        socket.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut answer = [0; 256];
    let mut text = String::new();
    while !text.contains("\"connect\"") {
        let count =
            tokio::time::timeout(Duration::from_secs(5), socket.read(&mut answer)).await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&answer[..count]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_vanish_leave_nothing_behind() {
    let server = Server::start().await;
    for person in 0..20 {
        let mut client = server.join(person).await;
        client.subscribe(json!({"channel": "session:1"})).await;
        if person % 2 == 0 {
            client.send_text(r#"{"id":77,"rpc":{"method":"slow"}}"#).await;
        }
        drop(client);
    }
    drop(Client::open(server.address).await);
    server.until("no connection", || server.hub.connection_count() == 0).await;
    assert_eq!(server.hub.presence("session:1").await, []);
    assert_eq!(server.journal.gone.lock().unwrap().len(), 20);
    assert_eq!(server.hub.metrics().subscriptions.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_to_be_there_is_told_to_be_gone() {
    let server = Server::start().await;
    server.journal.delay.store(20, Ordering::Relaxed);
    for person in 0..40 {
        let mut hasty = Client::open(server.address).await;
        hasty.send_text(&format!(r#"{{"id":1,"connect":{{"token":"{person}"}}}}"#)).await;
        tokio::time::sleep(Duration::from_millis(person % 10)).await;
    }
    server.until("no connection", || server.hub.connection_count() == 0).await;
    let (known, gone) =
        (server.journal.known.lock().unwrap().len(), server.journal.gone.lock().unwrap().len());
    assert_eq!(known, gone);
}
