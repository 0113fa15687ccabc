//! All metrics of a run: second by second, stage by stage and in all.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{Handle, Histogram, Summary, new_histogram};
use crate::failure::Failure;

/// One second of one metric. Times in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Point {
    /// Seconds since the run began.
    pub t: f64,
    /// Values recorded.
    pub count: u64,
    /// Failures.
    pub failed: u64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// How often one kind of request failed in one way.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// The metric.
    pub metric: String,
    /// The failure.
    pub failure: String,
    /// How often.
    pub count: u64,
}

/// What was measured in one stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Seconds from the begin of the run to its begin.
    pub from: f64,
    /// Its length.
    pub seconds: f64,
    /// The metrics.
    pub metrics: BTreeMap<String, Summary>,
}

#[derive(Debug)]
struct Kept {
    handle: Handle,
    total: Histogram,
    stage: Histogram,
    failed: u64,
    stage_failed: u64,
    points: Vec<Point>,
}

#[derive(Debug, Default)]
struct Inner {
    metrics: BTreeMap<String, Kept>,
    errors: BTreeMap<(String, String), u64>,
    stages: Vec<Stage>,
    stage_began: f64,
}

/// All metrics of a run.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Inner>);

impl Registry {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metric of this name; made on first use.
    pub fn metric(&self, name: &str) -> Handle {
        let mut inner = self.inner();
        if let Some(kept) = inner.metrics.get(name) {
            return kept.handle.clone();
        }
        let handle = Handle::new();
        let kept = Kept {
            handle: handle.clone(),
            total: new_histogram(),
            stage: new_histogram(),
            failed: 0,
            stage_failed: 0,
            points: Vec::new(),
        };
        inner.metrics.insert(name.to_owned(), kept);
        handle
    }

    /// Counts a failure, by metric and by kind.
    pub fn fail(&self, metric: &str, failure: &Failure) {
        self.metric(metric).fail();
        *self.inner().errors.entry((metric.to_owned(), failure.name())).or_default() += 1;
    }

    /// Ends an interval: what was recorded becomes a point. Gives the points, by name.
    pub fn tick(&self, t: f64) -> Vec<(String, Point)> {
        let mut interval = new_histogram();
        let mut inner = self.inner();
        let mut points = Vec::with_capacity(inner.metrics.len());
        for (name, kept) in &mut inner.metrics {
            interval.reset();
            let failed = kept.handle.drain(&mut interval);
            let _ = kept.total.add(&interval);
            let _ = kept.stage.add(&interval);
            kept.failed += failed;
            kept.stage_failed += failed;
            let ms = |quantile: f64| interval.value_at_quantile(quantile) as f64 / 1000.0;
            let point = Point {
                t,
                count: interval.len(),
                failed,
                p50: ms(0.5),
                p90: ms(0.9),
                p99: ms(0.99),
                max: ms(1.0),
            };
            kept.points.push(point);
            points.push((name.clone(), point));
        }
        points
    }

    /// Ends a stage, at `t` seconds: what was recorded since the last one belongs to it.
    pub fn end_stage(&self, name: &str, t: f64) {
        self.tick(t);
        let mut inner = self.inner();
        let (from, seconds) = (inner.stage_began, t - inner.stage_began);
        inner.stage_began = t;
        let mut metrics = BTreeMap::new();
        for (metric, kept) in &mut inner.metrics {
            if !kept.stage.is_empty() || kept.stage_failed > 0 {
                metrics.insert(metric.clone(), Summary::of(&kept.stage, kept.stage_failed, seconds));
            }
            kept.stage.reset();
            kept.stage_failed = 0;
        }
        inner.stages.push(Stage { name: name.to_owned(), from, seconds, metrics });
    }

    /// The stages that have ended.
    pub fn stages(&self) -> Vec<Stage> {
        self.inner().stages.clone()
    }

    /// Everything in all, over `seconds`.
    pub fn totals(&self, seconds: f64) -> BTreeMap<String, Summary> {
        let inner = self.inner();
        let of = |kept: &Kept| Summary::of(&kept.total, kept.failed, seconds);
        inner.metrics.iter().map(|(name, kept)| (name.clone(), of(kept))).collect()
    }

    /// All points.
    pub fn points(&self) -> BTreeMap<String, Vec<Point>> {
        self.inner().metrics.iter().map(|(name, kept)| (name.clone(), kept.points.clone())).collect()
    }

    /// All failures, the most frequent first.
    pub fn errors(&self) -> Vec<ErrorCount> {
        let inner = self.inner();
        let mut errors: Vec<_> = inner
            .errors
            .iter()
            .map(|((metric, failure), count)| ErrorCount {
                metric: metric.clone(),
                failure: failure.clone(),
                count: *count,
            })
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_stands_in_its_second_its_stage_and_the_total() {
        let registry = Registry::default();
        let send = registry.metric("send");
        send.record(1_000);
        registry.tick(1.0);
        send.record(3_000);
        registry.fail("send", &Failure::TimedOut);
        registry.end_stage("warm-up", 2.0);
        send.record(9_000);
        registry.end_stage("steady", 4.0);

        let points = &registry.points()["send"];
        assert_eq!(points.iter().map(|point| point.count).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(points.iter().map(|point| point.failed).sum::<u64>(), 1);
        let stages = registry.stages();
        assert_eq!((stages[0].metrics["send"].count, stages[0].metrics["send"].failed), (2, 1));
        assert_eq!((stages[1].from, stages[1].seconds, stages[1].metrics["send"].count), (2.0, 2.0, 1));
        let total = &registry.totals(4.0)["send"];
        assert_eq!((total.count, total.failed), (3, 1));
        assert!((total.max_ms - 9.0).abs() < 0.1, "{}", total.max_ms);
        assert_eq!(registry.errors()[0].failure, "timed out");
    }
}
