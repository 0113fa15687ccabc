//! When things are due: open-loop arrivals that do not wait for anybody.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::Arrivals;

/// The times, from the begin of a stage, at which actions are due.
#[derive(Debug)]
pub struct Schedule {
    from: f64,
    slope: f64,
    length: f64,
    spread: Arrivals,
    /// Arrivals expected until the last one that was given.
    passed: f64,
}

impl Schedule {
    /// `from` actions a second at first, `to` at the end of `length`.
    pub fn new((from, to): (f64, f64), length: Duration, spread: Arrivals) -> Self {
        let length = length.as_secs_f64();
        Self { from, slope: (to - from) / length, length, spread, passed: 0.0 }
    }

    /// When the next one is due; `None` when the stage is over.
    pub fn next(&mut self, random: &mut impl Rng) -> Option<Duration> {
        self.passed += match self.spread {
            Arrivals::Even => 1.0,
            Arrivals::Poisson => -(1.0 - random.random::<f64>()).ln(),
        };
        let at = self.when(self.passed)?;
        (at < self.length).then(|| Duration::from_secs_f64(at))
    }

    /// Solves `from * t + slope / 2 * t² = count` for t.
    fn when(&self, count: f64) -> Option<f64> {
        if self.slope.abs() < f64::EPSILON {
            return (self.from > 0.0).then(|| count / self.from);
        }
        let root = self.from.mul_add(self.from, 2.0 * self.slope * count);
        (root >= 0.0).then(|| (root.sqrt() - self.from) / self.slope)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn all(ramp: (f64, f64), seconds: u64, spread: Arrivals) -> Vec<f64> {
        let mut schedule = Schedule::new(ramp, Duration::from_secs(seconds), spread);
        let mut random = SmallRng::seed_from_u64(3);
        std::iter::from_fn(|| schedule.next(&mut random)).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn a_steady_rate_is_even() {
        let times = all((10.0, 10.0), 2, Arrivals::Even);
        assert_eq!(times.len(), 19);
        assert!((times[0] - 0.1).abs() < 1e-9 && (times[18] - 1.9).abs() < 1e-9, "{times:?}");
    }

    #[test]
    fn a_ramp_has_the_mean_of_its_ends() {
        let times = all((0.0, 100.0), 10, Arrivals::Even);
        assert!((495..=500).contains(&times.len()), "{}", times.len());
        let late = times.iter().filter(|at| **at > 5.0).count();
        assert!((370..=380).contains(&late), "three quarters come in the second half: {late}");
        let down = all((100.0, 0.0), 10, Arrivals::Even);
        assert!((495..=500).contains(&down.len()), "{}", down.len());
    }

    #[test]
    fn independent_people_come_at_the_same_rate_but_unevenly() {
        let times = all((1000.0, 1000.0), 10, Arrivals::Poisson);
        assert!((9_700..10_300).contains(&times.len()), "{}", times.len());
        let short = times.windows(2).filter(|pair| pair[1] - pair[0] < 0.0005).count();
        assert!(short > times.len() / 4, "{short} short distances");
    }
}
