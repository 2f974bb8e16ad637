//! Depthwise convolution: output channel `c * multiplier + m` reads input channel `c` only.

use super::Tensor;
use crate::conv::Geometry;

/// Every product of a filter tap with a value inside the picture: calls
/// `each(output index, weight index, input index)`.
fn taps(
    input: [usize; 4],
    output: [usize; 4],
    multiplier: usize,
    geometry: &Geometry,
    mut each: impl FnMut([usize; 4], [usize; 4], [usize; 4]),
) {
    let [_, _, height, width] = input;
    for [n, o, i, j] in Tensor::zeros(output).indices() {
        for ky in 0..geometry.kernel.0 {
            for kx in 0..geometry.kernel.1 {
                let y = (i * geometry.stride.0 + ky).checked_sub(geometry.padding.0);
                let x = (j * geometry.stride.1 + kx).checked_sub(geometry.padding.1);
                if let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
                    each([n, o, i, j], [o, 0, ky, kx], [n, o / multiplier, y, x]);
                }
            }
        }
    }
}

/// `(height, width)` is the output's size; `weights` has the shape
/// `[in * multiplier, 1, kernel height, kernel width]`.
pub fn forward(
    x: &Tensor,
    multiplier: usize,
    weights: &Tensor,
    geometry: &Geometry,
    (height, width): (usize, usize),
) -> Tensor {
    let mut y = Tensor::zeros([x.shape[0], x.shape[1] * multiplier, height, width]);
    let shape = y.shape;
    taps(x.shape, shape, multiplier, geometry, |out, w, at| y[out] += weights[w] * x[at]);
    y
}

/// Gradient by the input, which is `(height, width)` large.
pub fn backward_data(
    dy: &Tensor,
    multiplier: usize,
    weights: &Tensor,
    geometry: &Geometry,
    (height, width): (usize, usize),
) -> Tensor {
    let mut dx = Tensor::zeros([dy.shape[0], dy.shape[1] / multiplier, height, width]);
    let shape = dx.shape;
    taps(shape, dy.shape, multiplier, geometry, |out, w, at| dx[at] += weights[w] * dy[out]);
    dx
}

/// Gradient by the filters, of the filters' shape.
pub fn backward_filters(x: &Tensor, multiplier: usize, dy: &Tensor, geometry: &Geometry) -> Tensor {
    let (height, width) = geometry.kernel;
    let mut dw = Tensor::zeros([dy.shape[1], 1, height, width]);
    taps(x.shape, dy.shape, multiplier, geometry, |out, w, at| dw[w] += x[at] * dy[out]);
    dw
}
