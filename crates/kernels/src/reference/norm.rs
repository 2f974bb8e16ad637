//! Batch normalisation in training (Ioffe & Szegedy 2015, algorithm 1) and its gradient.

use super::Tensor;

/// Mean and biased variance of each channel over pictures, rows and columns.
pub fn statistics(z: &Tensor) -> (Vec<f64>, Vec<f64>) {
    let [pictures, channels, height, width] = z.shape;
    let count = (pictures * height * width) as f64;
    let mut mean = vec![0.0; channels];
    for at in z.indices() {
        mean[at[1]] += z[at] / count;
    }
    let mut variance = vec![0.0; channels];
    for at in z.indices() {
        variance[at[1]] += (z[at] - mean[at[1]]).powi(2) / count;
    }
    (mean, variance)
}

/// `scale * z + shift` by channel, then `max(0, ·)` if `relu`; NaN stays.
pub fn apply(z: &Tensor, scale: &[f64], shift: &[f64], relu: bool) -> Tensor {
    let mut y = z.clone();
    for at in z.indices() {
        let value = scale[at[1]] * z[at] + shift[at[1]];
        y[at] = if relu && value < 0.0 { 0.0 } else { value };
    }
    y
}

/// Gradients of batch normalisation, then ReLU if `relu`.
pub struct Gradients {
    /// By the normalisation's input.
    pub dz: Tensor,
    /// By each channel's scale.
    pub dgamma: Vec<f64>,
    /// By each channel's shift.
    pub dbeta: Vec<f64>,
}

/// From the output's gradient `dy`, with the batch's own statistics; `y` is the output, of which
/// only the sign is used.
pub fn backward(
    z: &Tensor,
    y: &Tensor,
    relu: bool,
    dy: &Tensor,
    gamma: &[f64],
    epsilon: f64,
) -> Gradients {
    let (mean, variance) = statistics(z);
    let inverse_std: Vec<f64> = variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    let Gradients { mut dz, dgamma, dbeta } =
        backward_frozen(z, y, relu, dy, gamma, &mean, &inverse_std);
    // Mean and variance change with every value.
    let [pictures, _, height, width] = z.shape;
    let count = (pictures * height * width) as f64;
    for at in z.indices() {
        let c = at[1];
        let normal = (z[at] - mean[c]) * inverse_std[c];
        dz[at] -= gamma[c] * inverse_std[c] * (dbeta[c] + normal * dgamma[c]) / count;
    }
    Gradients { dz, dgamma, dbeta }
}

/// As [`backward`], with constants for mean and `1 / √(variance + ε)`.
pub fn backward_frozen(
    z: &Tensor,
    y: &Tensor,
    relu: bool,
    dy: &Tensor,
    gamma: &[f64],
    mean: &[f64],
    inverse_std: &[f64],
) -> Gradients {
    let mut dz = Tensor::zeros(z.shape);
    let (mut dgamma, mut dbeta) = (vec![0.0; z.shape[1]], vec![0.0; z.shape[1]]);
    for at in z.indices() {
        let c = at[1];
        let through = if !relu || y[at] > 0.0 { dy[at] } else { 0.0 };
        dz[at] = gamma[c] * inverse_std[c] * through;
        dgamma[c] += through * (z[at] - mean[c]) * inverse_std[c];
        dbeta[c] += through;
    }
    Gradients { dz, dgamma, dbeta }
}
