//! Colleagues, team, directory, search and enterprises over REST.

use serde_json::{Value, json};

use super::account::has_required_keys;
use crate::harness::{app::Server, db::on_both};

fn names(page: &Value) -> Vec<&str> {
    page["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

on_both! {
    async fn colleagues_are_those_of_the_own_organisation(db: TestDb) {
        let server = Server::start(db).await;
        for name in ["Bob", "Cleo", "Dan"] {
            server.hire(name).await;
        }
        let bob = server.sign_in("bob@acme.test").await;
        let page = server.get("/api/v1/colleagues?order=-name&page_size=2").with(&bob).ok().await;
        assert_eq!((&page["total_entries"], &page["total_pages"], &page["page"]), (&json!(3), &json!(2), &json!(1)));
        assert_eq!(names(&page), ["Dan", "Cleo"]);
        has_required_keys(&page["entries"][0]);
        let page = server.get("/api/v1/colleagues?filter=email%3DCLEO%40acme.test").with(&bob).ok().await;
        assert_eq!(names(&page), ["Cleo"]);
        let id = &page["entries"][0]["id"];
        assert_eq!(server.get(&format!("/api/v1/colleagues/{id}")).with(&bob).ok().await["name"], "Cleo");
        let otto = server.sign_in("otto@other.test").await;
        assert_eq!(server.get(&format!("/api/v1/colleagues/{id}")).with(&otto).refused().await.0, 404);
        assert_eq!(server.get("/api/v1/colleagues").with(&otto).ok().await["total_entries"], 0);
        for query in ["filter=password_hash%3Dx", "order=drop", "page=0", "page_size=0", "page=-1", "filter=name"] {
            assert_eq!(server.get(&format!("/api/v1/colleagues?{query}")).with(&bob).refused().await.0, 400, "{query}");
        }
        // Their tokens name people and act for nobody.
        let token = page["entries"][0]["token"].as_str().unwrap();
        assert_eq!(server.get("/api/v1/info").with(token).refused().await.0, 401);
    }

    async fn searching(db: TestDb) {
        let server = Server::start(db).await;
        server.hire("Bob").await;
        server.hire("Cleo").await;
        let bob = server.sign_in("bob@acme.test").await;
        let search = |body: Value| server.post("/api/v1/search", body).with(&bob);
        let found = search(json!({ "search_term": "cleo@", "include_token": true })).ok().await;
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert!(found[0].get("email").is_none(), "addresses are left out on purpose");
        let token = found[0]["token"].as_str().unwrap();
        assert_eq!(server.get("/api/v1r1/user").with(token).refused().await.1, "invalid_token");
        assert_eq!(search(json!({ "search_term": "otto" })).ok().await, json!([]));
        assert!(search(json!({ "search_term": "cleo" })).ok().await[0]["token"].is_null());
        assert_eq!(search(json!({ "search_term": "e", "max_limit": 1 })).ok().await.as_array().unwrap().len(), 1);
        assert_eq!(search(json!({ "search_term": "%" })).ok().await, json!([]));
        for body in [json!({}), json!({ "search_term": " " }), json!({ "search_term": "x".repeat(101) }), json!({ "search_term": "x", "max_limit": 0 })] {
            assert_eq!(search(body).refused().await.0, 400);
        }
        let enterprise = server.administer("ada@acme.test").await;
        let found = server.post("/api/v1/search", json!({ "search_term": "bob" })).with(&enterprise).ok().await;
        assert_eq!(found[0]["name"], "Bob");
        let visitor = server.post("/api/v1/anonymous/auth", json!({ "display_name": "V" })).ok().await;
        let visitor = visitor["token"].as_str().unwrap();
        assert_eq!(server.post("/api/v1/search", json!({ "search_term": "bob" })).with(visitor).refused().await.0, 403);
    }

    async fn team_and_directory(db: TestDb) {
        let server = Server::start(db).await;
        for name in ["Bob", "Cleo"] {
            server.hire(name).await;
        }
        let bob = server.sign_in("bob@acme.test").await;
        for list in ["team", "directory"] {
            let page = server.get(&format!("/api/v1r1/user/search/{list}?search_term=cl")).with(&bob).ok().await;
            assert_eq!(names(&page), ["Cleo"]);
            let entry = &page["entries"][0];
            assert_eq!((&entry["reachable"], &entry["favorite"], &entry["supports_messaging"]), (&json!(false), &json!(false), &json!(true)));
            let page = server.get(&format!("/api/v1r1/user/search/{list}?search_term=")).with(&bob).ok().await;
            assert_eq!(page["total_entries"], 2);
        }
        // A registered device makes reachable.
        let cleo = server.sign_in("cleo@acme.test").await;
        let device = json!({ "device_id": "d", "platform": "gcm", "push_id": "p" });
        server.post("/api/v1r1/device", device).with(&cleo).ok().await;
        let page = server.get("/api/v1r1/user/search/team?search_term=cleo").with(&bob).ok().await;
        assert_eq!(page["entries"][0]["reachable"], true);
    }

    async fn the_usual_next_step_after_signing_in(db: TestDb) {
        let server = Server::start(db).await;
        let ada = server.sign_in("ada@acme.test").await;
        let page = server.get("/api/v1/enterprises").with(&ada).ok().await;
        let entry = &page["entries"][0];
        assert_eq!((&entry["name"], &entry["user_count"]), (&json!("Acme"), &json!(1)));
        let token = entry["token"].as_str().unwrap();
        server.get("/api/v1/enterprise/users").with(token).ok().await;
        assert_eq!(server.get("/api/v1/enterprises?filter=name%3Dother").with(&ada).ok().await["total_entries"], 0);
        // An employee's enterprise token administers nothing.
        server.hire("Bob").await;
        let bob = server.sign_in("bob@acme.test").await;
        let page = server.get("/api/v1/enterprises").with(&bob).ok().await;
        let token = page["entries"][0]["token"].as_str().unwrap();
        assert_eq!(server.get("/api/v1/enterprise/users").with(token).refused().await.0, 403);
        assert_eq!(server.get("/api/v1r1/enterprise/api_keys").with(token).refused().await.1, "authorization");
    }
}
