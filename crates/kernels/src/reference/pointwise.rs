//! What happens to each value by itself.

use super::Tensor;

/// `dy` where `y` is positive, zero elsewhere.
pub fn relu_backward(y: &Tensor, dy: &Tensor) -> Tensor {
    let mut dz = dy.clone();
    for (dz, y) in dz.data.iter_mut().zip(&y.data) {
        *dz = if *y > 0.0 { *dz } else { 0.0 };
    }
    dz
}

/// Sum of each channel over pictures, rows and columns.
pub fn sum_per_channel(x: &Tensor) -> Vec<f64> {
    let mut sums = vec![0.0; x.shape[1]];
    for at in x.indices() {
        sums[at[1]] += x[at];
    }
    sums
}
