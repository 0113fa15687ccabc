//! The dispatcher on a real socket.

use std::time::Duration;

use super::{
    client::{Connection, send},
    family::{DONE, Server, start},
};

async fn plain() -> Server {
    start("", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_found_by_path_and_method() {
    let server = plain().await;
    let get = |head: &'static str| send(server.address, head, "");
    let user = "authorization: user:7";

    let reply = get("GET /api/v1/rooms/5\nauthorization: user:7").await;
    assert_eq!((reply.status, reply.json()["by"].as_str()), (200, Some("7")));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert!(reply.header("cache-control").is_none());

    let reply = send(server.address, &format!("GET /api/v1/rooms/?ids[]=3&ids[]=4&page=9\n{user}"), "").await;
    assert_eq!(reply.text(), "[3,4,9]");
    let reply = get("GET /api/v1/rooms/5/keys/a%2Fb%20c/").await;
    assert_eq!(reply.text(), r#"[5,"a/b c"]"#);
    assert_eq!(reply.header("cache-control"), Some("no-store"));

    let reply = get("HEAD /api/v1/rooms/5\nauthorization: user:7").await;
    assert_eq!((reply.status, reply.header("content-length").is_some()), (200, true));

    let reply = get("PUT /api/v1/rooms/5").await;
    assert_eq!((reply.status, reply.text().as_str()), (405, r#"["method_invalid",null]"#));
    assert_eq!(reply.header("allow"), Some("GET, HEAD, DELETE"));
    assert_eq!(get("TRACE /api/v1/rooms").await.status, 405);

    for (head, code) in [
        ("GET /api/v1/nothing", "not_found"),
        ("GET /api/v1/rooms/x\nauthorization: user:7", "not_found"),
        ("GET /api/v1/rooms/404\nauthorization: user:7", "not_found"),
        ("GET /api/v1/rooms/5/keys/%FF", "not_found"),
        ("GET /api/v1/rooms/5/keys/%00", "not_found"),
        ("GET /api/v1/rooms?page=x\nauthorization: user:7", "method_parameters_invalid"),
    ] {
        let reply = get(head).await;
        assert_eq!((reply.status, reply.json()[0].as_str()), (400, Some(code)), "{head}");
    }
    let reply = get("GET /elsewhere").await;
    assert_eq!((reply.status, reply.json()["name"].as_str()), (404, Some("not_found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_token_with_the_right_permissions() {
    let server = plain().await;
    for (head, status, code) in [
        ("GET /api/v1/rooms/5", 400, "invalid_token"),
        ("GET /api/v1/rooms/5\nauthorization: nonsense", 400, "invalid_token"),
        ("GET /api/v1/rooms/5\nauthorization: expired:7", 400, "expired_token"),
        ("GET /api/v1/rooms/5\nauthorization: user:7\nx-rooms-key: revoked", 400, "invalid_apikey"),
        ("GET /api/v1/rooms/5\nauthorization: partner:7", 200, ""),
        ("DELETE /api/v1/rooms/5\nauthorization: partner:7", 400, "invalid_token"),
        ("DELETE /api/v1/rooms/5\nauthorization: user:7", 400, "authorization"),
        ("DELETE /api/v1/rooms/5\nAuthorization: admin:7", 200, ""),
        ("POST /api/v1/rooms\nauthorization: poor:7", 400, "authorization"),
    ] {
        let reply = send(server.address, head, "").await;
        assert_eq!(reply.status, status, "{head}");
        if !code.is_empty() {
            assert_eq!(reply.json()[0], code, "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_limits_of_size_and_time() {
    let server = start("[http]\nbody_timeout_seconds = 1\nbody_limit = 2048", &[]).await;
    let post = |path: &'static str, body: String| async move {
        send(server.address, &format!("POST {path}\nauthorization: user:7"), &body).await
    };
    let reply = post("/api/v1/rooms", r#"{"name":7}"#.into()).await;
    assert_eq!(reply.json()[0], "method_parameters_invalid");
    assert_eq!(post("/api/v1/rooms", String::new()).await.json()[0], "method_parameters_invalid");
    assert_eq!(post("/api/v1/rooms/small", String::new()).await.text(), "false");
    assert_eq!(post("/api/v1/rooms/small", r#"{"name":""}"#.into()).await.text(), "true");
    assert_eq!(post("/api/v1/rooms/small", " ".repeat(65)).await.json()[0], "too_large");
    assert_eq!(post("/api/v1/rooms", " ".repeat(2049)).await.json()[0], "too_large");
    // Far beyond the limit: the answer arrives although most of the body is never read.
    assert_eq!(post("/api/v1/rooms", " ".repeat(300_000)).await.json()[0], "too_large");

    let reply = send(server.address, "POST /api/v1/rooms/small\ncontent-encoding: gzip", "x").await;
    assert_eq!(reply.json()[0], "method_parameters_invalid");

    let mut chunked = Connection::open(server.address).await;
    chunked.write("POST /api/v1/rooms/small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..5 {
        chunked.write(format!("14\r\n{}\r\n", " ".repeat(20))).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(chunked.read(false).await.json()[0], "too_large");

    let mut slow = Connection::open(server.address).await;
    slow.write("POST /api/v1/rooms/small HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await;
    assert_eq!(slow.read(false).await.json()[0], "timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_answered_and_the_connection_goes_on() {
    let server = plain().await;
    let mut connection = Connection::open(server.address).await;
    connection.write("POST /api/v1/rooms/panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let reply = connection.read(false).await;
    assert_eq!((reply.status, reply.json()[0].as_str()), (400, Some("data_unavailable")));
    connection.write("GET /api/v1/rooms/5 HTTP/1.1\r\nhost: x\r\nauthorization: user:7\r\n\r\n").await;
    assert_eq!(connection.read(false).await.status, 200);
    // Builds with assertions find what a row forgot to declare, and a success without an outcome.
    let reply = send(server.address, "GET /api/v1/rooms/undeclared", "").await;
    assert_eq!(reply.json()[0], if cfg!(debug_assertions) { "data_unavailable" } else { "busy" });
    let careless = "POST /api/v1/rooms/careless\nauthorization: user:7\nidempotency-key: careless";
    let reply = send(server.address, careless, "").await;
    assert_eq!(reply.status, if cfg!(debug_assertions) { 400 } else { 200 });
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_twice_is_sending_once() {
    let server = plain().await;
    let post = |key: &'static str, token: &'static str, body: &'static str| async move {
        let head = format!("POST /api/v1/rooms\nauthorization: {token}\nidempotency-key: {key}");
        send(server.address, &head, body).await
    };
    let first = post("a", "user:7", r#"{"name":"x"}"#).await;
    let made = first.json()["made"].clone();
    assert_eq!(first.status, 201);
    let again = post("a", "user:7", r#"{"name":"x"}"#).await;
    assert_eq!((again.status, &again.json()["made"]), (201, &made));
    assert_ne!(post("a", "user:8", r#"{"name":"x"}"#).await.json()["made"], made, "another caller");
    assert_ne!(post("b", "user:7", r#"{"name":"x"}"#).await.json()["made"], made, "another key");
    assert_eq!(post("a", "user:7", r#"{"name":"y"}"#).await.json()[0], "constraint");
    assert_eq!(post("a b", "user:7", r#"{"name":"y"}"#).await.json()[0], "method_parameters_invalid");

    // A failure is not remembered.
    assert_eq!(post("c", "user:7", r#"{"name":"taken"}"#).await.json()[0], "constraint");
    assert_eq!(post("c", "user:7", r#"{"name":"free"}"#).await.status, 201);

    // Twins at once.
    let twins = futures_util::future::join_all((0..8).map(|_| post("d", "user:7", r#"{"name":"x"}"#))).await;
    let made: std::collections::BTreeSet<_> = twins.iter().map(|r| r.json()["made"].as_u64()).collect();
    assert_eq!((made.len(), made.contains(&None)), (1, false), "{twins:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_does_not_stop_the_work() {
    let server = plain().await;
    let mut connection = Connection::open(server.address).await;
    connection.write("POST /api/v1/rooms/slow HTTP/1.1\r\nhost: x\r\nauthorization: user:77\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(connection);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !DONE.lock().unwrap().contains(&"77".to_owned()) {
        assert!(tokio::time::Instant::now() < deadline, "the work was given up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_streamed() {
    let server = plain().await;
    let form = |size: usize| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\nhello\r\n\
             --b\r\ncontent-disposition: form-data; name=\"attachment\"; filename=\"a\"\r\n\r\n{}\r\n--b--\r\n",
            "x".repeat(size)
        )
    };
    let post = |path: &'static str, body: String| async move {
        let head = format!("POST /api/v1/rooms/{path}\ncontent-type: multipart/form-data; boundary=b");
        send(server.address, &head, &body).await
    };
    let reply = post("upload", form(3_000_000)).await;
    assert_eq!(reply.text(), r#"[["name",5],["attachment",3000000]]"#);
    assert_eq!(post("upload", form(6_000_000)).await.json()[0], "too_large");
    assert_eq!(post("upload", "--b\r\nnonsense".into()).await.json()[0], "method_parameters_invalid");
    assert_eq!(post("refuse_upload", form(3_000_000)).await.json()[0], "not_found");
    let reply = send(server.address, "POST /api/v1/rooms/upload\ncontent-type: application/json", "{}").await;
    assert_eq!(reply.json()[0], "method_parameters_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_whole_or_in_part() {
    let server = plain().await;
    let get = |headers: &'static str| async move {
        send(server.address, &format!("GET /api/v1/rooms/file\n{headers}"), "").await
    };
    let whole = get("").await;
    assert_eq!((whole.status, whole.body.len()), (200, 1_000_000));
    assert_eq!(
        whole.header("content-disposition"),
        Some("attachment; filename=\"a.bin\"; filename*=UTF-8''a.bin")
    );
    let part = get("range: bytes=999990-").await;
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(part.header("content-range"), Some("bytes 999990-999999/1000000"));
    assert_eq!(get("if-none-match: \"v1\"").await.status, 304);
    assert_eq!(get("range: bytes=2000000-").await.json()[0], "method_parameters_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_may_call() {
    let server = plain().await;
    let preflight = "OPTIONS /api/v1/rooms\norigin: https://a.example\naccess-control-request-method: POST";
    let reply = send(server.address, preflight, "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("*")));
    let headers = reply.header("access-control-allow-headers").unwrap();
    for name in ["authorization", "x-rooms-key", "content-type", "idempotency-key", "x-request-id"] {
        assert!(headers.contains(name), "{name} is not in {headers}");
    }
    assert!(reply.header("access-control-allow-credentials").is_none());
    let reply = send(server.address, "GET /api/v1/rooms\norigin: https://a.example", "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "on refusals too");
    assert!(reply.header("access-control-expose-headers").unwrap().contains("retry-after"));

    let strict = start("[http]\nallowed_origins = [\"https://a.example\"]", &[]).await;
    let reply = send(strict.address, preflight, "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(reply.header("vary"), Some("origin"));
    let reply = send(strict.address, "GET /api/v1/rooms\norigin: https://b.example", "").await;
    assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (None, Some("origin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_ids_and_are_counted() {
    let server = plain().await;
    let reply =
        send(server.address, "GET /api/v1/rooms\nx-request-id: abc-1\nauthorization: user:7", "").await;
    assert_eq!(reply.header("x-request-id"), Some("abc-1"));
    let reply = send(server.address, "GET /api/v1/rooms\nx-request-id: a b", "").await;
    assert_eq!(reply.header("x-request-id").map(str::len), Some(16));
    send(server.address, "GET /nowhere", "").await;
    let text = server.metrics.text();
    for line in [
        "switchboard_http_requests_total{operation=\"list_rooms\",status=\"200\"} 1",
        "switchboard_http_requests_total{operation=\"list_rooms\",status=\"400\"} 1",
        "switchboard_http_requests_total{operation=\"none\",status=\"404\"} 1",
        "switchboard_http_request_duration_seconds_count{operation=\"list_rooms\"} 2",
        "switchboard_http_active_requests 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_endpoints() {
    let server = plain().await;
    assert_eq!(send(server.address, "GET /livez", "").await.status, 200);
    assert_eq!(send(server.address, "GET /readyz", "").await.text(), r#"{"ready":true}"#);
    assert!(send(server.address, "GET /metrics", "").await.text().contains("switchboard_http"));
    let stranger = "GET /metrics\nx-forwarded-for: 8.8.8.8";
    assert_eq!(send(server.address, stranger, "").await.status, 403);
    let contract = send(server.address, "GET /openapi/rooms.json", "").await.json();
    assert_eq!(
        (contract["openapi"].as_str(), contract["info"]["title"].as_str()),
        (Some("3.1.0"), Some("Rooms"))
    );
    assert_eq!(send(server.address, "GET /openapi/none.json", "").await.status, 404);
    assert_eq!(send(server.address, "POST /livez", "").await.status, 404);

    let broken = start("", &["the database is away"]).await;
    let reply = send(broken.address, "GET /readyz", "").await;
    assert_eq!((reply.status, reply.json()["reasons"][0].as_str()), (503, Some("the database is away")));
    let reply = send(broken.address, "GET /readyz\nx-forwarded-for: 8.8.8.8", "").await;
    assert_eq!(reply.text(), r#"{"ready":false}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_take_upgrades_and_routes_of_their_own() {
    let server = plain().await;
    let upgrade = "GET /connection/websocket\nconnection: upgrade\nupgrade: websocket";
    let reply = send(server.address, upgrade, "").await;
    assert_eq!((reply.status, reply.header("x-hook")), (101, Some("yes")));
    assert_eq!(send(server.address, "GET /connection/sse", "").await.text(), "hook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_lets_requests_end() {
    let server = plain().await;
    let slow = send(server.address, "POST /api/v1/rooms/slow\nauthorization: user:9", "");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.handle.stop(true).await;
    };
    let (reply, ()) = tokio::join!(slow, stop);
    assert_eq!(reply.status, 200);
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}
