//! Space to depth: a picture's pixels taken two by two, their channels side by side.
//!
//! A network's first convolution reads few channels, which leave most of a block empty, and often at
//! stride 2. Of two by two pixels it reads four times as many, at stride 1 and with half as large a
//! kernel, so that minimal filtering has less to transform.

use inception_kernels::LANES;
use inception_kernels::conv::Geometry;

/// The convolution that does the same, if there is one: at stride 2, of few enough channels.
pub(crate) fn geometry(geometry: &Geometry, channels: usize) -> Option<Geometry> {
    let Geometry { kernel, stride, padding } = *geometry;
    let kernel = (along(kernel.0, padding.0).0, along(kernel.1, padding.1).0);
    let applies = stride == (2, 2) && kernel.0.min(kernel.1) > 1 && 4 * channels <= LANES;
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
