//! The small file that says what a run of chaos came to: what `docs/results` holds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Cycle;
use crate::{ledger::violation::Finding, report::Report};

/// The version of the format.
const SCHEMA: &str = "switchboard-chaos/1";

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was done.
    pub act: String,
    /// The kind of database.
    pub database: &'static str,
    /// Events went to NATS, and JetStream was checked.
    pub bus: bool,
    /// The server, as it names itself.
    pub server: String,
    /// Where chance began.
    pub seed: u64,
    /// When it began, in seconds since the epoch.
    pub began: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// How often something was done.
    pub cycles: usize,
    /// How often each was done, by its name.
    pub acts: BTreeMap<String, usize>,
    /// From the start of the process (or the end of the fault) until the server was ready.
    pub ready_ms: Spread,
    /// From then until every client was back with everything that had been acknowledged.
    pub whole_ms: Spread,
    /// What the loss checker compared, by kind.
    pub checked: BTreeMap<String, u64>,
    /// What it found.
    pub findings: Vec<Finding>,
}

/// How some times are spread, in milliseconds.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Largest.
    pub max: u64,
}

impl Spread {
    /// Of these times.
    fn of(times: impl Iterator<Item = f64>) -> Self {
        let mut times: Vec<_> = times.map(|ms| ms.round() as u64).collect();
        times.sort_unstable();
        // The smallest of which that share of all is no larger.
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            times.get(rank.max(1) - 1).copied().unwrap_or_default()
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl Summary {
    /// Of a finished run; `database` is its address, none for SQLite.
    pub fn of(report: &Report, act: String, database: Option<&str>, bus: bool, server: String) -> Self {
        let mut acts = BTreeMap::new();
        for cycle in &report.chaos {
            *acts.entry(cycle.name().to_owned()).or_default() += 1;
        }
        let verdict = report.verify.clone().unwrap_or_default();
        Self {
            schema: SCHEMA,
            act,
            database: if database.is_some() { "postgres" } else { "sqlite" },
            bus,
            server,
            seed: report.scenario.seed,
            began: report.began_us / 1_000_000,
            seconds: report.seconds.round() as u64,
            cycles: report.chaos.len(),
            acts,
            ready_ms: Spread::of(report.chaos.iter().map(|cycle| cycle.ready_ms)),
            whole_ms: Spread::of(report.chaos.iter().filter_map(|cycle: &Cycle| cycle.whole_ms)),
            checked: verdict.checked,
            findings: verdict.findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentiles_are_times_that_were_measured() {
        let spread = Spread::of((1..=200).rev().map(f64::from));
        assert_eq!(spread, Spread { p50: 100, p99: 198, max: 200 });
        assert_eq!(Spread::of([7.4].into_iter()), Spread { p50: 7, p99: 7, max: 7 });
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }
}
