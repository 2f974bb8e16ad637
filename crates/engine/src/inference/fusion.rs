//! The network as inference computes it: batch norm folded into the filters, average pools behind
//! the 1×1 convolutions that follow them.

use std::collections::HashMap;

use inception_kernels::{LINEAR, RELU};
use inception_model::{ModelError, WeightSource};
use inception_net::graph::{Graph, LayerId, Op, Role};

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
    /// Folds and swaps; `outputs` are layers whose values somebody wants.
    pub fn new(
        graph: Graph,
        places: &HashMap<(LayerId, Role), usize>,
        weights: &dyn WeightSource,
        outputs: &[LayerId],
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
            filters.insert(id, Filter { tensor, scale });
            ends.insert(id, End { bias, relu: filtering.relu });
        }
        let mut fused = Self { graph, filters, ends };
        fused.swap_pools(outputs);
        Ok(fused)
    }

    /// A mean over a window and a 1×1 convolution commute (each pixel's divisor is the same for
    /// all channels), so that the pool may have the fewer channels; bias and ReLU come last.
    fn swap_pools(&mut self, outputs: &[LayerId]) {
        let mut readers = vec![Vec::new(); self.graph.layers.len()];
        for (id, layer) in self.graph.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&input| readers[input].push(id));
        }
        for (pool, readers) in readers.iter().enumerate() {
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
        steps::geometry(&op.window) == steps::POINTWISE
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
