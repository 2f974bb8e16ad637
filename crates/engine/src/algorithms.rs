//! Which algorithm each convolution is computed by.
//!
//! The choice is a layer's, never a batch's or a number of threads': a picture's logits are the
//! same bits whatever it is computed with.

use std::collections::BTreeMap;

use inception_kernels::LANES;
use inception_kernels::conv::{Algorithm, Geometry};

/// How convolutions' algorithms are chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Algorithms {
    /// Direct convolution everywhere.
    Precise,
    /// What an estimate of the work says, the same on every machine.
    #[default]
    Estimated,
    /// Those named for layers; for others as estimated.
    Chosen(BTreeMap<String, Algorithm>),
}

/// One convolution of a network, as far as its cost goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer<'a> {
    pub name: &'a str,
    pub geometry: Geometry,
    /// Channels.
    pub inputs: usize,
    pub outputs: usize,
    /// The output's height and width.
    pub grid: (usize, usize),
}

impl Algorithms {
    pub(crate) fn choose(&self, layer: &Layer) -> Algorithm {
        let estimated = || {
            Algorithm::candidates(&layer.geometry)
                .into_iter()
                .map(|algorithm| (cost(layer, algorithm), algorithm))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or(Algorithm::Direct, |(_, algorithm)| algorithm)
        };
        match self {
            Algorithms::Precise => Algorithm::Direct,
            Algorithms::Estimated => estimated(),
            Algorithms::Chosen(chosen) => chosen.get(layer.name).copied().unwrap_or_else(estimated),
        }
    }
}

impl Layer<'_> {
    /// Products for each pair of channels.
    pub fn products(&self, algorithm: Algorithm) -> usize {
        let (kernel, grid) = (self.geometry.kernel, self.grid);
        match algorithm {
            Algorithm::Direct => kernel.0 * kernel.1 * grid.0 * grid.1,
            Algorithm::Minimal { rows, columns } => {
                let points = (rows + kernel.0 - 1) * (columns + kernel.1 - 1);
                grid.0.div_ceil(rows) * grid.1.div_ceil(columns) * points
            }
        }
    }
}

/// Pictures that an estimate assumes at a time: between one and [`BATCH`](crate::BATCH), as both
/// are wanted fast.
const PICTURES: f64 = 2.0;

/// Multiply–adds of a vector in the time in which one vector of weights comes from memory.
const STREAM: f64 = 6.0;

/// Estimated time of a layer, in multiply–adds of a block's vector.
fn cost(layer: &Layer, algorithm: Algorithm) -> f64 {
    let kernel = layer.geometry.kernel;
    let (inputs, outputs) = (layer.inputs as f64, layer.outputs.div_ceil(LANES) as f64);
    let products = layer.products(algorithm) as f64;
    let (weights, transforms) = match algorithm {
        Algorithm::Direct => ((kernel.0 * kernel.1) as f64, 0.0),
        Algorithm::Minimal { rows, columns } => {
            let points = (rows + kernel.0 - 1, columns + kernel.1 - 1);
            // Along an axis of n points a transform takes about n/2 operations a value, and moves it.
            let along = |n: usize, taps: usize| if taps == 1 { 0.0 } else { n as f64 / 2.0 + 3.0 };
            let each = along(points.0, kernel.0) + along(points.1, kernel.1);
            ((points.0 * points.1) as f64, products * each * (inputs / LANES as f64 + outputs))
        }
    };
    let arithmetic = PICTURES * (products * inputs * outputs + transforms);
    let streaming = weights * inputs * outputs * STREAM;
    arithmetic.max(streaming) + 0.5 * arithmetic.min(streaming)
}
