//! What members change: people, status, title; what everybody is told of it.

use switchboard::domain::{codes::Code, ids::PersonId, once::Once};
use switchboard::service::workboxes::{NewProcedure, NewWorkbox, ProcedureMove};

use super::world::{ADA, ANN, BEN, CARL, OTTO, World, again, code, draft, once};
use crate::harness::db::on_both;

on_both! {
    async fn a_thread_lives(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let w = &world.workboxes;
        let view = world.view(&ann, thread).await;
        assert_eq!((view.status.as_str(), view.assigned_to.id, view.version.as_str()), ("REPORTED", PersonId(-1), "1"));
        let view = w.assign(&ann, thread, Some(BEN), &Once::none()).await.unwrap();
        assert_eq!((view.status.as_str(), view.assigned_to.name.as_str()), ("ASSIGNED", "Ben"));
        let view = w.set_title(&ben, thread, " The pump drips ").await.unwrap();
        assert_eq!(view.title, "The pump drips");
        assert_eq!(code(w.reopen(&ann, thread, &Once::none()).await), Code::Constraint);
        let view = w.close(&ann, thread, &Once::none()).await.unwrap();
        assert!(view.status == "CLOSED" && view.closed_at.is_some());
        assert_eq!(code(w.close(&ann, thread, &Once::none()).await), Code::Constraint);
        let view = w.reopen(&ben, thread, &Once::none()).await.unwrap();
        assert!(view.status == "ASSIGNED" && view.closed_at.is_none());
        let view = w.assign(&ann, thread, None, &Once::none()).await.unwrap();
        assert_eq!(view.status, "REPORTED");
        for stranger in [CARL, OTTO, PersonId(77)] {
            assert!(w.assign(&ann, thread, Some(stranger), &Once::none()).await.is_err());
        }
        let kinds: Vec<_> = world.told(thread).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [
            "workbox.created", "workbox.assigned", "workbox.updated", "workbox.closed", "workbox.reopened",
            "workbox.unassigned",
        ]);
        let (_, last) = world.told(thread).await.pop().unwrap();
        assert_eq!((&last["title"], &last["status"]), (&"The pump drips".into(), &"REPORTED".into()));
        assert_eq!(world.inbox(BEN).await, ["workbox.added", "workbox.assigned"]);
        // A position to follow from, no later than the view.
        assert_eq!(view.stream.offset.0, 6);
        let restarted = World::start(&db).await;
        assert_eq!(restarted.view(&ben, thread).await.version, view.version);
    }

    async fn people_come_and_go(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben, carl, otto) = (world.user(ANN).await, world.user(BEN).await, world.user(CARL).await, world.user(OTTO).await);
        let w = &world.workboxes;
        assert_eq!(code(w.get(&carl, thread).await), Code::NotFound);
        let bens = world.in_workbox(&world.view(&ben, thread).await).await;
        let message = world.send(&ann, thread, "hello").await;
        world.read(&ben, thread, message.id).await;
        w.assign(&ann, thread, Some(BEN), &Once::none()).await.unwrap();
        let view = w.set_participants(&ann, thread, vec![CARL, CARL]).await.unwrap();
        let present: Vec<_> = view.participants.iter().filter(|p| !p.removed).map(|p| p.user_id).collect();
        assert_eq!(present, [ANN, CARL]);
        assert_eq!(view.status, "REPORTED", "who worked on it is gone");
        assert_eq!(code(world.messages.send(&ben, thread, draft("x"), &Once::none()).await), Code::NotFound);
        assert!(world.tokens.verify(&world.view(&carl, thread).await.token.unwrap(), &[bens.kind]).await.is_ok());
        assert_eq!(world.view(&carl, thread).await.unread_messages_count, 1, "what was before is unread");
        assert_eq!(code(w.set_participants(&carl, thread, vec![OTTO]).await), Code::ParametersInvalid);
        assert_eq!(code(w.set_participants(&otto, thread, vec![]).await), Code::NotFound);
        // Carl leaves nobody out but Ben stays away; then Ben comes back to his place.
        let view = w.set_participants(&carl, thread, vec![BEN]).await.unwrap();
        let present: Vec<_> = view.participants.iter().filter(|p| !p.removed).map(|p| p.user_id).collect();
        assert_eq!(present, [ANN, BEN, CARL]);
        assert_eq!(world.view(&ben, thread).await.last_read_message_id, Some(message.id));
        assert_eq!(world.inbox(BEN).await, ["workbox.added", "workbox.assigned", "workbox.removed", "workbox.added"]);
        let kinds: Vec<_> = world.told(thread).await.into_iter().map(|(kind, _)| kind).filter(|kind| kind.starts_with("part")).collect();
        assert_eq!(kinds, ["participant.added", "participant.removed", "participant.added"]);
        // Administrators look from outside, and only at what is theirs.
        let ada = world.user(ADA).await;
        assert_eq!(code(w.get(&ada, thread).await), Code::NotFound);
        let seen = w.get_any(&ada, thread).await.unwrap();
        assert!(seen.token.is_none());
        assert_eq!(code(w.get_any(&ben, thread).await), Code::Authorization);
    }

    async fn opening_one_is_checked_and_done_once(db: TestDb) {
        let world = World::new(&db).await;
        let ann = world.user(ANN).await;
        let w = &world.workboxes;
        for participants in [vec![OTTO], vec![PersonId(77)], vec![PersonId(-1)], vec![PersonId(i64::MAX)]] {
            let new = NewWorkbox { participants, ..NewWorkbox::default() };
            assert_eq!(code(w.create(&ann, new, &Once::none()).await), Code::ParametersInvalid);
        }
        let new = NewWorkbox { title: "x".repeat(256), ..NewWorkbox::default() };
        assert_eq!(code(w.create(&ann, new, &Once::none()).await), Code::ParametersInvalid);
        let new = || NewWorkbox { participants: vec![BEN, BEN, ANN], ..NewWorkbox::default() };
        let first = w.create(&ann, new(), &once(&ann, "create_workbox", "k")).await.unwrap();
        let second = w.create(&ann, new(), &again(&db, &ann, "create_workbox", "k").await).await.unwrap();
        assert_eq!((first.id, first.participants.len()), (second.id, 2));
        assert!(second.token.is_some());
        let guest = world.guest(first.id, "Gus").await;
        assert_eq!(code(w.create(&guest, new(), &Once::none()).await), Code::Authorization);
        // A guest's token is good for one thread.
        let other = world.thread(&[]).await;
        assert_eq!(code(w.get(&guest, other).await), Code::NotFound);
    }

    async fn procedures_move(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let w = &world.workboxes;
        let new = NewProcedure { procedure: 12, version: 3, values_url: Some("https://values.test/secret".into()), ..NewProcedure::default() };
        let view = w.add_procedure(&ann, thread, new, &Once::none()).await.unwrap();
        assert_eq!((view.procedure_count, view.procedures[0].owner_id), (1, ANN));
        let id = view.procedures[0].id;
        let step = |state: &str| ProcedureMove { id, state: Some(state.into()), task_uuid: None, action_time: None };
        let view = w.move_procedure(&ben, thread, step("RUNNING")).await.unwrap();
        assert_eq!(view.procedures[0].state, "RUNNING");
        let view = w.move_procedure(&ben, thread, step("deleted")).await.unwrap();
        assert_eq!(view.procedure_count, 0);
        assert_eq!(code(w.move_procedure(&ben, thread, step("RUNNING")).await), Code::NotFound);
        let stranger = NewProcedure { procedure: 1, version: 1, owner: Some(CARL), ..NewProcedure::default() };
        assert_eq!(code(w.add_procedure(&ann, thread, stranger, &Once::none()).await), Code::ParametersInvalid);
        let told: String = world.told(thread).await.into_iter().map(|(_, data)| data.to_string()).collect();
        assert!(told.contains("RUNNING") && !told.contains("values.test"));
    }
}
