//! What a convolution is estimated to take, by each of its algorithms.
//!
//! The numbers are those that choose best, by the time lost, among what the layers of three networks
//! took by each of their candidates.

use inception_kernels::LANES;
use inception_kernels::conv::{Algorithm, Geometry, Work};

use crate::algorithms::{Layer, Purpose};

/// What things take, in direct multiply–adds of a block's vector.
struct Rates {
    /// A multiply–add of a product of matrices.
    multiply_add: f64,
    /// A sum of them, beside.
    sum: f64,
    /// The sums of a block that are kept in registers at a time, beside; and about how many rows these are.
    panel: f64,
    rows: f64,
    /// A value that is transformed along an axis, for each of its points.
    point: f64,
    /// A value that is added up, moved and stored elsewhere.
    value: f64,
    /// A vector of weights that comes from memory, in multiply–adds of all threads together.
    weight: f64,
    /// The part of the lesser of arithmetic and streaming that the greater does not hide.
    overlap: f64,
}

/// Where channels are [paired](inception_kernels::Isa::pairs_channels).
const PAIRED: Rates = Rates {
    multiply_add: 0.6,
    sum: 12.0,
    panel: 140.0,
    rows: 17.0,
    point: 0.6,
    value: 2.5,
    weight: 11.0,
    overlap: 0.3,
};

/// And where they are not.
const SINGLE: Rates = Rates {
    multiply_add: 1.0,
    sum: 0.0,
    panel: 12.0,
    rows: 6.0,
    point: 2.2,
    value: 2.4,
    weight: 13.0,
    overlap: 0.31,
};

/// In training, forward and back.
const TRAINING: Rates = Rates {
    multiply_add: 1.0,
    sum: 0.0,
    panel: 0.0,
    rows: 6.0,
    point: 1.6,
    value: 5.0,
    weight: 12.0,
    overlap: 0.4,
};

/// The time of a direct multiply–add where a network's input is read, whose few channels leave little
/// to do for each value of a window.
const FIRST: f64 = 1.2;

/// The part of their time that transforms take there, which have few blocks to read.
const FIRST_TRANSFORMS: f64 = 0.37;

impl Layer {
    /// Estimated time for so many pictures at a time, in direct multiply–adds of a block's vector.
    pub fn cost(&self, algorithm: Algorithm, pictures: f64) -> f64 {
        let Some(work) = self.work(algorithm) else { return f64::INFINITY };
        let (inputs, _, outputs) = self.whole(algorithm);
        // Only whole blocks have pairs.
        let (kernel, summed) = (self.geometry.kernel, algorithm == Algorithm::Product);
        let whole = inputs * if summed { kernel.0 * kernel.1 } else { 1 } >= LANES;
        let rates = match self.purpose {
            Purpose::Training => TRAINING,
            Purpose::Inference { paired: true } if whole => PAIRED,
            Purpose::Inference { .. } => SINGLE,
        };
        let pairs = (inputs * outputs) as f64;
        let arithmetic = match algorithm {
            Algorithm::Direct => pairs * work.products * if self.first { FIRST } else { 1.0 },
            _ => {
                let sums = work.sums * outputs as f64;
                let panels = (work.rows * pictures / rates.rows).ceil() / (work.rows * pictures);
                rates.multiply_add * work.products * pairs
                    + (rates.sum + rates.panel * panels) * sums
                    + self.transforms(algorithm, &work, &rates)
            }
        };
        let (arithmetic, streaming) = (pictures * arithmetic, work.weights * pairs * rates.weight);
        arithmetic.max(streaming) + rates.overlap * arithmetic.min(streaming)
    }

    /// What inputs and outputs take beside the products, for a picture.
    fn transforms(&self, algorithm: Algorithm, work: &Work, rates: &Rates) -> f64 {
        let (_, inputs, outputs) = self.whole(algorithm);
        let (inputs, outputs) = (inputs as f64, outputs as f64);
        let Algorithm::Minimal { rows, columns } = algorithm else {
            return rates.value * work.sums * (inputs + outputs);
        };
        let Geometry { kernel, stride, .. } = self.as_computed(algorithm).0;
        let points = |outputs: usize, taps: usize, stride: usize| match taps {
            1 => 0,
            _ => outputs + taps.div_ceil(stride) - 1,
        };
        let points = points(rows, kernel.0, stride.0) + points(columns, kernel.1, stride.1);
        let part = if self.first { FIRST_TRANSFORMS } else { 1.0 };
        part * rates.point * points as f64 * (work.products * inputs + work.sums * outputs)
    }
}
