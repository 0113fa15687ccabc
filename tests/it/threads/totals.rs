//! The totals that `receipt.updated` carries are those that REST gives.

use serde_json::json;
use switchboard::{base::random::Random, domain::ids::MessageId, service::messages::ThreadReceipts};

use super::world::{ANN, BEN, CARL, World};
use crate::harness::db::on_both;

on_both! {
    async fn events_and_rest_agree_on_how_far_all_are(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN, CARL]).await;
        let guest = world.guest(thread, "Gus").await;
        let people = [world.user(ANN).await, world.user(BEN).await, world.user(CARL).await, guest.clone()];
        let random = Random::seeded(7);
        let pick = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
        for step in 0..40 {
            let author = &people[pick(4)];
            world.send(author, thread, "open").await;
            if step % 3 == 0 {
                world.whisper(&people[pick(3)], thread, "inside").await;
            }
            // Whoever reads the newest has news to tell.
            let reader = &people[pick(4)];
            world.read(reader, thread, MessageId(-1)).await;
            world.clock.advance(std::time::Duration::from_secs(1));
            let ThreadReceipts { most_recent_all_received, most_recent_all_read, .. } =
                world.messages.thread_receipts(&guest, thread).await.unwrap();
            let want = [most_recent_all_received, most_recent_all_read].map(|id| json!(id.unwrap_or_default()));
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
            loop {
                let told = world.told(thread).await;
                let last = told.iter().rev().find(|(kind, _)| kind == "receipt.updated");
                let last = last.map(|(_, data)| {
                    [&data["most_recent_all_received"], &data["most_recent_all_read"]].map(Clone::clone)
                });
                if last.as_ref() == Some(&want) {
                    break;
                }
                assert!(tokio::time::Instant::now() < deadline, "step {step}: {last:?}, not {want:?}");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}
