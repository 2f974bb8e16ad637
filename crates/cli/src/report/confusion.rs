//! The confusion matrix as a heat map, and its largest mistakes as a list.

use inception_metrics::Evaluation;
use maud::{Markup, html};

use crate::text::percent;

/// Classes up to which every cell shows its number.
const NUMBERED: usize = 14;

/// Classes beyond which the matrix is too fine to be read and is left out.
const DRAWN: usize = 120;

/// Rows are true classes, columns predictions; a cell's strength is its share of the row.
pub fn matrix(evaluation: &Evaluation, labels: &[String]) -> Markup {
    let n = labels.len();
    if n > DRAWN {
        return html! { p.note { "Not drawn for " (n) " classes; see the list." } };
    }
    let cell = if n <= NUMBERED { 44.0 } else { (900.0 / n as f64).clamp(8.0, 26.0) };
    let font = (cell * 0.9f64).clamp(7.0, 13.0);
    let longest = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0) as f64;
    let margin = (longest * font * 0.58 + 14.0).min(190.0);
    // Column names stand at 45 degrees and reach beyond the last column.
    let (top, right) = (margin * 0.75 + 8.0, margin * 0.7);
    let (width, height) = (margin + cell * n as f64 + right, top + cell * n as f64 + 4.0);
    let at = |i: usize| i as f64 * cell;
    html! {
        svg.matrix viewBox={ "0 0 " (width.ceil()) " " (height.ceil()) }
            style={ "max-width:" (width.ceil()) "px" } role="img" aria-label="Confusion matrix" {
            rect.frame x=(margin) y=(top) width=(at(n)) height=(at(n)) {}
            @for (i, label) in labels.iter().enumerate() {
                text.name x=(margin - 8.0) y=(top + at(i) + cell / 2.0 + font / 3.0)
                    font-size=(font) text-anchor="end" { (short(label)) }
                text.name font-size=(font)
                    transform={ "translate(" (margin + at(i) + cell / 2.0 + 2.0) "," (top - 6.0)
                                ") rotate(-45)" } { (short(label)) }
            }
            @for (truth, row) in evaluation.confusion().iter().enumerate() {
                @let pictures = row.iter().sum::<u64>();
                @for (prediction, &count) in row.iter().enumerate().filter(|(_, n)| **n > 0) {
                    @let share = count as f64 / pictures as f64;
                    @let kind = if truth == prediction { "right" } else { "wrong" };
                    @let (x, y) = (margin + at(prediction), top + at(truth));
                    rect class=(kind) x=(x + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(cell - 2.0)
                        rx="3" fill-opacity=(format!("{:.2}", share.sqrt().max(0.06))) {
                        title {
                            (labels[truth]) " taken for " (labels[prediction]) ": "
                            (count) " of " (pictures) " (" (percent(share)) ")"
                        }
                    }
                    @if n <= NUMBERED {
                        text class={ "count" @if share > 0.4 { " strong" } }
                            x=(x + cell / 2.0) y=(y + cell / 2.0 + 4.5) text-anchor="middle" {
                            (count)
                        }
                    }
                }
            }
        }
        p.note {
            "Rows are the true classes, columns what the network said. Blue is right, orange "
            "wrong; the stronger, the larger the share of its row."
        }
    }
}

fn short(label: &str) -> String {
    const LONGEST: usize = 24;
    match label.chars().count() > LONGEST {
        true => label.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => label.to_owned(),
    }
}

/// Pairs of classes taken for each other: how often, the true one, the predicted one; the most
/// frequent first.
pub fn confused(evaluation: &Evaluation) -> Vec<(u64, usize, usize)> {
    let mut pairs = Vec::new();
    for (truth, row) in evaluation.confusion().iter().enumerate() {
        let wrong = row.iter().enumerate().filter(|&(prediction, &n)| prediction != truth && n > 0);
        pairs.extend(wrong.map(|(prediction, &n)| (n, truth, prediction)));
    }
    // Equal counts in the order of the classes.
    pairs.sort_by_key(|&(n, truth, prediction)| (u64::MAX - n, truth, prediction));
    pairs
}

/// The first of [`confused`], at most `limit`.
pub fn worst_pairs(evaluation: &Evaluation, labels: &[String], limit: usize) -> Markup {
    let pairs = confused(evaluation);
    html! {
        @if !pairs.is_empty() {
            table.pairs {
                thead { tr { th { "true" } th { "taken for" } th.number { "pictures" } } }
                tbody {
                    @for &(n, truth, prediction) in pairs.iter().take(limit) {
                        tr {
                            td { (labels[truth]) } td { (labels[prediction]) } td.number { (n) }
                        }
                    }
                }
            }
        } @else {
            p.note { "No picture was taken for another class." }
        }
    }
}
