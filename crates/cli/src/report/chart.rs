//! Curves over epochs as inline SVG.

use maud::{Markup, html};

/// One line of a chart.
pub struct Line<'a> {
    /// What it shows.
    pub name: &'a str,
    /// CSS class that gives its colour.
    pub class: &'a str,
    /// A value for each epoch; NaN leaves a gap.
    pub values: Vec<f64>,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;

/// Epochs beyond which single points are no longer marked.
const MARKED: usize = 60;

/// Where a chart's vertical axis begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// At the smallest value.
    Smallest,
    /// At zero, so that small changes of something large look small.
    Zero,
}

/// A chart with its title and legend; each legend entry ends with the line's last value. `label`
/// writes a value of the vertical axis.
pub fn chart(title: &str, lines: &[Line], floor: Floor, label: impl Fn(f64) -> String) -> Markup {
    let axes = Axes::around(lines, floor);
    html! {
        figure.chart {
            figcaption {
                strong { (title) }
                @for line in lines {
                    span.legend {
                        span class={ "swatch " (line.class) } {}
                        (line.name)
                        @if let Some(last) = line.values.iter().rev().find(|v| v.is_finite()) {
                            " " b { (label(*last)) }
                        }
                    }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
                @for tick in axes.value_ticks() {
                    @let y = axes.y(tick);
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y)) y2=(px(y)) {}
                    text.tick x=(LEFT - 8.0) y=(px(y + 4.0)) text-anchor="end" { (label(tick)) }
                }
                @for epoch in axes.epoch_ticks() {
                    text.tick x=(px(axes.x(epoch - 1))) y=(HEIGHT - 10.0) text-anchor="middle" {
                        (epoch)
                    }
                }
                @for line in lines {
                    path class={ "line " (line.class) } d=(path(line, &axes)) {}
                    (points(line, &axes, &label))
                }
            }
        }
    }
}

fn path(line: &Line, axes: &Axes) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    for (i, &value) in line.values.iter().enumerate() {
        if value.is_finite() {
            let command = if pen_down { 'L' } else { 'M' };
            path += &format!("{command}{} {}", px(axes.x(i)), px(axes.y(value)));
        }
        pen_down = value.is_finite();
    }
    path
}

/// A dot at each epoch that tells its value when pointed at.
fn points(line: &Line, axes: &Axes, label: &impl Fn(f64) -> String) -> Markup {
    let last = line.values.len().saturating_sub(1);
    let shown = |i: usize| line.values.len() <= MARKED || i == last;
    html! {
        @for (i, &value) in line.values.iter().enumerate() {
            @if value.is_finite() && shown(i) {
                circle class={ "dot " (line.class) } cx=(px(axes.x(i))) cy=(px(axes.y(value))) r="3" {
                    title { (line.name) ", epoch " (i + 1) ": " (label(value)) }
                }
            }
        }
    }
}

struct Axes {
    epochs: usize,
    low: f64,
    high: f64,
    step: f64,
}

impl Axes {
    fn around(lines: &[Line], floor: Floor) -> Self {
        let finite = || lines.iter().flat_map(|l| &l.values).copied().filter(|v| v.is_finite());
        let start = if floor == Floor::Zero { 0.0 } else { f64::INFINITY };
        let low = finite().fold(start, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match high - low {
            span if span > 0.0 => (low, high),
            span if span == 0.0 && low != 0.0 => (low.min(0.0), high.max(0.0)),
            _ => (0.0, 1.0),
        };
        let step = nice_step((high - low) / 4.0);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        let epochs = lines.iter().map(|l| l.values.len()).max().unwrap_or(0);
        Self { epochs, low, high, step }
    }

    fn x(&self, index: usize) -> f64 {
        let span = self.epochs.saturating_sub(1).max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * index as f64 / span
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)
    }

    fn value_ticks(&self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|i| self.low + i as f64 * self.step).collect()
    }

    fn epoch_ticks(&self) -> Vec<usize> {
        let step = (nice_step(self.epochs as f64 / 8.0).ceil() as usize).max(1);
        let mut ticks: Vec<usize> = (step..=self.epochs).step_by(step).collect();
        if step > 1 {
            ticks.insert(0, 1);
        }
        ticks
    }
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

/// Tenths of a pixel are enough.
fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(values: &[f64]) -> Axes {
        let line = Line { name: "x", class: "x", values: values.to_vec() };
        Axes::around(&[line], Floor::Smallest)
    }

    #[test]
    fn axes_are_round_and_hold_all_values() {
        let axes = axes(&[0.31, 2.27, 1.0]);
        assert_eq!((axes.low, axes.high, axes.step), (0.0, 2.5, 0.5));
        assert_eq!(axes.epoch_ticks(), [1, 2, 3]);
        assert_eq!(nice_step(0.21), 0.25);
        assert_eq!(nice_step(30.0), 50.0);
    }

    #[test]
    fn flat_empty_and_broken_curves_have_axes_too() {
        for values in [&[][..], &[0.0], &[3.0, 3.0], &[f64::NAN], &[f64::INFINITY, 1.0]] {
            let axes = axes(values);
            assert!(axes.high > axes.low, "{values:?}");
            assert!(axes.value_ticks().iter().all(|&t| axes.y(t).is_finite()));
        }
    }

    #[test]
    fn a_gap_lifts_the_pen() {
        let line = Line { name: "x", class: "x", values: vec![1.0, f64::NAN, 2.0, 3.0] };
        let path = path(&line, &Axes::around(std::slice::from_ref(&line), Floor::Smallest));
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 1);
    }
}
