//! The result file. `docs/LOADTEST.md` describes it; fields may be added, never renamed, under one version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ledger::violation::Finding,
    observe::Sample,
    run::{Outcome, Shard},
    scenario::{Scenario, Threshold},
    stats::{ErrorCount, Series, Summary},
    target::Target,
};

/// The version of the format.
pub const SCHEMA: &str = "switchboard-loadtest/1";
/// This process keeps time badly when arrivals are this late (99th percentile, in milliseconds).
const LATE_MS: f64 = 20.0;

/// A result.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The scenario as it was run.
    pub scenario: Scenario,
    /// The kind of server.
    pub target: Target,
    /// Its address.
    pub url: String,
    /// When it began, in microseconds since the epoch.
    pub began_us: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Which part this is.
    pub shard: Shard,
    /// It was ended early.
    pub interrupted: bool,
    /// Connections open after the connect phase.
    pub connections: usize,
    /// Everything in all, by metric.
    pub metrics: BTreeMap<String, Summary>,
    /// Stage by stage.
    pub stages: Vec<StageReport>,
    /// Second by second, by metric.
    pub series: BTreeMap<String, Series>,
    /// The server, second by second.
    pub samples: Vec<Sample>,
    /// The server in all.
    pub server: BTreeMap<String, f64>,
    /// What failed.
    pub errors: Vec<ErrorCount>,
    /// Whether this process was the bottleneck, and how one sees that.
    pub generator: Generator,
    /// The loss checker's findings, when it ran.
    pub verify: Option<Verdict>,
    /// Kills and the like, when there were some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chaos: Vec<crate::chaos::Cycle>,
    /// The thresholds and what was reached.
    pub thresholds: Vec<Judged>,
}

/// One stage.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Seconds from the begin of the run to its begin.
    pub from: f64,
    /// Its length.
    pub seconds: f64,
    /// Its metrics.
    pub metrics: BTreeMap<String, Summary>,
    /// The server in it.
    pub server: BTreeMap<String, f64>,
}

/// This process.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Generator {
    /// Its figures are about itself, not about the server.
    pub saturated: bool,
    /// How late arrivals were, 99th percentile.
    pub lag_p99_ms: f64,
    /// Its CPU, at most; 100 is one core.
    pub cpu_percent_max: f64,
}

/// What the loss checker said.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Verdict {
    /// What was compared, by kind.
    pub checked: BTreeMap<String, u64>,
    /// What is broken; the first ones.
    pub findings: Vec<Finding>,
}

/// A threshold and what was reached.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Judged {
    /// The threshold.
    pub threshold: Threshold,
    /// What was reached; none when the figure does not exist.
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

impl Report {
    /// The result of a run.
    pub fn of(outcome: &Outcome, shard: Shard) -> Self {
        let world = &outcome.world;
        let seconds = world.seconds();
        let marks = outcome.marks.windows(2);
        let stages = world.stats.stages().into_iter().zip(marks).map(|(stage, pair)| {
            let mut server = BTreeMap::new();
            let cpu = pair[1].cpu_seconds.zip(pair[0].cpu_seconds).map(|(now, then)| now - then);
            insert(&mut server, "cpu_seconds", cpu);
            insert(&mut server, "rss_mb", pair[1].rss_mb);
            insert(&mut server, "deliveries_per_cpu_second", per_cpu(&stage.metrics, "delivery", cpu));
            insert(&mut server, "sends_per_cpu_second", per_cpu(&stage.metrics, "send", cpu));
            StageReport {
                name: stage.name,
                from: stage.from,
                seconds: stage.seconds,
                metrics: stage.metrics,
                server,
            }
        });
        let stages: Vec<_> = stages.collect();
        let metrics = world.stats.totals(seconds);
        let mut report = Self {
            schema: SCHEMA.to_owned(),
            scenario: world.scenario.clone(),
            target: world.target,
            url: world.rest.base().to_owned(),
            began_us: world.watch.began_us(),
            seconds,
            shard,
            interrupted: outcome.interrupted,
            connections: outcome.connections,
            server: server(outcome, &metrics),
            generator: generator(&outcome.samples, &metrics),
            metrics: metrics.into_iter().filter(|(_, one)| one.count + one.failed > 0).collect(),
            stages,
            series: world.stats.points(),
            samples: outcome.samples.clone(),
            errors: world.stats.errors(),
            verify: None,
            chaos: Vec::new(),
            thresholds: Vec::new(),
        };
        report.series.retain(|name, _| report.metrics.contains_key(name));
        report
    }

    /// Judges the thresholds. True when all hold.
    pub fn judge(&mut self) -> bool {
        let judged = self.scenario.thresholds.iter().filter_map(|threshold| {
            let value = match &threshold.ratio_to {
                Some(other) => self.figure(&threshold.metric).zip(self.figure(other)).map(|(a, b)| a / b),
                None => self.figure(&threshold.metric),
            };
            // What was not asked for cannot be judged: the server's side from afar, an end that was cut off.
            let optional = self.interrupted
                || (threshold.metric.contains("server.") && self.server.is_empty())
                || (threshold.metric.starts_with("verify.") && self.verify.is_none());
            if value.is_none() && optional {
                return None;
            }
            let holds = value.is_some_and(|value| {
                threshold.max.is_none_or(|max| value <= max) && threshold.min.is_none_or(|min| value >= min)
            });
            Some(Judged { threshold: threshold.clone(), value, holds })
        });
        self.thresholds = judged.collect();
        self.thresholds.iter().all(|one| one.holds)
    }

    /// A figure by its path.
    pub fn figure(&self, path: &str) -> Option<f64> {
        if let Some(rest) = path.strip_prefix("stage.") {
            let (name, rest) = rest.split_once('.')?;
            let stage = self.stages.iter().find(|stage| stage.name == name)?;
            return match rest.strip_prefix("server.") {
                Some(name) => stage.server.get(name).copied(),
                None => figure_in(&stage.metrics, rest),
            };
        }
        match path.split_once('.')? {
            ("server", name) => self.server.get(name).copied(),
            ("errors", "share") => Some(self.error_share()),
            ("verify", "violations") => Some(self.verify.as_ref()?.findings.len() as f64),
            ("receipt_events", "rate_per_stream") => {
                let rooms = self.scenario.population.rooms.max(1) as f64;
                Some(self.metrics.get("receipt_events")?.count as f64 / self.seconds / rooms)
            }
            _ => figure_in(&self.metrics, path),
        }
    }

    /// Failures among everything that was asked.
    pub fn error_share(&self) -> f64 {
        let asked =
            |name: &&String| !matches!(name.as_str(), "delivery" | "delivery_others" | "generator_lag");
        let own = self.metrics.iter().filter(|(name, _)| asked(name));
        let (good, bad) = own.fold((0, 0), |(good, bad), (_, one)| (good + one.count, bad + one.failed));
        if good + bad == 0 { 0.0 } else { bad as f64 / (good + bad) as f64 }
    }
}

fn figure_in(metrics: &BTreeMap<String, Summary>, path: &str) -> Option<f64> {
    let (metric, figure) = path.split_once('.')?;
    metrics.get(metric)?.figure(figure)
}

fn insert(into: &mut BTreeMap<String, f64>, name: &str, value: Option<f64>) {
    if let Some(value) = value.filter(|value| value.is_finite()) {
        into.insert(name.to_owned(), value);
    }
}

fn per_cpu(metrics: &BTreeMap<String, Summary>, metric: &str, cpu: Option<f64>) -> Option<f64> {
    let cpu = cpu.filter(|cpu| *cpu > 0.0)?;
    metrics.get(metric).map(|one| one.count as f64 / cpu)
}

fn server(outcome: &Outcome, metrics: &BTreeMap<String, Summary>) -> BTreeMap<String, f64> {
    let mut server = BTreeMap::new();
    let [start, connected, .., end] = outcome.marks.as_slice() else { return server };
    let cpu = end.cpu_seconds.zip(start.cpu_seconds).map(|(now, then)| now - then);
    insert(&mut server, "cpu_seconds", cpu);
    insert(&mut server, "rss_start_mb", start.rss_mb);
    insert(&mut server, "rss_connected_mb", connected.rss_mb);
    insert(&mut server, "rss_end_mb", end.rss_mb);
    insert(&mut server, "deliveries_per_cpu_second", per_cpu(metrics, "delivery", cpu));
    insert(&mut server, "sends_per_cpu_second", per_cpu(metrics, "send", cpu));
    let connections = outcome.connections.max(1) as f64;
    // From a fifth of them on: the first fill caches and load parts of the program, whatever their number.
    let early = outcome.samples.iter().find(|one| one.connections.is_some_and(|n| n >= connections / 5.0));
    let early = early.and_then(|one| one.rss_mb.zip(one.connections)).filter(|(_, n)| *n < connections * 0.8);
    let (then, before) = early.map_or((start.rss_mb, 0.0), |(rss_mb, n)| (Some(rss_mb), n));
    let grown = connected.rss_mb.zip(then).map(|(now, then)| (now - then) * 1024.0 / (connections - before));
    insert(&mut server, "rss_per_connection_kb", grown);
    let spent =
        connected.cpu_seconds.zip(start.cpu_seconds).map(|(now, then)| (now - then) * 1e3 / connections);
    insert(&mut server, "cpu_per_connect_ms", spent);
    let growth = end.rss_mb.zip(connected.rss_mb).map(|(now, then)| now / then - 1.0);
    insert(&mut server, "rss_growth_share", growth);
    let most = outcome.samples.iter().filter_map(|sample| sample.rss_mb).fold(f64::NAN, f64::max);
    insert(&mut server, "rss_max_mb", Some(most));
    server
}

fn generator(samples: &[Sample], metrics: &BTreeMap<String, Summary>) -> Generator {
    let lag_p99_ms = metrics.get("generator_lag").map_or(0.0, |lag| lag.p99_ms);
    let lost = metrics.get("generator_lag").is_some_and(|lag| lag.failed > 0);
    let cpu_percent_max = samples.iter().filter_map(|sample| sample.own_cpu_percent).fold(0.0, f64::max);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let saturated = lag_p99_ms > LATE_MS || lost || cpu_percent_max > 95.0 * cores;
    Generator { saturated, lag_p99_ms, cpu_percent_max }
}
