//! Convolution and its gradients.

use super::Tensor;
use crate::conv::Geometry;

/// Calls `f` with (output, input, weight) wherever a filter's tap meets the input: places in the
/// tensors' data. Shapes are those of the input and of the output.
fn for_each_product(
    x: [usize; 4],
    y: [usize; 4],
    geometry: &Geometry,
    mut f: impl FnMut(usize, usize, usize),
) {
    let Geometry { kernel, stride, padding } = *geometry;
    // The tap's coordinate in the input, where it is inside.
    let inside = |i: usize, k: usize, stride: usize, padding: usize, size: usize| {
        (i * stride + k).checked_sub(padding).filter(|&at| at < size)
    };
    for n in 0..y[0] {
        for o in 0..y[1] {
            for i in 0..x[1] {
                for ky in 0..kernel.0 {
                    for kx in 0..kernel.1 {
                        let weight = ((o * x[1] + i) * kernel.0 + ky) * kernel.1 + kx;
                        for oy in 0..y[2] {
                            let Some(iy) = inside(oy, ky, stride.0, padding.0, x[2]) else {
                                continue;
                            };
                            let output = ((n * y[1] + o) * y[2] + oy) * y[3];
                            let input = ((n * x[1] + i) * x[2] + iy) * x[3];
                            for ox in 0..y[3] {
                                let Some(ix) = inside(ox, kx, stride.1, padding.1, x[3]) else {
                                    continue;
                                };
                                f(output + ox, input + ix, weight);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// y\[n, o\] = Σ w\[o, i\] · x\[n, i\] under the window. `output` is y's height and width, the
/// weights' shape `[outputs, inputs, rows, columns]`.
pub fn forward(
    x: &Tensor,
    weights: &Tensor,
    geometry: &Geometry,
    output: (usize, usize),
) -> Tensor {
    let mut y = Tensor::zeros([x.shape[0], weights.shape[0], output.0, output.1]);
    let shape = y.shape;
    for_each_product(x.shape, shape, geometry, |o, i, w| {
        y.data[o] += x.data[i] * weights.data[w];
    });
    y
}

/// The gradient of the input, whose height and width are `input`, from that of the output.
pub fn backward_data(
    dy: &Tensor,
    weights: &Tensor,
    geometry: &Geometry,
    input: (usize, usize),
) -> Tensor {
    let mut dx = Tensor::zeros([dy.shape[0], weights.shape[1], input.0, input.1]);
    let shape = dx.shape;
    for_each_product(shape, dy.shape, geometry, |o, i, w| {
        dx.data[i] += dy.data[o] * weights.data[w];
    });
    dx
}

/// The gradient of the weights, summed over the batch.
pub fn backward_filters(x: &Tensor, dy: &Tensor, geometry: &Geometry) -> Tensor {
    let shape = [dy.shape[1], x.shape[1], geometry.kernel.0, geometry.kernel.1];
    let mut dw = Tensor::zeros(shape);
    for_each_product(x.shape, dy.shape, geometry, |o, i, w| {
        dw.data[w] += x.data[i] * dy.data[o];
    });
    dw
}
