//! Local response normalisation across channels.

use super::Tensor;
use crate::lrn::Lrn;

/// `y = x / d^beta`, `d = k + alpha / size * sum of squares over the window's channels`.
pub fn forward(x: &Tensor, lrn: &Lrn) -> Tensor {
    let mut y = denominators(x, lrn);
    for (d, x) in y.data.iter_mut().zip(&x.data) {
        *d = x / d.powf(lrn.beta.into());
    }
    y
}

/// Gradient of [`forward`] by `x`.
pub fn backward(x: &Tensor, dy: &Tensor, lrn: &Lrn) -> Tensor {
    let d = denominators(x, lrn);
    let beta = f64::from(lrn.beta);
    let mut dx = Tensor::zeros(x.shape);
    for at @ [n, c, i, j] in x.indices() {
        dx[at] += dy[at] / d[at].powf(beta);
        // x[c] stands under every value of its window, once as a square.
        let share = -beta * dy[at] * x[at] / d[at].powf(beta + 1.0) * f64::from(lrn.alpha)
            / lrn.size as f64;
        for other in window(c, x.shape[1], lrn) {
            dx[[n, other, i, j]] += share * 2.0 * x[[n, other, i, j]];
        }
    }
    dx
}

/// `d = k + alpha / size * sum of squares over the window's channels`.
fn denominators(x: &Tensor, lrn: &Lrn) -> Tensor {
    let mut d = Tensor::zeros(x.shape);
    for [n, c, i, j] in x.indices() {
        let squares: f64 = window(c, x.shape[1], lrn).map(|c| x[[n, c, i, j]].powi(2)).sum();
        d[[n, c, i, j]] = f64::from(lrn.k) + f64::from(lrn.alpha) / lrn.size as f64 * squares;
    }
    d
}

/// The channels around `c`: `size / 2` before and `(size - 1) / 2` after, as far as they exist.
fn window(c: usize, channels: usize, lrn: &Lrn) -> std::ops::Range<usize> {
    c.saturating_sub(lrn.size / 2)..(c + lrn.size.div_ceil(2)).min(channels)
}
