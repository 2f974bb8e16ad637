//! Convolution by 1×1 filters with fewer multiplications: Strassen's product of matrices (1969).
//!
//! A picture's pixels × channels times channels × outputs is a product of matrices. Cut in two
//! along all three, it needs seven products of halves, not eight; cut in two again, 49 instead of
//! 64. Halves are taken in turn: the first pixel of a tile is in the first half, the second in the
//! second, and so are blocks of channels and of outputs. So a tile is two or four pixels that
//! follow each other, which a product's points mix. A missing pixel or block counts as zeros, and
//! what would become of it is not written.
//!
//! Sums of channels of very different size would lose the smaller ones' digits; so weights are first
//! brought to one size: see `balance`.

mod kernels;
mod pixels;

pub(super) use pixels::Pixels;

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
    /// 1 or 2.
    pub levels: u32,
}

impl Strassen {
    /// The algorithm for 1×1 filters that cuts so often, if there is one.
    pub fn new(levels: u32) -> Option<Self> {
        (1..=MOST.ilog2()).contains(&levels).then_some(Self { levels })
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
