//! Guests: how they come in and are put out, and that nothing internal reaches them on any path.

use switchboard::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
    },
    domain::{codes::Code, ids::MessageId, once::Once},
    service::{
        messages::{Direction, Draft},
        workboxes::{Invitation, ListRequest, NewProcedure},
    },
    store::messages::Side,
};

use super::world::{ANN, BEN, CARL, LINK_LIFE, OTTO, World, code, draft};
use crate::harness::db::on_both;

fn invitation(name: &str) -> Invitation {
    Invitation { name: name.to_owned(), ..Invitation::default() }
}

on_both! {
    async fn nothing_internal_reaches_a_guest(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let guest = world.guest(thread, "Gus").await;
        let open = world.send(&ann, thread, "an open word").await;
        let before = world.view(&guest, thread).await;
        let secret = world.whisper(&ben, thread, "hush-hush").await;
        world.read(&ann, thread, MessageId(-1)).await;
        world.messages.edit(&ben, thread, secret.id, serde_json::json!({ "message": "hush-hush 2" })).await.unwrap();

        let after = world.view(&guest, thread).await;
        assert_eq!(after.last_active_at, before.last_active_at);
        assert_eq!(after.unread_messages_count, 1);
        assert_eq!(after.last_message.as_ref().unwrap().id, open.id);
        assert!(after.internal_stream.is_none());
        assert_eq!(world.view(&ann, thread).await.last_message.unwrap().id, secret.id);

        let m = &world.messages;
        let mut seen = m.recent(&guest, thread, 50).await.unwrap();
        seen.extend(m.list(&guest, thread, Side::Newest, 50).await.unwrap());
        seen.extend(m.updates_since(&guest, thread, Timestamp(0), 50).await.unwrap());
        for direction in [Direction::Ascending, Direction::Descending] {
            seen.extend(m.around(&guest, thread, MessageId(0), direction, 50).await.unwrap());
        }
        seen.extend(m.around(&guest, thread, open.id, Direction::Ascending, 50).await.unwrap());
        assert!(seen.iter().all(|message| message.id == open.id));
        for denied in [
            code(m.get(&guest, thread, secret.id).await),
            code(m.receipts_of(&guest, thread, secret.id).await),
            code(m.mark(&guest, thread, secret.id, true, &Once::none()).await),
            code(m.around(&guest, thread, secret.id, Direction::Descending, 5).await),
        ] {
            assert_eq!(denied, Code::NotFound);
        }
        let receipts = m.thread_receipts(&guest, thread).await.unwrap();
        assert_eq!(receipts.most_recent_partial_read, Some(open.id).filter(|_| false));
        let whispered = Draft { internal: true, ..draft("psst") };
        assert_eq!(code(m.send(&guest, thread, whispered, &Once::none()).await), Code::Authorization);
        let filtered = ListRequest {
            filter: Some(format!("last_active_at>{}", before.last_active_at)),
            ..ListRequest::default()
        };
        assert!(world.listed(&guest, filtered).await.is_empty(), "a filter tells of internal activity");

        for (kind, data) in world.told(thread).await {
            assert!(!data.to_string().contains("hush"), "{kind}");
        }
        assert!(world.told_inside(thread).await.iter().any(|(_, data)| data.to_string().contains("hush")));
    }

    async fn a_link_lets_in_and_is_taken_back(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let ann = world.user(ANN).await;
        let w = &world.workboxes;
        let wanted = Invitation { email: Some("gus@example.org".into()), action: "join_session".into(), ..invitation("Gus") };
        let view = w.invite(&ann, thread, wanted, &Once::none()).await.unwrap();
        let link = world.sent.take().pop().unwrap();
        assert!(link.starts_with("https://help.test/") && link.contains("action=join"));
        assert!(!view.guests[0].has_joined);

        let guest = world.enter(&link).await;
        assert_eq!(guest.name, "Gus");
        let seen = w.by_url(&guest, &link).await.unwrap();
        assert_eq!((seen.id, seen.guests[0].has_joined), (thread, true));
        let place = world.in_workbox(&seen).await;
        world.send(&place, thread, "I am here").await;
        // Opening again changes nothing.
        let again = world.enter(&link).await;
        assert_eq!(again.person, guest.person);
        let kinds: Vec<_> = world.told(thread).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds.iter().filter(|kind| *kind == "guest.joined").count(), 1);
        // A guest changes nothing about the thread, but may run a procedure that a link asked for.
        assert_eq!(code(w.set_title(&guest, thread, "mine").await), Code::Authorization);
        assert_eq!(code(w.close(&guest, thread, &Once::none()).await), Code::Authorization);
        let procedure = NewProcedure { procedure: 7, version: 1, ..NewProcedure::default() };
        w.add_procedure(&guest, thread, procedure, &Once::none()).await.unwrap();

        w.resend(&ann, thread, view.guests[0].uuid, Invitation::default(), &Once::none()).await.unwrap();
        let resent = world.sent.take().pop().unwrap();
        assert!(link.starts_with(&resent), "the same link, leading to the chat");

        let token = seen.token.unwrap();
        let view = w.revoke(&ann, thread, view.guests[0].uuid).await.unwrap();
        assert!(view.guests.is_empty());
        assert_eq!(code(w.open_link(&link).await), Code::LinkExpired);
        assert_eq!(code(w.by_url(&ann, &link).await), Code::LinkExpired);
        assert!(world.tokens.verify(&token, &[switchboard::domain::caller::TokenKind::Workbox]).await.is_err());
        assert_eq!(code(world.messages.send(&place, thread, draft("still?"), &Once::none()).await), Code::NotFound);
        assert_eq!(code(w.revoke(&ann, thread, seen.guests[0].uuid).await), Code::NotFound);
        let everything = world.told(thread).await.into_iter().map(|(_, data)| data.to_string()).collect::<String>();
        let secret = link.split("sig=").nth(1).unwrap().split('&').next().unwrap();
        assert!(!everything.contains(secret), "an event holds a link");
    }

    async fn links_are_guarded(db: TestDb) {
        World::new(&db).await;
        let clock = Clock::manual(Clock::system().now());
        let world = World::at(&db, clock.clone()).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, otto, carl) = (world.user(ANN).await, world.user(OTTO).await, world.user(CARL).await);
        let w = &world.workboxes;
        let invited = w.invite_silently(&ann, thread, invitation("Gus"), &Once::none()).await.unwrap();
        let other = w.invite_silently(&ann, thread, invitation("Gil"), &Once::none()).await.unwrap();
        let gil = world.enter(&other.link).await;
        assert_eq!(code(w.by_url(&carl, &invited.link).await), Code::NotFound, "not in the thread");
        for stranger in [&otto, &gil] {
            assert_eq!(code(w.by_url(stranger, &invited.link).await), Code::LinkExpired);
        }
        let guess = invited.link.replace(&invited.uuid.to_string(), &other.uuid.to_string());
        let random = Random::seeded(1).token::<16>();
        for wrong in ["", "nonsense", "https://help.test/x?sig=", &guess, &format!("https://help.test/thread/{}?sig={random}", invited.uuid)] {
            assert_eq!(code(w.open_link(wrong).await), Code::LinkExpired, "{wrong}");
        }
        for bad in [
            Invitation { email: Some("nobody".into()), ..invitation("Gus") },
            Invitation { phone: Some("12".into()), ..invitation("Gus") },
            Invitation { email: Some("a@b.example".into()), ..invitation("<b>") },
            Invitation { email: Some("a@b.example".into()), action: "fly".into(), ..invitation("Gus") },
            Invitation { email: Some("a@b.example".into()), message: Some("x".repeat(256)), ..invitation("Gus") },
            invitation("Gus"),
        ] {
            assert!(w.invite(&ann, thread, bad, &Once::none()).await.is_err());
        }
        assert_eq!(code(w.invite_silently(&carl, thread, invitation("x"), &Once::none()).await), Code::NotFound);
        assert_eq!(code(w.invite_silently(&gil, thread, invitation("x"), &Once::none()).await), Code::Authorization);
        clock.advance(LINK_LIFE);
        assert_eq!(code(w.open_link(&invited.link).await), Code::LinkExpired);
    }
}
