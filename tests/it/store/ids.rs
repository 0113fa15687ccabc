//! Ids are given once, whatever happens to the process.

use std::{collections::HashSet, time::Duration};

use switchboard::{
    domain::{
        codes::Code,
        ids::{Id, MessageId, OrgId, ParticipantId, PersonId},
    },
    store::ids::Ids,
};

use crate::harness::db::{TestDb, on_both};

async fn open(db: &TestDb) -> Ids {
    Ids::open(db.db.clone(), db.tasks()).await.unwrap()
}

/// Takes ids as a service does, waiting where they come too fast.
async fn take<T: Id>(ids: &Ids, count: usize) -> Vec<i64> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        match ids.next::<T>() {
            Ok(id) => taken.push(id.get()),
            Err(error) => {
                assert_eq!(error.code(), Code::MailboxFull);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    taken
}

on_both! {
    async fn they_start_at_one_and_grow(db: TestDb) {
        let ids = open(&db).await;
        assert_eq!(take::<PersonId>(&ids, 250).await, (1..=250).collect::<Vec<_>>());
        assert_eq!(ids.next::<OrgId>().unwrap(), OrgId(1));
    }

    async fn a_killed_process_gives_none_again(db: TestDb) {
        let mut seen = HashSet::new();
        for _ in 0..4 {
            let ids = open(&db).await;
            for id in take::<PersonId>(&ids, 137).await {
                assert!(seen.insert(id), "{id} was given twice");
            }
            for id in ids.reserve::<PersonId>(60).await.unwrap() {
                assert!(seen.insert(id.get()), "{id} was given twice");
            }
        }
    }

    async fn a_clean_stop_gives_the_rest_back(db: TestDb) {
        let ids = open(&db).await;
        assert_eq!(take::<MessageId>(&ids, 3).await, [1, 2, 3]);
        ids.release().await.unwrap();
        assert_eq!(ids.next::<MessageId>().unwrap_err().code(), Code::MailboxFull);
        let ids = open(&db).await;
        assert_eq!(take::<MessageId>(&ids, 2).await, [4, 5]);
        assert_eq!(ids.next::<PersonId>().unwrap(), PersonId(1));
    }

    async fn what_others_reserved_after_us_is_not_given_back(db: TestDb) {
        let (ours, theirs) = (open(&db).await, open(&db).await);
        let mut seen: HashSet<_> = take::<PersonId>(&ours, 10).await.into_iter().collect();
        ours.release().await.unwrap();
        let third = open(&db).await;
        for ids in [theirs, third] {
            for id in take::<PersonId>(&ids, 150).await {
                assert!(seen.insert(id), "{id} was given twice");
            }
        }
    }

    async fn a_block_in_flight_survives_a_release(db: TestDb) {
        let mut seen = HashSet::new();
        for _ in 0..10 {
            let ids = open(&db).await;
            // Past half of a block: the next one is being fetched while this one is given back.
            for _ in 0..60 {
                assert!(seen.insert(ids.next::<ParticipantId>().unwrap()));
            }
            ids.release().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
            while let Ok(id) = ids.next::<ParticipantId>() {
                assert!(seen.insert(id), "{id} was given twice");
            }
        }
    }

    async fn many_takers_share_a_sequence(db: TestDb) {
        let (ids, tasks) = (open(&db).await, db.tasks());
        let takers: Vec<_> = (0..4).map(|_| {
            let ids = ids.clone();
            tasks.spawn("taker", async move {
                let mut taken = take::<MessageId>(&ids, 9_000).await;
                taken.extend(ids.reserve::<MessageId>(3_000).await.unwrap().map(MessageId::get));
                taken
            })
        }).collect();
        let mut seen = HashSet::new();
        for taker in takers {
            for id in taker.await.unwrap().unwrap() {
                assert!(seen.insert(id), "{id} was given twice");
            }
        }
        assert_eq!(seen.len(), 48_000);
    }

    async fn bulk_is_consecutive(db: TestDb) {
        let ids = open(&db).await;
        for count in [0, 1, 20, 100, 10_000] {
            let range: Vec<_> = ids.reserve::<PersonId>(count).await.unwrap().map(PersonId::get).collect();
            assert_eq!(range.len(), count);
            assert!(range.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        }
    }
}
