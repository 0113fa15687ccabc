//! Use cases over a database of their own, for tests of what stands above them.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prometheus_client::registry::Registry;
use switchboard::{
    base::{clock::Clock, master_key::MasterKey, random::Random},
    config::{self, Config},
    files::Files,
    journal::{Journal, JournalMetrics, JournalOptions, NodeEpoch},
    service::{
        Services,
        attachments::{Attachments, Ground},
    },
    store::{Db, ids::Ids},
};
use tempfile::TempDir;

use super::db::{START, TestDb, tasks};

/// What attachments stand on, over `db`, with files of at most a million bytes in `folder`.
pub async fn attachments(db: &Db, clock: &Clock, folder: &TempDir) -> (Attachments, Journal) {
    let (random, tasks) = (Random::seeded(7), tasks());
    let journal = Journal::start(
        db.clone(),
        NodeEpoch::claim(db).await.unwrap(),
        JournalOptions { queue: 100, batch: 10 },
        random.clone(),
        Vec::new(),
        JournalMetrics::register(&mut Registry::default()),
        &tasks,
    );
    let config = config::Files {
        url: format!("file://{}", folder.path().display()),
        max_bytes: 1_000_000,
        ..Config::with("").unwrap().files
    };
    let master = MasterKey::parse(&STANDARD.encode([7; 32])).unwrap();
    let files = Files::open(&config, &master, "http://files.test", tasks.runtime()).unwrap();
    let ground = Ground {
        db: db.clone(),
        journal: journal.clone(),
        ids: Ids::open(db.clone(), tasks).await.unwrap(),
        clock: clock.clone(),
        random,
        keep_outcomes: Duration::from_hours(24),
    };
    (Attachments::new(ground, files), journal)
}

/// All use cases over an empty SQLite database. What comes with them must live as long.
pub async fn services() -> (Arc<Services>, (TestDb, TempDir)) {
    let (db, folder) = (TestDb::sqlite().await, tempfile::tempdir().unwrap());
    let (attachments, _) = attachments(&db, &Clock::manual(START), &folder).await;
    (Arc::new(Services { attachments }), (db, folder))
}
