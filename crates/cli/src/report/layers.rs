//! Activations and gradients, layer by layer.

use inception_train::LayerStatistics;
use maud::{Markup, html};

use super::chart::{Chart, Line, Scale};
use crate::text::{percent, short};

/// Charts by depth and a table; the step was made at this learning rate.
pub fn section(layers: &[LayerStatistics], learning_rate: f64) -> Markup {
    let line = |name, class, of: fn(&LayerStatistics) -> f64| {
        let values = layers.iter().enumerate();
        Line { name, class, points: values.map(|(i, layer)| ((i + 1) as f64, of(layer))).collect() }
    };
    let outputs = [line("deviation", "test", |l| l.deviation), line("mean", "train", |l| l.mean)];
    let zeros = [line("zero", "test", |l| l.zeros), line("dead channels", "train", |l| l.dead)];
    let norms =
        [line("weights", "test", |l| l.weight_norm), line("gradient", "rate", |l| l.gradient_norm)];
    let updates = [line("", "speed", update)];
    let place = |x: f64| layers[x as usize - 1].name.clone();
    let chart = |title, lines: &[Line], scale, value: &dyn Fn(f64) -> String| {
        Chart { title, lines, scale, value, place: &place, last_values: false }.draw()
    };
    html! {
        section {
            h2 { "Layer by layer" }
            div.charts {
                (chart("Output of the layers", &outputs, Scale::FromZero, &short))
                (chart("Outputs that are zero", &zeros, Scale::FromZero, &|v| format!("{} %", short(100.0 * v))))
                (chart("Norms of weights and gradient", &norms, Scale::Logarithmic, &short))
                (chart("Update / weights", &updates, Scale::Logarithmic, &short))
            }
            p.note {
                "One more training step after the last, at the last one's learning rate of "
                (short(learning_rate)) ". Layers with weights in the network's order, auxiliary "
                "heads where they branch off; point at a dot for its name. A channel is dead if it "
                "is zero everywhere in all pictures of the batch. The gradient is what the "
                "optimiser gets: with weight decay, clipped. The update is how far the step moved "
                "the weights; it shrinks with the learning rate."
            }
            details.layers {
                summary { "All " (layers.len()) " layers as a table" }
                (table(layers))
            }
        }
    }
}

/// How far a step moves the weights, as a share of their length.
fn update(layer: &LayerStatistics) -> f64 {
    layer.update_norm / layer.weight_norm
}

fn table(layers: &[LayerStatistics]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "layer" } th.number { "mean" } th.number { "deviation" }
                        th.number { "zero" } th.number { "dead" } th.number { "weights" }
                        th.number { "gradient" } th.number { "update / weights" }
                    }
                }
                tbody {
                    @for layer in layers {
                        tr {
                            td { (layer.name) }
                            td.number { (short(layer.mean)) } td.number { (short(layer.deviation)) }
                            td.number { (percent(layer.zeros)) } td.number { (percent(layer.dead)) }
                            td.number { (short(layer.weight_norm)) }
                            td.number { (short(layer.gradient_norm)) }
                            td.number { (short(update(layer))) }
                        }
                    }
                }
            }
        }
    }
}
