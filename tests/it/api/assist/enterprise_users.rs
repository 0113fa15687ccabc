//! Users of the organisation over REST.

use serde_json::{Value, json};

use super::account::has_required_keys;
use crate::harness::{app::Server, db::on_both};

const USERS: &str = "/api/v1r1/enterprise/users";

on_both! {
    async fn the_life_of_a_user(db: TestDb) {
        let server = Server::start(db).await;
        let ada = server.administer("ada@acme.test").await;
        let body = json!({ "name": "Bob", "email": "Bob@example.org", "title": "Fitter", "pod_ids": [] });
        let made = server.post(USERS, body.clone()).with(&ada).header("idempotency-key", "1").ok().await;
        assert_eq!(made["status"], true);
        let again = server.post(USERS, body.clone()).with(&ada).header("idempotency-key", "1").ok().await;
        assert_eq!(made["id"], again["id"]);
        assert_eq!(server.post(USERS, body).with(&ada).refused().await, (400, "email_taken".to_owned()));
        let one = format!("{USERS}/{}", made["id"]);
        let bob = server.get(&one).with(&ada).ok().await;
        has_required_keys(&bob);
        assert_eq!((&bob["role_name"], &bob["license"], &bob["status"]), (&json!("User"), &json!("team"), &json!("Registered")));

        // The token of an entry acts as the person, without ever becoming more.
        let token = bob["token"].as_str().unwrap();
        assert_eq!(server.get("/api/v1/info").with(token).ok().await["name"], "Bob");
        let take_over = json!({ "password": "another secret" });
        assert_eq!(server.put("/api/v1/info", take_over).with(token).refused().await.0, 403);

        let change = json!({ "title": "", "location": "Oslo", "on_call": true, "license": "expert", "username": "bobby" });
        let bob = server.put(&one, change).with(&ada).ok().await;
        assert_eq!((&bob["title"], &bob["location"], &bob["license"]), (&json!(null), &json!("Oslo"), &json!("expert")));
        let page = server.get(&format!("{USERS}?filter=\"email|=bob@example.org,x@y.z\"").replace('"', "%22").replace('|', "%7C")).with(&ada).ok().await;
        assert_eq!(page["total_entries"], 1);
        let v1 = server.get("/api/v1/enterprise/users?order=id").with(&ada).ok().await;
        assert_eq!((&v1["total_entries"], &v1["entries"][1]["status"]), (&json!(2), &json!(101)));

        server.put(&one, json!({ "active": false })).with(&ada).ok().await;
        assert_eq!(server.get("/api/v1/info").with(token).refused().await.0, 401);
        assert_eq!(server.delete(&one).with(&ada).send().await.status, 200);
        assert_eq!(server.get(&one).with(&ada).refused().await.1, "not_found");
        assert_eq!(server.get(USERS).with(&ada).ok().await["total_entries"], 1);
    }

    async fn bad_input_has_a_name(db: TestDb) {
        let server = Server::start(db).await;
        let ada = server.administer("ada@acme.test").await;
        let refused = |body: Value| server.post(USERS, body).with(&ada).refused();
        for (body, name) in [
            (json!({}), "method_parameters_invalid"),
            (json!({ "name": "X" }), "method_parameters_invalid"),
            (json!({ "name": "X", "email": "a@" }), "invalid_email"),
            (json!({ "name": "", "email": "a@b.c" }), "invalid_name"),
            (json!({ "name": "X", "email": "a@b.c", "phone": "1" }), "invalid_number"),
            (json!({ "name": "X", "email": "a@b.c", "role": "King" }), "method_parameters_invalid"),
            (json!({ "name": "X", "email": "a@b.c", "pod_ids": [9] }), "method_parameters_invalid"),
            (json!({ "name": "X", "email": "a@b.c", "pod_ids": "x" }), "method_parameters_invalid"),
            (json!({ "name": "X", "email": "a@b.c", "password": "long enough" }), "invalid_password"),
            (json!({ "name": "X", "email": "ada@acme.test" }), "email_taken"),
        ] {
            assert_eq!(refused(body.clone()).await, (400, name.to_owned()), "{body}");
        }
        for path in ["x", "0", "-1", "9223372036854775807", "99999999999999999999"] {
            assert_eq!(server.get(&format!("{USERS}/{path}")).with(&ada).refused().await.1, "not_found");
        }
        let me = format!("{USERS}/{}", server.acme.admin.id);
        assert_eq!(server.delete(&me).with(&ada).refused().await.1, "constraint");
    }

    async fn other_organisations_are_walls(db: TestDb) {
        let server = Server::start(db).await;
        let bob = server.hire("Bob").await;
        let otto = server.administer("otto@other.test").await;
        let one = format!("{USERS}/{bob}");
        assert_eq!(server.get(&one).with(&otto).refused().await.1, "not_found");
        assert_eq!(server.put(&one, json!({ "name": "X" })).with(&otto).refused().await.1, "not_found");
        assert_eq!(server.delete(&one).with(&otto).refused().await.1, "not_found");
        let impersonate = format!("/api/v1r1/enterprise/impersonate/{bob}");
        assert_eq!(server.get(&impersonate).with(&otto).refused().await.1, "not_found");
        assert_eq!(server.get(&one).with(&server.sign_in("bob@acme.test").await).refused().await.1, "invalid_token");
    }

    async fn impersonation(db: TestDb) {
        let server = Server::start(db).await;
        let bob = server.hire("Bob").await;
        let ada = server.administer("ada@acme.test").await;
        let path = format!("/api/v1r1/enterprise/impersonate/{bob}");
        let query = format!("{path}?add_permissions[]=manage_users&remove_permissions=call&remove_permissions=use_workboxes");
        let reply = server.get(&query).with(&ada).ok().await;
        assert!(reply.get("refresh").is_none());
        let token = reply["token"].as_str().unwrap();
        let me = server.get("/api/v1r1/user").with(token).ok().await;
        assert_eq!(me["id"], bob);
        let allowed = me["token_permissions"].as_array().unwrap();
        for lacking in ["manage_users", "call", "use_workboxes", "manage_access_tokens"] {
            assert!(!allowed.contains(&json!(lacking)), "{lacking}");
        }
        assert_eq!(server.post("/api/v1r1/personal_access_token", json!({})).with(token).refused().await.1, "authorization");
        assert_eq!(server.get(&format!("{path}?add_permissions=fly")).with(&ada).refused().await.1, "method_parameters_invalid");
        let employee = server.administer("bob@acme.test").await;
        assert_eq!(server.get(&path).with(&employee).refused().await.1, "authorization");
    }
}
