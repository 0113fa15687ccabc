//! SECURITY 1, 2, 7, 8: what a token is, and everything that makes it none.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use switchboard::{
    domain::{
        caller::TokenKind,
        codes::Code,
        ids::{ConversationId, PersonId, SessionId},
        permission::Permissions,
    },
    service::tokens::{Revoked, Tokens},
    store::sql,
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{HOME, World, code, keys::signed, secret};
use crate::harness::{
    db::on_both,
    log::{COUNTED, statements_of},
};

fn part(token: &str, at: usize) -> Value {
    let text = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn with_part(token: &str, at: usize, value: &Value) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[at] = URL_SAFE_NO_PAD.encode(value.to_string());
    parts.join(".")
}

async fn refused(tokens: &Tokens, token: &str) {
    let all =
        [TokenKind::User, TokenKind::Enterprise, TokenKind::Partner, TokenKind::Session, TokenKind::Workbox];
    assert_eq!(code(tokens.verify(token, &all).await), Code::InvalidToken, "{token}");
    assert_eq!(code(tokens.verify_connection(token).await), Code::InvalidToken, "{token}");
}

on_both! {
    async fn claims_are_those_that_clients_know(db: TestDb) {
        let world = World::new(db).await;
        let pair = world.enter("BOB@acme.test").await;
        assert_eq!(part(&pair.token, 0), json!({"alg": "HS256", "typ": "JWT"}));
        let claims = part(&pair.token, 1);
        let now = world.clock.now().unix_seconds();
        assert_eq!(claims["iss"], "Ghazal");
        assert_eq!(claims["aud"], "Ghazal");
        assert_eq!(claims["sub"], format!("User:{}", world.bob));
        assert_eq!((&claims["typ"], &claims["ver"]), (&json!("access"), &json!("100")));
        assert_eq!((&claims["iat"], &claims["nbf"], &claims["exp"]), (&json!(now), &json!(now - 1), &json!(now + 600)));
        assert_eq!(claims["pem"], json!({"user": Permissions::MEMBER.0}));
        assert_eq!(claims["meta"], json!({}));
        assert!(claims["jti"].as_str().unwrap().parse::<Uuid>().is_ok());
        let refresh = part(&pair.refresh, 1);
        assert_eq!(refresh["sub"], format!("UserRefresh:{}", world.bob));
        assert!(refresh.get("meta").is_none());
        assert_eq!(refresh["exp"], now + 365 * 86_400);
        let bob = world.user(&pair.token).await.unwrap();
        assert_eq!((bob.person, bob.permissions), (Some(world.bob), Permissions::MEMBER));
    }

    async fn tampering_is_found(db: TestDb) {
        let world = World::new(db).await;
        let token = world.enter("bob@acme.test").await.token;
        let (header, claims) = (part(&token, 0), part(&token, 1));
        for alg in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA"] {
            let mut header = header.clone();
            header["alg"] = json!(alg);
            let forged = with_part(&token, 0, &header);
            refused(&world.tokens, &forged).await;
            let unsigned = format!("{}.", forged.rsplit_once('.').unwrap().0);
            refused(&world.tokens, &unsigned).await;
        }
        for (claim, value) in [
            ("sub", json!("User:1")),
            ("iss", json!("Other")),
            ("exp", json!(9_999_999_999_i64)),
            ("pem", json!({"user": -1})),
            ("sub", json!("Partner:1")),
        ] {
            let mut claims = claims.clone();
            claims[claim] = value;
            refused(&world.tokens, &with_part(&token, 1, &claims)).await;
        }
        for header in [json!({"alg": "HS256", "kid": "../../dev/null"}), json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}})] {
            refused(&world.tokens, &with_part(&token, 0, &header)).await;
        }
        for junk in ["", "a", "a.b.c", "....", "eyJhbGciOiJIUzI1NiJ9..", &"x".repeat(20_000), &token[..token.len() - 1]] {
            refused(&world.tokens, junk).await;
        }
        let guessed = EncodingKey::from_secret(b"guessed");
        let foreign = signed(&guessed, Algorithm::HS256, &header, &claims);
        refused(&world.tokens, &foreign).await;
    }

    async fn each_kind_is_good_for_its_own_use_only(db: TestDb) {
        let world = World::new(db).await;
        let pair = world.enter("ada@acme.test").await;
        let enterprise = world.sign_in.enterprise("ada@acme.test", &secret(super::PASSWORD), HOME).await.unwrap();
        let kinds = [TokenKind::User, TokenKind::UserRefresh, TokenKind::Enterprise, TokenKind::Session, TokenKind::Workbox, TokenKind::Public];
        for (token, own) in [(&pair.token, TokenKind::User), (&enterprise, TokenKind::Enterprise)] {
            for kind in kinds {
                let verified = world.tokens.verify(token, &[kind]).await;
                assert_eq!(verified.is_ok(), kind == own, "{own:?} as {kind:?}");
            }
        }
        refused(&world.tokens, &pair.refresh).await;
        assert_eq!(code(world.sign_in.refresh(&secret(&pair.token)).await), Code::InvalidToken);
    }

    async fn time_ends_a_token(db: TestDb) {
        let world = World::new(db).await;
        let token = world.enter("bob@acme.test").await.token;
        world.clock.advance(Duration::from_secs(599));
        world.user(&token).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(code(world.user(&token).await), Code::ExpiredToken);
        let seen = world.tokens.inspect(&token).await.unwrap();
        assert_eq!((seen.subject, code(seen.caller)), (format!("User:{}", world.bob), Code::ExpiredToken));
    }

    async fn removal_is_noticed_within_five_seconds_whoever_did_it(db: TestDb) {
        let world = World::new(db).await;
        let token = world.enter("bob@acme.test").await.token;
        world.user(&token).await.unwrap();
        // As another node would: behind this process's back.
        sql("update person set active = false where id = $1").bind(world.bob).execute(&world.db.db).await.unwrap();
        world.clock.advance(Duration::from_secs(5));
        assert_eq!(code(world.user(&token).await), Code::AccountDeactivated);
        sql("update person set active = true, token_version = token_version + 1 where id = $1")
            .bind(world.bob).execute(&world.db.db).await.unwrap();
        world.clock.advance(Duration::from_secs(5));
        assert_eq!(code(world.user(&token).await), Code::InvalidToken);
    }

    async fn a_demoted_administrator_loses_rights_at_the_next_use(db: TestDb) {
        let world = World::new(db).await;
        let eve = world.hire("Eve").await;
        sql("update person set role = 'EnterpriseAdmin' where id = $1").bind(eve).execute(&world.db.db).await.unwrap();
        let token = world.sign_in.enterprise("eve@acme.test", &secret(super::PASSWORD), HOME).await.unwrap();
        assert!(world.enterprise(&token).await.unwrap().permissions.contains(Permissions::MANAGE_USERS));
        let change = switchboard::service::people::UserChange { role: Some("User".to_owned()), ..Default::default() };
        world.people.change(&world.ada().await, eve, change).await.unwrap();
        let caller = world.enterprise(&token).await.unwrap();
        assert_eq!(caller.permissions, Permissions::MEMBER);
        assert!(world.ended.take().contains(&Revoked::Rights(eve)));
    }

    async fn two_signing_keys_are_good_and_a_third_is_not(db: TestDb) {
        let world = World::new(db).await;
        let first = world.enter("bob@acme.test").await;
        world.tokens.rotate_keys().await.unwrap();
        world.user(&first.token).await.unwrap();
        let second = world.enter("bob@acme.test").await;
        world.tokens.rotate_keys().await.unwrap();
        assert_eq!(code(world.user(&first.token).await), Code::InvalidToken);
        world.user(&second.token).await.unwrap();
        // A rotation signs nobody out: the refresh token is known by its hash.
        let renewed = world.sign_in.refresh(&secret(&first.refresh)).await.unwrap();
        world.user(&renewed.token).await.unwrap();
        let sealed: Vec<(Vec<u8>,)> = sql("select sealed from signing_key").all(&world.db.db).await.unwrap();
        assert_eq!(sealed.len(), 3);
    }

    async fn places_are_checked_at_every_use(db: TestDb) {
        let world = World::new(db).await;
        let bob = world.caller("bob@acme.test").await;
        let session = SessionId(Uuid::from_u128(5));
        assert_eq!(code(world.tokens.mint_session(&bob, session, &[], "opt_in").await), Code::InvalidToken);
        sql("insert into session_member (session_id, person_id, organizer, added_at) values ($1, $2, false, 0)")
            .bind(session).bind(world.bob).execute(&world.db.db).await.unwrap();
        let token = world.tokens.mint_session(&bob, session, &["organizer"], "opt_in").await.unwrap();
        let claims = part(&token, 1);
        assert_eq!(claims["sub"], format!("Session:{session}"));
        assert_eq!(claims["originator"], world.bob.0);
        assert_eq!((&claims["attributes"], &claims["recording_policy"]), (&json!(["organizer"]), &json!("opt_in")));
        let caller = world.tokens.verify(&token, &[TokenKind::Session]).await.unwrap();
        assert_eq!((caller.session, caller.person), (Some(session), Some(world.bob)));
        assert!(!caller.permissions.contains(Permissions::EDIT_ACCOUNT));
        sql("update session_member set removed_at = 1").execute(&world.db.db).await.unwrap();
        world.tokens.revoke(Revoked::Session(world.bob, session));
        assert_eq!(code(world.tokens.verify(&token, &[TokenKind::Session]).await), Code::InvalidToken);

        let thread = ConversationId(77);
        let workbox = world.tokens.mint_workbox(&bob, thread).await.unwrap();
        assert_eq!(code(world.tokens.verify(&workbox, &[TokenKind::Workbox]).await), Code::InvalidToken);
        let ada = world.caller("ada@acme.test").await;
        let workbox = world.tokens.mint_workbox(&ada, thread).await.unwrap();
        assert_eq!(world.tokens.verify(&workbox, &[TokenKind::Workbox]).await.unwrap().workbox, Some(thread));
    }

    async fn public_tokens_name_somebody_for_one_searcher_only(db: TestDb) {
        let world = World::new(db).await;
        let (ada, bob) = (world.caller("ada@acme.test").await, world.row(world.bob).await);
        let eve = world.hire("Eve").await;
        let token = world.tokens.mint_public(&ada, &bob).await.unwrap();
        refused(&world.tokens, &token).await;
        assert_eq!(world.tokens.contact(&token, &ada).await.unwrap().person, Some(world.bob));
        let eve_caller = world.caller("eve@acme.test").await;
        assert_eq!(eve_caller.person, Some(eve));
        for thief in [eve_caller, world.caller("otto@other.test").await] {
            assert_eq!(code(world.tokens.contact(&token, &thief).await), Code::InvalidToken);
        }
        // A user token does among colleagues, and across organisations does not.
        let own = world.enter("bob@acme.test").await.token;
        assert!(world.tokens.contact(&own, &ada).await.is_ok());
        assert_eq!(code(world.tokens.contact(&own, &world.caller("otto@other.test").await).await), Code::InvalidToken);
    }

    async fn acting_takes_the_right_and_gives_no_more_than_both_have(db: TestDb) {
        let world = World::new(db).await;
        let (ada, otto) = (world.ada().await, world.otto().await);
        let none = Permissions::NONE;
        let bobs = world.tokens.mint_enterprise_for(&world.caller("bob@acme.test").await).await.unwrap();
        let bobs = world.enterprise(&bobs).await.unwrap();
        assert_eq!(code(world.acting.impersonate(&bobs, world.bob, none, none).await), Code::Authorization);
        assert_eq!(code(world.acting.impersonate(&otto, world.bob, none, none).await), Code::NotFound);
        assert_eq!(code(world.acting.impersonate(&ada, PersonId(999_999), none, none).await), Code::NotFound);

        let all = Permissions(i64::MAX);
        let token = world.acting.impersonate(&ada, world.bob, all, Permissions::CALL).await.unwrap();
        let acting = world.user(&token).await.unwrap();
        assert_eq!((acting.person, acting.acting), (Some(world.bob), ada.person));
        let expected = Permissions::MEMBER - Permissions::CALL - Permissions::MANAGE_ACCESS_TOKENS;
        assert_eq!(acting.permissions, expected);
        assert!(world.tokens.is_acting(&acting).await.unwrap());

        // As another administrator: what is dangerous only by name, and never a lasting token.
        let eve = world.hire("Eve").await;
        sql("update person set role = 'SiteAdmin' where id = $1").bind(eve).execute(&world.db.db).await.unwrap();
        let plain = world.acting.impersonate(&ada, eve, none, none).await.unwrap();
        assert!(!world.user(&plain).await.unwrap().permissions.contains(Permissions::IMPERSONATE));
        let named = world.acting.impersonate(&ada, eve, Permissions::IMPERSONATE, none).await.unwrap();
        let named = world.user(&named).await.unwrap();
        assert!(named.permissions.contains(Permissions::IMPERSONATE));
        // The chain keeps the real actor and the first token's end.
        world.clock.advance(Duration::from_secs(300));
        let enterprise = world.tokens.mint_enterprise_for(&named).await.unwrap();
        let enterprise = world.enterprise(&enterprise).await.unwrap();
        assert_eq!((enterprise.acting, enterprise.expires_at), (ada.person, named.expires_at));

        assert_eq!(
            world.count("select count(*) from audit_log where action = 'user.impersonated'").await, 3
        );
        let (detail,): (String,) = sql("select detail from audit_log where action = 'user.impersonated' order by id limit 1")
            .one(&world.db.db).await.unwrap();
        assert!(detail.contains("Bob") && detail.contains(&ada.name), "{detail}");
        // Switching the actor off ends what the actor does in others' names.
        sql("update person set active = false where id = $1").bind(ada.person).execute(&world.db.db).await.unwrap();
        world.tokens.revoke(Revoked::Person(ada.person.unwrap()));
        assert!(world.user(&token).await.is_err());
    }

    async fn a_known_token_costs_no_statement(db: TestDb) {
        let world = World::new(db).await;
        let token = world.enter("bob@acme.test").await.token;
        world.user(&token).await.unwrap();
        let id = format!("{COUNTED}a-known-token-{:?}", world.db.dialect());
        let span = tracing::info_span!("request", request.id = id);
        world.user(&token).instrument(span.clone()).await.unwrap();
        assert_eq!(statements_of(&id), Vec::<String>::new());
        let other = world.enter("bob@acme.test").await.token;
        world.user(&other).instrument(span).await.unwrap();
        assert!(!statements_of(&id).is_empty(), "an unknown one is looked up");
    }
}
