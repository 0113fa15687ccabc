//! Plots as SVG: lines over time, stages as bands behind them. Colours are the page's.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 26.0;

/// A line. `class` is one of the page's colours, `a` to `e`.
pub struct Line {
    /// What it is.
    pub name: &'static str,
    /// Its colour.
    pub class: &'static str,
    /// Seconds and values, in order; a missing value interrupts it.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A plot.
pub struct Plot<'a> {
    /// What it shows.
    pub title: String,
    /// In what.
    pub unit: &'static str,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Stages: name, begin, end.
    pub bands: &'a [(String, f64, f64)],
    /// Seconds in all.
    pub length: f64,
    /// The axis of values is logarithmic: a peak hides nothing else.
    pub is_log: bool,
}

/// The axis of values.
struct Axis {
    is_log: bool,
    bottom: f64,
    top: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn linear(largest: f64) -> Self {
        let (step, top) = scale(largest);
        let count = (top / step).round() as u32;
        let ticks = (0..=count).map(|tick| f64::from(tick) * step).collect();
        Self { is_log: false, bottom: 0.0, top, ticks }
    }

    /// Whole decades from the smallest to the largest value.
    fn log(smallest: f64, largest: f64) -> Self {
        let from = smallest.max(1e-3).log10().floor();
        let to = largest.max(1e-3).log10().ceil().max(from + 1.0);
        let ticks = (from as i32..=to as i32).map(|power| 10_f64.powi(power)).collect();
        Self { is_log: true, bottom: from, top: to, ticks }
    }

    /// From 0 at the bottom to 1 at the top.
    fn at(&self, value: f64) -> f64 {
        let value = if self.is_log { value.max(1e-9).log10() } else { value };
        ((value - self.bottom) / (self.top - self.bottom)).clamp(0.0, 1.0)
    }
}

impl Plot<'_> {
    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        !self
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .any(|(_, value)| value.is_some_and(|value| value > 0.0))
    }

    /// The plot as a figure.
    pub fn render(&self) -> String {
        let values = self.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
        let largest = values.clone().fold(0.0, f64::max);
        let smallest = values.filter(|value| *value > 0.0).fold(largest, f64::min);
        let axis = if self.is_log { Axis::log(smallest, largest) } else { Axis::linear(largest) };
        let x = |t: f64| LEFT + t / self.length.max(1.0) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - axis.at(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<figure><figcaption>{} <small>{}</small><span class=key>",
            escape(&self.title),
            self.unit
        );
        for line in &self.lines {
            let _ = write!(svg, "<i class={}></i>{} ", line.class, line.name);
        }
        let _ = write!(
            svg,
            "</span></figcaption><svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img data-left={LEFT} data-right={RIGHT} \
             data-length={} data-lines='{}'>",
            self.length,
            escape(&self.data()),
        );
        for (number, (name, from, to)) in self.bands.iter().enumerate() {
            let (from, to) = (x(*from), x(*to));
            let _ = write!(
                svg,
                "<rect class='band{}' x={from:.1} y={TOP} width={:.1} height={:.1} />",
                number % 2,
                (to - from).max(0.0),
                HEIGHT - TOP - BOTTOM
            );
            if to - from > 7.0 * name.len() as f64 {
                let middle = f64::midpoint(from, to);
                let _ = write!(
                    svg,
                    "<text class=stage x={middle:.1} y={:.1}>{}</text>",
                    TOP + 11.0,
                    escape(name)
                );
            }
        }
        for tick in &axis.ticks {
            let (at, tick) = (y(*tick), *tick);
            let _ = write!(svg, "<path class=grid d='M{LEFT} {at:.1}H{}' />", WIDTH - RIGHT);
            let _ = write!(svg, "<text class=left x={} y={:.1}>{}</text>", LEFT - 6.0, at + 3.5, short(tick));
        }
        let (step, _) = scale(self.length);
        let mut tick = 0.0;
        while tick <= self.length {
            let _ =
                write!(svg, "<text class=below x={:.1} y={}>{}</text>", x(tick), HEIGHT - 8.0, time(tick));
            tick += step;
        }
        for line in &self.lines {
            let _ = write!(svg, "<path class='line {}' d='{}' />", line.class, path(&line.points, x, y));
        }
        let _ = write!(svg, "<path class=cursor d='M0 {TOP}V{}' />", HEIGHT - BOTTOM);
        svg.push_str("</svg><output></output></figure>\n");
        svg
    }

    /// The values for the reader's pointer.
    fn data(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let points: Vec<_> = line
                    .points
                    .iter()
                    .filter_map(|(t, value)| value.map(|value| ((t * 10.0).round() / 10.0, rounded(value))))
                    .collect();
                (line.name, points)
            })
            .collect();
        serde_json::to_string(&lines).unwrap_or_default()
    }
}

/// The line through the points; a point that stands alone is a dot.
fn path(points: &[(f64, Option<f64>)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for run in points.split(|(_, value)| value.is_none()) {
        for (number, (t, value)) in run.iter().enumerate() {
            let letter = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(*t), y(value.unwrap_or_default()));
        }
        if run.len() == 1 {
            path.push_str("h.1");
        }
    }
    path
}

/// Three digits say enough.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().ceil() as i32);
    (value * scale).round() / scale
}

/// A round step and a top above `largest`, four to eight steps.
fn scale(largest: f64) -> (f64, f64) {
    let largest = if largest > 0.0 { largest } else { 1.0 };
    let rough = largest / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|one| one * power).find(|step| *step >= rough);
    let step = step.unwrap_or(power * 10.0);
    (step, (largest / step).ceil() * step)
}

/// A number in few characters.
pub fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        large if large >= 1e4 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn time(seconds: f64) -> String {
    if seconds >= 600.0 {
        format!("{} min", trimmed(seconds / 60.0))
    } else {
        format!("{} s", trimmed(seconds))
    }
}

/// Text in a page.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_steps() {
        assert_eq!(scale(9.0), (2.0, 10.0));
        assert_eq!(scale(0.0), (0.2, 1.0));
        let (step, top) = scale(1234.0);
        assert!(top >= 1234.0 && (4.0..=8.0).contains(&(top / step)), "{step} {top}");
        assert_eq!([short(0.0), short(12_500.0), short(2e6), short(0.25)], ["0", "12.5k", "2M", "0.25"]);
    }

    #[test]
    fn a_logarithmic_axis_has_whole_decades() {
        let axis = Axis::log(0.4, 350.0);
        assert_eq!(axis.ticks, [0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert!((axis.at(10.0) - 0.5).abs() < 1e-9 && axis.at(0.0) == 0.0);
    }

    #[test]
    fn a_missing_value_interrupts_the_line() {
        let line =
            Line { name: "p99", class: "a", points: vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(2.0))] };
        let plot = Plot {
            title: "a<b".to_owned(),
            unit: "ms",
            lines: vec![line],
            bands: &[],
            length: 2.0,
            is_log: false,
        };
        let svg = plot.render();
        assert!(svg.contains("a&lt;b"));
        let path = svg.split("class='line a' d='").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
    }
}
