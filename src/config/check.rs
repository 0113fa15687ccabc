//! Bounds: what is wrong is collected, so that one start names every mistake at once.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

/// Collects what is out of bounds.
#[derive(Default)]
pub(super) struct Check(Vec<(&'static str, String)>);

impl Check {
    /// `key` lies within `bounds`.
    pub fn range<T: PartialOrd + Display>(&mut self, key: &'static str, value: T, bounds: RangeInclusive<T>) {
        self.ensure(key, bounds.contains(&value), || {
            format!("{value} is not from {} to {}", bounds.start(), bounds.end())
        });
    }

    /// `key` is a duration of so many whole seconds.
    pub fn seconds(&mut self, key: &'static str, value: Duration, bounds: RangeInclusive<u64>) {
        self.range(key, value.as_secs(), bounds);
    }

    /// `key` is right when `holds`; `reason` says what would be.
    pub fn ensure(&mut self, key: &'static str, holds: bool, reason: impl FnOnce() -> String) {
        if !holds {
            self.0.push((key, reason()));
        }
    }

    /// All mistakes: key and reason.
    pub fn finish(self) -> Vec<(&'static str, String)> {
        self.0
    }
}

/// Units: keys end in their unit (`_seconds`, `_hours`, `_days`), fields are [`Duration`]s.
pub(super) mod units {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    macro_rules! unit {
        ($name:ident, $from:ident, $factor:literal) => {
            pub fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
                u32::deserialize(deserializer).map(|n| Duration::$from(u64::from(n) * $factor))
            }
        };
    }
    unit!(seconds, from_secs, 1);
    unit!(hours, from_secs, 3_600);
    unit!(days, from_secs, 86_400);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_every_mistake() {
        let mut check = Check::default();
        check.range("a", 5, 1..=9);
        check.range("b", 0, 1..=9);
        check.seconds("c", Duration::from_secs(11), 1..=10);
        let wrong = check.finish();
        assert_eq!(
            wrong,
            [("b", "0 is not from 1 to 9".to_owned()), ("c", "11 is not from 1 to 10".to_owned())]
        );
    }
}
