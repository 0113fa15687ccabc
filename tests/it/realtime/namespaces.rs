//! Channels of applications: users by JWT, relayed publications, memory, deltas, the server API.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use switchboard::{
    base::secret::Secret,
    config::{BackendTokens, Namespace, ServerKey},
    domain::ids::OrgId,
    realtime::Options,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Client, Server, client::offsets};

const SECRETS: [&str; 2] = ["secret of the first application", "secret of the second application"];
pub const KEYS: [&str; 2] = ["key-of-the-first-one", "key-of-the-second-one"];

pub fn options() -> Options {
    let open = Namespace {
        history_size: 100,
        history_seconds: Duration::from_mins(10),
        presence: true,
        join_leave: true,
        allowed_delta_types: vec!["fossil".to_owned()],
        delta_publish: true,
        allow_subscribe_for_client: true,
        allow_publish_for_subscriber: true,
        allow_history_for_subscriber: true,
        allow_presence_for_subscriber: true,
        ..Namespace::default()
    };
    let organizations = [OrgId(1), OrgId(2)];
    Options {
        namespaces: vec![
            Namespace { name: "rooms".to_owned(), ..open },
            Namespace { name: "private".to_owned(), ..Namespace::default() },
        ],
        tokens: organizations
            .into_iter()
            .zip(SECRETS)
            .map(|(organization, secret)| BackendTokens {
                organization,
                algorithms: vec!["HS256".to_owned()],
                secret: Secret::new(secret),
                ..BackendTokens::default()
            })
            .collect(),
        server_keys: organizations
            .into_iter()
            .zip(KEYS)
            .map(|(organization, key)| ServerKey { organization, key: Secret::new(key), streams: false })
            .collect(),
        recovery_page: 10,
        expiry_grace: Duration::ZERO,
        ..Options::default()
    }
}

pub fn sign(application: usize, claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRETS[application].as_bytes())).unwrap()
}

fn in_seconds(seconds: u64) -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + seconds
}

async fn user(server: &Server, application: usize, user: &str) -> Client {
    let mut client = Client::open(server.address).await;
    client.connect(&sign(application, &json!({"sub": user, "info": {"name": user}}))).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_an_application_meet_and_organisations_do_not() {
    let server = Server::with(options()).await;
    let (mut ann, mut bob) = (user(&server, 0, "ann").await, user(&server, 0, "bob").await);
    let mut stranger = user(&server, 1, "ann").await;
    for client in [&mut ann, &mut bob, &mut stranger] {
        let reply = client.subscribe(json!({"channel": "rooms:1"})).await;
        assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
    }
    let reply = ann.call(json!({"publish": {"channel": "rooms:1", "data": {"n": 1}}})).await;
    assert_eq!(reply["publish"], json!({}));
    let push = bob.push().await;
    assert_eq!((&push["channel"], &push["pub"]["offset"]), (&json!("rooms:1"), &json!(1)));
    assert_eq!(push["pub"]["info"]["user"], "ann");
    assert_eq!(push["pub"]["info"]["conn_info"], json!({"name": "ann"}));
    stranger.silent().await;
    let presence = bob.call(json!({"presence": {"channel": "rooms:1"}})).await;
    assert_eq!(presence["presence"]["presence"].as_object().unwrap().len(), 2);
    let history = bob.call(json!({"history": {"channel": "rooms:1", "limit": 5}})).await;
    assert_eq!(offsets(&history["history"]["publications"]), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_recovers_in_pages_and_says_what_it_lost() {
    let server = Server::with(options()).await;
    let mut ann = user(&server, 0, "ann").await;
    let epoch = ann.subscribe(json!({"channel": "rooms:1"})).await["subscribe"]["epoch"].clone();
    for n in 1..=130 {
        ann.call(json!({"publish": {"channel": "rooms:1", "data": n}})).await;
    }
    let mut bob = user(&server, 0, "bob").await;
    let request = json!({"channel": "rooms:1", "recover": true, "epoch": epoch, "offset": 50});
    let reply = bob.subscribe(request.clone()).await;
    assert_eq!((&reply["subscribe"]["recovered"], &reply["subscribe"]["offset"]), (&json!(true), &json!(50)));
    assert_eq!(offsets(&reply["subscribe"]["publications"]), (51..=60).collect::<Vec<_>>());
    for offset in 61..=130 {
        assert_eq!(bob.push().await["pub"]["offset"], offset);
    }
    bob.call(json!({"unsubscribe": {"channel": "rooms:1"}})).await;
    let mut lost = request;
    lost["offset"] = 10.into();
    let reply = bob.subscribe(lost).await;
    assert_eq!(
        (&reply["subscribe"]["recovered"], &reply["subscribe"]["offset"]),
        (&Value::Null, &json!(130))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_of_namespaces() {
    let server = Server::with(options()).await;
    let mut ann = user(&server, 0, "ann").await;
    for (command, code) in [
        (json!({"subscribe": {"channel": "private:1"}}), 103),
        (json!({"subscribe": {"channel": "rooms:\u{0}1"}}), 107),
        (json!({"publish": {"channel": "rooms:1", "data": 1}}), 103),
        (json!({"publish": {"channel": "private:1", "data": 1}}), 103),
        (json!({"history": {"channel": "private:1", "limit": 1}}), 108),
        (json!({"history": {"channel": "rooms:1", "limit": 1}}), 103),
        (json!({"presence": {"channel": "private:1"}}), 108),
        (json!({"presence": {"channel": "rooms:1"}}), 103),
        (json!({"sub_refresh": {"channel": "rooms:1", "token": "x"}}), 103),
    ] {
        assert_eq!(ann.call(command.clone()).await["error"]["code"], code, "{command}");
    }
    let expired = sign(0, &json!({"sub": "ann", "exp": 1}));
    let mut late = Client::open(server.address).await;
    assert_eq!(late.call(json!({"connect": {"token": expired}})).await["error"]["code"], 109);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_by_token_end_with_it() {
    let server = Server::with(options()).await;
    let mut ann = user(&server, 0, "ann").await;
    let token =
        |user: &str, channel: &str, exp: u64| sign(0, &json!({"sub": user, "channel": channel, "exp": exp}));
    let foreign = sign(1, &json!({"sub": "ann", "channel": "private:1"}));
    for wrong in
        [token("bob", "private:1", in_seconds(60)), token("ann", "private:2", in_seconds(60)), foreign]
    {
        let reply = ann.subscribe(json!({"channel": "private:1", "token": wrong})).await;
        assert_eq!(reply["error"]["code"], 103);
    }
    let reply = ann.subscribe(json!({"channel": "private:1", "token": token("ann", "private:1", 1)})).await;
    assert_eq!(reply["error"]["code"], 109);
    let good = token("ann", "private:1", in_seconds(2));
    let reply = ann.subscribe(json!({"channel": "private:1", "token": good})).await;
    assert_eq!(reply["subscribe"]["expires"], true, "{reply}");
    let next = token("ann", "private:1", in_seconds(3));
    let reply = ann.call(json!({"sub_refresh": {"channel": "private:1", "token": next}})).await;
    assert_eq!(reply["sub_refresh"]["expires"], true);
    assert_eq!(ann.push().await["unsubscribe"]["code"], 2501);
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_rebuild_the_data() {
    let server = Server::with(options()).await;
    let (mut ann, mut bob) = (user(&server, 0, "ann").await, user(&server, 0, "bob").await);
    ann.subscribe(json!({"channel": "rooms:1"})).await;
    let reply = bob.subscribe(json!({"channel": "rooms:1", "delta": "fossil"})).await;
    assert_eq!(reply["subscribe"]["delta"], true);
    let mut base = String::new();
    for n in 0..5 {
        let data = json!({"text": "the same long text again and again ".repeat(8), "n": n});
        ann.call(json!({"publish": {"channel": "rooms:1", "data": data}})).await;
        let publication = bob.push().await["pub"].clone();
        let text = publication["data"].as_str().unwrap();
        assert_eq!(publication["delta"].as_bool().unwrap_or(false), n > 0);
        base = if n == 0 {
            text.to_owned()
        } else {
            assert!(text.len() < 80, "{text}");
            String::from_utf8(fossil_delta::apply(&base, text).unwrap()).unwrap()
        };
        assert_eq!(serde_json::from_str::<Value>(&base).unwrap(), data);
    }
}

/// One call of the server API: status and answer.
async fn api(server: &Server, key: &str, method: &str, body: &Value) -> (u16, Value) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /api/{method} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-API-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_publish_ask_and_disconnect() {
    let server = Server::with(options()).await;
    let mut ann = user(&server, 0, "ann").await;
    ann.subscribe(json!({"channel": "rooms:1"})).await;
    let first = async |method: &str, body: Value| {
        let (status, answer) = api(&server, KEYS[0], method, &body).await;
        assert_eq!(status, 200);
        answer
    };
    let answer = first("publish", json!({"channel": "rooms:1", "data": {"n": 1}, "tags": {"a": "b"}})).await;
    assert_eq!(answer["result"]["offset"], 1, "{answer}");
    let push = ann.push().await;
    assert_eq!((&push["pub"]["data"], &push["pub"]["tags"]), (&json!({"n": 1}), &json!({"a": "b"})));
    let answer = first("broadcast", json!({"channels": ["rooms:1", "nothing:1"], "data": 2})).await;
    let responses = &answer["result"]["responses"];
    assert_eq!((&responses[0]["result"]["offset"], &responses[1]["error"]["code"]), (&json!(2), &json!(102)));
    ann.push().await;
    let answer = first("presence", json!({"channel": "rooms:1"})).await;
    assert_eq!(answer["result"]["presence"].as_object().unwrap().len(), 1);
    assert_eq!(first("presence_stats", json!({"channel": "rooms:1"})).await["result"]["num_users"], 1);
    let answer = first("channels", json!({"pattern": "rooms:*"})).await;
    assert_eq!(answer["result"]["channels"], json!({"rooms:1": {"num_clients": 1}}));
    assert_eq!(first("info", json!({})).await["result"]["nodes"][0]["num_clients"], 1);
    let answer = first("history", json!({"channel": "rooms:1", "limit": 10, "reverse": true})).await;
    assert_eq!(offsets(&answer["result"]["publications"]), [2, 1]);
    first("history_remove", json!({"channel": "rooms:1"})).await;
    let answer = first("history", json!({"channel": "rooms:1", "limit": 10})).await;
    assert_eq!((&answer["result"]["publications"], &answer["result"]["offset"]), (&json!([]), &json!(2)));

    first("subscribe", json!({"channel": "private:1", "user": "ann"})).await;
    assert_eq!(ann.push().await, json!({"channel": "private:1", "subscribe": {}}));
    let commands = json!([{"publish": {"channel": "private:1", "data": 3}}, {"nonsense": {}}]);
    let answer = first("batch", json!({ "commands": commands })).await;
    assert!(
        answer["replies"][0]["publish"].is_object() && answer["replies"][1]["error"]["code"] == 104,
        "{answer}"
    );
    assert_eq!(ann.push().await["pub"]["data"], 3);
    first("unsubscribe", json!({"channel": "private:1", "user": "ann"})).await;
    assert_eq!(ann.push().await["unsubscribe"]["code"], 2000);

    assert_eq!(api(&server, "wrong", "publish", &json!({})).await.0, 401);
    assert_eq!(first("publish", json!({"channel": "workbox:1", "data": 1})).await["error"]["code"], 102);
    assert_eq!(first("publish", json!({"channel": "rooms:1"})).await["error"]["code"], 107);
    assert_eq!(first("rpc", json!({"method": "x"})).await["error"]["code"], 108);
    assert_eq!(first("disconnect", json!({})).await["error"]["code"], 107);

    let (_, other) = api(&server, KEYS[1], "channels", &json!({})).await;
    assert_eq!(other["result"]["channels"], json!({}));
    api(&server, KEYS[1], "disconnect", &json!({"user": "ann"})).await;
    ann.silent().await;
    first("refresh", json!({"user": "ann", "expire_at": in_seconds(60)})).await;
    ann.silent().await;
    first("disconnect", json!({"user": "ann", "disconnect": {"code": 4321}})).await;
    assert_eq!(ann.closed().await, 4321);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_there_is_no_server_api() {
    let server = Server::start().await;
    assert_eq!(api(&server, KEYS[0], "publish", &json!({})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_mode_lets_everybody_into_namespaces() {
    let server = Server::with(Options { insecure: Some(OrgId(1)), ..options() }).await;
    let mut client = Client::open(server.address).await;
    client.connect("").await;
    assert!(client.subscribe(json!({"channel": "private:1"})).await["error"].is_null());
    let reply = client.call(json!({"publish": {"channel": "private:1", "data": 1}})).await;
    assert_eq!(reply["publish"], json!({}));
    assert_eq!(client.push().await["pub"]["data"], 1);
}
