//! Signing in over REST.

use serde_json::json;

use crate::harness::{
    app::{PASSWORD, Server},
    db::on_both,
};

on_both! {
    async fn every_way_in(db: TestDb) {
        let server = Server::start(db).await;
        let credentials = json!({ "email": "ADA@acme.test", "password": PASSWORD });
        for path in ["/api/v1/auth", "/api/v1r1/auth"] {
            let answer = server.post(path, credentials.clone()).send().await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.response.header("cache-control"), Some("no-store"));
            assert!(answer.body["token"].is_string() && answer.body["refresh"].is_string());
        }
        let token = server.sign_in("ada@acme.test").await;
        let refresh = server.post("/api/v1/auth", credentials).ok().await["refresh"].as_str().unwrap().to_owned();
        server.wait(700);
        // The expired token stands beside it, as clients send it.
        let body = json!({ "refresh_token": refresh });
        let renewed = server.post("/api/v1/auth/refresh", body).with(&token).ok().await;
        server.get("/api/v1/info").with(renewed["token"].as_str().unwrap()).ok().await;

        let enterprise = server.administer("ada@acme.test").await;
        server.get("/api/v1/enterprise/users").with(&enterprise).ok().await;

        let user = server.sign_in("ada@acme.test").await;
        let made = server.post("/api/v1r1/personal_access_token", json!({ "description": "x" })).with(&user).ok().await;
        let pat = server.post("/api/v1r1/auth/pat", json!({ "token": made["token"] })).ok().await;
        assert!(pat.get("refresh").is_none());
        server.get("/api/v1r1/user").with(pat["token"].as_str().unwrap()).ok().await;

        let visitor = server.post("/api/v1/anonymous/auth", json!({ "display_name": "Vera" })).ok().await;
        let me = server.get("/api/v1r1/user").with(visitor["token"].as_str().unwrap()).ok().await;
        assert_eq!((&me["name"], &me["token_permissions"]), (&json!("Vera"), &json!(["view_account", "call", "use_workboxes"])));
    }

    async fn what_goes_wrong_is_said_in_each_versions_way(db: TestDb) {
        let server = Server::start(db).await;
        let wrong = json!({ "email": "ada@acme.test", "password": "x" });
        assert_eq!(server.post("/api/v1/auth", wrong.clone()).refused().await.0, 401);
        assert_eq!(server.post("/api/v1r1/auth", wrong).refused().await, (400, "authentication".to_owned()));
        for body in [json!({}), json!({ "email": 7, "password": "x" }), json!([])] {
            assert_eq!(server.post("/api/v1/auth", body.clone()).refused().await.0, 400);
            assert_eq!(server.post("/api/v1r1/auth", body).refused().await, (400, "method_parameters_invalid".to_owned()));
        }
        let token = server.sign_in("ada@acme.test").await;
        server.wait(601);
        assert_eq!(server.get("/api/v1/info").with(&token).refused().await, (401, "Token expired".to_owned()));
        let answer = server.get("/api/v1r1/user").with(&token).send().await;
        assert_eq!((answer.status, &answer.body["code"], &answer.body["name"]), (400, &json!(1003), &json!("expired_token")));
        assert_eq!(server.get("/api/v1r1/user").refused().await, (400, "invalid_token".to_owned()));
        assert_eq!(server.get("/api/v1/info").with("nonsense").refused().await.0, 401);
        let link = json!({ "link_url": "https://evil.test/thread/x?sig=AAAAAAAAAAAAAAAAAAAAAA" });
        assert_eq!(server.post("/api/v1r1/auth/from_url", link).refused().await, (400, "link_expired".to_owned()));
        assert_eq!(
            server.get("/api/v1/info").header("x-helplightning-api-key", "swk_unknown").refused().await.0,
            401
        );
    }

    async fn guessing_is_slowed_down(db: TestDb) {
        let server = Server::start(db).await;
        let guess = |n: u32| json!({ "email": "ada@acme.test", "password": format!("guess {n}") });
        for n in 0..10 {
            assert_eq!(server.post("/api/v1/auth", guess(n)).send().await.status, 401);
        }
        let limited = server.post("/api/v1/auth", guess(11)).send().await;
        assert_eq!((limited.status, limited.response.header("retry-after")), (429, Some("30")));
        server.wait(30);
        server.sign_in("ada@acme.test").await;
    }

    async fn looking_into_tokens(db: TestDb) {
        let server = Server::start(db).await;
        let token = server.sign_in("ada@acme.test").await;
        let info = server.get(&format!("/api/v1/token/info?token={token}")).ok().await;
        assert_eq!(info["data"], format!("User:{}", server.acme.admin.id));
        assert_eq!((&info["issuer"], &info["status"]), (&json!("Ghazal"), &json!("valid")));
        assert!(info["permissions"].as_array().unwrap().contains(&json!("view_contacts")));
        let path = format!(
            "/api/v1/token/validate?token={token}&resource_type=user&permission_category=owner\
             &permission_list=view_contacts,view_account"
        );
        let valid = server.get(&path).ok().await;
        assert_eq!((&valid["type"], &valid["id"]), (&json!("user"), &json!(server.acme.admin.id.to_string())));
        let validate = |rest: &str| server.get(&format!("/api/v1/token/validate?token={token}&{rest}")).refused();
        assert_eq!(validate("resource_type=enterprise").await.0, 401);
        assert_eq!(validate("permission_list[]=fly").await.0, 400);
        assert_eq!(server.get("/api/v1/token/info?token=x").refused().await.0, 401);
        assert_eq!(server.get("/api/v1/token/info").refused().await.0, 400);
        server.wait(601);
        assert_eq!(server.get(&format!("/api/v1/token/info?token={token}")).ok().await["status"], "expired");
        assert_eq!(server.get(&format!("/api/v1/token/validate?token={token}")).refused().await.0, 401);
    }

    async fn federation_tells_nothing(db: TestDb) {
        let server = Server::start(db).await;
        for email in ["ada@acme.test", "nobody@nowhere.test"] {
            let answer = server.post("/auth/federate", json!({ "email": email })).ok().await;
            assert_eq!(answer, json!({ "type": "password" }));
        }
        assert_eq!(server.post("/auth/federate", json!({})).refused().await.0, 400);
    }

    async fn an_api_key_can_be_required(db: TestDb) {
        let settings = "[auth]\nrequire_api_key = true\nargon2_memory_kib = 64\nargon2_passes = 1\n";
        let server = Server::start_with(db, settings).await;
        let body = json!({ "email": "ada@acme.test", "password": PASSWORD });
        assert_eq!(server.post("/api/v1r1/auth", body.clone()).refused().await, (400, "missing_apikey".to_owned()));
        let with = |key: &str| server.post("/api/v1r1/auth", body.clone()).header("X-HelpLightning-Api-Key", key);
        assert_eq!(with("x").refused().await, (400, "invalid_apikey".to_owned()));
        with(&server.acme.api_key).ok().await;
    }
}
