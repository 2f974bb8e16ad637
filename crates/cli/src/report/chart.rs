//! Curves as inline SVG.

use maud::{Markup, html};

/// One line of a chart.
pub struct Line<'a> {
    /// What it shows.
    pub name: &'a str,
    /// CSS class that gives its colour.
    pub class: &'a str,
    /// Places along the chart, rising, with their values; NaN leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// The vertical axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From the smallest value.
    FromSmallest,
    /// From zero, so that small changes of something large look small.
    FromZero,
    /// Powers of ten; values that are not above 0 leave a gap.
    Logarithmic,
}

/// What is drawn, and how its numbers are written.
pub struct Chart<'a> {
    pub title: &'a str,
    pub lines: &'a [Line<'a>],
    pub scale: Scale,
    /// Writes a value.
    pub value: &'a dyn Fn(f64) -> String,
    /// Writes a place along the chart, for the one pointing at it.
    pub place: &'a dyn Fn(f64) -> String,
    /// Whether the legend tells each line's last value: in a chart over time.
    pub last_values: bool,
}

/// The class of lines that are there to compare others with: dashed, without dots.
pub const GUIDE: &str = "guide";

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;

/// Points of a line beyond which single ones are no longer marked.
const MARKED: usize = 120;
/// Points beyond which their marks are small.
const LARGE: usize = 60;

impl Chart<'_> {
    /// The chart with its title and legend.
    pub fn draw(&self) -> Markup {
        let axes = Axes::around(self.lines, self.scale);
        html! {
            figure.chart {
                figcaption {
                    strong { (self.title) }
                    @for line in self.lines {
                        @if self.last_values || !line.name.is_empty() { (self.legend(line)) }
                    }
                }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(self.title) {
                    @for tick in axes.y.ticks.iter().copied() {
                        @let y = px(axes.height(tick));
                        @let value = if self.scale == Scale::Logarithmic { 10f64.powf(tick) } else { tick };
                        line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                        text.tick x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { ((self.value)(value)) }
                    }
                    @for tick in axes.x.ticks.iter().copied() {
                        text.tick x=(px(axes.left(tick))) y=(HEIGHT - 10.0) text-anchor="middle" {
                            (tick)
                        }
                    }
                    @for line in self.lines {
                        path class={ "line " (line.class) } d=(path(line, &axes)) {}
                        (self.dots(line, &axes))
                    }
                }
            }
        }
    }

    fn legend(&self, line: &Line) -> Markup {
        let last = line.points.iter().rev().map(|point| point.1).find(|v| v.is_finite());
        html! {
            span.legend {
                span class={ "swatch " (line.class) } {}
                (line.name)
                @if let Some(last) = last.filter(|_| self.last_values && line.class != GUIDE) {
                    " " b { ((self.value)(last)) }
                }
            }
        }
    }

    /// A dot at each point that tells its value when pointed at.
    fn dots(&self, line: &Line, axes: &Axes) -> Markup {
        let count = line.points.len();
        let shown = |i: usize| line.class != GUIDE && (count <= MARKED || i + 1 == count);
        let radius = if count <= LARGE || count > MARKED { 3.0 } else { 2.0 };
        html! {
            @for (i, &(x, value)) in line.points.iter().enumerate() {
                @if axes.value(value).is_finite() && shown(i) {
                    circle class={ "dot " (line.class) } r=(radius)
                        cx=(px(axes.left(x))) cy=(px(axes.height(axes.value(value)))) {
                        title { (line.name) ", " ((self.place)(x)) ": " ((self.value)(value)) }
                    }
                }
            }
        }
    }
}

fn path(line: &Line, axes: &Axes) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    for &(x, value) in &line.points {
        let value = axes.value(value);
        if value.is_finite() {
            let command = if pen_down { 'L' } else { 'M' };
            path += &format!("{command}{} {}", px(axes.left(x)), px(axes.height(value)));
        }
        pen_down = value.is_finite();
    }
    path
}

/// The two axes; values on a logarithmic one are the values' logarithms.
struct Axes {
    x: Axis,
    y: Axis,
    scale: Scale,
}

/// From `low` to `high`, with numbers at the ticks.
#[derive(Debug, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axes {
    fn around(lines: &[Line], scale: Scale) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let x = Axis::along(points().map(|point| point.0));
        let mut axes = Self { x, y: Axis::round(0.0, 1.0), scale };
        let start = if scale == Scale::FromZero { 0.0 } else { f64::INFINITY };
        let values = || points().map(|p| axes.value(p.1)).filter(|value| value.is_finite());
        let low = values().fold(start, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        axes.y = match scale {
            Scale::Logarithmic => Axis::decades(low, high),
            _ => Axis::round(low, high),
        };
        axes
    }

    /// Where a value is on its axis.
    fn value(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Logarithmic if value > 0.0 => value.log10(),
            Scale::Logarithmic => f64::NAN,
            _ => value,
        }
    }

    fn left(&self, x: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (x - self.x.low) / (self.x.high - self.x.low)
    }

    fn height(&self, y: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (self.y.high - y) / (self.y.high - self.y.low)
    }
}

impl Axis {
    /// Holds both ends, and begins and ends at a tick.
    fn round(low: f64, high: f64) -> Self {
        let (low, high) = match high - low {
            span if span > 0.0 && span.is_finite() => (low, high),
            span if span == 0.0 && low != 0.0 => (low.min(0.0), high.max(0.0)),
            _ => (0.0, 1.0),
        };
        let step = nice_step((high - low) / 4.0);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { low, high, ticks: multiples(step, low, high) }
    }

    /// The same between logarithms: ticks at 1, 2 and 5 times powers of ten, of many at the powers
    /// only.
    fn decades(low: f64, high: f64) -> Self {
        let (low, high) = if high >= low { (low, high) } else { (0.0, 0.0) };
        let powers = low.floor() as i32 - 1..=high.ceil() as i32 + 1;
        let ticks = powers.flat_map(|p| [1.0f64, 2.0, 5.0].map(|m| m.log10() + f64::from(p)));
        let ticks: Vec<f64> = ticks.collect();
        let before = ticks.iter().rposition(|&tick| tick <= low).unwrap_or(0);
        let after = ticks.iter().position(|&tick| tick >= high && tick > ticks[before]);
        let mut ticks = ticks[before..=after.unwrap_or(ticks.len() - 1)].to_vec();
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        if ticks.len() > 7 {
            ticks.retain(|tick| tick.fract() == 0.0);
        }
        Self { low, high, ticks }
    }

    /// From the first place to the last, which may lie between two ticks.
    fn along(places: impl Iterator<Item = f64> + Clone) -> Self {
        let low = places.clone().fold(f64::INFINITY, f64::min);
        let high = places.clone().fold(f64::NEG_INFINITY, f64::max);
        let whole = places.clone().all(|place| place.fract() == 0.0);
        let span = if high > low && (high - low).is_finite() { high - low } else { 1.0 };
        let low = if low.is_finite() { low } else { 0.0 };
        let step = nice_step(span / 8.0);
        let step = if whole { step.ceil() } else { step };
        let mut ticks = multiples(step, low, low + span);
        // Counting begins at one.
        if low == 1.0 && ticks.first() != Some(&1.0) {
            ticks.insert(0, 1.0);
        }
        Self { low, high: low + span, ticks }
    }
}

fn multiples(step: f64, low: f64, high: f64) -> Vec<f64> {
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|i| tidy(i as f64 * step)).collect()
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `least`.
fn nice_step(least: f64) -> f64 {
    if !(least > 0.0 && least.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power);
    nice.into_iter().find(|&step| step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Without what multiplying by a step like 0.1 adds.
fn tidy(value: f64) -> f64 {
    format!("{value:.10e}").parse().unwrap_or(value)
}

/// Tenths of a pixel are enough.
fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Line<'static> {
        let points = values.iter().enumerate().map(|(i, &v)| ((i + 1) as f64, v)).collect();
        Line { name: "x", class: "x", points }
    }

    fn axes(values: &[f64], scale: Scale) -> Axes {
        Axes::around(&[line(values)], scale)
    }

    #[test]
    fn axes_are_round_and_hold_all_values() {
        let axes = axes(&[0.31, 2.27, 1.0], Scale::FromSmallest);
        let ticks = vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5];
        assert_eq!(axes.y, Axis { low: 0.0, high: 2.5, ticks });
        assert_eq!(axes.x.ticks, [1.0, 2.0, 3.0]);
        assert_eq!(
            Axis::along((1..=60).map(f64::from)).ticks,
            [1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
        );
        assert_eq!(Axis::along([0.3, 1.1].into_iter()).ticks.len(), 9);
        assert_eq!(nice_step(0.21), 0.25);
        assert_eq!(nice_step(30.0), 50.0);
    }

    #[test]
    fn powers_of_ten() {
        let ticks = |values: &[f64]| {
            let ticks = axes(values, Scale::Logarithmic).y.ticks;
            ticks.into_iter().map(|tick| tidy(10f64.powf(tick))).collect::<Vec<_>>()
        };
        assert_eq!(ticks(&[0.02, 30.0, 0.0]), [0.1, 1.0, 10.0]);
        assert_eq!(ticks(&[1.1, 2.3]), [1.0, 2.0, 5.0]);
        assert_eq!(ticks(&[3.0]), [2.0, 5.0]);
        assert_eq!(ticks(&[1.0]), [1.0, 2.0]);
        let axes = axes(&[0.02, 30.0], Scale::Logarithmic);
        assert_eq!(axes.value(100.0), 2.0);
        assert!(axes.value(0.0).is_nan());
    }

    #[test]
    fn flat_empty_and_broken_curves_have_axes_too() {
        for values in [&[][..], &[0.0], &[3.0, 3.0], &[f64::NAN], &[f64::INFINITY, 1.0]] {
            for scale in [Scale::FromSmallest, Scale::FromZero, Scale::Logarithmic] {
                let axes = axes(values, scale);
                assert!(axes.y.high > axes.y.low && axes.x.high > axes.x.low, "{values:?}");
                assert!(axes.y.ticks.iter().all(|&t| axes.height(t).is_finite()));
                assert!(axes.x.ticks.len() < 20);
            }
        }
    }

    #[test]
    fn a_gap_lifts_the_pen() {
        let line = line(&[1.0, f64::NAN, 2.0, 3.0]);
        let axes = Axes::around(std::slice::from_ref(&line), Scale::FromSmallest);
        let path = path(&line, &axes);
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 1);
    }
}
