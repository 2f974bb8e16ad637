//! Space to depth: a picture's pixels taken two by two, their channels side by side.
//!
//! A network's first convolution reads few channels, which leave most of a block empty, and often at
//! stride 2. Of two by two pixels it reads four times as many, at stride 1 and with half as large a
//! kernel, so that minimal filtering has less to transform.

use inception_kernels::LANES;
use inception_kernels::conv::Geometry;

/// The convolution that does the same, if there is one: at stride 2, of few enough channels, of more
/// than one tap.
pub(crate) fn geometry(geometry: &Geometry, channels: usize) -> Option<Geometry> {
    let Geometry { kernel, stride, padding } = *geometry;
    let kernel = (along(kernel.0, padding.0).0, along(kernel.1, padding.1).0);
    let applies = stride == (2, 2) && kernel != (1, 1) && 4 * channels <= LANES;
    let padding = (padding.0.div_ceil(2), padding.1.div_ceil(2));
    applies.then_some(Geometry { kernel, stride: (1, 1), padding })
}

/// Taps along an axis, and how many of them there are before the first one's place: with odd padding a
/// window starts at its first pair's second pixel.
fn along(taps: usize, padding: usize) -> (usize, usize) {
    let first = padding % 2;
    ((taps + first).div_ceil(2), first)
}

/// The filters that do the same, `[output][channel][row][column]` as those given.
pub(crate) fn filters(weights: &[f32], geometry: &Geometry, channels: usize) -> Vec<f32> {
    let Geometry { kernel, padding, .. } = *geometry;
    let (rows, first_row) = along(kernel.0, padding.0);
    let (columns, first_column) = along(kernel.1, padding.1);
    let outputs = weights.len() / (channels * kernel.0 * kernel.1);
    let mut filters = vec![0.0; outputs * 4 * channels * rows * columns];
    for (i, &weight) in weights.iter().enumerate() {
        let (filter, row, column) =
            (i / (kernel.0 * kernel.1), i / kernel.1 % kernel.0, i % kernel.1);
        let (output, channel) = (filter / channels, filter % channels);
        let (row, column) = (row + first_row, column + first_column);
        let part = row % 2 * 2 + column % 2;
        let filter = (output * 4 + part) * channels + channel;
        filters[(filter * rows + row / 2) * columns + column / 2] = weight;
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;
    use inception_kernels::reference::{Tensor, conv, pointwise};

    #[test]
    fn the_convolution_is_the_same() {
        let cases = [
            (3, (7, 7), (3, 3), (14, 19)),
            (3, (7, 7), (2, 2), (16, 16)),
            (3, (3, 3), (0, 0), (11, 12)),
            (1, (5, 2), (1, 0), (9, 8)),
            (4, (4, 6), (0, 3), (10, 7)),
            (2, (2, 3), (1, 1), (5, 6)),
        ];
        for (seed, (channels, kernel, padding, size)) in (0..).zip(cases) {
            let what = Geometry { kernel, stride: (2, 2), padding };
            let deep = geometry(&what, channels).unwrap();
            let x = Tensor::random([2, channels, size.0, size.1], seed);
            let weights = Tensor::random([5, channels, kernel.0, kernel.1], seed + 100);
            let along = |size, padding, kernel| (size + 2 * padding - kernel) / 2 + 1;
            let output = (along(size.0, padding.0, kernel.0), along(size.1, padding.1, kernel.1));
            let values: Vec<f32> = weights.data.iter().map(|&weight| weight as f32).collect();
            let weights = Tensor { data: values.iter().map(|&v| v.into()).collect(), ..weights };
            let data = filters(&values, &what, channels);
            let deep_weights = Tensor {
                shape: [5, 4 * channels, deep.kernel.0, deep.kernel.1],
                data: data.into_iter().map(f64::from).collect(),
            };
            let expected = conv::forward(&x, &weights, &what, output);
            let found = conv::forward(&pointwise::space_to_depth(&x), &deep_weights, &deep, output);
            assert!(found.error(&expected) < 1e-12, "{what:?}");
        }
    }

    #[test]
    fn there_is_one_at_stride_2_of_few_channels_only() {
        let found = |side, stride, channels| {
            let what = Geometry { kernel: (side, side), stride, padding: (0, 0) };
            geometry(&what, channels).is_some()
        };
        assert!(found(7, (2, 2), 4) && found(3, (2, 2), 3));
        assert!(!found(7, (2, 2), 5) && !found(7, (2, 1), 3) && !found(7, (1, 1), 3));
        assert!(!found(2, (2, 2), 3));
    }
}
