//! Every command and push, in JSON and Protobuf.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use serde_json::json;
use switchboard::{
    domain::ids::{OrgId, PersonId},
    realtime::{
        Audience, Selector, close,
        protocol::{Command, ConnectRequest, Reply, RpcRequest, SubscribeRequest},
        unsubscribe,
    },
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::{Client, Server, client::offsets};

#[tokio::test(flavor = "multi_thread")]
async fn connect_subscribe_publish_receive() {
    let server = Server::start().await;
    let mut ann = server.join(7).await;
    let mut bob = Client::open(server.address).await;
    let connect = bob.call(json!({"connect": {"token": "8", "data": {"api_key": "k"}}})).await;
    let connect = &connect["connect"];
    assert_eq!(connect["data"], json!({"user": "8", "api_key": "k", "transport": "websocket"}));
    assert_eq!((&connect["ping"], &connect["pong"]), (&json!(25), &json!(true)));
    assert_eq!(connect["subs"]["user:8"]["recoverable"], true);
    assert!(connect["session"].is_null() && connect["expires"].is_null());

    let reply = bob.subscribe(json!({"channel": "workbox:1"})).await;
    assert_eq!(reply["subscribe"], json!({"recoverable": true, "epoch": "e1", "positioned": true}));
    let reply = ann.call(json!({"publish": {"channel": "workbox:1", "data": {"type": "message"}}})).await;
    assert_eq!(reply["publish"], json!({}));
    let push = bob.push().await;
    assert_eq!((&push["channel"], &push["pub"]["offset"]), (&json!("workbox:1"), &json!(1)));
    assert_eq!(push["pub"]["data"]["actor"], "7");

    server.journal.append("user:8", [json!({"n": 1})]);
    let push = bob.push().await;
    assert_eq!(push, json!({"channel": "user:8", "pub": {"data": {"n": 1}, "offset": 1}}));
    ann.silent().await;
    assert!(server.hub.is_online(PersonId(7)) && !server.hub.is_online(PersonId(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_commands_in_one_frame_are_answered_in_order_behind_connect() {
    let server = Server::start().await;
    server.journal.delay.store(5, Ordering::Relaxed);
    let mut client = Client::open(server.address).await;
    client
        .send_text(concat!(
            r#"{"id":1,"connect":{"token":"7"}}"#,
            "\n",
            r#"{"id":2,"subscribe":{"channel":"workbox:1"}}"#,
            "\n",
            r#"{"id":3,"unsubscribe":{"channel":"workbox:1"}}"#,
            "\n",
            r#"{"id":4,"subscribe":{"channel":"workbox:1"}}"#,
        ))
        .await;
    for id in 1..=4 {
        let reply = client.receive().await;
        assert_eq!(reply["id"], id, "{reply}");
        assert!(reply["error"].is_null(), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpc_answers_errors_and_panics() {
    let server = Server::start().await;
    let mut client = server.join(7).await;
    let mut rpc =
        async |method: &str| client.call(json!({"rpc": {"method": method, "data": {"a": [1]}}})).await;
    assert_eq!(rpc("echo").await["rpc"]["data"], json!({"a": [1]}));
    let error = rpc("fail").await["error"].clone();
    assert_eq!(error, json!({"code": 431, "message": "data_unavailable", "temporary": true}));
    assert_eq!(rpc("nothing").await["error"]["code"], 108);
    assert_eq!(
        rpc("panic").await["error"],
        json!({"code": 100, "message": "internal server error", "temporary": true})
    );
    assert_eq!(rpc("slow").await["rpc"]["data"], "slow");
    assert_eq!(client.call(json!({"ping": {}})).await["ping"], json!({}));
    client.send_text(r#"{"send":{"data":{}}}"#).await;
    assert_eq!(client.call(json!({"rpc": {"method": "echo", "data": 1}})).await["rpc"]["data"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connects() {
    let server = Server::start().await;
    for (token, code) in [("expired", 109), ("away", 431)] {
        let mut client = Client::open(server.address).await;
        let reply = client.call(json!({"connect": {"token": token}})).await;
        assert_eq!(reply["error"]["code"], code);
        client.send_text(r#"{"id":5,"rpc":{"method":"echo"}}"#).await;
        assert_eq!(client.closed().await, 3501);
    }
    let mut client = Client::open(server.address).await;
    client.send_text(r#"{"id":1,"connect":{"token":"nonsense"}}"#).await;
    assert_eq!(client.closed().await, 3500);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_subscriptions() {
    let server = Server::start().await;
    let mut client = server.join(7).await;
    for (request, code) in [
        (json!({"channel": "nothing:1"}), 102),
        (json!({"channel": "secret:1"}), 103),
        (json!({"channel": "user:7"}), 105),
        (json!({"channel": "workbox:1", "type": 1}), 108),
        (json!({"channel": "workbox:1", "tf": {"key": "a"}}), 107),
        (json!({"channel": "x".repeat(256)}), 107),
    ] {
        let reply = client.subscribe(request.clone()).await;
        assert_eq!(reply["error"]["code"], code, "{request} {reply}");
    }
    client.send_text(r#"{"id":99,"subscribe":{"channel":""}}"#).await;
    assert_eq!(client.closed().await, 3501);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_joins_and_leaves_on_sessions() {
    let server = Server::start().await;
    let (mut ann, mut bob) = (server.join(7).await, server.join(8).await);
    ann.subscribe(json!({"channel": "session:1", "join_leave": true})).await;
    assert_eq!(ann.push().await["join"]["info"]["user"], "7");
    bob.subscribe(json!({"channel": "session:1"})).await;
    let join = ann.push().await;
    assert_eq!((&join["channel"], &join["join"]["info"]["user"]), (&json!("session:1"), &json!("8")));
    let presence = ann.call(json!({"presence": {"channel": "session:1"}})).await;
    assert_eq!(presence["presence"]["presence"].as_object().unwrap().len(), 2);
    let stats = bob.call(json!({"presence_stats": {"channel": "session:1"}})).await;
    assert_eq!(stats["presence_stats"], json!({"num_clients": 2, "num_users": 2}));
    assert_eq!(server.hub.presence("session:1").await.len(), 2);
    drop(bob);
    assert_eq!(ann.push().await["leave"]["info"]["user"], "8");
    let foreign = ann.call(json!({"presence": {"channel": "session:2"}})).await;
    assert_eq!(foreign["error"]["code"], 103);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_in_both_directions() {
    let server = Server::start().await;
    server.journal.append("workbox:1", (1..=10).map(|n| json!({ "n": n })));
    let mut client = server.join(7).await;
    let mut history = async |mut request: serde_json::Value| {
        request["channel"] = "workbox:1".into();
        client.call(json!({"history": request})).await
    };
    let reply = history(json!({})).await;
    assert_eq!(reply["history"], json!({"publications": [], "epoch": "e1", "offset": 10}));
    for (request, expected) in [
        (json!({"limit": 3}), vec![1, 2, 3]),
        (json!({"limit": -1}), (1..=10).collect()),
        (json!({"limit": 2, "since": {"offset": 4, "epoch": "e1"}}), vec![5, 6]),
        (json!({"limit": 2, "reverse": true}), vec![10, 9]),
        (json!({"limit": 9, "reverse": true, "since": {"offset": 3}}), vec![2, 1]),
        (json!({"limit": 9, "since": {"offset": 10}}), vec![]),
        (json!({"limit": 9, "since": {"offset": u64::MAX}}), vec![]),
    ] {
        let reply = history(request.clone()).await;
        assert_eq!(offsets(&reply["history"]["publications"]), expected, "{request}");
    }
    let reply = history(json!({"limit": 9, "since": {"offset": 3, "epoch": "other"}})).await;
    assert_eq!(reply["error"]["code"], 112);
    server.journal.show_from("workbox:1", 9);
    assert_eq!(offsets(&history(json!({"limit": 5})).await["history"]["publications"]), [9, 10]);
    let reply = history(json!({"limit": 5, "reverse": true})).await;
    assert_eq!(offsets(&reply["history"]["publications"]), [10, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_events_repeat_the_position_and_find_their_audience() {
    let server = Server::start().await;
    server.journal.append("workbox:1", [json!(1), json!(2)]);
    let (mut ann, mut bob) = (server.join(7).await, server.join(8).await);
    for client in [&mut ann, &mut bob] {
        client.subscribe(json!({"channel": "workbox:1"})).await;
    }
    ann.call(json!({"publish": {"channel": "workbox:1", "data": {"type": "typing"}}})).await;
    for client in [&mut ann, &mut bob] {
        let push = client.push().await;
        assert_eq!((&push["pub"]["offset"], &push["pub"]["data"]["ephemeral"]), (&json!(2), &json!(true)));
    }
    server.hub.publish_ephemeral("workbox:1", "1".into(), Audience::Person(PersonId(8)));
    assert_eq!(bob.push().await["pub"]["data"], 1);
    let to = server.journal.known.lock().unwrap()[0];
    server.hub.publish_ephemeral("workbox:1", "2".into(), Audience::Connections(vec![to]));
    assert_eq!(ann.push().await["pub"]["data"], 2);
    server.hub.message(to, "{\"m\":1}".into());
    assert_eq!(ann.push().await, json!({"message": {"data": {"m": 1}}}));
    bob.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_a_right_ends_the_subscription_or_the_connection() {
    let server = Server::start().await;
    let (mut ann, mut bob) = (server.join(7).await, server.join(8).await);
    for client in [&mut ann, &mut bob] {
        client.subscribe(json!({"channel": "workbox:1"})).await;
    }
    server.hub.unsubscribe("workbox:1", &Selector::Person(PersonId(8)), unsubscribe::REMOVED);
    let push = bob.push().await;
    assert_eq!(push, json!({"channel": "workbox:1", "unsubscribe": {"code": 2101, "reason": "removed"}}));
    server.journal.append("workbox:1", [json!(1)]);
    assert_eq!(ann.push().await["pub"]["offset"], 1);
    bob.silent().await;
    server.hub.disconnect(&Selector::Person(PersonId(8)), close::REVOKED);
    assert_eq!(bob.closed().await, 4500);
    server.until("the person's absence", || !server.hub.is_online(PersonId(8))).await;
    assert_eq!(server.journal.gone.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_a_token_is_checked_ends() {
    let server = Server::start().await;
    let checked = |count| {
        let checks = &server.journal.checks;
        server.until("the check", move || checks.load(Ordering::Relaxed) == count)
    };
    let mut ann = server.join(7).await;
    // The check has said yes; the order comes before the answer is there.
    server.journal.door.send_replace(false);
    let mut bob = Client::open(server.address).await;
    bob.send_text(r#"{"id":1,"connect":{"token":"8"}}"#).await;
    let mut eve = Client::open(server.address).await;
    eve.send_text(r#"{"id":1,"connect":{"token":"9"}}"#).await;
    checked(3).await;
    server.hub.disconnect(&Selector::Person(PersonId(8)), close::REVOKED);
    server.journal.door.send_replace(true);
    assert_eq!(bob.closed().await, 4500);
    assert!(eve.reply(1).await["connect"]["client"].is_string(), "another person was meant");
    assert!(!server.hub.is_online(PersonId(8)));
    // The same with the token that a connection goes on with.
    server.journal.door.send_replace(false);
    ann.send_text(r#"{"id":9,"refresh":{"token":"7/3600"}}"#).await;
    checked(4).await;
    let organization = Selector::Organization(OrgId(1));
    let someone_else = Selector::Person(PersonId(70));
    server.hub.disconnect(&someone_else, close::REVOKED);
    server.journal.door.send_replace(true);
    assert_eq!(ann.reply(9).await["refresh"]["ttl"], 3599);
    server.hub.disconnect(&organization, close::FORCE_RECONNECT);
    assert_eq!(ann.closed().await, close::FORCE_RECONNECT.code);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_and_are_refreshed() {
    let options =
        switchboard::realtime::Options { expiry_grace: Duration::from_millis(200), ..Default::default() };
    let server = Server::with(options).await;
    let mut client = Client::open(server.address).await;
    let reply = client.connect("7/2").await;
    assert_eq!((&reply["expires"], &reply["ttl"]), (&json!(true), &json!(1)));
    let reply = client.call(json!({"refresh": {"token": "7/3600"}})).await;
    assert_eq!(reply["refresh"]["ttl"], 3599);
    let mut other = Client::open(server.address).await;
    other.connect("8/1").await;
    assert_eq!(other.closed().await, 3005);
    client.send_text(r#"{"id":9,"refresh":{"token":"8/3600"}}"#).await;
    assert_eq!(client.closed().await, 3500);
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_go_by_number_where_the_client_asks() {
    let server = Server::start().await;
    let mut client = server.join(7).await;
    let reply = client.subscribe(json!({"channel": "workbox:1", "flag": 1})).await;
    let number = reply["subscribe"]["id"].as_i64().unwrap();
    server.journal.append("workbox:1", [json!({"n": 1})]);
    assert_eq!(client.push().await, json!({"id": number, "pub": {"data": {"n": 1}, "offset": 1}}));
    client.call(json!({"publish": {"channel": "workbox:1", "data": {"type": "typing"}}})).await;
    assert_eq!(client.push().await["id"], number);
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_end_to_end() {
    let server = Server::start().await;
    let mut request = format!("ws://{}/connection/websocket", server.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "centrifuge-protobuf".parse().unwrap());
    let (mut socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "centrifuge-protobuf");
    let connect = ConnectRequest { token: "7".into(), ..ConnectRequest::default() };
    let subscribe = SubscribeRequest {
        channel: "workbox:1".into(),
        flag: SubscribeRequest::COMPACTION,
        ..SubscribeRequest::default()
    };
    let rpc = RpcRequest { method: "echo".into(), data: "{}".into() };
    let mut frame = Vec::new();
    for command in [
        Command { id: 1, connect: Some(connect), ..Command::default() },
        Command { id: 2, subscribe: Some(subscribe), ..Command::default() },
        Command { id: 3, rpc: Some(rpc), ..Command::default() },
    ] {
        frame.extend(command.encode_length_delimited_to_vec());
    }
    socket.send(Message::binary(frame)).await.unwrap();
    let mut next = async || match socket.next().await.unwrap().unwrap() {
        Message::Binary(bytes) => Reply::decode_length_delimited(&bytes[..]).unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(next().await.connect.unwrap().pong);
    // The JavaScript SDK cannot use numbers in Protobuf, so they are not offered there.
    assert_eq!(next().await.subscribe.unwrap().id, 0);
    assert_eq!(next().await.rpc.unwrap().data, "{}");
    server.journal.append("workbox:1", [json!({"n": 1})]);
    let push = next().await.push.unwrap();
    assert_eq!((push.id, push.channel.as_str()), (0, "workbox:1"));
    assert_eq!(push.publication.unwrap().data, "{\"n\":1}");
}
