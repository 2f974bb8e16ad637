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
    /// Those of a plan; for layers that are not in it as estimated.
    Planned(Plan),
}

/// Algorithms by kind of layer, as [`StepInfo::layer_kind`](crate::StepInfo::layer_kind) names it,
/// whatever network the layer is in.
pub type Plan = BTreeMap<String, Algorithm>;

/// One convolution of a network, as far as its cost goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    pub geometry: Geometry,
    /// Channels.
    pub inputs: usize,
    pub outputs: usize,
    /// The output's height and width.
    pub grid: (usize, usize),
}

impl Algorithms {
    pub(crate) fn choose(&self, layer: &Layer) -> Algorithm {
        let estimated = || layer.cheapest(PICTURES, |_| true);
        match self {
            Algorithms::Precise => Algorithm::Direct,
            Algorithms::Estimated => estimated(),
            Algorithms::Planned(plan) => plan.get(&layer.kind()).copied().unwrap_or_else(estimated),
        }
    }
}

impl Layer {
    /// What decides about its algorithm: `3×3/2 288→384 @17×17`, kernel, stride, channels, grid.
    pub fn kind(&self) -> String {
        let Geometry { kernel, stride, .. } = self.geometry;
        let stride = match stride {
            (1, 1) => String::new(),
            (down, across) if down == across => format!("/{down}"),
            (down, across) => format!("/{down}×{across}"),
        };
        let (kernel, grid) = (format!("{}×{}", kernel.0, kernel.1), self.grid);
        format!("{kernel}{stride} {}→{} @{}×{}", self.inputs, self.outputs, grid.0, grid.1)
    }

    /// The candidate of the least estimated cost for so many pictures at a time, among those allowed.
    pub fn cheapest(&self, pictures: f64, allowed: impl Fn(&Algorithm) -> bool) -> Algorithm {
        Algorithm::candidates(&self.geometry)
            .into_iter()
            .filter(allowed)
            .map(|algorithm| (cost(self, algorithm, pictures), algorithm))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(Algorithm::Direct, |(_, algorithm)| algorithm)
    }
}

/// Pictures that an estimate for inference assumes at a time: between one and [`BATCH`](crate::BATCH), as both
/// are wanted fast.
const PICTURES: f64 = 2.0;

/// Multiply–adds of a vector in the time in which one vector of weights comes from memory.
const STREAM: f64 = 14.0;

/// Estimated time of a layer, in multiply–adds of a block's vector.
fn cost(layer: &Layer, algorithm: Algorithm, pictures: f64) -> f64 {
    let Some(work) = algorithm.work(&layer.geometry, layer.grid) else { return f64::INFINITY };
    let (inputs, outputs) = (layer.inputs as f64, layer.outputs.div_ceil(LANES) as f64);
    let products = work.products;
    let transforms = match algorithm {
        Algorithm::Direct => 0.0,
        // Along an axis of n points a transform takes about n / 2 operations a value, and moves it.
        Algorithm::Minimal { rows, columns } => {
            let (kernel, stride) = (layer.geometry.kernel, layer.geometry.stride);
            let along = |outputs: usize, taps: usize, stride: usize| match taps {
                1 => 0.0,
                _ => (outputs + taps.div_ceil(stride) - 1) as f64 / 2.0 + 3.0,
            };
            let each = along(rows, kernel.0, stride.0) + along(columns, kernel.1, stride.1);
            products * each * (inputs / LANES as f64 + outputs)
        }
        // A point of a part of the channels takes about three additions and moves.
        Algorithm::Strassen { levels } => {
            let parts = f64::from(levels).exp2();
            products * parts * 12.0 * (inputs / LANES as f64 + outputs)
        }
    };
    let arithmetic = pictures * (products * inputs * outputs + transforms);
    let streaming = work.weights * inputs * outputs * STREAM;
    arithmetic.max(streaming) + 0.7 * arithmetic.min(streaming)
}
