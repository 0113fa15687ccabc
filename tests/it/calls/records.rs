//! What is left of calls: records, recents, tags, comments, ratings.

use switchboard::{
    domain::{codes::Code, machine::ring::DeclineReason, once::Once, query::ListQuery},
    store::call_records::{FIELDS, References},
};

use super::world::{ADA, ANN, BEN, CARL, OTTO, World};
use crate::harness::db::on_both;

on_both! {
    async fn a_record_tells_all(db: TestDb) {
        let world = World::new(&db).await;
        let (session, call) = world.call(ANN, BEN).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        world.calls.leave(&ben, &call).await.unwrap();
        world.calls.join(&ben, session).await.unwrap();
        world.calls.end(&ann, &call).await.unwrap();
        let record = world.records.get(&ann, &call).await.unwrap();
        assert_eq!((record.call.dialer_id, record.call.receiver_id, record.call.owner_id), (ANN, Some(BEN), ANN));
        assert_eq!(record.stretches.len(), 3, "who came back has two stretches");
        assert_eq!(record.participants().len(), 2);
        assert!(record.stretches.iter().all(|stretch| stretch.left_at.is_some()));
        assert_eq!(record.rings.len(), 1);
        for stranger in [CARL, OTTO] {
            let error = world.records.get(&world.user(stranger).await, &call).await.unwrap_err();
            assert_eq!(error.code(), Code::NotFound);
        }
        let ada = world.user(ADA).await;
        assert!(world.records.get_any(&ada, &call).await.is_ok());
        assert_eq!(world.records.of_session(&ada, session).await.unwrap().len(), 1);
    }

    async fn each_who_was_rung_has_one_entry(db: TestDb) {
        let world = World::new(&db).await;
        let (ben, carl) = (world.user(BEN).await, world.user(CARL).await);
        let session = world.session(&[ANN, BEN, CARL]).await;
        let rung = world.ring(ANN, session, false).await;
        let ring_of = |person| rung.iter().find(|rung| rung.user_id == person).unwrap().request_id;
        let reason = DeclineReason::Declined;
        world.calls.decline(&ben, ring_of(BEN), reason, None, &Once::none()).await.unwrap();
        let call = world.calls.accept(&carl, ring_of(CARL), &Once::none()).await.unwrap().call_id;
        world.calls.end(&carl, &call).await.unwrap();
        let of_ben = world.records.recent(&ben).await.unwrap();
        assert_eq!(of_ben.len(), 1);
        assert_eq!((of_ben[0].outcome.as_str(), of_ben[0].outgoing), ("declined", false));
        assert_eq!(of_ben[0].contact.as_ref().unwrap().name(), "Ann");
        let of_carl = world.records.recent(&carl).await.unwrap();
        assert_eq!(of_carl.len(), 1);
        assert_eq!(of_carl[0].call.as_ref().unwrap().call.id, call);
        assert!(of_carl[0].token.is_some());
        assert_eq!(world.records.recent(&world.user(ANN).await).await.unwrap().len(), 2);
    }

    async fn calls_are_annotated_and_found_by_it(db: TestDb) {
        let world = World::new(&db).await;
        let (session, call) = world.call(ANN, BEN).await;
        let (ann, ada) = (world.user(ANN).await, world.user(ADA).await);
        let (records, once) = (&world.records, Once::none());
        records.set_tags(&ann, &call, vec!["red".into(), "blue".into(), "red".into()], false, &once).await.unwrap();
        records.set_tags(&ann, &call, vec!["green".into()], false, &once).await.unwrap();
        records.rate(&ann, &call, 4, &once).await.unwrap();
        records.rate(&ann, &call, 5, &once).await.unwrap();
        assert_eq!(records.rate(&ann, &call, 6, &once).await.unwrap_err().code(), Code::ParametersInvalid);
        let comment = records.comment(&ann, &call, " good ", &once).await.unwrap();
        assert_eq!((comment.row.comment.as_str(), comment.author.unwrap().name()), ("good", "Ann"));
        let references = References { alt1_id: Some("T-1".into()), ..References::default() };
        records.set_references(&ann, &call, references).await.unwrap();
        let record = records.get(&ann, &call).await.unwrap();
        assert_eq!((record.tags.len(), record.ratings.as_slice()), (3, &[(ANN, 5)][..]));
        assert_eq!(records.comments(&ann, &call).await.unwrap().len(), 1);
        for (filter, count) in [
            ("tag.name=RED", 1),
            ("tag.name|=black,green", 1),
            ("tag.name=black", 0),
            ("alt1_id=t-1", 1),
            ("start_time>2020-01-01T00:00:00.000000Z and dialer_id=1001", 1),
            ("participant.id=1002", 1),
            ("participant.id=1003", 0),
        ] {
            let query = ListQuery { filter: Some(filter.into()), ..ListQuery::default() };
            let (calls, total) = records.list_all(&ada, &query.parse(FIELDS).unwrap()).await.unwrap();
            assert_eq!((calls.len(), total), (count, i64::try_from(count).unwrap()), "{filter}");
        }
        for order in ["start_time", "-end_time,dialer_id", "session_id desc"] {
            let query = ListQuery { order: Some(order.into()), ..ListQuery::default() };
            assert_eq!(records.list_mine(&ann, &query.parse(FIELDS).unwrap()).await.unwrap().1, 1);
        }
        records.set_tags(&ann, &call, Vec::new(), true, &once).await.unwrap();
        assert!(records.get(&ann, &call).await.unwrap().tags.is_empty());
        let updates = world.session_types(session).await.into_iter().filter(|kind| kind == "call.updated").count();
        assert_eq!(updates, 7);
    }
}
