//! A crash in the middle: what rang still runs out, who was in a call is there or lost, nothing stays open.

use std::time::Duration;

use switchboard::domain::once::Once;

use super::world::{ANN, BEN, CARL, TIMING, World};
use crate::harness::db::on_both;

on_both! {
    async fn timers_run_after_a_restart(db: TestDb) {
        let before = World::new(&db).await;
        let session = before.session(&[ANN, BEN]).await;
        let ring = before.ring_one(ANN, session).await;
        let row = switchboard::store::calls::find_ring(&db, ring).await.unwrap().unwrap();
        drop(before);

        let world = World::start(&db).await;
        world.live.wake_unfinished(&world.db).await.unwrap();
        world.told(session, "ring.timed_out").await;
        let ended = switchboard::store::calls::find_ring(&db, ring).await.unwrap().unwrap().ended_at.unwrap();
        // The deadline stayed what it was.
        assert_eq!(row.expires_at.since(row.created_at), TIMING.ring);
        assert!(ended >= row.expires_at && ended.since(row.expires_at) < Duration::from_secs(2));
    }

    async fn a_call_survives_for_those_who_come_back(db: TestDb) {
        let before = World::new(&db).await;
        let (session, call) = before.call(ANN, BEN).await;
        drop(before);

        let world = World::start(&db).await;
        world.live.wake_unfinished(&world.db).await.unwrap();
        // Ann reconnects: no leave, the same call. Ben does not.
        let joined = world.calls.join(&world.user(ANN).await, session).await.unwrap();
        assert_eq!(joined.call_id, call);
        let left = world.told(session, "participant.left").await;
        assert_eq!(left["reason"], "lost");
        world.told(session, "call.ended").await;
        let types = world.session_types(session).await;
        assert_eq!(types.iter().filter(|kind| *kind == "participant.joined").count(), 2);
        // Nobody is held by what is over.
        world.connected.set(BEN, true);
        world.connected.set(CARL, true);
        let other = world.session(&[BEN, CARL]).await;
        let ring = world.ring_one(BEN, other).await;
        world.calls.accept(&world.user(CARL).await, ring, &Once::none()).await.unwrap();
    }
}
