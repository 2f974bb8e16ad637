//! Convolution by 1×1 filters with fewer multiplications: Strassen's product of matrices (1969).
//!
//! A picture's pixels × channels times channels × outputs is a product of matrices. Cut in two
//! along all three, it needs seven products of halves, not eight; cut in two again, 49 instead of
//! 64. Halves are taken in turn: the first pixel of a tile is in the first half, the second in the
//! second, and so are blocks of channels and of outputs. So a tile is two or four pixels that
//! follow each other, which a product's points mix. A missing pixel or block counts as zeros, and
//! what would become of it is not written. Not cut at all, a tile is a pixel.
//!
//! Sums of channels of very different size would lose the smaller ones' digits. Networks have such
//! channels, small weights reading large ones; so weights are first brought to one size by powers
//! of two, the channels' by the inverse of them: a [`Balance`].

mod kernels;
mod pixels;

pub(super) use pixels::Pixels;

use crate::{Buffer, LANES};

/// A product's points once cut.
const POINTS: usize = 7;

/// The most halves of halves along each axis.
const MOST: usize = 4;

/// Which halves of the weights, of channels and of outputs, each point is multiplied with:
/// coefficients of (0, 0), (0, 1), (1, 0), (1, 1).
const WEIGHTS: [[f64; 4]; POINTS] = [
    [1.0, 0.0, 0.0, 1.0],
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, -1.0],
    [-1.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
    [1.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 1.0],
];

/// By how much each point's inputs are larger than pixels: some are sums of two, some differences of
/// pixels next to each other, which are alike. As seen in Inception v3.
const INPUTS: [f32; POINTS] = [1.6, 1.6, 1.0, 1.0, 1.6, 0.35, 0.35];

/// The product cut so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strassen {
    /// 0, 1 or 2.
    pub levels: u32,
}

impl Strassen {
    /// The algorithm for 1×1 filters that cuts so often, if there is one.
    pub fn new(levels: u32) -> Option<Self> {
        (0..=MOST.ilog2()).contains(&levels).then_some(Self { levels })
    }

    /// Parts along each axis: a tile's pixels, and blocks of channels and of outputs that are mixed.
    pub fn parts(&self) -> usize {
        1 << self.levels
    }

    /// Products of matrices.
    pub fn points(&self) -> usize {
        POINTS.pow(self.levels)
    }

    /// By how much rounding errors grow in the outputs on average, compared with a direct sum, if
    /// all operands are as large: the root of the mean over the outputs of Σ (‖input‖ ‖weight‖)²
    /// over the products in each.
    pub fn amplification(&self) -> f64 {
        // An output of one cut has products of (1, 1), (1, 1), (√2, √2) … operands: 12 and 4 in
        // place of 2.
        2f64.powi(self.levels as i32)
    }

    /// For each point, by how much its inputs are larger than pixels.
    pub fn input_sizes(&self) -> impl Iterator<Item = f32> {
        let of_point = |point: usize| -> f32 {
            let terms = |level: u32| INPUTS[point / POINTS.pow(level) % POINTS];
            (0..self.levels).map(terms).product()
        };
        (0..self.points()).map(of_point)
    }

    /// Of each point the parts of the weights that it is the sum of, `channels × parts + outputs`,
    /// and their signs.
    pub fn terms(&self) -> Vec<Vec<(usize, f64)>> {
        let parts = self.parts();
        let of_point = |point: usize| {
            let term = |i: usize| (i, self.coefficient(point, (i / parts, i % parts)));
            (0..parts * parts).map(term).filter(|&(_, sign)| sign != 0.0).collect()
        };
        (0..self.points()).map(of_point).collect()
    }

    /// How often a point has a part of the channels and of the outputs.
    fn coefficient(&self, point: usize, (channels, outputs): (usize, usize)) -> f64 {
        // Digits: the first cut's are the higher.
        let cut = |level: u32| {
            let half = 2 * (channels >> level & 1) + (outputs >> level & 1);
            WEIGHTS[point / POINTS.pow(level) % POINTS][half]
        };
        (0..self.levels).map(cut).product()
    }
}

/// Powers of two that bring the weights of each channel, and of each output, to one size.
#[derive(Default)]
pub(super) struct Balance {
    /// What inputs are multiplied with, a value for each lane; their weights are divided by it.
    pub inputs: Buffer,
    /// Channels of each block of the inputs; what its spare lanes hold is not to be mixed.
    pub channels: Vec<u8>,
    /// What sums are multiplied with, likewise.
    pub outputs: Buffer,
}

impl Balance {
    /// For `rows`, the weights of each lane of the outputs (`None`: a spare one) and their factor,
    /// of channels that are in such lanes of the inputs, so many in each block.
    pub fn new(
        rows: &[Option<(&[f32], f64)>],
        lanes: &[usize],
        channels: impl Iterator<Item = usize>,
    ) -> Self {
        let channels: Vec<u8> = channels.map(|count| count as u8).collect();
        let mut largest = vec![0f32; lanes.len()];
        let inputs = Buffer::zeroed(channels.len() * LANES);
        let mut balance = Self { inputs, channels, outputs: Buffer::zeroed(rows.len()) };
        for (output, row) in balance.outputs.iter_mut().zip(rows) {
            // A spare lane's sums are no exact zeros; its scale is.
            let Some((row, factor)) = row else { continue };
            let most = row.iter().fold(0f32, |most, weight| most.max(weight.abs()));
            *output = power_of_two(f64::from(most) * factor.abs());
            let factor = (factor.abs() / f64::from(*output)) as f32;
            for (largest, weight) in largest.iter_mut().zip(*row) {
                *largest = largest.max(weight.abs() * factor);
            }
        }
        for (&lane, largest) in lanes.iter().zip(largest) {
            balance.inputs[lane] = power_of_two(f64::from(largest));
        }
        balance
    }

    /// The inputs' size, once balanced, if they had been of size 1.
    pub fn input_size(&self) -> f32 {
        let squares: f32 = self.inputs.iter().map(|scale| scale * scale).sum();
        let channels: f32 = self.channels.iter().map(|&count| f32::from(count)).sum();
        if channels > 0.0 { (squares / channels).sqrt() } else { 1.0 }
    }
}

/// The nearest to a size, far from the ends of the numbers' range; 1 for none.
fn power_of_two(size: f64) -> f32 {
    match size > 0.0 && size.is_finite() {
        true => size.log2().round().clamp(-40.0, 40.0).exp2() as f32,
        false => 1.0,
    }
}
