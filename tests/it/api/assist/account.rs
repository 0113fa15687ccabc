//! The caller's own account, devices and personal access tokens over REST.

use serde_json::{Value, json};

use crate::harness::{app::Server, db::on_both};

/// Keys that clients require in every user entry (SEMANTICS section 13).
pub const REQUIRED: &[&str] = &[
    "id",
    "active",
    "available",
    "confirmation_sent_at",
    "confirmed_at",
    "created_at",
    "email",
    "email_confirmed",
    "enterprise_id",
    "first_call_at",
    "invitation_sent_at",
    "is_confirmed",
    "is_first_login",
    "last_used_at",
    "license",
    "location",
    "manage",
    "name",
    "provider",
    "provider_uid",
    "role_id",
    "role_name",
    "status",
    "status_message",
    "title",
    "unavailable_expires_at",
    "updated_at",
    "username",
];

pub fn has_required_keys(entry: &Value) {
    for key in REQUIRED {
        assert!(entry.get(key).is_some(), "{key} is missing");
    }
    for key in ["original", "full", "url", "thumb"] {
        assert!(entry["avatar"].get(key).is_some(), "avatar.{key} is missing");
    }
}

on_both! {
    async fn reading_and_changing(db: TestDb) {
        let server = Server::start(db).await;
        let token = server.sign_in("ada@acme.test").await;
        let info = server.get("/api/v1/info").with(&token).ok().await;
        has_required_keys(&info);
        assert!(info["status"].is_i64() && info["available"].is_boolean());
        let user = server.get("/api/v1r1/user").with(&token).ok().await;
        has_required_keys(&user);
        assert_eq!((&user["status"], &user["personal_room_url"]), (&json!("Registered"), &json!("")));
        assert!(user["token_permissions"].as_array().unwrap().contains(&json!("manage_users")));

        let change = json!({ "name": "Ada L.", "username": "ada", "status": "102" });
        let info = server.put("/api/v1/info", change).with(&token).ok().await;
        assert_eq!((&info["name"], &info["username"], &info["status"]), (&json!("Ada L."), &json!("ada"), &json!(102)));
        let change = json!({ "title": "Chief", "phone": "+14155552671", "language": "en", "expert_on_call": true });
        let user = server.put("/api/v1r1/user", change).with(&token).ok().await;
        assert_eq!((&user["title"], &user["phone"], &user["expert_on_call"]), (&json!("Chief"), &json!("+14155552671"), &json!(true)));
        assert_eq!(user["name"], "Ada L.");

        let refused = |body: Value| server.put("/api/v1r1/user", body).with(&token).refused();
        assert_eq!(refused(json!({ "phone": "12" })).await.1, "invalid_number");
        assert_eq!(refused(json!({ "email": "x" })).await.1, "invalid_email");
        assert_eq!(refused(json!({ "name": "" })).await.1, "invalid_name");
        assert_eq!(refused(json!({ "username": "a b" })).await.1, "invalid_username");
        assert_eq!(refused(json!({ "password": "short" })).await.1, "invalid_password");
        assert_eq!(server.put("/api/v1/info", json!({ "status": 105 })).with(&token).refused().await.0, 400);
        server.hire("Bob").await;
        assert_eq!(refused(json!({ "email": "BOB@acme.test" })).await.1, "email_taken");
    }

    async fn being_away(db: TestDb) {
        let server = Server::start(db).await;
        let token = server.sign_in("ada@acme.test").await;
        let away = json!({ "expires_after": 60, "status_message": "lunch" });
        let answer = server.post("/api/v1/info/unavailable", away).with(&token).send().await;
        assert_eq!(answer.status, 200);
        let info = server.get("/api/v1/info").with(&token).ok().await;
        assert_eq!((&info["available"], &info["status"], &info["status_message"]), (&json!(false), &json!(104), &json!("lunch")));
        assert!(info["unavailable_expires_at"].is_string());
        server.wait(60);
        assert_eq!(server.get("/api/v1/info").with(&token).ok().await["available"], true);
        server.post("/api/v1/info/unavailable", json!({})).with(&token).send().await;
        assert_eq!(server.delete("/api/v1/info/unavailable").with(&token).send().await.status, 200);
        assert_eq!(server.get("/api/v1/info").with(&token).ok().await["available"], true);
        assert_eq!(server.post("/api/v1/info/unavailable", json!({ "expires_after": -5 })).with(&token).refused().await.0, 400);
    }

    async fn devices(db: TestDb) {
        let server = Server::start(db).await;
        let token = server.sign_in("ada@acme.test").await;
        let device = json!({ "device_id": "d", "platform": "web", "push_id": "p/1" });
        assert_eq!(server.post("/api/v1r1/device", device).with(&token).ok().await["status"], true);
        let pager = json!({ "device_id": "d", "platform": "pager", "push_id": "p" });
        assert_eq!(server.post("/api/v1r1/device", pager).with(&token).refused().await.1, "unknown_device_platform");
        server.delete("/api/v1r1/device/p%2F1").with(&token).ok().await;
        assert_eq!(server.delete("/api/v1r1/device/p%2F1").with(&token).refused().await.1, "unknown_device_id");
    }

    async fn personal_access_tokens(db: TestDb) {
        let server = Server::start(db).await;
        let token = server.sign_in("ada@acme.test").await;
        let base = "/api/v1r1/personal_access_token";
        // The contract shows no body, so none is needed.
        let first = server.post(base, json!({})).with(&token).ok().await;
        let made = server.post(base, json!({ "description": "laptop" })).with(&token).header("idempotency-key", "k").ok().await;
        let again = server.post(base, json!({ "description": "laptop" })).with(&token).header("idempotency-key", "k").ok().await;
        assert_eq!(made["id"], again["id"]);
        // The token of the repeated reply works; it was made anew, since the first is not kept.
        server.post("/api/v1r1/auth/pat", json!({ "token": again["token"] })).ok().await;
        let list = server.get(base).with(&token).ok().await;
        assert_eq!(list.as_array().unwrap().len(), 2);
        assert!(list[0]["token"].is_null() && first["token"].is_string());
        let one = format!("{base}/{}", made["id"]);
        assert_eq!(server.get(&one).with(&token).ok().await["description"], "laptop");
        server.hire("Bob").await;
        let bob = server.sign_in("bob@acme.test").await;
        assert_eq!(server.get(&one).with(&bob).refused().await.1, "not_found");
        assert_eq!(server.delete(&one).with(&bob).refused().await.1, "not_found");
        assert_eq!(server.delete(&one).with(&token).send().await.status, 200);
        assert_eq!(server.post("/api/v1r1/auth/pat", json!({ "token": again["token"] })).refused().await.1, "authentication");
        assert_eq!(server.get(&format!("{base}/x")).with(&token).refused().await.1, "not_found");
    }
}
