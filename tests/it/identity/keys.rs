//! SECURITY 2, 7: API keys authorise nothing; partner keys sign for one organisation, within narrow bounds.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use switchboard::{
    domain::{codes::Code, once::Once, permission::Permissions, query::Page},
    service::{keys::PartnerKey, tokens::Revoked},
    store::sql,
};

use super::{World, code};
use crate::harness::db::on_both;

fn sign(private: &str, header: &Value, claims: &Value) -> String {
    signed(&EncodingKey::from_rsa_pem(private.as_bytes()).unwrap(), Algorithm::RS256, header, claims)
}

/// Whatever header and claims, signed.
pub fn signed(key: &EncodingKey, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), key, algorithm).unwrap();
    format!("{text}.{signature}")
}

fn private(key: &PartnerKey) -> &str {
    key.private_key.as_ref().unwrap().expose()
}

on_both! {
    async fn an_api_key_names_an_application_until_it_is_revoked(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let made = world.keys.create_api_key(&ada, "app", &Once::none()).await.unwrap();
        let text = made.key.expose().to_owned();
        assert!(text.starts_with("swk_"));
        let known = world.keys.check_application(Some(&text)).await.unwrap().unwrap();
        assert_eq!((known.key, known.organization), (made.id, ada.organization));
        assert_eq!(world.keys.check_application(None).await.unwrap(), None);
        assert_eq!(code(world.keys.check_application(Some("unknown")).await), Code::InvalidApiKey);
        // It is no token of any kind.
        assert_eq!(code(world.tokens.verify_connection(&text).await), Code::InvalidToken);
        // It is shown again, to its own organisation.
        assert_eq!(world.keys.api_key(&ada, made.id).await.unwrap().key.expose(), text);
        assert_eq!(code(world.keys.api_key(&world.otto().await, made.id).await), Code::NotFound);
        assert_eq!(code(world.keys.remove_api_key(&world.otto().await, made.id).await), Code::NotFound);
        let listed = world.keys.api_keys(&ada, Page::default()).await.unwrap();
        assert_eq!(listed.total_entries, 2);
        let described = world.keys.describe_api_key(&ada, made.id, Some("the app")).await.unwrap();
        assert_eq!(described.description, "the app");
        let (sealed,): (Vec<u8>,) = sql("select sealed from api_key where id = $1").bind(made.id).one(&world.db.db).await.unwrap();
        assert!(!sealed.windows(8).any(|window| text.as_bytes().windows(8).any(|part| part == window)));
        world.ended.take();
        world.keys.remove_api_key(&ada, made.id).await.unwrap();
        assert_eq!(code(world.keys.check_application(Some(&text)).await), Code::InvalidApiKey);
        assert_eq!(world.ended.take(), [Revoked::ApiKey(made.id)]);
    }

    async fn a_key_can_be_required(db: TestDb) {
        let world = World::with(db, "[auth]\nrequire_api_key = true\nargon2_memory_kib = 64\nargon2_passes = 1\n").await;
        assert_eq!(code(world.keys.check_application(None).await), Code::MissingApiKey);
        assert_eq!(code(world.keys.check_application(Some("")).await), Code::MissingApiKey);
        assert!(world.keys.check_application(Some(&world.acme.api_key)).await.unwrap().is_some());
    }

    async fn partners_sign_for_their_own_organisation_only(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let key = world.keys.create_partner_key(&ada, "crm", &Once::none()).await.unwrap();
        let now = world.clock.now().unix_seconds();
        let org = ada.organization;
        let claims = json!({"iss": "Ghazal", "aud": "Ghazal", "sub": format!("Partner:{org}"), "exp": now + 60, "iat": now + 1});
        let header = json!({"alg": "RS256"});
        let token = sign(private(&key), &header, &claims);
        let partner = world.enterprise(&token).await.unwrap();
        assert_eq!((partner.organization, partner.person, partner.permissions), (org, None, Permissions::ADMINISTRATOR));
        assert_eq!(partner.label(), format!("enterprise:{org}"));
        world.enterprise(&token).await.unwrap();
        assert_eq!(code(world.user(&token).await), Code::InvalidToken);

        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            sign(private(&key), &header, &claims)
        };
        for (claim, value) in [
            ("sub", json!(format!("Partner:{}", world.other.organization.id))),
            ("sub", json!(format!("Enterprise:{org}"))),
            ("sub", json!(format!("User:{}", world.acme.admin.id))),
            ("sub", json!(format!("Partner:0{org}"))),
            ("iss", json!("Other")),
            ("aud", json!("Other")),
            ("exp", json!(now + 86_400 + 120)),
            ("exp", json!("soon")),
            ("exp", Value::Null),
            ("iat", json!(now + 3_600)),
            ("nbf", json!(now + 3_600)),
        ] {
            assert_eq!(code(world.enterprise(&with(claim, value.clone())).await), Code::InvalidToken, "{claim} {value}");
        }
        assert_eq!(code(world.enterprise(&with("exp", json!(now - 61))).await), Code::ExpiredToken);
        world.enterprise(&with("exp", json!(now - 59))).await.unwrap();
        world.enterprise(&with("exp", json!(f64::from(1_767_225_700)))).await.unwrap();
        // What a token says of its own key or rights means nothing.
        let stranger = world.keys.create_partner_key(&world.otto().await, "", &Once::none()).await.unwrap();
        let boast = json!({"alg": "RS256", "kid": "1", "jku": "http://evil.test/keys", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}});
        assert_eq!(code(world.enterprise(&sign(private(&stranger), &boast, &claims)).await), Code::InvalidToken);
        assert_eq!(world.enterprise(&sign(private(&key), &boast, &claims)).await.unwrap().organization, org);
        let mut more = claims.clone();
        more["pem"] = json!({"enterprise": -1});
        assert_eq!(world.enterprise(&sign(private(&key), &header, &more)).await.unwrap().permissions, Permissions::ADMINISTRATOR);
        // HS256 with the public key as the secret, the classic.
        let public = EncodingKey::from_secret(key.row.public_key.as_bytes());
        let confused = signed(&public, Algorithm::HS256, &json!({"alg": "HS256", "typ": "JWT"}), &claims);
        assert_eq!(code(world.enterprise(&confused).await), Code::InvalidToken);

        // Chain: a token that acts as a person, which dies with the key.
        let acting = world.acting.impersonate(&partner, world.bob, Permissions::NONE, Permissions::NONE).await.unwrap();
        let caller = world.user(&acting).await.unwrap();
        assert_eq!((caller.person, caller.acting), (Some(world.bob), None));
        assert!(world.tokens.is_acting(&caller).await.unwrap());
        world.keys.remove_partner_key(&ada, key.row.id).await.unwrap();
        assert_eq!(code(world.enterprise(&token).await), Code::InvalidToken);
        assert_eq!(code(world.user(&acting).await), Code::InvalidToken);
    }

    async fn a_replaced_pair_is_dead_and_weak_ones_are_refused(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let key = world.keys.create_partner_key(&ada, "", &Once::none()).await.unwrap();
        let second = world.keys.create_partner_key(&ada, "", &Once::none()).await.unwrap();
        let now = world.clock.now().unix_seconds();
        let claims = json!({"iss": "Ghazal", "aud": ["Ghazal"], "sub": format!("Partner:{}", ada.organization), "exp": now + 60});
        let token = |key: &PartnerKey| sign(private(key), &json!({"alg": "RS256", "typ": "JWT"}), &claims);
        world.enterprise(&token(&key)).await.unwrap();
        world.enterprise(&token(&second)).await.unwrap();
        let update = |pem: &'static str| world.keys.update_partner_key(&ada, key.row.id, None, Some(pem));
        for pem in ["", "x", WEAK, EC] {
            assert_eq!(code(update(pem).await), Code::ParametersInvalid, "{pem}");
        }
        world.enterprise(&token(&key)).await.unwrap();
        let fresh = world.keys.create_partner_key(&world.otto().await, "", &Once::none()).await.unwrap();
        let pem = fresh.row.public_key.clone();
        world.ended.take();
        let row = world.keys.update_partner_key(&ada, key.row.id, Some("new"), Some(&pem)).await.unwrap();
        assert_eq!((row.description.as_str(), row.public_key), ("new", pem));
        assert!(matches!(world.ended.take()[..], [Revoked::Family(_)]));
        assert_eq!(code(world.enterprise(&token(&key)).await), Code::InvalidToken);
        world.enterprise(&token(&fresh)).await.unwrap();
        world.enterprise(&token(&second)).await.unwrap();
    }

    async fn ten_partner_keys_are_enough(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        for id in 1_000..1_010 {
            sql("insert into partner_key (id, organization_id, description, public_key, created_at, updated_at) values ($1, $2, '', '', 0, 0)")
                .bind(id).bind(ada.organization).execute(&world.db.db).await.unwrap();
        }
        assert_eq!(code(world.keys.create_partner_key(&ada, "", &Once::none()).await), Code::Constraint);
        let bob = world.tokens.mint_enterprise_for(&world.caller("bob@acme.test").await).await.unwrap();
        let bob = world.enterprise(&bob).await.unwrap();
        assert_eq!(code(world.keys.create_partner_key(&bob, "", &Once::none()).await), Code::Authorization);
        assert_eq!(code(world.keys.partner_keys(&bob).await), Code::Authorization);
    }
}

/// RSA, 1024 bits.
const WEAK: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC4Vm7mZLo9Md6HNKYq4zMNfuaL\n\
b/P5JKxV154h1ROmqxqxiSJLabZIXX9JprkELZGpXF4TrXBHF8dTScVpGW6I1NpI\n\
eiVOny0LCjpT+8aMAQPDGMYVOUHDCkGxyUn0JnZaXUPZ5/P37srZkGM+n5N/r9Jh\n\
MHdJabwdgb37+h99RwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
/// No RSA key at all.
const EC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJCUJAp2vD9q7bzRlTvWunvRI+3Wx\n\
rqdTOw1QiLs8KoKXlvYkVr5sp8AY6vwwguMPi4eQn61cWBHlVhFio3XyQw==\n\
-----END PUBLIC KEY-----\n\
";
