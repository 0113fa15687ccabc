//! Background jobs of the server: clean-up by age, statistics of tables, and figures that are read rather than counted.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::Kernel;
use crate::{
    base::{clock::Clock, metrics::DatabaseMetrics, tasks::Tasks},
    config,
    domain::event::StreamKind,
    journal::{Retention, enforce_retention},
    store::{Db, StoreError, idempotency, invitations, leftovers, statistics},
};

/// Between two looks at the database's connections.
const POOL_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks for tables that have outgrown their statistics.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(2);
/// The same after they could not be taken.
const STATISTICS_PAUSE: Duration = Duration::from_mins(5);
/// So long sign-ins are remembered after their end: who comes late is told "expired", not "unknown".
const SIGN_INS: Duration = Duration::from_hours(30 * 24);

/// Starts them; they end with the server.
pub(super) fn start(kernel: &Kernel) {
    let (db, clock) = (kernel.db().clone(), kernel.ports().clock.clone());
    let rules = kernel.config().retention.clone();
    let services = Arc::clone(&kernel.services);
    repeat(kernel.tasks(), "clean_up", rules.sweep_seconds, move || {
        let (db, clock, rules, services) = (db.clone(), clock.clone(), rules.clone(), Arc::clone(&services));
        async move {
            if let Err(error) = clean_up(&db, &clock, &rules).await {
                tracing::warn!(%error, "clean-up was not finished");
            }
            if let Err(error) = services.attachments.sweep().await {
                tracing::warn!(%error, context = error.context(), "files that nothing refers to are still there");
            }
        }
    });
    let db = kernel.db().clone();
    repeat(kernel.tasks(), "statistics", STATISTICS_INTERVAL, move || {
        let db = db.clone();
        async move {
            if let Err(error) = statistics::catch_up(&db).await {
                tracing::warn!(%error, "statistics of tables were not taken");
                tokio::time::sleep(STATISTICS_PAUSE).await;
            }
        }
    });
    let (db, metrics) = (kernel.db().clone(), kernel.wired.metrics.database.clone());
    repeat(kernel.tasks(), "connections", POOL_INTERVAL, move || {
        let (db, metrics) = (db.clone(), metrics.clone());
        async move {
            measure(&db, &metrics);
            db.close_old_connections().await;
        }
    });
}

/// Runs `job` at once and then at every `period` until the server stops.
fn repeat<F>(tasks: &Tasks, name: &'static str, period: Duration, mut job: impl FnMut() -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let stopping = tasks.stopping();
    tasks.spawn(name, async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            loop {
                ticks.tick().await;
                job().await;
            }
        };
        tokio::select! {
            () = stopping => {}
            () = work => {}
        }
    });
}

/// Forgets what is older than the configuration keeps.
async fn clean_up(db: &Db, clock: &Clock, rules: &config::Retention) -> Result<(), StoreError> {
    let now = clock.now();
    for (kind, keep) in [(StreamKind::User, rules.user_days), (StreamKind::Org, rules.org_days)] {
        let forgotten = enforce_retention(db, Retention { kind, keep }, now).await?;
        if forgotten > 0 {
            tracing::info!(stream = kind.name(), forgotten, "old events were forgotten");
        }
    }
    let forgotten = leftovers::forget_visitors(db, now.minus(rules.visitor_days)).await?;
    if forgotten > 0 {
        tracing::info!(forgotten, "visitors who were let in nowhere were forgotten");
    }
    invitations::purge(db, now.minus(SIGN_INS)).await?;
    leftovers::forget_sign_ins(db, now.minus(SIGN_INS)).await?;
    idempotency::purge(db, now.minus(rules.idempotency_hours)).await?;
    db.checkpoint().await
}

fn measure(db: &Db, metrics: &DatabaseMetrics) {
    let pool = db.pool();
    metrics.connections.set(i64::from(pool.size));
    metrics.idle.set(i64::from(pool.idle));
}
