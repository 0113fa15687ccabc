//! `/metrics` of the server: the few figures that explain latencies.

use std::collections::BTreeMap;

/// Figures by name, labels added up.
#[derive(Clone, Debug, Default)]
pub struct Scrape(BTreeMap<String, f64>);

const WANTED: &[&str] = &[
    "switchboard_journal_commit_seconds_sum",
    "switchboard_journal_commit_seconds_count",
    "switchboard_journal_batch_appends_sum",
    "switchboard_socket_realtime_pushes_total",
    "switchboard_socket_realtime_connections",
];

impl Scrape {
    /// Reads the text format.
    pub fn parse(text: &str) -> Self {
        let mut found = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let name = name.split('{').next().unwrap_or(name);
            if let (true, Ok(value)) = (WANTED.contains(&name), value.parse::<f64>()) {
                *found.entry(name.to_owned()).or_default() += value;
            }
        }
        Self(found)
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    fn since(&self, before: &Self, name: &str) -> Option<f64> {
        // A server that started anew counts from 0.
        Some((self.get(name)? - before.get(name).unwrap_or(0.0)).max(0.0))
    }

    /// Fills in what happened between two scrapes, `seconds` apart.
    pub fn explain(&self, before: &Self, seconds: f64, sample: &mut super::Sample) {
        let commits = self.since(before, "switchboard_journal_commit_seconds_count");
        let appends = self.since(before, "switchboard_journal_batch_appends_sum");
        let time = self.since(before, "switchboard_journal_commit_seconds_sum");
        sample.commits = commits.map(|commits| commits / seconds);
        let per_commit = |sum: Option<f64>| match (sum, commits) {
            (Some(sum), Some(commits)) if commits > 0.0 => Some(sum / commits),
            _ => None,
        };
        sample.appends_per_commit = per_commit(appends);
        sample.commit_ms = per_commit(time).map(|seconds| seconds * 1000.0);
        let pushes = self.since(before, "switchboard_socket_realtime_pushes_total");
        sample.pushes = pushes.map(|pushes| pushes / seconds);
        sample.connections = self.get("switchboard_socket_realtime_connections");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_between_two_scrapes() {
        let text = |count: u32, sum: f64, appends: u32| {
            format!(
                "# HELP x\nswitchboard_journal_commit_seconds_sum {sum}\nswitchboard_journal_commit_seconds_count {count}\n\
                 switchboard_journal_batch_appends_sum {appends}\nswitchboard_journal_commit_seconds_bucket{{le=\"1\"}} 9\n"
            )
        };
        let (before, after) = (Scrape::parse(&text(10, 1.0, 20)), Scrape::parse(&text(20, 1.05, 60)));
        let mut sample = super::super::Sample::default();
        after.explain(&before, 2.0, &mut sample);
        assert_eq!((sample.commits, sample.appends_per_commit), (Some(5.0), Some(4.0)));
        assert!((sample.commit_ms.unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(sample.pushes, None);
    }
}
