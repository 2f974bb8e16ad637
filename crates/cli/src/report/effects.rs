//! What the recipe's parts did to the run: steps, clipping, the average, smoothing.

use maud::{Markup, html};

use super::chart::{Chart, GUIDE, Line, Scale};
use super::{Epoch, Report};
use crate::effects::mean;
use crate::text::{percent, short};

/// Points of a curve over steps: more than a chart is wide in pixels show nothing more.
const POINTS: usize = 400;
/// Bars of a histogram.
const BUCKETS: usize = 40;

impl Report<'_> {
    /// The section.
    pub fn parts_of_the_recipe(&self) -> Markup {
        html! {
            section.effects {
                h2 { "What the recipe's parts did" }
                (self.over_steps())
                (self.clipping())
                (self.average())
                (self.smoothing())
            }
        }
    }

    /// Curves over the steps, where the events are there to draw them from.
    fn over_steps(&self) -> Markup {
        let epochs = |step: u64| step as f64 / self.steps.max(1) as f64 * self.history.len() as f64;
        let points = |values: &[(u64, f64)]| {
            let size = values.len().div_ceil(POINTS).max(1);
            let mean = |part: &[(u64, f64)]| {
                let last = part[part.len() - 1].0;
                (epochs(last), part.iter().map(|point| point.1).sum::<f64>() / part.len() as f64)
            };
            values.chunks(size).map(mean).collect::<Vec<_>>()
        };
        let objective = Line { name: "", class: "train", points: points(&self.effects.objective) };
        let mut gradient =
            vec![Line { name: "", class: "rate", points: points(&self.effects.gradient_norm) }];
        if let (Some(limit), Some(last)) = (self.recipe.clip_norm, gradient[0].points.last()) {
            let ends = vec![(gradient[0].points[0].0, limit), (last.0, limit)];
            gradient.push(Line { name: "limit", class: GUIDE, points: ends });
        }
        let chart = |title, lines: &[Line]| {
            let place = |x: f64| format!("epoch {x:.2}");
            Chart {
                title,
                lines,
                scale: Scale::Logarithmic,
                value: &short,
                place: &place,
                last_values: true,
            }
            .draw()
        };
        html! {
            @if !objective.points.is_empty() {
                div.charts {
                    (chart("Objective, step by step", &[objective]))
                    (chart("Gradient norm, step by step", &gradient))
                }
                p.note {
                    "Along the epochs, on logarithmic scales. The objective is what the steps made "
                    "smaller: all heads' losses, weighted and smoothed. The gradient's norm is that "
                    "before clipping."
                }
            }
        }
    }

    fn clipping(&self) -> Markup {
        let Some((limit, share)) = self.recipe.clip_norm.zip(self.effects.clipped) else {
            return html! {};
        };
        let of = |name, class, of: fn(&Epoch) -> f64| {
            let values = self.history.iter().enumerate();
            Line { name, class, points: values.map(|(i, e)| ((i + 1) as f64, of(e))).collect() }
        };
        let most = self.history.iter().map(|e| e.clipped).fold(0.0, f64::max);
        html! {
            h3 { "Gradient clipping" }
            p {
                "The gradient was shortened to " (limit) " in " b { (percent(share)) }
                " of the steps"
                @if most > 0.0 { ", in the worst epoch in " (percent(most)) }
                ". Mean norm before clipping, in the last epoch: "
                (short(self.history.last().map_or(0.0, |e| e.gradient_norm))) "."
            }
            @if most > 0.0 && self.history.len() > 1 {
                div.charts {
                    (Chart {
                        title: "Share of steps clipped",
                        lines: &[of("", "speed", |e| e.clipped)],
                        scale: Scale::FromZero,
                        value: &|v| format!("{} %", short(100.0 * v)),
                        place: &|x| format!("epoch {x}"),
                        last_values: true,
                    }.draw())
                    (Chart {
                        title: "Mean gradient norm",
                        lines: &[of("", "rate", |e| e.gradient_norm)],
                        scale: Scale::FromZero,
                        value: &short,
                        place: &|x| format!("epoch {x}"),
                        last_values: true,
                    }.draw())
                }
            }
        }
    }

    fn average(&self) -> Markup {
        let averaged = self.showcase.map(|showcase| &showcase.evaluation);
        let Some((averaged, last)) = averaged.zip(self.effects.last_weights.as_ref()) else {
            return html! {};
        };
        html! {
            h3 { "Running average of the weights" }
            p {
                "Test accuracy with the average, which is what is saved: "
                b { (percent(averaged.top1())) } " (loss " (short(averaged.loss()))
                "); with the weights as the last step left them: "
                b { (percent(last.top1())) } " (loss " (short(last.loss())) ")."
            }
        }
    }

    fn smoothing(&self) -> Markup {
        let (train, test) = (&self.effects.train_gaps, &self.effects.test_gaps);
        let all = || train.iter().chain(test).copied().chain(self.effects.best_gap);
        let most = all().fold(0.0, f64::max);
        let width = if most > 0.0 { most * 1.0001 / BUCKETS as f64 } else { 1.0 };
        let (train_line, test_line) =
            (histogram("training", "train", train, width), histogram("test", "test", test, width));
        let mut lines: Vec<Line> =
            [train_line, test_line].into_iter().filter(|line| !line.points.is_empty()).collect();
        let top = lines.iter().flat_map(|l| &l.points).map(|p| p.1).fold(0.0, f64::max);
        if let Some(best) = self.effects.best_gap {
            let points = vec![(best, 0.0), (best, top)];
            lines.push(Line { name: "where the loss is smallest", class: GUIDE, points });
        }
        let means = [("training", mean(train)), ("test", mean(test))];
        let (classes, smoothing) = (self.labels.len(), self.recipe.label_smoothing);
        html! {
            h3 { "Label smoothing and the logits' gap" }
            p {
                "How far the largest logit is above the mean of the others"
                @for (place, (name, mean)) in means.iter().enumerate() {
                    @if let Some(mean) = mean {
                        (if place == 0 { ": " } else { ", " })
                        b { (format!("{mean:.2}")) } " on " (name) " pictures"
                    }
                }
                ". "
                @match self.effects.best_gap {
                    Some(best) => {
                        "With ε = " (smoothing) " over " (classes) " classes the loss is smallest at "
                        "ln((1 − ε + ε/K) / (ε/K)) = " b { (format!("{best:.2}")) }
                        " and grows beyond: smoothing keeps the largest logit from becoming much "
                        "larger than all others (1512.00567 §7)."
                    }
                    None => {
                        "Without label smoothing the loss falls for ever as the gap grows, so nothing "
                        "holds it back but the length of the run and the weight decay."
                    }
                }
            }
            div.charts {
                (Chart {
                    title: "Gap between logits, share of pictures",
                    lines: &lines,
                    scale: Scale::FromZero,
                    value: &|v| format!("{} %", short(100.0 * v)),
                    place: &|x| format!("gap {x:.2}"),
                    last_values: false,
                }.draw())
            }
        }
    }
}

/// Shares of the values in buckets from 0 on, by the middles of the buckets.
fn histogram<'a>(name: &'a str, class: &'a str, values: &[f64], width: f64) -> Line<'a> {
    let mut counts = [0usize; BUCKETS];
    for &value in values.iter().filter(|value| value.is_finite()) {
        counts[((value / width) as usize).min(BUCKETS - 1)] += 1;
    }
    let share = |count: usize| count as f64 / values.len() as f64;
    let point = |(i, &count): (usize, &usize)| ((i as f64 + 0.5) * width, share(count));
    let points =
        if values.is_empty() { Vec::new() } else { counts.iter().enumerate().map(point).collect() };
    Line { name, class, points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let line = histogram("x", "x", &[0.0, 0.1, 5.0, 39.9, 100.0], 1.0);
        assert_eq!(line.points.len(), BUCKETS);
        assert_eq!(line.points[0], (0.5, 0.4));
        assert_eq!(line.points[BUCKETS - 1].1, 0.4);
        assert!((line.points.iter().map(|point| point.1).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(histogram("x", "x", &[], 1.0).points.is_empty());
    }
}
