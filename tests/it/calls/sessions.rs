//! Making and finding sessions.

use switchboard::domain::{codes::Code, once::Once};

use super::world::{ANN, BEN, CARL, OTTO, World};
use crate::harness::db::on_both;

on_both! {
    async fn the_same_people_get_the_same_session(db: TestDb) {
        let world = World::new(&db).await;
        let first = world.session(&[ANN, BEN]).await;
        assert_eq!(world.session(&[BEN, ANN]).await, first);
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let other = world.sessions.create(&ann, &[BEN], true, &Once::none()).await.unwrap();
        assert_ne!(other, first);
        assert_ne!(world.session(&[ANN, BEN, CARL]).await, first);
        let (views, total) = world.sessions.list(&ben, 10, 0).await.unwrap();
        assert_eq!((views.len(), total), (3, 3));
        let view = world.sessions.get(&ben, first).await.unwrap();
        assert_eq!(view.members.len(), 2);
        assert!(view.members.iter().all(|(_, token)| token.is_some()));
        assert!(!view.video_active);
        assert_eq!(world.session_types(first).await, ["session.created"]);
        assert_eq!(world.inbox(BEN).await[0].0, "session.added");
    }

    async fn two_who_open_at_once_meet(db: TestDb) {
        let world = World::new(&db).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let once = Once::none();
        for _ in 0..5 {
            let (a, b) = tokio::join!(
                world.sessions.create(&ann, &[BEN, CARL], false, &once),
                world.sessions.create(&ben, &[ANN, CARL], false, &once),
            );
            assert_eq!(a.unwrap(), b.unwrap());
        }
    }

    async fn strangers_see_nothing(db: TestDb) {
        let world = World::new(&db).await;
        let session = world.session(&[ANN, BEN]).await;
        for stranger in [CARL, OTTO] {
            let caller = world.user(stranger).await;
            let error = world.sessions.get(&caller, session).await.unwrap_err();
            assert_eq!(error.code(), Code::NotFound);
            let error = world.calls.join(&caller, session).await.unwrap_err();
            assert_eq!(error.code(), Code::NotFound);
        }
        let ann = world.user(ANN).await;
        let error = world.sessions.create(&ann, &[OTTO], false, &Once::none()).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        let error = world.sessions.create(&ann, &[ANN], false, &Once::none()).await.unwrap_err();
        assert_eq!(error.code(), Code::ParametersInvalid);
    }

    async fn a_session_token_is_good_for_its_session_only(db: TestDb) {
        let world = World::new(&db).await;
        let ann = world.user(ANN).await;
        let (first, second) = (world.session(&[ANN, BEN]).await, world.session(&[ANN, CARL]).await);
        let holder = world.in_session(&ann, first).await;
        assert!(world.sessions.get(&holder, first).await.is_ok());
        let error = world.calls.join(&holder, second).await.unwrap_err();
        assert_eq!(error.code(), Code::SessionInvalid);
        let info = world.calls.auth(&holder, first).await.unwrap();
        assert_eq!(info.wsserver, "wss://calls.test/connection/websocket");
    }
}
