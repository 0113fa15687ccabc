//! SECURITY 5, 8, 9, 11: getting in, staying in, being thrown out.

use std::time::Duration;

use switchboard::{
    domain::{
        caller::PersonKind,
        codes::Code,
        ids::{ConversationId, GuestLinkId},
        once::Once,
        permission::Permissions,
    },
    service::{people::OwnChange, tokens::Revoked},
    store::{sql, tokens::OpenedLink},
};

use super::{HOME, PASSWORD, World, code, secret};
use crate::harness::db::on_both;

on_both! {
    async fn unknown_accounts_and_wrong_passwords_look_alike(db: TestDb) {
        let world = World::new(db).await;
        let wrong = world.sign_in.password("bob@acme.test", &secret("wrong"), HOME).await;
        let unknown = world.sign_in.password("nobody@acme.test", &secret("wrong"), HOME).await;
        let (wrong, unknown) = (wrong.err().unwrap(), unknown.err().unwrap());
        assert_eq!((wrong.code(), wrong.message()), (unknown.code(), unknown.message()));
        assert_eq!(wrong.code(), Code::Authentication);
        for login in ["", " ", "ada", &"x".repeat(10_000)] {
            assert_eq!(code(world.sign_in.password(login, &secret(PASSWORD), HOME).await), Code::Authentication);
        }
    }

    async fn attempts_are_limited_per_account_and_per_address(db: TestDb) {
        let world = World::new(db).await;
        let other = "198.51.100.7".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(code(world.sign_in.password("Bob@acme.test", &secret("x"), HOME).await), Code::Authentication);
        }
        let refused = world.sign_in.password("bob@ACME.test", &secret(PASSWORD), other).await.err().unwrap();
        assert_eq!(refused.code(), Code::TooManyRequests);
        let delay = refused.delay().unwrap();
        assert_eq!(delay, Duration::from_secs(30));
        // Others are not locked out, and neither is Bob for good.
        world.sign_in.password("ada@acme.test", &secret(PASSWORD), other).await.unwrap();
        world.clock.advance(delay);
        world.sign_in.password("bob@acme.test", &secret(PASSWORD), other).await.unwrap();
        for n in 0..100 {
            let _ = world.sign_in.password(&format!("p{n}@acme.test"), &secret("x"), HOME).await;
        }
        assert_eq!(code(world.sign_in.password("ada@acme.test", &secret(PASSWORD), HOME).await), Code::TooManyRequests);
        world.sign_in.password("ada@acme.test", &secret(PASSWORD), other).await.unwrap();
    }

    async fn a_username_does_as_well(db: TestDb) {
        let world = World::new(db).await;
        let bob = world.caller("bob@acme.test").await;
        world.people.change_own(&bob, OwnChange { username: Some("Bobby".to_owned()), ..OwnChange::default() }).await.unwrap();
        world.sign_in.password("bobby", &secret(PASSWORD), HOME).await.unwrap();
    }

    async fn refreshing_replaces_both_and_bears_twins(db: TestDb) {
        let world = World::new(db).await;
        let first = world.enter("bob@acme.test").await;
        world.clock.advance(Duration::from_secs(700));
        assert_eq!(code(world.user(&first.token).await), Code::ExpiredToken);
        let second = world.sign_in.refresh(&secret(&first.refresh)).await.unwrap();
        assert!(second.token != first.token && second.refresh != first.refresh);
        world.user(&second.token).await.unwrap();
        // Several requests of one client found their token expired at once.
        let twin = world.sign_in.refresh(&secret(&first.refresh)).await.unwrap();
        world.user(&twin.token).await.unwrap();
        let both = tokio::join!(
            async { world.sign_in.refresh(&secret(&second.refresh)).await },
            async { world.sign_in.refresh(&secret(&second.refresh)).await },
        );
        assert!(both.0.is_ok() && both.1.is_ok());
    }

    async fn a_stolen_refresh_token_ends_the_whole_sign_in(db: TestDb) {
        let world = World::new(db).await;
        let first = world.enter("bob@acme.test").await;
        let elsewhere = world.enter("bob@acme.test").await;
        let second = world.sign_in.refresh(&secret(&first.refresh)).await.unwrap();
        world.user(&second.token).await.unwrap();
        world.ended.take();
        world.clock.advance(Duration::from_secs(31));
        assert_eq!(code(world.sign_in.refresh(&secret(&first.refresh)).await), Code::InvalidToken);
        assert_eq!(code(world.user(&second.token).await), Code::InvalidToken);
        assert_eq!(code(world.sign_in.refresh(&secret(&second.refresh)).await), Code::InvalidToken);
        assert!(matches!(world.ended.take()[..], [Revoked::Family(_)]));
        world.user(&elsewhere.token).await.unwrap();
        for junk in ["", "x", &elsewhere.token, &second.refresh[1..]] {
            assert_eq!(code(world.sign_in.refresh(&secret(junk)).await), Code::InvalidToken);
        }
    }

    async fn signing_out_ends_one_sign_in(db: TestDb) {
        let world = World::new(db).await;
        let (here, there) = (world.enter("bob@acme.test").await, world.enter("bob@acme.test").await);
        let caller = world.user(&here.token).await.unwrap();
        world.sign_in.sign_out(&caller).await.unwrap();
        assert_eq!(code(world.user(&here.token).await), Code::InvalidToken);
        assert_eq!(code(world.sign_in.refresh(&secret(&here.refresh)).await), Code::InvalidToken);
        world.user(&there.token).await.unwrap();
        assert_eq!(world.ended.take(), [Revoked::Family(caller.family.unwrap())]);
    }

    async fn a_personal_access_token_gets_in_and_dies_at_once(db: TestDb) {
        let world = World::new(db).await;
        let bob = world.caller("bob@acme.test").await;
        let made = world.access_tokens.create(&bob, "laptop", &Once::none()).await.unwrap();
        assert!(made.text.starts_with("swp_") && made.text.ends_with(&made.row.hint));
        let stored: (Vec<u8>,) = sql("select hash from personal_access_token").one(&world.db.db).await.unwrap();
        assert_ne!(stored.0, made.text.as_bytes());
        let token = world.sign_in.access_token(&secret(&made.text), HOME).await.unwrap();
        world.user(&token).await.unwrap();
        // REST takes no bare one, the socket does.
        assert_eq!(code(world.user(&made.text).await), Code::InvalidToken);
        assert_eq!(world.tokens.verify_connection(&made.text).await.unwrap().person, Some(world.bob));
        // It is the person's own: not another's, not an actor's.
        let ada = world.caller("ada@acme.test").await;
        assert_eq!(code(world.access_tokens.remove(&ada, made.row.id).await), Code::NotFound);
        let acting = world.acting.impersonate(&world.ada().await, world.bob, Permissions::MANAGE_ACCESS_TOKENS, Permissions::NONE).await.unwrap();
        let acting = world.user(&acting).await.unwrap();
        assert_eq!(code(world.access_tokens.create(&acting, "x", &Once::none()).await), Code::Authorization);

        world.ended.take();
        world.access_tokens.remove(&bob, made.row.id).await.unwrap();
        assert_eq!(code(world.user(&token).await), Code::InvalidToken);
        assert_eq!(code(world.tokens.verify_connection(&made.text).await), Code::InvalidToken);
        assert_eq!(code(world.sign_in.access_token(&secret(&made.text), HOME).await), Code::Authentication);
        assert!(matches!(world.ended.take()[..], [Revoked::Family(_)]));
        assert!(world.access_tokens.list(&bob).await.unwrap().is_empty());
    }

    async fn visitors_get_a_name_and_little_else(db: TestDb) {
        let world = World::new(db).await;
        let application = world.sign_in.application(Some(&world.other.api_key)).await.unwrap().unwrap();
        let token = world.sign_in.anonymous(" Vera ", Some(application), HOME).await.unwrap();
        let vera = world.user(&token).await.unwrap();
        assert_eq!((vera.name.as_str(), vera.organization), ("Vera", world.other.organization.id));
        assert_eq!((vera.person_kind, vera.permissions), (PersonKind::Anonymous, Permissions::GUEST));
        assert!(vera.label().starts_with("guest:"));
        for name in ["", "<script>", &"x".repeat(256)] {
            assert_eq!(code(world.sign_in.anonymous(name, None, HOME).await), Code::InvalidName);
        }
    }

    async fn a_guests_tokens_end_with_the_link_and_the_place(db: TestDb) {
        let world = World::new(db).await;
        let (gil, thread) = (world.hire("Gil").await, ConversationId(40));
        let end = world.clock.now().plus(Duration::from_hours(2));
        sql("update person set kind = 'guest', email = null, email_key = null where id = $1").bind(gil).execute(&world.db.db).await.unwrap();
        sql("insert into participant (id, conversation_id, person_id, guest, creator, important, has_participated, \
             joined_at, received_id, read_id, announced_received_id, announced_read_id) \
             values (1, $1, $2, true, false, false, false, 0, 0, 0, 0, 0)").bind(thread).bind(gil).execute(&world.db.db).await.unwrap();
        sql("insert into guest_link (id, uuid, conversation_id, organization_id, person_id, hash, sealed, action, \
             invited_by, created_at, expires_at) values (1, $1, $2, $3, $4, $5, $5, '', 1, 0, $6)")
            .bind(world.random.uuid()).bind(thread).bind(world.acme.organization.id).bind(gil)
            .bind(vec![0_u8]).bind(end).execute(&world.db.db).await.unwrap();
        let link = OpenedLink {
            id: GuestLinkId(1),
            uuid: world.random.uuid(),
            organization_id: world.acme.organization.id,
            conversation_id: thread,
            person_id: gil,
            joined_at: None,
            expires_at: end,
            revoked_at: None,
            action: String::new(),
        };
        let pair = world.sign_in.link(&link).await.unwrap();
        let guest = world.user(&pair.token).await.unwrap();
        assert_eq!((guest.person_kind, guest.workbox), (PersonKind::Guest, Some(thread)));
        // Refreshing keeps the thread and ends with the link.
        let renewed = world.sign_in.refresh(&secret(&pair.refresh)).await.unwrap();
        assert_eq!(world.user(&renewed.token).await.unwrap().workbox, Some(thread));
        let seen = world.tokens.inspect(&renewed.token).await.unwrap();
        assert!(seen.expires_at <= end.unix_seconds());

        sql("update participant set removed_at = 1").execute(&world.db.db).await.unwrap();
        world.tokens.revoke(Revoked::Workbox(gil, thread));
        assert_eq!(code(world.user(&renewed.token).await), Code::LinkExpired);
        let over = OpenedLink { revoked_at: Some(world.clock.now()), ..link.clone() };
        assert_eq!(code(world.sign_in.link(&over).await), Code::LinkExpired);
        // Guessing is limited.
        let tries = (0..1_000).take_while(|_| world.sign_in.link_attempt(HOME).is_ok()).count();
        assert_eq!(tries, 100);
        world.clock.advance(Duration::from_hours(2));
        assert_eq!(code(world.sign_in.link(&link).await), Code::LinkExpired);
    }

    async fn a_new_password_ends_other_sign_ins(db: TestDb) {
        let world = World::new(db).await;
        let (here, there) = (world.enter("bob@acme.test").await, world.enter("bob@acme.test").await);
        let caller = world.user(&here.token).await.unwrap();
        let change = |password: &str| OwnChange { password: Some(secret(password)), ..OwnChange::default() };
        assert_eq!(code(world.people.change_own(&caller, change("short")).await), Code::InvalidPassword);
        world.people.change_own(&caller, change("another secret")).await.unwrap();
        world.user(&here.token).await.unwrap();
        assert_eq!(code(world.user(&there.token).await), Code::InvalidToken);
        assert_eq!(code(world.sign_in.refresh(&secret(&there.refresh)).await), Code::InvalidToken);
        assert_eq!(code(world.sign_in.password("bob@acme.test", &secret(PASSWORD), HOME).await), Code::Authentication);
        world.sign_in.password("bob@acme.test", &secret("another secret"), HOME).await.unwrap();
    }

    async fn nobody_takes_an_account_over_by_acting(db: TestDb) {
        let world = World::new(db).await;
        let all = Permissions(i64::MAX);
        let token = world.acting.impersonate(&world.ada().await, world.bob, all, Permissions::NONE).await.unwrap();
        let acting = world.user(&token).await.unwrap();
        for change in [
            OwnChange { password: Some(secret("another secret")), ..OwnChange::default() },
            OwnChange { email: Some("eve@evil.test".to_owned()), ..OwnChange::default() },
        ] {
            assert_eq!(code(world.people.change_own(&acting, change).await), Code::Authorization);
        }
        let title = OwnChange { title: Some("Chief".to_owned()), ..OwnChange::default() };
        world.people.change_own(&acting, title).await.unwrap();
    }

    async fn a_crowd_at_the_door_is_told_to_come_back(db: TestDb) {
        // Slow enough that nobody is through before the last one has come.
        let settings = "[auth]\nargon2_memory_kib = 16384\nargon2_passes = 2\nhash_queue = 1\nsign_in_attempts = 1000\nsign_in_attempts_address = 1000\n";
        let world = World::with(db, settings).await;
        let cores = std::thread::available_parallelism().unwrap().get();
        let wrong = secret("a guess");
        let attempts = (0..cores + 20).map(|_| world.sign_in.password("bob@acme.test", &wrong, HOME));
        let answers = futures_util::future::join_all(attempts).await;
        let told = |wanted: Code| answers.iter().filter(|answer| answer.as_ref().is_err_and(|error| error.code() == wanted)).count();
        assert!(told(Code::Authentication) > cores, "those who found a place are checked");
        assert!(told(Code::MailboxFull) > 0, "the queue has an end");
        assert_eq!(told(Code::Authentication) + told(Code::MailboxFull), answers.len());
        let full = answers.iter().filter_map(|answer| answer.as_ref().err()).find(|error| error.code() == Code::MailboxFull);
        assert!(full.unwrap().delay().is_some(), "and says when to come back");
        world.enter("bob@acme.test").await;
    }
}
