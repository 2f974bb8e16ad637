//! What every kernel must compute, in plain `f64` loops over dense NCHW tensors: slow, obvious,
//! and the measure the fast forms are tested against.
//!
//! Nothing here is meant for anything but tests, benchmarks and reading.

pub mod conv;
pub mod depthwise;
pub mod lrn;
pub mod norm;
pub mod pointwise;
pub mod pool;

use std::ops::{Index, IndexMut};

use crate::{Border, Buffer, Channels, Layout, View, ViewMut};

/// A dense tensor of `f64`: pictures × channels × rows × columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Pictures, channels, height, width.
    pub shape: [usize; 4],
    /// The values, columns fastest.
    pub data: Vec<f64>,
}

impl Tensor {
    /// Zeros.
    pub fn zeros(shape: [usize; 4]) -> Self {
        Self { shape, data: vec![0.0; shape.iter().product()] }
    }

    /// Pseudo-random values in [-1, 1) that an `f32` holds exactly.
    pub fn random(shape: [usize; 4], seed: u64) -> Self {
        let mut state = seed;
        let mut tensor = Self::zeros(shape);
        tensor.data.fill_with(|| {
            let bits = splitmix64(&mut state) >> 40;
            bits as f64 / (1u64 << 23) as f64 - 1.0
        });
        tensor
    }

    /// `f` of each value, rounded so that an `f32` holds it exactly.
    pub fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        self.data.iter_mut().for_each(|v| *v = (f(*v) as f32).into());
        self
    }

    /// Every index `[picture, channel, row, column]`, in the order of `data`.
    pub fn indices(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let [pictures, channels, height, width] = self.shape;
        (0..pictures * channels * height * width).map(move |i| {
            [
                i / (width * height * channels),
                i / (width * height) % channels,
                i / width % height,
                i % width,
            ]
        })
    }

    /// What a blocked tensor's view holds, channels in their order.
    pub fn from_view(view: View, channels: &Channels) -> Self {
        assert_eq!(view.blocks, channels.blocks());
        let lanes: Vec<usize> = channels.lanes().collect();
        let Layout { pictures, height, width, .. } = view.layout;
        let mut dense = Self::zeros([pictures, lanes.len(), height, width]);
        for [n, c, y, x] in dense.indices() {
            let (block, lane) = (lanes[c] / crate::LANES, lanes[c] % crate::LANES);
            dense[[n, c, y, x]] = view.data[view.offset(n, block, y, x) + lane].into();
        }
        dense
    }

    /// Writes the values into a blocked tensor's view, leaving border and spare lanes alone.
    pub fn write_to(&self, channels: &Channels, view: &mut ViewMut) {
        assert_eq!(view.blocks, channels.blocks());
        let lanes: Vec<usize> = channels.lanes().collect();
        for [n, c, y, x] in self.indices() {
            let (block, lane) = (lanes[c] / crate::LANES, lanes[c] % crate::LANES);
            let at = view.offset(n, block, y, x) + lane;
            view.data[at] = self[[n, c, y, x]] as f32;
        }
    }

    /// A blocked tensor of its own that holds the values.
    pub fn to_blocked(&self, channels: &Channels, border: Border) -> (Buffer, Layout) {
        let [pictures, _, height, width] = self.shape;
        let layout = Layout { pictures, blocks: channels.blocks(), height, width, border };
        let mut data = Buffer::zeroed(layout.len());
        let len = layout.len();
        self.write_to(channels, &mut ViewMut::new(&mut data[..len], layout));
        (data, layout)
    }

    /// Sum of the products of values at the same places.
    pub fn dot(&self, other: &Tensor) -> f64 {
        assert_eq!(self.shape, other.shape);
        self.data.iter().zip(&other.data).map(|(a, b)| a * b).sum()
    }

    /// Largest difference, as a share of the largest magnitude in `expected`. NaN matches NaN
    /// only; anything else at a NaN is an infinite error.
    pub fn error(&self, expected: &Tensor) -> f64 {
        assert_eq!(self.shape, expected.shape);
        let scale = expected.data.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let differences = self.data.iter().zip(&expected.data).map(|(a, b)| {
            if a == b || (a.is_nan() && b.is_nan()) {
                0.0
            } else if a.is_nan() || b.is_nan() {
                f64::INFINITY
            } else {
                (a - b).abs()
            }
        });
        differences.fold(0.0, f64::max) / scale
    }
}

impl Index<[usize; 4]> for Tensor {
    type Output = f64;
    fn index(&self, [n, c, y, x]: [usize; 4]) -> &f64 {
        let [_, channels, height, width] = self.shape;
        debug_assert!(c < channels && y < height && x < width);
        &self.data[((n * channels + c) * height + y) * width + x]
    }
}

impl IndexMut<[usize; 4]> for Tensor {
    fn index_mut(&mut self, [n, c, y, x]: [usize; 4]) -> &mut f64 {
        let [_, channels, height, width] = self.shape;
        debug_assert!(c < channels && y < height && x < width);
        &mut self.data[((n * channels + c) * height + y) * width + x]
    }
}

/// Gradient of `dy · f(x)` by `x`, from central differences of width `2 * 1e-6`: what an analytic
/// gradient is checked against.
pub fn numerical_gradient(x: &Tensor, dy: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    const EPSILON: f64 = 1e-6;
    let mut gradient = Tensor::zeros(x.shape);
    let mut moved = x.clone();
    for (i, slope) in gradient.data.iter_mut().enumerate() {
        moved.data[i] = x.data[i] + EPSILON;
        let above = f(&moved);
        moved.data[i] = x.data[i] - EPSILON;
        let below = f(&moved);
        moved.data[i] = x.data[i];
        // The differences first: `dy · above` and `dy · below` would lose what they have in common.
        let difference = above.data.iter().zip(&below.data).zip(&dy.data);
        *slope = difference.map(|((a, b), g)| (a - b) * g).sum::<f64>() / (2.0 * EPSILON);
    }
    gradient
}

/// The next of a sequence of well-mixed numbers (Steele, Lea, Flood 2014, *Fast splittable
/// pseudorandom number generators*).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
