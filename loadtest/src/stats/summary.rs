//! What is kept of a histogram in a result.

use serde::{Deserialize, Serialize};

use super::{Histogram, Point, new_histogram};

/// A metric in figures. Times in milliseconds; `histogram` in microseconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Summary {
    /// Values recorded: requests that succeeded, deliveries.
    pub count: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Values per second.
    pub rate: f64,
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// `[value, count]` pairs, from which shards are merged exactly.
    #[serde(default)]
    pub histogram: Vec<(u64, u64)>,
}

impl Summary {
    /// The figures of `histogram`, recorded over `seconds`.
    pub fn of(histogram: &Histogram, failed: u64, seconds: f64) -> Self {
        let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let rate = if seconds > 0.0 { histogram.len() as f64 / seconds } else { 0.0 };
        Self {
            count: histogram.len(),
            failed,
            rate,
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: ms(1.0),
            histogram: histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }

    /// Both together, over the same `seconds`.
    pub fn merged(&self, other: &Self, seconds: f64) -> Self {
        let mut histogram = new_histogram();
        for (value, count) in self.histogram.iter().chain(&other.histogram) {
            histogram.saturating_record_n(*value, *count);
        }
        Self::of(&histogram, self.failed + other.failed, seconds)
    }

    /// One of its figures, by name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        Some(match name {
            "count" => self.count as f64,
            "failed" => self.failed as f64,
            "rate" => self.rate,
            "mean_ms" => self.mean_ms,
            "p50_ms" => self.p50_ms,
            "p90_ms" => self.p90_ms,
            "p99_ms" => self.p99_ms,
            "p999_ms" => self.p999_ms,
            "max_ms" => self.max_ms,
            _ => return None,
        })
    }
}

/// A metric over time.
pub type Series = Vec<Point>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_merge_to_what_one_process_would_have_measured() {
        let (mut one, mut other, mut both) = (new_histogram(), new_histogram(), new_histogram());
        for value in 1..2_000_u64 {
            let half = if value % 3 == 0 { &mut one } else { &mut other };
            half.saturating_record(value * 7);
            both.saturating_record(value * 7);
        }
        let merged = Summary::of(&one, 1, 10.0).merged(&Summary::of(&other, 2, 10.0), 10.0);
        let whole = Summary::of(&both, 3, 10.0);
        assert_eq!((merged.count, merged.failed), (whole.count, 3));
        for figure in ["p50_ms", "p90_ms", "p99_ms", "max_ms", "rate"] {
            let (merged, whole) = (merged.figure(figure).unwrap(), whole.figure(figure).unwrap());
            assert!((merged - whole).abs() / whole < 0.02, "{figure}: {merged}, not {whole}");
        }
    }
}
