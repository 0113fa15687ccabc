//! A token is believed for a few seconds after its last check. What another node removes meanwhile is not there: no
//! operation may take it for a fault of its own. The rows go away behind this server's back here.

use serde_json::{Value, json};
use switchboard::store::sql;

use crate::harness::{app::Server, db::on_both};

/// Makes somebody who can be rung; the number and a token.
async fn reachable(server: &Server, name: &str) -> (i64, String) {
    let id = server.hire(name).await;
    let token = server.sign_in(&format!("{}@acme.test", name.to_lowercase())).await;
    let device = json!({ "device_id": name, "platform": "web", "push_id": format!("push-{name}") });
    server.post("/api/v1r1/device", device).with(&token).ok().await;
    (id, token)
}

async fn remove(server: &Server, statement: &'static str, id: &Value) {
    let id = id.as_i64().unwrap();
    assert_eq!(sql(statement).bind(id).execute(&server.db.db).await.unwrap(), 1, "{statement}");
}

/// Every one of these must say that there is no such thing, in the words of its version.
async fn not_found(server: &Server, asks: &[(&'static str, &'static str, Value)], token: &str) {
    for (method, path, body) in asks {
        let call = match *method {
            "GET" => server.get(path),
            "DELETE" => server.delete(path),
            _ => server.post(path, body.clone()),
        };
        let answer = call.with(token).send().await;
        let what = format!("{method} {path}: {} {}", answer.status, answer.body);
        if path.starts_with("/api/v1r1/") {
            assert_eq!((answer.status, &answer.body["name"]), (400, &json!("not_found")), "{what}");
        } else {
            assert_eq!(answer.status, 404, "{what}");
        }
    }
}

on_both! {
    async fn what_another_node_removed_is_not_found(db: TestDb) {
        let server = Server::start(db).await;
        let ((ben_id, ben), (carl_id, carl)) =
            (reachable(&server, "Ben").await, reachable(&server, "Carl").await);
        let admin = server.administer("ada@acme.test").await;
        let ada = server.sign_in("ada@acme.test").await;
        let post =
            async |path: &str, body: Value, token: &str| server.post(path, body).with(token).ok().await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();

        // A thread of three in which two are in a call.
        let people = json!([{ "id": ben_id }, { "id": carl_id }]);
        let thread = post("/api/v1r1/workboxes", json!({ "participants": people }), &ada).await;
        let place = text(&thread["token"]);
        let of_carl = server.get(&format!("/api/v1r1/workboxes/{}", thread["id"])).with(&carl).ok().await;
        let place_of_carl = text(&of_carl["token"]);
        let talk = post("/api/v1r1/workbox/session", json!({ "participant_ids": [ben_id] }), &place).await;
        let of_ben = server.get(&format!("/api/v1/sessions/{}", text(&talk["id"]))).with(&ben).ok().await;
        let rung = post("/api/v1r1/session/video", json!({}), &text(&talk["token"])).await;
        let answer = json!({ "request_id": rung["request_id"] });
        post("/api/v1r1/session/video/accept", answer, &text(&of_ben["token"])).await;
        // A session in which nothing happened yet.
        let session = post("/api/v1/sessions", json!({ "contact_tokens": [carl] }), &ada).await;
        let quiet = text(&session["token"]);

        // All tokens have been seen. Now things go away.
        server.get("/api/v1r1/session/auth").with(&quiet).ok().await;
        server.get("/api/v1r1/workbox").with(&place_of_carl).ok().await;
        let id: uuid::Uuid = text(&session["id"]).parse().unwrap();
        let moved = sql("update ring set session_id = $1, to_login_id = $2").bind(id).bind(server.acme.admin.id);
        assert_eq!(moved.execute(&server.db.db).await.unwrap(), 1, "a ring for Ada in that session");
        let gone = sql("delete from session where id = $1").bind(id);
        assert_eq!(gone.execute(&server.db.db).await.unwrap(), 1);
        let ring = json!({ "user_token": ada });
        let request = json!({ "request_id": rung["request_id"] });
        let invite = json!({ "user_token": ada, "call_id": "call_x", "contact_tokens": [carl] });
        let withdraw: &'static str = format!("/api/v1/session/video?user_token={ada}").leak();
        let of_session = [
            ("GET", "/api/v1r1/session/auth", json!({})),
            ("POST", "/api/v1/session/video", ring),
            ("DELETE", withdraw, json!({})),
            ("POST", "/api/v1/session/invite", invite),
            ("POST", "/api/v1r1/session/video", json!({})),
            ("DELETE", "/api/v1r1/session/video", json!({})),
            ("POST", "/api/v1r1/session/video/accept", request.clone()),
            ("POST", "/api/v1r1/session/video/decline", request),
        ];
        not_found(&server, &of_session, &quiet).await;

        remove(&server, "delete from person where id = $1", &json!(carl_id)).await;
        not_found(&server, &[("GET", "/api/v1r1/workbox/active_call", json!({}))], &place_of_carl).await;
        let new = ("POST", "/api/v1/sessions", json!({ "contact_tokens": [carl] }));
        not_found(&server, &[new], &ada).await;

        remove(&server, "delete from conversation where id = $1", &thread["id"]).await;
        let attachments = "/api/v1r1/workbox/attachments";
        not_found(&server, &[("GET", attachments, json!({}))], &place).await;
        let form = crate::walls::estate::form();
        let boundary = crate::walls::estate::BOUNDARY;
        let headers = format!("\nauthorization: {place}\ncontent-type: multipart/form-data; boundary={boundary}");
        let (upload, _) = server.exchange("POST", attachments, &headers, &form).await;
        assert_eq!((upload.status, &upload.json()["name"]), (400, &json!("not_found")));

        remove(&server, "delete from organization where id = $1", &json!(server.acme.organization.id)).await;
        let new = json!({ "name": "New", "email": "new@acme.test" });
        not_found(&server, &[("POST", "/api/v1r1/enterprise/users", new)], &admin).await;
    }

    async fn what_was_made_and_removed_is_not_made_again(db: TestDb) {
        let server = Server::start(db).await;
        let admin = server.administer("ada@acme.test").await;
        for path in ["/api/v1r1/enterprise/api_keys", "/api/v1r1/enterprise/partner_keys"] {
            let make = || {
                let make = server.post(path, json!({ "description": "x" }));
                make.with(&admin).header("idempotency-key", "one")
            };
            let made = make().ok().await;
            let id = made.get("id").unwrap_or(&made["message"]["id"]);
            server.delete(&format!("{path}/{id}")).with(&admin).ok().await;
            assert_eq!(make().refused().await, (400, "not_found".to_owned()), "{path}");
        }
    }

    async fn the_last_administrator_stays_one_and_tags_are_visible(db: TestDb) {
        let server = Server::start(db).await;
        let (_, ben) = reachable(&server, "Ben").await;
        let admin = server.administer("ada@acme.test").await;
        let path = format!("/api/v1r1/enterprise/users/{}", server.acme.admin.id);
        for change in [json!({ "role": "USER" }), json!({ "active": false })] {
            let refused = server.put(&path, change.clone()).with(&admin).refused().await;
            assert_eq!(refused, (400, "constraint".to_owned()), "{change}");
        }
        let ada = server.sign_in("ada@acme.test").await;
        let session = server.post("/api/v1/sessions", json!({ "contact_tokens": [ben] })).with(&ada).ok().await;
        let of_ben = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
        let of_ben = server.get(&of_ben).with(&ben).ok().await;
        let ring = server.post("/api/v1r1/session/video", json!({}));
        let rung = ring.with(session["token"].as_str().unwrap()).ok().await;
        let accept = json!({ "request_id": rung["request_id"] });
        let accept = server.post("/api/v1r1/session/video/accept", accept);
        let call = accept.with(of_ben["token"].as_str().unwrap()).ok().await;
        let tags = format!("/api/v1r1/user/calls/{}/tags", call["call_id"].as_str().unwrap());
        server.put(&tags, json!(["red"])).with(&ada).ok().await;
        for wrong in [json!(["blue", " "]), json!(["x".repeat(300)]), json!(["a\nb"])] {
            let refused = server.put(&tags, wrong.clone()).with(&ada).refused().await;
            assert_eq!(refused, (400, "invalid_tag".to_owned()), "{wrong}");
        }
        let tags: Vec<(String,)> = sql("select tag from call_tag").all(&server.db.db).await.unwrap();
        assert_eq!(tags, [("red".to_owned(),)], "a refused change left something");
    }
}
