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

/// Each two by two pixels as one, the upper ones' channels first; zeros where there are none.
pub fn space_to_depth(x: &Tensor) -> Tensor {
    let [pictures, channels, height, width] = x.shape;
    let mut y = Tensor::zeros([pictures, 4 * channels, height.div_ceil(2), width.div_ceil(2)]);
    for [n, c, row, column] in x.indices() {
        let part = row % 2 * 2 + column % 2;
        y[[n, part * channels + c, row / 2, column / 2]] = x[[n, c, row, column]];
    }
    y
}
