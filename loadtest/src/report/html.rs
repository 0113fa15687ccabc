//! A result as one page: no other file, no address outside, light and dark.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Report,
    plot::{Line, Plot, escape, short},
};
use crate::{
    observe::Sample,
    stats::{Point, Summary},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
pub fn render(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{0}</title><style>{STYLE}</style><main>\n<header><h1>{0}</h1><p class=question>{1}</p><p>{2}</p></header>\n",
        escape(&report.scenario.name),
        escape(&report.scenario.question),
        escape(&subtitle(report)),
    );
    if report.generator.saturated {
        let _ = write!(
            page,
            "<p class=warning><b>loadtest itself was the bottleneck</b>: arrivals {:.1} ms late (p99), {:.0}% CPU. Latencies are \
             too high and rates too low; use more machines or processes.</p>",
            report.generator.lag_p99_ms, report.generator.cpu_percent_max
        );
    }
    page.push_str(&tiles(report));
    page.push_str(&thresholds(report));
    page.push_str(&verdict(report));
    page.push_str(&plots(report));
    page.push_str(&table("In all", report.metrics.iter()));
    for stage in report.stages.iter().filter(|stage| stage.name != "connect") {
        page.push_str(&table(&format!("{} ({:.0} s)", stage.name, stage.seconds), stage.metrics.iter()));
    }
    page.push_str(&lists(report));
    let _ = writeln!(page, "</main><script>{SCRIPT}</script></html>");
    page
}

fn subtitle(report: &Report) -> String {
    format!(
        "{} · {} connections · {:.0} s{}{}",
        report.url,
        report.connections,
        report.seconds,
        if report.interrupted { " · ended early" } else { "" },
        if report.shard.of > 1 {
            format!(" · part {} of {}", report.shard.index + 1, report.shard.of)
        } else {
            String::new()
        },
    )
}

fn tiles(report: &Report) -> String {
    let figure = |path: &str| report.figure(path);
    let wanted = [
        ("sent, p99", figure("send.p99_ms"), "ms"),
        ("sent", figure("send.rate"), "per s"),
        ("delivered, p99", figure("delivery.p99_ms"), "ms"),
        ("delivered", figure("delivery.rate"), "per s"),
        ("everybody back", figure("storm.max_ms"), "ms"),
        ("rings heard, p99", figure("ring_delivery.p99_ms"), "ms"),
        ("deliveries", figure("server.deliveries_per_cpu_second"), "per CPU s"),
        ("memory", figure("server.rss_max_mb"), "MB"),
        ("failed", Some(report.error_share() * 100.0), "%"),
    ];
    let mut text = "<section class=tiles>".to_owned();
    for (name, value, unit) in wanted.into_iter().filter_map(|(name, value, unit)| Some((name, value?, unit)))
    {
        let _ = write!(text, "<div><small>{name}</small><b>{}</b><span>{unit}</span></div>", short(value));
    }
    text + "</section>\n"
}

fn thresholds(report: &Report) -> String {
    if report.thresholds.is_empty() {
        return String::new();
    }
    let mut text = "<section><h2>Thresholds</h2><ul class=checks>".to_owned();
    for one in &report.thresholds {
        let bound =
            |name: &str, value: Option<f64>| value.map_or(String::new(), |value| format!(" {name} {value}"));
        let ratio = one.threshold.ratio_to.as_ref().map_or(String::new(), |other| format!(" / {other}"));
        let _ = write!(
            text,
            "<li class={}><code>{}{}</code> {} <small>{}{}</small>",
            if one.holds { "good" } else { "bad" },
            escape(&one.threshold.metric),
            escape(&ratio),
            one.value.map_or("not measured".to_owned(), short),
            bound("at most", one.threshold.max),
            bound("at least", one.threshold.min),
        );
    }
    text + "</ul></section>\n"
}

fn verdict(report: &Report) -> String {
    let Some(verdict) = &report.verify else { return String::new() };
    let checked: Vec<_> =
        verdict.checked.iter().map(|(what, count)| format!("{} {what}", short(*count as f64))).collect();
    let mut text =
        format!("<section><h2>Loss checker</h2><p>{}</p><ul class=checks>", escape(&checked.join(" · ")));
    if verdict.findings.is_empty() {
        text.push_str("<li class=good>nothing lost, nothing twice, one order, no gap");
    }
    for finding in verdict.findings.iter().take(20) {
        let _ = write!(text, "<li class=bad><pre>{}</pre>", escape(&finding.to_string()));
    }
    text + "</ul></section>\n"
}

/// Metrics that everybody asks about come first; the others are folded away.
const FIRST: &[&str] = &["delivery", "send", "ring_delivery", "whole", "signal_delivery"];
/// Metrics that only serve other figures.
const HIDDEN: &[&str] = &[
    "generator_lag",
    "delivery_others",
    "receipt_events",
    "caught_up_events",
    "connection",
    "storm",
    "while_rough",
];

fn plots(report: &Report) -> String {
    let bands: Vec<_> = report
        .stages
        .iter()
        .map(|stage| (stage.name.clone(), stage.from, stage.from + stage.seconds))
        .collect();
    let plot = |title: &str, unit, lines, is_log| Plot {
        title: title.to_owned(),
        unit,
        lines,
        bands: &bands,
        length: report.seconds,
        is_log,
    };
    let latency = |name: &str| {
        let line = |label, class, of: fn(&Point) -> f64| {
            let points = report.series.get(name).into_iter().flatten();
            let points = points.map(|point| (point.t, (point.count > 0).then(|| of(point)))).collect();
            Line { name: label, class, points }
        };
        let lines = vec![
            line("p99", "c", |point| point.p99),
            line("p90", "b", |point| point.p90),
            line("p50", "a", |point| point.p50),
        ];
        plot(&format!("{name}: latency"), "ms", lines, true)
    };
    let mut first = Vec::new();
    for name in FIRST.iter().filter(|name| report.series.contains_key(**name)) {
        first.push(latency(name));
        let rate = Line {
            name: "per second",
            class: "a",
            points: rates(&report.series[*name], |point| point.count),
        };
        first.push(plot(&format!("{name}: rate"), "per s", vec![rate], false));
    }
    first.push(plot("Failures", "per s", vec![failures(report)], false));
    let sampled = |name, class, of: fn(&Sample) -> Option<f64>| Line {
        name,
        class,
        points: report.samples.iter().map(|sample| (sample.t, of(sample))).collect(),
    };
    let cpu = vec![
        sampled("server", "a", |sample| sample.cpu_percent),
        sampled("loadtest", "d", |sample| sample.own_cpu_percent),
    ];
    let commits = vec![
        sampled("per second", "a", |sample| sample.commits),
        sampled("appends in each", "c", |sample| sample.appends_per_commit),
    ];
    first.push(plot("CPU", "% of a core", cpu, false));
    first.push(plot("Server: memory", "MB", vec![sampled("resident", "a", |sample| sample.rss_mb)], false));
    first.push(plot(
        "Server: connections",
        "",
        vec![sampled("open", "a", |sample| sample.connections)],
        false,
    ));
    first.push(plot(
        "Journal: time of a commit",
        "ms",
        vec![sampled("mean", "b", |sample| sample.commit_ms)],
        true,
    ));
    first.push(plot("Journal: commits", "", commits, false));
    let others = report.series.keys().filter(|name| {
        let name = name.as_str();
        !FIRST.contains(&name) && !HIDDEN.contains(&name)
    });
    let others: String = others.map(|name| latency(name).render()).collect();
    let shown: String = first.iter().filter(|plot| !plot.is_empty()).map(Plot::render).collect();
    format!(
        "<section class=plots>{shown}</section>\n<details><summary>Latency of each other action</summary>\
         <section class=plots>{others}</section></details>\n"
    )
}

/// Per second, whatever the distance between the points.
fn rates(series: &[Point], of: impl Fn(&Point) -> u64) -> Vec<(f64, Option<f64>)> {
    let (mut rates, mut before, mut pending) = (Vec::new(), 0.0, 0);
    for point in series {
        pending += of(point);
        // Stages end between two seconds: what is too short to be a rate belongs to the next point.
        if point.t - before >= 0.5 {
            rates.push((point.t, Some(pending as f64 / (point.t - before))));
            (before, pending) = (point.t, 0);
        }
    }
    rates
}

fn failures(report: &Report) -> Line {
    // Points of one moment have one time, whatever the metric; in milliseconds they can be told apart.
    let mut all = BTreeMap::<u64, Point>::new();
    for point in report.series.values().flatten() {
        let sum = all.entry((point.t * 1000.0) as u64).or_insert(Point { t: point.t, ..Point::default() });
        sum.failed += point.failed;
    }
    let all: Vec<_> = all.into_values().collect();
    Line { name: "failed", class: "c", points: rates(&all, |point| point.failed) }
}

fn table<'a>(title: &str, metrics: impl Iterator<Item = (&'a String, &'a Summary)>) -> String {
    let mut text = format!(
        "<section><h2>{}</h2><div class=wide><table><tr><th><th>count<th>per s<th>mean ms<th>p50<th>p90<th>p99<th>p99.9<th>max<th>failed",
        escape(title)
    );
    for (name, one) in metrics {
        let _ = write!(text, "<tr><th>{}<td>{}<td>{}", escape(name), one.count, short(one.rate));
        for value in [one.mean_ms, one.p50_ms, one.p90_ms, one.p99_ms, one.p999_ms, one.max_ms] {
            let _ = write!(text, "<td>{value:.2}");
        }
        let _ = write!(text, "<td{}>{}", if one.failed > 0 { " class=bad" } else { "" }, one.failed);
    }
    text + "</table></div></section>\n"
}

fn lists(report: &Report) -> String {
    let mut text = String::new();
    if !report.chaos.is_empty() {
        text.push_str("<section><h2>Chaos</h2><div class=wide><table><tr><th>at<th>act<th>ready ms<th>whole after ms<th>exit");
        for one in &report.chaos {
            let _ = write!(
                text,
                "<tr><td>{:.1} s<th>{}<td>{:.0}<td>{}<td>{}",
                one.at,
                escape(&one.act),
                one.ready_ms,
                one.whole_ms.map_or("never".to_owned(), |ms| format!("{ms:.0}")),
                one.exit.map_or(String::new(), |code| code.to_string())
            );
        }
        text.push_str("</table></div></section>\n");
    }
    if !report.errors.is_empty() {
        text.push_str("<section><h2>Failures</h2><div class=wide><table><tr><th>action<th>failure<th>times");
        for one in &report.errors {
            let _ = write!(
                text,
                "<tr><th>{}<td class=text>{}<td>{}",
                escape(&one.metric),
                escape(&one.failure),
                one.count
            );
        }
        text.push_str("</table></div></section>\n");
    }
    if !report.server.is_empty() {
        text.push_str("<section><h2>Server</h2><div class=wide><table>");
        for (name, value) in &report.server {
            let _ = write!(text, "<tr><th>{}<td>{}", escape(name), short(*value));
        }
        text.push_str("</table></div></section>\n");
    }
    let scenario = serde_json::to_string_pretty(&report.scenario).unwrap_or_default();
    let _ = writeln!(
        text,
        "<details><summary>The scenario as it was run</summary><pre>{}</pre></details>",
        escape(&scenario)
    );
    text
}
