//! What operations answer in the seconds in which a token is still believed and what it stands for is gone, as happens
//! when another node removes it; and refusals that need a special moment.

use serde_json::json;
use switchboard::{domain::codes::Code, store::sql};

use crate::harness::{
    app::{Call, Server},
    db::on_both,
    schema::code_of,
};

async fn code(call: Call<'_>) -> Option<Code> {
    let answer = call.send().await;
    assert!(answer.status >= 400, "{}", answer.body);
    code_of(&answer.response.body)
}

on_both! {
    async fn whoever_goes_finds_nothing(db: TestDb) {
        let server = Server::start(db).await;
        let bob = server.hire("Bob").await;
        let token = server.sign_in("bob@acme.test").await;
        server.get("/api/v1/info").with(&token).ok().await;
        sql("delete from person where id = $1").bind(bob).execute(&server.db.db).await.unwrap();
        for call in [
            server.get("/api/v1/info"),
            server.put("/api/v1/info", json!({ "name": "B" })),
            server.post("/api/v1/info/unavailable", json!({})),
            server.delete("/api/v1/info/unavailable"),
            server.get("/api/v1r1/user"),
            server.put("/api/v1r1/user", json!({ "title": "B" })),
        ] {
            assert_eq!(code(call.with(&token)).await, Some(Code::NotFound));
        }
    }

    async fn an_organisation_that_goes_takes_its_operations_along(db: TestDb) {
        let server = Server::start(db).await;
        let (ada, admin) = (server.sign_in("ada@acme.test").await, server.administer("ada@acme.test").await);
        server.get("/api/v1/enterprises").with(&ada).ok().await;
        server.get("/api/v1r1/enterprise/partner_keys").with(&admin).ok().await;
        sql("delete from organization").execute(&server.db.db).await.unwrap();
        assert_eq!(code(server.get("/api/v1/enterprises").with(&ada)).await, Some(Code::NotFound));
        let visitor = json!({ "display_name": "Vera" });
        assert_eq!(code(server.post("/api/v1/anonymous/auth", visitor)).await, Some(Code::NotFound));
    }

    async fn refusals_of_a_moment(db: TestDb) {
        let server = Server::start(db).await;
        server.hire("Bob").await;
        let (ada, admin) = (server.sign_in("ada@acme.test").await, server.administer("ada@acme.test").await);
        let taken = server.put("/api/v1/info", json!({ "email": "bob@acme.test" })).with(&ada);
        assert_eq!(code(taken).await, Some(Code::EmailTaken));
        server.put("/api/v1/info", json!({ "username": "ada" })).with(&ada).ok().await;
        let users = "/api/v1r1/enterprise/users";
        let new = json!({ "name": "X", "email": "x@example.org", "username": "ADA" });
        assert_eq!(code(server.post(users, new).with(&admin)).await, Some(Code::UsernameTaken));
        let keyed = |path: &str, token: &str, body| server.post(path, body).with(token).header("idempotency-key", "k");
        let first = json!({ "name": "Y", "email": "y@example.org" });
        keyed(users, &admin, first).ok().await;
        let other = json!({ "name": "Z", "email": "z@example.org" });
        assert_eq!(code(keyed(users, &admin, other)).await, Some(Code::Constraint));
        let tokens = "/api/v1r1/personal_access_token";
        keyed(tokens, &ada, json!({ "description": "a" })).ok().await;
        assert_eq!(code(keyed(tokens, &ada, json!({ "description": "b" }))).await, Some(Code::Constraint));
        let thread = server.post("/api/v1r1/workboxes", json!({})).with(&ada).ok().await;
        let active = server.get("/api/v1r1/workbox/active_call").with(thread["token"].as_str().unwrap());
        assert_eq!(code(active).await, Some(Code::CallNotActive));
    }
}
