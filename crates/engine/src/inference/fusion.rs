//! The network as inference computes it: batch norm folded into the filters, average pools behind
//! the 1×1 convolutions that follow them, a picture's depthwise convolution and the 1×1 convolution
//! behind it in one.

use std::collections::HashMap;

use inception_kernels::{LINEAR, RELU};
use inception_model::{ModelError, WeightSource};
use inception_net::graph::{Graph, LayerId, Op, Role};

use crate::space_to_depth;
use crate::steps::{self, Filtering};

/// A graph whose filters and their ends stand beside it, by layer.
pub(super) struct Fused {
    pub graph: Graph,
    pub filters: HashMap<LayerId, Filter>,
    /// For convolutions, linear layers, and average pools that took over a convolution's.
    pub ends: HashMap<LayerId, End>,
}

/// A layer's weights: a tensor's place, and what each output's are multiplied with.
pub(super) struct Filter {
    pub tensor: usize,
    /// Empty for 1.
    pub scale: Vec<f64>,
    /// What is in the tensor's place, where that is not it.
    pub composed: Option<Composed>,
}

/// The filters of two layers as one.
pub(super) struct Composed {
    pub weights: Vec<f32>,
    /// What the two layers take by their definitions, for a picture.
    pub multiply_adds: u64,
}

/// What is done to a layer's sums.
#[derive(Clone)]
pub(super) struct End {
    /// One value a channel.
    pub bias: Vec<f32>,
    pub relu: bool,
}

impl End {
    /// No bias, no activation.
    pub fn none(channels: usize) -> Self {
        Self { bias: vec![0.0; channels], relu: false }
    }

    /// Bias and floor for each lane of the channels' blocks.
    pub fn per_lane(&self) -> (Vec<f32>, Vec<f32>) {
        let floor = if self.relu { RELU } else { LINEAR };
        let bias = steps::per_lane(self.bias.iter().copied());
        let floor = vec![floor; bias.len()];
        (bias, floor)
    }
}

impl Fused {
    /// Folds, composes if asked to, and swaps; `outputs` are layers whose values somebody wants.
    pub fn new(
        graph: Graph,
        places: &HashMap<(LayerId, Role), usize>,
        weights: &dyn WeightSource,
        outputs: &[LayerId],
        compose: bool,
    ) -> Result<Self, ModelError> {
        let (mut filters, mut ends) = (HashMap::new(), HashMap::new());
        for (id, layer) in graph.layers.iter().enumerate() {
            let Some(&input) = layer.inputs.first() else { continue };
            let Some(filtering) = steps::filtering(&layer.op, graph.layers[input].shape) else {
                continue;
            };
            let values = |role: Role| {
                let place = places.get(&(id, role));
                place.map(|&i| Ok(weights.values(i, &mut Vec::new())?.to_vec())).transpose()
            };
            let (scale, bias) = folded(&filtering, layer.shape.channels, values)?;
            let tensor = places[&(id, Role::Weight)];
            filters.insert(id, Filter { tensor, scale, composed: None });
            ends.insert(id, End { bias, relu: filtering.relu });
        }
        let mut fused = Self { graph, filters, ends };
        if compose {
            fused.compose_depthwise(places, weights, outputs)?;
        }
        fused.swap_pools(outputs);
        Ok(fused)
    }

    /// By layer, those that read it.
    fn readers(&self) -> Vec<Vec<LayerId>> {
        let mut readers = vec![Vec::new(); self.graph.layers.len()];
        for (id, layer) in self.graph.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&input| readers[input].push(id));
        }
        readers
    }

    /// A depthwise convolution and the 1×1 convolution of its channels are one convolution. That has more
    /// multiplications, but takes less time where it reads a picture by space to depth.
    fn compose_depthwise(
        &mut self,
        places: &HashMap<(LayerId, Role), usize>,
        weights: &dyn WeightSource,
        outputs: &[LayerId],
    ) -> Result<(), ModelError> {
        let readers = self.readers();
        let is_alone = |id: LayerId| readers[id].len() == 1 && !outputs.contains(&id);
        for (id, readers) in readers.iter().enumerate() {
            let &[conv] = &readers[..] else { continue };
            let Some(&input) = self.graph.layers[id].inputs.first() else { continue };
            if is_alone(id) && is_alone(input) && self.composes(id, conv) {
                self.compose(id, conv, places, weights)?;
            }
        }
        Ok(())
    }

    fn composes(&self, id: LayerId, conv: LayerId) -> bool {
        let (first, second) = (&self.graph.layers[id], &self.graph.layers[conv]);
        let (Op::Depthwise { window, .. }, Op::Conv(op)) = (&first.op, &second.op) else {
            return false;
        };
        let input = &self.graph.layers[first.inputs[0]];
        let in_depth = space_to_depth::geometry(&steps::geometry(window), input.shape.channels);
        // Smaller ones the estimate leaves direct.
        window.kernel.0.min(window.kernel.1) >= 5
            && steps::geometry(&op.window) == steps::POINTWISE
            && matches!(input.op, Op::Input)
            && in_depth.is_some()
            && !steps::is_normed(&self.graph, conv)
    }

    /// Makes the second convolution do what both do.
    fn compose(
        &mut self,
        id: LayerId,
        conv: LayerId,
        places: &HashMap<(LayerId, Role), usize>,
        weights: &dyn WeightSource,
    ) -> Result<(), ModelError> {
        let Op::Depthwise { multiplier, window, .. } = self.graph.layers[id].op else {
            return Ok(());
        };
        let mut rooms = [Vec::new(), Vec::new()];
        let [of_first, of_second] = &mut rooms;
        let of_first = weights.values(places[&(id, Role::Weight)], of_first)?;
        let of_second = weights.values(places[&(conv, Role::Weight)], of_second)?;
        let composed = Composed {
            weights: composed(of_first, of_second, multiplier, window.kernel),
            multiply_adds: (self.graph.multiply_adds(id) + self.graph.multiply_adds(conv)) as u64,
        };
        if let Some(filter) = self.filters.get_mut(&conv) {
            filter.composed = Some(composed);
        }
        let (first, second) = self.graph.layers.split_at_mut(conv);
        let (before, after) = (&first[id], &mut second[0]);
        after.inputs.clone_from(&before.inputs);
        after.name = format!("{} + {}", before.name, after.name);
        if let Op::Conv(op) = &mut after.op {
            op.window = window;
        }
        Ok(())
    }

    /// A mean over a window and a 1×1 convolution commute (each pixel's divisor is the same for
    /// all channels), so that the pool may have the fewer channels; bias and ReLU come last.
    fn swap_pools(&mut self, outputs: &[LayerId]) {
        for (pool, readers) in self.readers().iter().enumerate() {
            if let [conv] = readers[..]
                && !outputs.contains(&pool)
                && self.swaps(pool, conv)
            {
                self.swap(pool, conv);
            }
        }
    }

    fn swaps(&self, pool: LayerId, conv: LayerId) -> bool {
        let (before, after) = (&self.graph.layers[pool], &self.graph.layers[conv]);
        let (Op::AvgPool(_), Op::Conv(op)) = (&before.op, &after.op) else { return false };
        let input = self.graph.layers[before.inputs[0]].shape;
        // A pool that stands in a convolution's place already ends like that.
        !self.ends.contains_key(&pool)
            && steps::geometry(&op.window) == steps::POINTWISE
            && steps::grid(input) == steps::grid(before.shape)
            && after.shape.channels <= input.channels
    }

    /// Makes the pool's place in the graph the convolution's, and the other way round.
    fn swap(&mut self, pool: LayerId, conv: LayerId) {
        let shape = self.graph.layers[conv].shape;
        let (first, second) = self.graph.layers.split_at_mut(conv);
        let (before, after) = (&mut first[pool], &mut second[0]);
        std::mem::swap(&mut before.op, &mut after.op);
        std::mem::swap(&mut before.name, &mut after.name);
        before.shape = shape;
        if let Some(filters) = self.filters.remove(&conv) {
            self.filters.insert(pool, filters);
        }
        self.ends.insert(pool, End::none(shape.channels));
    }
}

/// The filters, `[output][input][row][column]`, of a depthwise convolution, `[channel][row][column]`, and a
/// 1×1 convolution of its channels, `[output][channel]`.
fn composed(
    depthwise: &[f32],
    pointwise: &[f32],
    multiplier: usize,
    kernel: (usize, usize),
) -> Vec<f32> {
    let taps = kernel.0 * kernel.1;
    let of_input = |weights: &[f32], filters: &[f32], tap: usize| {
        let products = weights.iter().zip(filters.iter().skip(tap).step_by(taps));
        products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
    };
    let inputs = || depthwise.chunks(multiplier * taps);
    let rows = pointwise.chunks(depthwise.len() / taps);
    rows.flat_map(|row| {
        row.chunks(multiplier).zip(inputs()).flat_map(move |(weights, filters)| {
            (0..taps).map(move |tap| of_input(weights, filters, tap))
        })
    })
    .collect()
}

/// What the running statistics of batch norm make of filters and bias, in `f64`.
fn folded(
    filtering: &Filtering,
    outputs: usize,
    values: impl Fn(Role) -> Result<Option<Vec<f32>>, ModelError>,
) -> Result<(Vec<f64>, Vec<f32>), ModelError> {
    let given = |role| Ok(values(role)?.expect("batch norm has shift, mean and variance"));
    let Some(norm) = filtering.batch_norm else {
        let bias = values(Role::Bias)?.unwrap_or_else(|| vec![0.0; outputs]);
        return Ok((Vec::new(), bias));
    };
    let shift = given(Role::Shift)?;
    let (mean, variance) = (given(Role::RunningMean)?, given(Role::RunningVariance)?);
    let gamma = values(Role::Scale)?;
    let scale: Vec<f64> = (0..outputs)
        .map(|o| {
            let gamma = gamma.as_ref().map_or(1.0, |gamma| f64::from(gamma[o]));
            gamma / (f64::from(variance[o]) + f64::from(norm.epsilon)).sqrt()
        })
        .collect();
    let bias = (0..outputs)
        .map(|o| (f64::from(shift[o]) - f64::from(mean[o]) * scale[o]) as f32)
        .collect();
    Ok((scale, bias))
}
