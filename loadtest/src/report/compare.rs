//! Two results side by side.

use std::fmt::Write as _;

use super::Report;

/// A table of the figures of both, with the ratio.
pub fn render(before: &Report, after: &Report) -> String {
    let mut text = format!("{:<44}{:>14}{:>14}{:>9}\n", before.scenario.name, "before", "after", "ratio");
    for (name, figure) in paths(before) {
        let path = format!("{name}.{figure}");
        if let Some((one, other)) = before.figure(&path).zip(after.figure(&path)) {
            let ratio = if one.abs() < f64::EPSILON { "-".to_owned() } else { format!("{:.2}", other / one) };
            let _ = writeln!(text, "{path:<44}{one:>14.2}{other:>14.2}{ratio:>9}");
        }
    }
    text
}

fn paths(report: &Report) -> Vec<(String, String)> {
    let figures =
        |metric: String| ["rate", "p50_ms", "p99_ms"].map(|figure| (metric.clone(), figure.to_owned()));
    let mut paths = Vec::new();
    for name in report.metrics.keys() {
        paths.extend(figures(name.clone()));
    }
    for stage in report.stages.iter().filter(|stage| stage.name != "connect") {
        for name in stage.metrics.keys() {
            paths.extend(figures(format!("stage.{}.{name}", stage.name)));
        }
        paths.extend(stage.server.keys().map(|name| (format!("stage.{}.server", stage.name), name.clone())));
    }
    paths.extend(report.server.keys().map(|name| ("server".to_owned(), name.clone())));
    paths.push(("errors".to_owned(), "share".to_owned()));
    paths
}
