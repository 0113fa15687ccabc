//! What a person sees while it runs: a block that renews itself on a terminal, plain lines elsewhere.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _, stderr},
};

use crate::{observe::Sample, stats::Point};

/// How often plain lines come, in seconds.
const EVERY: u64 = 5;
/// Cells of the progress bar.
const BAR: usize = 30;

/// The view.
pub struct Live {
    is_terminal: bool,
    is_quiet: bool,
    lines: usize,
    ticks: u64,
    total: f64,
}

/// What to show of a moment.
pub struct Moment<'a> {
    /// The stage's name.
    pub stage: &'a str,
    /// Seconds since the begin.
    pub seconds: f64,
    /// The last second of each metric.
    pub points: &'a [(String, Point)],
    /// Connections open.
    pub online: usize,
    /// Violations so far.
    pub wrongs: u64,
    /// The server.
    pub server: &'a Sample,
}

impl Live {
    /// A view of a run that is planned to last `total` seconds.
    pub fn new(total: f64, is_quiet: bool) -> Self {
        Self { is_terminal: stderr().is_terminal(), is_quiet, lines: 0, ticks: 0, total }
    }

    /// Shows a moment.
    pub fn show(&mut self, moment: &Moment<'_>) {
        self.ticks += 1;
        if self.is_quiet || (!self.is_terminal && !self.ticks.is_multiple_of(EVERY)) {
            return;
        }
        let text = if self.is_terminal { self.block(moment) } else { line(moment) };
        let mut out = stderr().lock();
        if self.is_terminal && self.lines > 0 {
            let _ = write!(out, "\x1b[{}A\x1b[J", self.lines);
        }
        self.lines = text.lines().count();
        // Nobody to read it is no reason to stop.
        let _ = out.write_all(text.as_bytes());
    }

    fn block(&self, moment: &Moment<'_>) -> String {
        let done = (moment.seconds / self.total.max(0.001)).min(1.0);
        let full = (done * BAR as f64) as usize;
        let mut text = format!(
            "{}{} {:>3.0}%  {:.0} s  \x1b[1m{}\x1b[0m   {} online{}\n",
            "█".repeat(full),
            "░".repeat(BAR - full),
            done * 100.0,
            moment.seconds,
            moment.stage,
            moment.online,
            if moment.wrongs > 0 {
                format!("   \x1b[31m{} VIOLATIONS\x1b[0m", moment.wrongs)
            } else {
                String::new()
            },
        );
        let _ = writeln!(
            text,
            "{:<18}{:>9}{:>9}{:>9}{:>9}{:>8}",
            "", "per s", "p50 ms", "p99 ms", "max ms", "failed"
        );
        for (name, point) in moment.points.iter().filter(|(_, point)| point.count + point.failed > 0) {
            let failed = if point.failed > 0 {
                format!("\x1b[31m{:>8}\x1b[0m", point.failed)
            } else {
                "       -".into()
            };
            let _ = writeln!(
                text,
                "{name:<18}{:>9}{:>9.1}{:>9.1}{:>9.1}{failed}",
                point.count, point.p50, point.p99, point.max
            );
        }
        if let Some(rss) = moment.server.rss_mb {
            let _ =
                writeln!(text, "server: {:.0}% CPU, {rss:.0} MB", moment.server.cpu_percent.unwrap_or(0.0));
        }
        text
    }
}

fn line(moment: &Moment<'_>) -> String {
    let mut text = format!("{:>6.0} s  {:<12} {} online", moment.seconds, moment.stage, moment.online);
    for (name, point) in moment.points.iter().filter(|(_, point)| point.count + point.failed > 0) {
        if name == "generator_lag" || name == "delivery_others" {
            continue;
        }
        let _ = write!(text, "  {name} {}/s p99 {:.1} ms", point.count, point.p99);
        if point.failed > 0 {
            let _ = write!(text, " ({} failed)", point.failed);
        }
    }
    if moment.wrongs > 0 {
        let _ = write!(text, "  {} VIOLATIONS", moment.wrongs);
    }
    text.push('\n');
    text
}
