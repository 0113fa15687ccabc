//! A result as lines for a terminal.

use std::fmt::Write as _;

use super::Report;
use crate::stats::Summary;

/// The result in a screenful.
pub fn render(report: &Report) -> String {
    let mut text = format!(
        "\n{}: {}\n{} connections, {:.0} s{}\n\n",
        report.scenario.name,
        report.scenario.question,
        report.connections,
        report.seconds,
        if report.interrupted { " (ended early)" } else { "" },
    );
    let _ = writeln!(
        text,
        "{:<18}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}",
        "", "count", "per s", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed"
    );
    for (name, one) in report.metrics.iter().filter(|(name, _)| is_shown(name)) {
        text.push_str(&row(name, one));
    }
    for stage in report.stages.iter().filter(|_| report.stages.len() > 2) {
        let _ = writeln!(text, "\n{} ({:.0} s)", stage.name, stage.seconds);
        for (name, one) in stage.metrics.iter().filter(|(name, _)| is_shown(name)) {
            text.push_str(&row(name, one));
        }
        if let Some(rate) = stage.server.get("deliveries_per_cpu_second") {
            let _ = writeln!(text, "{:<18}{rate:>10.0} deliveries per CPU second of the server", "");
        }
    }
    if !report.server.is_empty() {
        text.push_str("\nserver:");
        for (name, value) in &report.server {
            let _ = write!(text, "  {name} {value:.2}");
        }
        text.push('\n');
    }
    for error in &report.errors {
        let _ = writeln!(text, "failed {} times: {}: {}", error.count, error.metric, error.failure);
    }
    if report.generator.saturated {
        let _ = writeln!(
            text,
            "\nTHIS PROCESS WAS THE BOTTLENECK (arrivals {:.1} ms late at p99, {:.0}% CPU): latencies are too high and \
             rates too low. Use more machines or processes (--shard).",
            report.generator.lag_p99_ms, report.generator.cpu_percent_max
        );
    }
    for cycle in &report.chaos {
        let _ = writeln!(text, "{cycle}");
    }
    if let Some(verdict) = &report.verify {
        let checked: Vec<_> = verdict.checked.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let _ = writeln!(text, "\nverified: {}", checked.join(", "));
        match verdict.findings.first() {
            None => text.push_str("nothing lost, nothing twice, one order, no gap\n"),
            Some(first) => {
                let _ = writeln!(text, "{} VIOLATIONS; the first: {first}", verdict.findings.len());
            }
        }
    }
    for judged in &report.thresholds {
        let bound =
            |name: &str, value: Option<f64>| value.map_or(String::new(), |value| format!(" {name} {value}"));
        let ratio = judged.threshold.ratio_to.as_ref().map_or(String::new(), |other| format!(" / {other}"));
        let _ = writeln!(
            text,
            "{} {}{ratio} = {}{}{}",
            if judged.holds { "ok  " } else { "FAIL" },
            judged.threshold.metric,
            judged.value.map_or("not measured".to_owned(), |value| format!("{value:.3}")),
            bound("max", judged.threshold.max),
            bound("min", judged.threshold.min),
        );
    }
    text
}

/// What only serves other figures is left out.
fn is_shown(name: &str) -> bool {
    !matches!(name, "generator_lag" | "delivery_others" | "receipt_events" | "caught_up_events")
}

fn row(name: &str, one: &Summary) -> String {
    format!(
        "{name:<18}{:>10}{:>10.1}{:>9.2}{:>9.2}{:>9.2}{:>9.1}{:>8}\n",
        one.count,
        one.rate,
        one.p50_ms,
        one.p90_ms,
        one.p99_ms,
        one.max_ms,
        if one.failed > 0 { one.failed.to_string() } else { "-".to_owned() }
    )
}
