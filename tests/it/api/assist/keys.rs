//! API keys and partner keys over REST.

use serde_json::json;

use crate::harness::{app::Server, db::on_both};

on_both! {
    async fn api_keys(db: TestDb) {
        let server = Server::start(db).await;
        let ada = server.administer("ada@acme.test").await;
        let base = "/api/v1r1/enterprise/api_keys";
        let made = server.post(base, json!({ "description": "app" })).with(&ada).header("idempotency-key", "1").ok().await;
        let again = server.post(base, json!({ "description": "app" })).with(&ada).header("idempotency-key", "1").ok().await;
        assert_eq!(made, again);
        let list = server.get(&format!("{base}?page_size=1&page=2")).with(&ada).ok().await;
        assert_eq!((&list["total_entries"], &list["entries"][0]["access_token"]), (&json!(2), &made["access_token"]));
        let one = format!("{base}/{}", made["id"]);
        assert_eq!(server.put(&one, json!({ "description": "new" })).with(&ada).ok().await["description"], "new");
        let key = made["access_token"].as_str().unwrap();
        let info = || server.get("/api/v1r1/enterprise/partner_keys").with(&ada).header("x-helplightning-api-key", key);
        info().ok().await;
        let otto = server.administer("otto@other.test").await;
        assert_eq!(server.get(&one).with(&otto).refused().await.1, "not_found");
        assert_eq!(server.delete(&one).with(&ada).ok().await["status"], true);
        assert_eq!(info().refused().await, (400, "invalid_apikey".to_owned()));
        assert_eq!(server.get(&one).with(&ada).refused().await.1, "not_found");
        assert_eq!(server.post(base, json!({})).with(&ada).refused().await.1, "method_parameters_invalid");
    }

    async fn partner_keys(db: TestDb) {
        let server = Server::start(db).await;
        let ada = server.administer("ada@acme.test").await;
        let base = "/api/v1r1/enterprise/partner_keys";
        let made = server.post(base, json!({ "description": "crm" })).with(&ada).ok().await;
        let pair = &made["message"];
        assert!(pair["private_key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        let token = sign(pair["private_key"].as_str().unwrap(), &server);
        server.get("/api/v1r1/enterprise/users").with(&token).ok().await;
        // The chain that integrators use: find a user, take the entry's token.
        server.hire("Bob").await;
        let page = server.get("/api/v1/enterprise/users?filter=email%3Dbob%40acme.test").with(&token).ok().await;
        let bob = page["entries"][0]["token"].as_str().unwrap();
        assert_eq!(server.get("/api/v1/info").with(bob).ok().await["name"], "Bob");
        let list = server.get(base).with(&token).ok().await;
        assert!(list[0]["message"]["private_key"].is_null());
        let one = format!("{base}/{}", pair["id"]);
        assert_eq!(server.put(&one, json!({ "public_key": "x" })).with(&ada).refused().await.1, "method_parameters_invalid");
        assert_eq!(server.put(&one, json!({ "description": "y" })).with(&ada).ok().await["message"]["description"], "y");
        server.get(base).with(&token).ok().await;
        let otto = server.administer("otto@other.test").await;
        assert_eq!(server.delete(&one).with(&otto).refused().await.1, "not_found");
        server.delete(&one).with(&ada).ok().await;
        assert_eq!(server.get(base).with(&token).refused().await.1, "invalid_token");
        assert_eq!(server.get("/api/v1r1/user").with(bob).refused().await.1, "invalid_token");
    }
}

fn sign(private: &str, server: &Server) -> String {
    let claims = json!({
        "iss": "Ghazal",
        "aud": "Ghazal",
        "sub": format!("Partner:{}", server.acme.organization.id),
        "exp": server.clock.now().unix_seconds() + 60,
    });
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(private.as_bytes()).unwrap();
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap()
}
