//! Lists: order, pages, status, filters, counts.

use switchboard::{
    domain::{codes::Code, ids::ConversationId, once::Once},
    service::workboxes::{ListRequest, StatusFilter},
};

use super::world::{ADA, ANN, BEN, CARL, OTTO, World, code};
use crate::harness::db::on_both;

fn by(filter: &str) -> ListRequest {
    ListRequest { filter: Some(filter.to_owned()), ..ListRequest::default() }
}

on_both! {
    async fn the_most_recently_active_come_first(db: TestDb) {
        let world = World::new(&db).await;
        let (ann, ben) = (world.user(ANN).await, world.user(BEN).await);
        let mut threads = Vec::new();
        for _ in 0..7 {
            threads.push(world.thread(&[BEN]).await);
        }
        world.send(&ben, threads[2], "wake up").await;
        world.whisper(&ben, threads[4], "quietly").await;
        let mut order: Vec<ConversationId> = threads.iter().rev().copied().collect();
        order.retain(|id| *id != threads[2] && *id != threads[4]);
        order.splice(0..0, [threads[4], threads[2]]);
        assert_eq!(world.listed(&ann, ListRequest::default()).await, order);

        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let request = ListRequest { limit: 3, after, ..ListRequest::default() };
            let page = world.workboxes.list(&ann, &request).await.unwrap();
            assert!(page.entries.len() <= 3);
            paged.extend(page.entries.iter().map(|entry| entry.id));
            match page.after {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(paged, order);
        let wrong = ListRequest { limit: 3, after: Some("nonsense".into()), ..ListRequest::default() };
        assert_eq!(code(world.workboxes.list(&ann, &wrong).await), Code::ParametersInvalid);
    }

    async fn status_and_filters_select(db: TestDb) {
        let world = World::new(&db).await;
        let (ann, ben, carl, otto, ada) = (
            world.user(ANN).await, world.user(BEN).await, world.user(CARL).await, world.user(OTTO).await, world.user(ADA).await,
        );
        let w = &world.workboxes;
        let (first, second, third) = (world.thread(&[BEN]).await, world.thread(&[BEN]).await, world.thread(&[]).await);
        w.assign(&ann, second, Some(BEN), &Once::none()).await.unwrap();
        w.close(&ann, third, &Once::none()).await.unwrap();
        w.set_title(&ann, first, "It's 100 % gone").await.unwrap();
        let status = |status| ListRequest { status, ..ListRequest::default() };
        assert_eq!(world.listed(&ann, status(StatusFilter::Open)).await, [first, second]);
        assert_eq!(world.listed(&ann, status(StatusFilter::Closed)).await, [third]);
        assert_eq!(world.listed(&ann, status(StatusFilter::Assigned)).await, [second]);
        assert_eq!(world.listed(&ann, status(StatusFilter::Reported)).await, [first]);
        assert_eq!(world.listed(&ben, ListRequest::default()).await, [first, second]);
        assert!(world.listed(&carl, ListRequest::default()).await.is_empty());
        for (filter, want) in [
            (format!("id={first}"), vec![first]),
            (format!("id|={first},{third}"), vec![first, third]),
            ("status=closed".to_owned(), vec![third]),
            (format!("assigned_to={BEN}"), vec![second]),
            ("assigned_to=-1 and status!=CLOSED".to_owned(), vec![first]),
            ("title~=%100 % gone".to_owned(), vec![first]),
            ("\"title='It\\'s 100 % gone'\"".to_owned(), vec![first]),
            (format!("participant.id={BEN}"), vec![first, second]),
            ("updated_at>2100-01-01T00:00:00Z".to_owned(), vec![]),
        ] {
            assert_eq!(world.listed(&ann, by(&filter)).await, want, "{filter}");
        }
        for wrong in ["nothing=1", "id~=1", "id=x", "title"] {
            assert_eq!(code(w.list(&ann, &by(wrong)).await), Code::ParametersInvalid, "{wrong}");
        }
        let all = |caller| { let request = ListRequest { limit: 20, ..ListRequest::default() }; async move { w.list_all(caller, &request).await } };
        assert_eq!(all(&ada).await.unwrap().entries.len(), 3);
        assert_eq!(code(all(&ann).await), Code::Authorization);
        assert_eq!(code(all(&otto).await), Code::Authorization);

        world.send(&ann, second, "one").await;
        let info = w.info(&ben).await.unwrap();
        assert_eq!((info.total, info.open, info.closed, info.unread_count_open, info.unread_count_total), (2, 2, 0, 1, 1));
        assert_eq!(w.info(&carl).await.unwrap().last_active_at, None);
    }
}
