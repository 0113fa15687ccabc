//! The same actions in the binary encoding.

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use serde_json::{Value, json};
use switchboard::realtime::protocol::{
    Command, ConnectRequest, Publication, Reply, RpcRequest, SubscribeRequest,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::harness::db::on_both;
use crate::harness::office::Office;

struct Binary {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    next_id: u32,
}

impl Binary {
    async fn connect(office: &Office, token: &str) -> Self {
        let url = format!("ws://{}/connection/websocket", office.server.address);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "centrifuge-protobuf".parse().unwrap());
        let (socket, _) = connect_async(request).await.unwrap();
        let mut this = Self { socket, next_id: 0 };
        let connect = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
        let reply = this.call(Command { connect: Some(connect), ..Command::default() }).await;
        assert!(reply.connect.is_some());
        this
    }

    async fn call(&mut self, mut command: Command) -> Reply {
        self.next_id += 1;
        command.id = self.next_id;
        self.socket.send(Message::binary(command.encode_length_delimited_to_vec())).await.unwrap();
        loop {
            let reply = self.next().await;
            if reply.id == self.next_id {
                return reply;
            }
        }
    }

    async fn next(&mut self) -> Reply {
        match tokio::time::timeout(crate::harness::device::PATIENCE, self.socket.next()).await {
            Ok(Some(Ok(Message::Binary(bytes)))) => Reply::decode_length_delimited(&bytes[..]).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next publication in that channel; hints to the inbox may come in between.
    async fn published(&mut self, channel: &str) -> Publication {
        loop {
            let push = self.next().await.push.unwrap();
            if push.channel == channel {
                return push.publication.unwrap();
            }
        }
    }

    async fn rpc(&mut self, method: &str, data: &Value) -> Result<Value, (u32, String)> {
        let rpc = RpcRequest { method: method.to_owned(), data: data.to_string().into() };
        let reply = self.call(Command { rpc: Some(rpc), ..Command::default() }).await;
        match reply.error {
            Some(error) => Err((error.code, error.message)),
            None => Ok(serde_json::from_slice(&reply.rpc.unwrap().data).unwrap()),
        }
    }
}

on_both! {
    async fn actions_in_binary(db: TestDb) {
        let mut office = Office::open(db).await;
        let mut ben = Binary::connect(&office, &office.ben.token).await;
        let workbox = office.workbox();
        let sent = ben.rpc("message.send", &json!({ "channel": workbox, "text": "zero one" })).await.unwrap();
        let read = office.ann.device.rpc("message.get", json!({ "channel": workbox, "message_id": sent["id"] })).await;
        assert_eq!(read["metadata"], sent["metadata"]);
        let shown = ben.rpc("workbox.get", &json!({ "channel": workbox })).await.unwrap();
        assert_eq!(shown["last_message"]["id"], sent["id"]);
        for (method, data, code, name) in [
            ("message.send", json!({ "channel": workbox }), 406, "method_parameters_invalid"),
            ("message.send", json!([]), 406, "method_parameters_invalid"),
            ("workbox.get", json!({ "channel": "workbox:999999" }), 404, "not_found"),
            ("nothing.such", json!({}), 108, "not available"),
        ] {
            assert_eq!(ben.rpc(method, &data).await, Err((code, name.to_owned())), "{method}");
        }
        let not_json = RpcRequest { method: "server.time".to_owned(), data: "\u{1}".into() };
        let reply = ben.call(Command { rpc: Some(not_json), ..Command::default() }).await;
        assert_eq!(reply.error.unwrap().code, 107);

        let subscribe = SubscribeRequest { channel: workbox.clone(), ..SubscribeRequest::default() };
        ben.call(Command { subscribe: Some(subscribe), ..Command::default() }).await;
        let told = office.say("to all").await;
        let push = ben.published(&workbox).await;
        assert_eq!(push.offset, told["offset"].as_u64().unwrap());
        let event: Value = serde_json::from_slice(&push.data).unwrap();
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!("message.created"), &told["id"]));
    }
}
