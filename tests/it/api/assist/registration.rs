//! Invited people choose a password by the link that they were sent, once.

use serde_json::{Value, json};
use switchboard::store::sql;

use crate::harness::{app::Server, db::on_both};

const REGISTER: &str = "/api/v1r1/register";

/// The secret of the newest notice: as an operator sees it in the outbox.
fn secret(server: &Server) -> (String, String, String) {
    let notices = server.outbox();
    let notice = &notices[0];
    let at = notice.text.find("token=").expect("a link") + "token=".len();
    let secret = notice.text[at..].split_whitespace().next().unwrap();
    (secret.to_owned(), notice.text.clone(), notice.html.clone())
}

fn accept(token: &str, email: &str) -> Value {
    let info = json!({ "email": email, "name": "Cleo C.", "password": "cleos own horse" });
    json!({ "invitation_token": token, "user_info": info })
}

on_both! {
    async fn an_invitation_from_end_to_end(db: TestDb) {
        let server = Server::start(db).await;
        let admin = server.administer("ada@acme.test").await;
        let new = json!({ "name": "Cleo", "email": "Cleo@elsewhere.test", "invite": true });
        let made = server.post("/api/v1r1/enterprise/users", new).with(&admin).ok().await;
        let (token, text, html) = secret(&server);
        assert!(text.contains("Ada invites you to work with Acme.") && html.contains("Choose your password"));
        let (stored,): (String,) = sql("select body_text from notice").one(&server.db.db).await.unwrap();
        assert!(!stored.contains(&token), "the secret stands nowhere in the open");

        let wrong = |body: Value| server.post(REGISTER, body).refused();
        assert_eq!(wrong(accept("nonsense", "cleo@elsewhere.test")).await.1, "not_found");
        assert_eq!(wrong(accept(&token, "eve@elsewhere.test")).await.1, "not_found");
        let mut short = accept(&token, "cleo@elsewhere.test");
        short["user_info"]["password"] = "short".into();
        assert_eq!(wrong(short).await.1, "invalid_password");
        let mut none = accept(&token, "cleo@elsewhere.test");
        none["invitation_token"] = Value::Null;
        assert_eq!(wrong(none).await.0, 400);

        let answer = server.post(REGISTER, accept(&token, "cleo@elsewhere.test")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(wrong(accept(&token, "cleo@elsewhere.test")).await.1, "not_found", "it serves once");
        let credentials = json!({ "email": "cleo@elsewhere.test", "password": "cleos own horse" });
        let pair = server.post("/api/v1/auth", credentials).ok().await;
        let account = server.get("/api/v1/info").with(pair["token"].as_str().unwrap()).ok().await;
        assert_eq!((&account["id"], &account["name"]), (&made["id"], &json!("Cleo C.")));
        assert_eq!(account["is_confirmed"], true);
    }

    async fn an_invitation_ends_and_speaks_in_the_organisations_words(db: TestDb) {
        let server = Server::start(db).await;
        sql("update organization set settings = $1 where id = $2")
            .bind(r#"{"invitation_text":"{inviter} wants you at {organization} <now>!"}"#)
            .bind(server.acme.organization.id)
            .execute(&server.db.db)
            .await
            .unwrap();
        let admin = server.administer("ada@acme.test").await;
        let new = json!({ "name": "Cleo", "email": "cleo@elsewhere.test", "invite": true });
        server.post("/api/v1r1/enterprise/users", new).with(&admin).ok().await;
        let (token, text, html) = secret(&server);
        assert!(text.contains("Ada wants you at Acme <now>!"), "{text}");
        assert!(html.contains("Ada wants you at Acme &lt;now&gt;!"), "{html}");
        server.wait(15 * 24 * 3_600);
        let refused = server.post(REGISTER, accept(&token, "cleo@elsewhere.test")).refused().await;
        assert_eq!(refused.1, "link_expired");
    }

    async fn whoever_accepts_is_told_what_is_wrong(db: TestDb) {
        let server = Server::start(db).await;
        let admin = server.administer("ada@acme.test").await;
        let new = json!({ "name": "Cleo", "email": "cleo@elsewhere.test", "invite": true });
        server.post("/api/v1r1/enterprise/users", new).with(&admin).ok().await;
        let (token, ..) = secret(&server);
        let sound = accept(&token, "cleo@elsewhere.test");
        let with = |field: &str, value: &str| {
            let mut body = sound.clone();
            body["user_info"][field] = value.into();
            body
        };
        for path in ["/api/v1/register", REGISTER] {
            for (field, value) in [("email", "nowhere"), ("name", ""), ("password", "short")] {
                let told = server.post(path, with(field, value)).refused().await;
                // The older version says it in words.
                let named = path != REGISTER || told.1 == format!("invalid_{field}");
                assert!(told.0 == 400 && named, "{path}: {told:?}");
            }
        }
        server.wait(400 * 24 * 60 * 60);
        for path in ["/api/v1/register", REGISTER] {
            let told = server.post(path, sound.clone()).refused().await;
            assert!(told.0 == 400 && (path != REGISTER || told.1 == "link_expired"), "{path}: {told:?}");
        }
    }
}
