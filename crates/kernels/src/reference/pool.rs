//! Pooling.

use super::Tensor;
use crate::pool::{Span, Windows};

/// Output (i, j) of every plane is `of` the positions `(row, column)` of its window.
fn pool(x: &Tensor, w: &Windows, of: impl Fn(usize, usize, &Span, &Span) -> f64) -> Tensor {
    let [pictures, channels, ..] = x.shape;
    let mut y = Tensor::zeros([pictures, channels, w.rows.len(), w.columns.len()]);
    for [n, c, i, j] in y.indices() {
        y[[n, c, i, j]] = of(n, c, &w.rows[i], &w.columns[j]);
    }
    y
}

/// Maximum of each window; NaN if there is one in it.
pub fn max(x: &Tensor, w: &Windows) -> Tensor {
    pool(x, w, |n, c, rows, columns| {
        let mut max = f64::NEG_INFINITY;
        for row in rows.start..rows.end {
            for column in columns.start..columns.end {
                let value = x[[n, c, row, column]];
                max = if value > max || value.is_nan() { value } else { max };
            }
        }
        max
    })
}

/// Sum of each window by the product of its spans' counts.
pub fn average(x: &Tensor, w: &Windows) -> Tensor {
    pool(x, w, |n, c, rows, columns| {
        let positions =
            (rows.start..rows.end).flat_map(|y| (columns.start..columns.end).map(move |x| (y, x)));
        let sum: f64 = positions.map(|(row, column)| x[[n, c, row, column]]).sum();
        sum / (rows.count * columns.count) as f64
    })
}

/// Each output's gradient goes to the first position of its window, row by row, that none exceeds:
/// the first maximum, or the first of all where a NaN is the maximum.
pub fn max_backward(x: &Tensor, dy: &Tensor, w: &Windows) -> Tensor {
    let mut dx = Tensor::zeros(x.shape);
    let y = max(x, w);
    for at @ [n, c, i, j] in dy.indices() {
        let mut window = (w.rows[i].start..w.rows[i].end)
            .flat_map(|y| (w.columns[j].start..w.columns[j].end).map(move |x| (y, x)));
        let first = window.find(|&(row, column)| x[[n, c, row, column]] == y[at] || y[at].is_nan());
        let (row, column) = first.expect("the maximum is in the window");
        dx[[n, c, row, column]] += dy[at];
    }
    dx
}

/// Each output's gradient goes to its window in equal shares. `(height, width)` is `dx`'s size.
pub fn average_backward(dy: &Tensor, w: &Windows, (height, width): (usize, usize)) -> Tensor {
    let [pictures, channels, ..] = dy.shape;
    let mut dx = Tensor::zeros([pictures, channels, height, width]);
    for [n, c, i, j] in dy.indices() {
        let share = dy[[n, c, i, j]] / (w.rows[i].count * w.columns[j].count) as f64;
        for row in w.rows[i].start..w.rows[i].end {
            for column in w.columns[j].start..w.columns[j].end {
                dx[[n, c, row, column]] += share;
            }
        }
    }
    dx
}
