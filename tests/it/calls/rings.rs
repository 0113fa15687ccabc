//! Rings and calls, from the first ring to the last participant.

use std::time::Duration;

use switchboard::{
    domain::{codes::Code, machine::ring::DeclineReason, once::Once},
    service::calls::Reached,
};

use super::world::{ANN, BEN, BENEDICT, CARL, World};
use crate::harness::db::on_both;

on_both! {
    async fn ring_accept_call_end(db: TestDb) {
        let world = World::new(&db).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let session = world.session(&[ANN, BEN]).await;
        let ring = world.ring_one(ANN, session).await;
        let (kind, incoming) = world.inbox(BEN).await.pop().unwrap();
        assert_eq!((kind.as_str(), &incoming["from"]["name"]), ("ring.incoming", &"Ann".into()));
        assert_eq!(incoming["request_id"], ring.to_string());
        assert_eq!(world.calls.incoming(BEN).await.unwrap()[0].request_id, ring);

        let entered = world.calls.accept(&ben, ring, &Once::none()).await.unwrap();
        assert_eq!(entered.user_id, BEN);
        let again = world.calls.accept(&ben, ring, &Once::none()).await.unwrap_err();
        assert_eq!(again.code(), Code::RingNotActive);
        let (kind, stopped) = world.inbox(BEN).await.pop().unwrap();
        assert_eq!((kind.as_str(), &stopped["cause"]), ("ring.stopped", &"accepted_elsewhere".into()));

        let joined = world.calls.join(&ann, session).await.unwrap();
        assert_eq!((joined.call_id.clone(), joined.started), (entered.call_id.clone(), true));
        assert_eq!(joined.participants.len(), 2);
        assert_eq!(joined.ice_servers.len(), 2);
        assert!(world.sessions.get(&ann, session).await.unwrap().video_active);
        assert_eq!(world.calls.active(BEN).await.unwrap().unwrap().call_id, entered.call_id);

        world.calls.end(&ben, &entered.call_id).await.unwrap();
        assert_eq!(
            world.session_types(session).await,
            [
                "session.created", "ring.started", "ring.accepted", "call.started", "participant.joined",
                "participant.joined", "participant.left", "participant.left", "call.ended"
            ]
        );
        assert!(world.calls.active(BEN).await.unwrap().is_none());
        let error = world.calls.leave(&ann, &entered.call_id).await.unwrap_err();
        assert_eq!(error.code(), Code::CallNotActive);
    }

    async fn many_devices_answer_and_one_wins(db: TestDb) {
        let world = World::new(&db).await;
        let ben = world.user(BEN).await;
        let session = world.session(&[ANN, BEN]).await;
        let ring = world.ring_one(ANN, session).await;
        let (accepts, declines) = (0..8, 0..8);
        let accepts = accepts.map(|_| async { world.calls.accept(&ben, ring, &Once::none()).await.is_ok() });
        let declines = declines.map(|_| async {
            let reason = DeclineReason::Declined;
            world.calls.decline(&ben, ring, reason, None, &Once::none()).await.is_ok()
        });
        let (accepted, declined) = tokio::join!(
            futures_util::future::join_all(accepts),
            futures_util::future::join_all(declines),
        );
        assert_eq!(accepted.into_iter().chain(declined).filter(|won| *won).count(), 1);
        let stopped = world.inbox(BEN).await.into_iter().filter(|(kind, _)| kind == "ring.stopped").count();
        assert_eq!(stopped, 1);
    }

    async fn who_cannot_be_rung_is_not(db: TestDb) {
        let world = World::new(&db).await;
        world.call(BEN, CARL).await;
        let session = world.session(&[ANN, BEN]).await;
        assert_eq!(world.ring(ANN, session, false).await[0].state, Reached::Busy);
        // The same human being by another face is busy too.
        let session = world.session(&[ANN, BENEDICT]).await;
        assert_eq!(world.ring(ANN, session, false).await[0].state, Reached::Busy);
        world.connected.set(BEN, false);
        let (session, _) = world.call(ANN, super::world::ADA).await;
        let ann = world.user(ANN).await;
        world.calls.end(&ann, &world.calls.active(ANN).await.unwrap().unwrap().call_id).await.unwrap();
        world.connected.set(super::world::ADA, false);
        assert_eq!(world.ring(ANN, session, false).await[0].state, Reached::Unreachable);
        let inbox = world.inbox(BEN).await;
        assert!(inbox.iter().all(|(kind, data)| kind != "ring.incoming" || data["from"]["name"] != "Ann"));
    }

    async fn nobody_is_in_two_calls(db: TestDb) {
        let world = World::new(&db).await;
        let ben = world.user(BEN).await;
        let (first, second) = (world.session(&[ANN, BEN]).await, world.session(&[CARL, BEN]).await);
        let (one, two) = (world.ring_one(ANN, first).await, world.ring_one(CARL, second).await);
        let once = Once::none();
        let (a, b) = tokio::join!(
            world.calls.accept(&ben, one, &once),
            world.calls.accept(&ben, two, &once),
        );
        let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
        won.unwrap();
        assert_eq!(lost.unwrap_err().code(), Code::Busy);
        // What the refused one had decided never was.
        let other = if world.ring_state(one).await == "accepted" { two } else { one };
        assert_eq!(world.ring_state(other).await, "ringing");
    }

    async fn who_answers_stops_ringing_others(db: TestDb) {
        let world = World::new(&db).await;
        let (first, second) = (world.session(&[ANN, BEN]).await, world.session(&[CARL, ANN]).await);
        let outgoing = world.ring_one(ANN, first).await;
        let incoming = world.ring_one(CARL, second).await;
        let ann = world.user(ANN).await;
        world.calls.accept(&ann, incoming, &Once::none()).await.unwrap();
        assert_eq!(world.ring_state(outgoing).await, "cancelled");
    }

    async fn a_ring_ends_by_itself(db: TestDb) {
        let world = World::new(&db).await;
        let session = world.session(&[ANN, BEN]).await;
        let ring = world.ring_one(ANN, session).await;
        world.told(session, "ring.timed_out").await;
        assert_eq!(world.ring_state(ring).await, "timed_out");
        // A caller whose connection is lost takes the rings along, earlier than that.
        let rung = world.ring(ANN, session, true).await;
        world.told(session, "ring.cancelled").await;
        assert_eq!(world.ring_state(rung[0].request_id).await, "cancelled");
    }

    async fn the_lost_are_out_and_the_call_ends(db: TestDb) {
        let world = World::new(&db).await;
        let (session, call) = world.call(ANN, BEN).await;
        // Ann's frames keep coming, Ben's do not.
        let frames = async {
            loop {
                world.calls.renew_lease(session, ANN).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = frames => {}
            left = world.told(session, "participant.left") => {
                assert_eq!((&left["reason"], &left["user"]["name"]), (&"lost".into(), &"Ben".into()));
            }
        }
        let ended = world.told(session, "call.ended").await;
        assert_eq!((&ended["reason"], &ended["call_id"]), (&"empty".into(), &call.to_string().into()));
        assert!(!world.calls.renew_lease(session, ANN).await.unwrap());
    }

    async fn people_are_invited_into_a_running_call(db: TestDb) {
        let world = World::new(&db).await;
        let (session, call) = world.call(ANN, BEN).await;
        let (ann, carl) = (world.user(ANN).await, world.user(CARL).await);
        let rung = world.calls.invite(&ann, session, &call, &[CARL], &Once::none()).await.unwrap();
        assert_eq!((rung[0].user_id, rung[0].state), (CARL, Reached::Ringing));
        let entered = world.calls.accept(&carl, rung[0].request_id, &Once::none()).await.unwrap();
        assert_eq!(entered.call_id, call);
        let types = world.session_types(session).await;
        assert!(types.iter().any(|kind| kind == "member.added"));
        // The two are found by their names no more: that session has three people now.
        assert_ne!(world.session(&[ANN, BEN]).await, session);
        // An owner puts somebody out for good.
        world.calls.remove(&ann, &call, CARL).await.unwrap();
        assert_eq!(world.calls.join(&carl, session).await.unwrap_err().code(), Code::Authorization);
    }

    async fn a_declined_ring_says_why(db: TestDb) {
        let world = World::new(&db).await;
        let ben = world.user(BEN).await;
        let session = world.session(&[ANN, BEN]).await;
        let ring = world.ring_one(ANN, session).await;
        let text = Some("in a meeting".to_owned());
        world.calls.decline(&ben, ring, DeclineReason::Busy, text, &Once::none()).await.unwrap();
        let declined = world.told(session, "ring.declined").await;
        assert_eq!((&declined["reason"], &declined["message"]), (&1.into(), &"in a meeting".into()));
        let ring = world.ring_one(ANN, session).await;
        world.calls.cancel_all(&world.user(ANN).await, session).await.unwrap();
        assert_eq!(world.ring_state(ring).await, "cancelled");
    }
}
