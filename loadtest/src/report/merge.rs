//! The results of several shards as one.

use std::collections::BTreeMap;

use super::{Report, result::Verdict};
use crate::stats::{Point, Series, Summary};

/// Adds up shards. Histograms are added exactly; of a second's percentiles the worst shard counts.
pub fn merge(mut shards: Vec<Report>) -> Result<Report, String> {
    shards.sort_by_key(|report| report.shard.index);
    let mut all = shards.into_iter();
    let mut whole = all.next().ok_or("there is nothing to merge")?;
    for report in all {
        if report.scenario.name != whole.scenario.name {
            return Err(format!(
                "{} and {} are different scenarios",
                whole.scenario.name, report.scenario.name
            ));
        }
        add(&mut whole, report);
    }
    whole.shard = crate::run::Shard::default();
    whole.judge();
    Ok(whole)
}

fn add(whole: &mut Report, part: Report) {
    let seconds = whole.seconds.max(part.seconds);
    whole.seconds = seconds;
    whole.connections += part.connections;
    whole.interrupted |= part.interrupted;
    add_metrics(&mut whole.metrics, part.metrics, seconds);
    for (stage, other) in whole.stages.iter_mut().zip(part.stages) {
        add_metrics(&mut stage.metrics, other.metrics, stage.seconds.max(other.seconds));
        // The server is one: its CPU is the same for all, what it did for them adds up.
        if let Some(cpu) = stage.server.get("cpu_seconds").copied().filter(|cpu| *cpu > 0.0) {
            for (name, metric) in
                [("deliveries_per_cpu_second", "delivery"), ("sends_per_cpu_second", "send")]
            {
                if let Some(one) = stage.metrics.get(metric) {
                    stage.server.insert(name.to_owned(), one.count as f64 / cpu);
                }
            }
        }
    }
    for (name, series) in part.series {
        add_series(whole.series.entry(name).or_default(), &series);
    }
    for error in part.errors {
        match whole.errors.iter_mut().find(|one| one.metric == error.metric && one.failure == error.failure) {
            Some(one) => one.count += error.count,
            None => whole.errors.push(error),
        }
    }
    whole.generator.saturated |= part.generator.saturated;
    whole.generator.lag_p99_ms = whole.generator.lag_p99_ms.max(part.generator.lag_p99_ms);
    whole.generator.cpu_percent_max += part.generator.cpu_percent_max;
    if let Some(verdict) = part.verify {
        let both = whole.verify.get_or_insert_with(Verdict::default);
        for (what, count) in verdict.checked {
            *both.checked.entry(what).or_default() += count;
        }
        both.findings.extend(verdict.findings);
    }
}

fn add_metrics(whole: &mut BTreeMap<String, Summary>, part: BTreeMap<String, Summary>, seconds: f64) {
    for (name, summary) in part {
        let merged = whole.get(&name).map(|one| one.merged(&summary, seconds));
        whole.insert(name, merged.unwrap_or(summary));
    }
}

/// Shards begin at about the same time: points of the same second belong together.
fn add_series(whole: &mut Series, part: &[Point]) {
    for point in part {
        let Some(one) = whole.iter_mut().find(|one| (one.t - point.t).abs() < 0.5) else {
            let place = whole.partition_point(|one| one.t < point.t);
            whole.insert(place, *point);
            continue;
        };
        one.count += point.count;
        one.failed += point.failed;
        one.p50 = one.p50.max(point.p50);
        one.p90 = one.p90.max(point.p90);
        one.p99 = one.p99.max(point.p99);
        one.max = one.max.max(point.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_shards_are_added_up() {
        let point = |t, count, p99| Point { t, count, p99, ..Point::default() };
        let mut whole = vec![point(1.0, 5, 2.0), point(2.0, 5, 9.0)];
        add_series(&mut whole, &[point(0.1, 1, 1.0), point(1.1, 7, 3.0), point(3.0, 1, 1.0)]);
        let counts: Vec<_> = whole.iter().map(|point| (point.t, point.count, point.p99)).collect();
        assert_eq!(counts, [(0.1, 1, 1.0), (1.0, 12, 3.0), (2.0, 5, 9.0), (3.0, 1, 1.0)]);
    }
}
