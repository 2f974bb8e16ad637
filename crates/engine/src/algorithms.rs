//! Which algorithm each convolution is computed by.
//!
//! The choice is a layer's (or, under a budget of memory, a network's), never a batch's or a number
//! of threads': a picture's logits are the same bits whatever it is computed with.

use std::collections::BTreeMap;

use inception_kernels::LANES;
use inception_kernels::conv::{Algorithm, Geometry, Work};

use crate::inference::BATCH;
use crate::lean;

/// How convolutions' algorithms are chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Algorithms {
    /// Direct convolution everywhere.
    Precise,
    /// What an estimate of the work says for a picture at a time, the same on every machine that
    /// [pairs channels](inception_kernels::Isa::pairs_channels), and on every other.
    #[default]
    Estimated,
    /// What it says for [`BATCH`] pictures at a time. Small grids then go by larger tiles, whose
    /// many weights are read once for all of them; a single picture takes longer.
    Throughput,
    /// For those who have little memory: those that save most time, as estimated, while a network's
    /// packed weights take at most [`Algorithms::LEAN_GROWTH`] times what they take for direct
    /// convolution.
    Lean,
    /// Those of a plan; for layers that are not in it as estimated.
    Planned(Plan),
    /// The same, but what a plan has that does not apply, or no longer, is as estimated too.
    Tuned(Plan),
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
    /// Blocks that the channels take.
    pub input_blocks: usize,
    pub output_blocks: usize,
    /// The output's height and width.
    pub grid: (usize, usize),
    /// The same at stride 1 on the [space to depth](crate::space_to_depth) of what it reads, where that
    /// can be had: minimal filtering computes it so.
    pub space_to_depth: Option<Geometry>,
    /// Whether it reads the network's input.
    pub first: bool,
    /// Whether local response norm follows, before other convolutions.
    pub normed: bool,
    /// What for.
    pub purpose: Purpose,
}

/// What a convolution is computed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Inference {
        /// Whether the processor [pairs channels](inception_kernels::Isa::pairs_channels).
        paired: bool,
    },
    /// Weights are packed anew each time, and not paired.
    Training,
}

impl Algorithms {
    /// See [`Algorithms::Lean`]. With a quarter more, Inception v3 takes about a fifth more time than
    /// without a bound; with nothing more nearly twice as much.
    pub const LEAN_GROWTH: f64 = 1.25;

    /// Those of a network's convolutions.
    pub(crate) fn choose(&self, layers: &[Layer]) -> Vec<Algorithm> {
        let estimated = |layer: &Layer| layer.cheapest(1.0, |_| true);
        let planned = |plan: &Plan, layer: &Layer, allowed: &dyn Fn(&Algorithm) -> bool| {
            let chosen = plan.get(&layer.kind()).copied().filter(allowed);
            chosen.unwrap_or_else(|| estimated(layer))
        };
        match self {
            Algorithms::Precise => vec![Algorithm::Direct; layers.len()],
            Algorithms::Estimated => layers.iter().map(estimated).collect(),
            Algorithms::Throughput => {
                layers.iter().map(|layer| layer.cheapest(BATCH as f64, |_| true)).collect()
            }
            Algorithms::Lean => lean::choose(layers),
            Algorithms::Planned(plan) => {
                layers.iter().map(|layer| planned(plan, layer, &|_| true)).collect()
            }
            Algorithms::Tuned(plan) => layers
                .iter()
                .map(|layer| {
                    planned(plan, layer, &|algorithm| layer.candidates().contains(algorithm))
                })
                .collect(),
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
        self.candidates()
            .into_iter()
            .filter(allowed)
            .map(|algorithm| (self.cost(algorithm, pictures), algorithm))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(Algorithm::Direct, |(_, algorithm)| algorithm)
    }

    /// The algorithms to choose from, direct convolution first. A plan may name others that its
    /// geometry has.
    pub fn candidates(&self) -> Vec<Algorithm> {
        let mut all = Algorithm::candidates(&self.geometry);
        if let Some(geometry) = self.space_to_depth {
            let is_minimal = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Minimal { .. });
            all.retain(|algorithm| !is_minimal(algorithm));
            all.extend(Algorithm::candidates(&geometry).into_iter().filter(is_minimal));
        }
        // Errors are in proportion to the largest value of a tile. Nobody has brought those of an input to
        // one size yet, and local response norm magnifies what is wrong with the smaller ones.
        if self.first && self.normed {
            all.retain(|algorithm| matches!(algorithm, Algorithm::Direct | Algorithm::Product));
        }
        // Without pairs direct convolution does the same without copying; for several taps of many
        // channels minimal filtering has fewer multiplications.
        let paired = self.purpose == Purpose::Inference { paired: true };
        let pays = paired && self.grid != (1, 1) && (self.first || self.geometry.kernel == (1, 1));
        all.retain(|&algorithm| pays || algorithm != Algorithm::Product);
        all
    }

    /// The geometry that an algorithm computes with, and the channels and blocks of the inputs there.
    pub fn as_computed(&self, algorithm: Algorithm) -> (Geometry, usize, usize) {
        match (algorithm, self.space_to_depth) {
            (Algorithm::Minimal { .. }, Some(geometry)) => (geometry, 4 * self.inputs, 1),
            _ => (self.geometry, self.inputs, self.input_blocks),
        }
    }

    /// What an algorithm does for each pair of channels that it [computes](Layer::as_computed) with.
    pub fn work(&self, algorithm: Algorithm) -> Option<Work> {
        algorithm.work(&self.as_computed(algorithm).0, self.grid)
    }

    /// Multiply–adds for a picture, without transforms, by an algorithm that applies.
    pub fn multiply_adds(&self, algorithm: Algorithm) -> f64 {
        let pairs = self.as_computed(algorithm).1 * self.outputs;
        self.work(algorithm).map_or(0.0, |work| work.products * pairs as f64)
    }

    /// Channels and blocks of the inputs, and blocks of the outputs, as an algorithm computes with
    /// them: what is mixed is made whole, and a window's values are blocks.
    pub fn whole(&self, algorithm: Algorithm) -> (usize, usize, usize) {
        match algorithm {
            Algorithm::Direct | Algorithm::Minimal { .. } => {
                let (_, inputs, blocks) = self.as_computed(algorithm);
                (inputs, blocks, self.output_blocks)
            }
            Algorithm::Product => {
                let taps = self.geometry.kernel.0 * self.geometry.kernel.1;
                let blocks = match self.input_blocks {
                    1 => (taps * self.inputs).div_ceil(LANES),
                    blocks => taps * blocks,
                };
                (self.inputs, blocks, self.output_blocks)
            }
            Algorithm::Strassen { levels } => {
                let whole = |blocks: usize| blocks.next_multiple_of(1 << levels);
                let inputs = whole(self.input_blocks);
                (inputs * LANES, inputs, whole(self.output_blocks))
            }
        }
    }

    /// Bytes of the weights as packed for an algorithm that applies.
    pub fn bytes(&self, algorithm: Algorithm) -> usize {
        let weights = self.work(algorithm).map_or(0.0, |work| work.weights);
        let (inputs, _, outputs) = self.whole(algorithm);
        (weights * (inputs * outputs * LANES) as f64) as usize * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space_to_depth;

    #[test]
    fn large_windows_of_the_input_are_filtered_minimally_or_copied() {
        let chosen =
            |side: usize, outputs: usize, grid: usize, (paired, in_depth): (bool, bool)| {
                let geometry = Geometry { kernel: (side, side), stride: (2, 2), padding: (0, 0) };
                let layer = Layer {
                    geometry,
                    inputs: 3,
                    outputs,
                    input_blocks: 1,
                    output_blocks: outputs.div_ceil(LANES),
                    grid: (grid, grid),
                    space_to_depth: space_to_depth::geometry(&geometry, 3).filter(|_| in_depth),
                    first: true,
                    normed: !in_depth,
                    purpose: Purpose::Inference { paired },
                };
                layer.cheapest(1.0, |_| true)
            };
        assert_eq!(chosen(7, 64, 112, (true, false)), Algorithm::Product);
        assert_eq!(chosen(7, 64, 112, (false, false)), Algorithm::Direct);
        for paired in [true, false] {
            let tiles = Algorithm::Minimal { rows: 7, columns: 7 };
            assert_eq!(chosen(7, 64, 112, (paired, true)), tiles);
            assert_eq!(chosen(3, 32, 149, (paired, true)), Algorithm::Direct);
        }
    }
}
