//! The outcome as one SVG: a row for each arm with a dot for each seed, the mean and its spread.

use maud::{Markup, PreEscaped, html};

use super::arms::LADDER;
use super::arms::NAMES;
use super::outcome::{Outcome, Verdict, signed};
use crate::text::scaled;

const WIDTH: f64 = 960.0;
const ROW: f64 = 34.0;
const TOP: f64 = 74.0;
/// Left and right end of the axis.
const AXIS: (f64, f64) = (330.0, 660.0);

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #16191d }
.title { font-size: 17px; font-weight: 650 }
.dim { fill: #626b76; font-size: 12px }
.name { font-weight: 600 }
.grid { stroke: #e2e6eb }
.rule { stroke: #b8c0ca }
.spread { stroke: #2563eb; stroke-width: 6; stroke-linecap: round; opacity: .25 }
.mean { stroke: #2563eb; stroke-width: 2.5 }
.dot { fill: #2563eb }
.as { fill: #15803d; font-size: 12px } .against { fill: #c2410c; font-size: 12px }";

/// The picture; `title` says of which pictures, `below` how many seeds.
pub fn svg(title: &str, below: &str, outcomes: &[Outcome]) -> String {
    let axis = Axis::around(outcomes);
    let height = TOP + ROW * outcomes.len() as f64 + 46.0;
    let bottom = height - 40.0;
    let ladder = |outcome: &Outcome| NAMES[..LADDER].contains(&outcome.name);
    let rungs = outcomes.iter().filter(|outcome| ladder(outcome)).count();
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}"))
            width=(WIDTH) height=(height) role="img" aria-label=(title) {
            style { (PreEscaped(STYLE)) }
            rect width=(WIDTH) height=(height) fill="#ffffff" {}
            text.title x="20" y="30" { (title) }
            text.dim x="20" y="52" { (below) }
            text.dim x=(AXIS.1 + 22.0) y="52" { "difference, 95 % interval" }
            text.dim x=(WIDTH - 20.0) y="52" text-anchor="end" { "mult-adds" }
            @for tick in axis.ticks() {
                @let x = axis.x(tick);
                line.grid x1=(px(x)) x2=(px(x)) y1=(TOP - 8.0) y2=(bottom) {}
                text.dim x=(px(x)) y=(bottom + 18.0) text-anchor="middle" {
                    (format!("{:.*} %", axis.decimals(), 100.0 * tick))
                }
            }
            @if rungs > 0 && rungs < outcomes.len() {
                @let y = TOP + ROW * rungs as f64 - 4.0;
                line.rule x1="20" x2=(WIDTH - 20.0) y1=(y) y2=(y) stroke-dasharray="3 4" {}
            }
            @for (i, outcome) in outcomes.iter().enumerate() {
                (row(outcome, &axis, TOP + ROW * i as f64 + ROW / 2.0 - 4.0))
            }
        }
    };
    markup.into_string()
}

fn row(outcome: &Outcome, axis: &Axis, y: f64) -> Markup {
    let spread = outcome.deviation.unwrap_or(0.0);
    let (from, to) = (axis.x(outcome.mean - spread), axis.x(outcome.mean + spread));
    let mean = axis.x(outcome.mean);
    let class = |verdict| match verdict {
        Verdict::AsThePaper => "as",
        Verdict::Against => "against",
        Verdict::Undecided => "dim",
    };
    html! {
        text.name x="20" y=(y + 4.0) { (outcome.name) }
        text.dim x="118" y=(y + 4.0) { (outcome.what) }
        @if outcome.deviation.is_some() {
            line.spread x1=(px(from)) x2=(px(to)) y1=(y) y2=(y) {}
        }
        line.mean x1=(px(mean)) x2=(px(mean)) y1=(y - 9.0) y2=(y + 9.0) {}
        @for (seed, &value) in outcome.top1.iter().enumerate() {
            circle.dot cx=(px(axis.x(value))) cy=(y) r="3.5" {
                title { (outcome.name) ", seed " (seed) ": " (format!("{:.2} %", 100.0 * value)) }
            }
        }
        @if let Some(difference) = &outcome.difference {
            text class=(class(difference.verdict)) x=(AXIS.1 + 22.0) y=(y + 4.0) {
                (signed(difference)) " " (difference.verdict.name())
            }
        }
        text.dim x=(WIDTH - 20.0) y=(y + 4.0) text-anchor="end" {
            (scaled(outcome.multiply_adds as u64))
        }
    }
}

/// The axis of accuracies.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    fn around(outcomes: &[Outcome]) -> Self {
        let values = || {
            let ends = |o: &Outcome| {
                let spread = o.deviation.unwrap_or(0.0);
                [o.mean - spread, o.mean + spread]
            };
            outcomes.iter().flat_map(move |o| o.top1.iter().copied().chain(ends(o)))
        };
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let span = if high > low { high - low } else { 0.01 };
        let steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
        let step = steps.into_iter().find(|step| span / step <= 6.0).unwrap_or(0.5);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { low, high: high.max(low + step), step }
    }

    fn x(&self, value: f64) -> f64 {
        AXIS.0 + (value - self.low) / (self.high - self.low) * (AXIS.1 - AXIS.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|i| self.low + self.step * i as f64)
    }

    fn decimals(&self) -> usize {
        usize::from(self.step < 0.01)
    }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}
