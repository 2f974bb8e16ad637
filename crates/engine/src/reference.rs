//! The network computed in `f64`, layer after layer, forward and backward: what the engine's
//! plans are measured against.
//!
//! A walk over the graph that calls the kernels' [references](inception_kernels::reference):
//! nothing folded, nothing reused, every layer's output kept. It is meant for tests and panics
//! where it is called with anything but what its documentation asks for.

mod loss;
mod parts;

use std::collections::HashMap;

use inception_kernels::reference::{Tensor, conv, depthwise, lrn, norm, pointwise, pool};
use inception_model::Weights;
use inception_net::graph::{BatchNorm, Graph, Layer, LayerId, Op, Role};

use crate::NormMode;
use crate::steps::{self, Filtering};
use parts::{add, concatenated, dropped, split};

pub use loss::cross_entropy;

/// Says whether dropout keeps the value at `[picture, channel, row, column]` of a layer's output.
pub type Keep<'a> = &'a dyn Fn(LayerId, [usize; 4]) -> bool;

/// Gives the outputs of layers as another engine computed them.
pub type Outputs<'a> = &'a dyn Fn(LayerId) -> Tensor;

/// A network with its weights.
pub struct Reference<'a> {
    graph: &'a Graph,
    /// In the order of [`Graph::parameters`].
    values: Vec<Vec<f64>>,
    places: HashMap<(LayerId, Role), usize>,
}

/// How a forward pass runs.
#[derive(Clone, Copy)]
pub struct Mode<'a> {
    /// Which statistics batch norm normalises with.
    pub norm: NormMode,
    /// Layers whose batch norm is frozen whatever `norm` says.
    pub frozen: &'a [LayerId],
    /// What dropout keeps; without it dropout does nothing.
    pub keep: Option<Keep<'a>>,
}

impl Mode<'_> {
    /// Running statistics, no dropout.
    pub const INFERENCE: Mode<'static> = Mode { norm: NormMode::Frozen, frozen: &[], keep: None };
    /// Batch statistics, no dropout.
    pub const TRAINING: Mode<'static> = Mode { norm: NormMode::Batch, frozen: &[], keep: None };

    /// The mode in which a layer normalises: a single value has no statistics.
    fn used(&self, id: LayerId, z: &Tensor) -> NormMode {
        let frozen = values_per_channel(z) == 1 || self.frozen.contains(&id);
        if frozen { NormMode::Frozen } else { self.norm }
    }
}

/// Everything a forward pass computed.
pub struct Pass<'a> {
    mode: Mode<'a>,
    /// Every layer's output, by layer.
    pub outputs: Vec<Tensor>,
    /// What each layer's filters gave, before batch norm or bias; empty for other layers.
    filtered: Vec<Tensor>,
}

/// What a backward pass computed.
pub struct Gradients {
    /// By parameter, in the order of [`Graph::parameters`]; empty for running statistics.
    pub parameters: Vec<Vec<f64>>,
    /// By each layer's output; that of layer 0 is the gradient by the pictures.
    pub outputs: Vec<Tensor>,
}

impl<'a> Reference<'a> {
    /// The network with these weights, which must be its own.
    pub fn new(graph: &'a Graph, weights: &Weights) -> Self {
        let values = weights.tensors().iter();
        Self {
            graph,
            values: values.map(|t| t.values.iter().map(|&v| v.into()).collect()).collect(),
            places: steps::parameter_places(graph),
        }
    }

    /// The parameters' values in the order of [`Graph::parameters`], to change.
    pub fn values_mut(&mut self) -> &mut [Vec<f64>] {
        &mut self.values
    }

    /// Every layer's output for a batch of preprocessed pictures.
    pub fn forward<'m>(&self, pictures: &Tensor, mode: Mode<'m>) -> Pass<'m> {
        let nothing = Tensor::zeros([0; 4]);
        let mut pass = Pass { mode, outputs: Vec::new(), filtered: Vec::new() };
        for (id, layer) in self.graph.layers.iter().enumerate() {
            let x = layer.inputs.first().map_or(pictures, |&input| &pass.outputs[input]);
            let z = self.filtered(id, x).unwrap_or_else(|| nothing.clone());
            let y = match &layer.op {
                Op::Input => pictures.clone(),
                Op::Conv(_) | Op::Linear(_) => self.affine(id, &z, mode),
                Op::Depthwise { multiplier, window, .. } => {
                    let weights = self.weights(id, x);
                    let geometry = steps::geometry(window);
                    depthwise::forward(x, *multiplier, &weights, &geometry, grid(layer))
                }
                Op::MaxPool(windows) => pool::max(x, &steps::windows(windows)),
                Op::AvgPool(windows) => pool::average(x, &steps::windows(windows)),
                Op::LocalResponseNorm { .. } => {
                    lrn::forward(x, &steps::lrn(&layer.op).expect("an LRN layer"))
                }
                Op::Concat => concatenated(layer.inputs.iter().map(|&i| &pass.outputs[i])),
                Op::Dropout { rate } => dropped(x, id, *rate, mode.keep),
            };
            let [_, channels, height, width] = y.shape;
            let shape = layer.shape;
            assert_eq!(
                (channels, height, width),
                (shape.channels, shape.height, shape.width),
                "shape of {}",
                layer.name
            );
            pass.filtered.push(z);
            pass.outputs.push(y);
        }
        pass
    }

    /// Gradients from those of each head's logits.
    pub fn backward(&self, pass: &Pass, logit_gradients: &[Tensor]) -> Gradients {
        self.backward_beside(pass, logit_gradients, &|id| pass.outputs[id].clone())
    }

    /// Gradients as [`Reference::backward`] computes them, but at every kink (ReLU, maximum) on
    /// the side on which another engine's outputs lie. Where a value is closer to its kink than
    /// `f32` resolves, two correct engines fall on different sides and their gradients differ by
    /// per cents; this leaves only the differences that matter.
    pub fn backward_beside(
        &self,
        pass: &Pass,
        logit_gradients: &[Tensor],
        other: Outputs,
    ) -> Gradients {
        assert_eq!(logit_gradients.len(), self.graph.heads.len(), "a gradient for each head");
        let zeros = pass.outputs.iter().map(|output| Tensor::zeros(output.shape));
        let mut gradients =
            Gradients { parameters: vec![Vec::new(); self.values.len()], outputs: zeros.collect() };
        for (head, gradient) in self.graph.heads.iter().zip(logit_gradients) {
            add(&mut gradients.outputs[head.logits], gradient);
        }
        for (id, layer) in self.graph.layers.iter().enumerate().rev() {
            let dy = gradients.outputs[id].clone();
            let dxs = self.layer_backward(id, pass, &dy, other, &mut gradients.parameters);
            assert_eq!(dxs.len(), layer.inputs.len());
            for (&input, dx) in layer.inputs.iter().zip(&dxs) {
                add(&mut gradients.outputs[input], dx);
            }
        }
        gradients
    }

    /// The running statistics that a training step leaves behind, by parameter as in
    /// [`Gradients::parameters`]; empty for trained parameters
    /// and for statistics that do not move.
    pub fn running_statistics(&self, pass: &Pass) -> Vec<Vec<f64>> {
        let mut running = vec![Vec::new(); self.values.len()];
        for (id, layer) in self.graph.layers.iter().enumerate() {
            let Some(norm) = self.filtering(layer).and_then(|f| f.batch_norm) else {
                continue;
            };
            let z = &pass.filtered[id];
            if pass.mode.used(id, z) == NormMode::Frozen {
                continue;
            }
            let values = values_per_channel(z);
            let (mean, variance) = norm::statistics(z);
            let unbiased = values as f64 / (values - 1) as f64;
            let decay = f64::from(norm.decay);
            let mut moved = |role, batch: Vec<f64>| {
                let place = self.places[&(id, role)];
                let both = self.values[place].iter().zip(batch);
                running[place] = both.map(|(old, new)| decay * old + (1.0 - decay) * new).collect();
            };
            moved(Role::RunningMean, mean);
            moved(Role::RunningVariance, variance.iter().map(|v| v * unbiased).collect());
        }
        running
    }

    /// Gradients by a layer's inputs; its parameters' go into `parameters`.
    fn layer_backward(
        &self,
        id: LayerId,
        pass: &Pass,
        dy: &Tensor,
        other: Outputs,
        parameters: &mut [Vec<f64>],
    ) -> Vec<Tensor> {
        let layer = &self.graph.layers[id];
        let Some(&input) = layer.inputs.first() else {
            return Vec::new();
        };
        let x = &pass.outputs[input];
        let size = (x.shape[2], x.shape[3]);
        let weight = self.places.get(&(id, Role::Weight));
        vec![match &layer.op {
            Op::Input => unreachable!("the input reads no layer"),
            Op::Conv(_) | Op::Linear(_) => {
                let filtering = self.filtering(layer).expect("a filtering layer");
                let z = &pass.filtered[id];
                let dz = self.affine_backward(id, z, dy, pass.mode, &other(id), parameters);
                let geometry = &filtering.geometry;
                parameters[weight.copied().expect("weights")] =
                    conv::backward_filters(x, &dz, geometry).data;
                conv::backward_data(&dz, &self.weights(id, x), geometry, size)
            }
            Op::Depthwise { multiplier, window, .. } => {
                let geometry = steps::geometry(window);
                parameters[weight.copied().expect("weights")] =
                    depthwise::backward_filters(x, *multiplier, dy, &geometry).data;
                depthwise::backward_data(dy, *multiplier, &self.weights(id, x), &geometry, size)
            }
            Op::MaxPool(windows) => pool::max_backward(&other(input), dy, &steps::windows(windows)),
            Op::AvgPool(windows) => pool::average_backward(dy, &steps::windows(windows), size),
            Op::LocalResponseNorm { .. } => {
                lrn::backward(x, dy, &steps::lrn(&layer.op).expect("an LRN layer"))
            }
            Op::Concat => {
                return split(dy, layer.inputs.iter().map(|&i| pass.outputs[i].shape[1]));
            }
            Op::Dropout { rate } => dropped(dy, id, *rate, pass.mode.keep),
        }]
    }

    fn filtering(&self, layer: &Layer) -> Option<Filtering> {
        let input = self.graph.layers[*layer.inputs.first()?].shape;
        steps::filtering(&layer.op, input)
    }

    /// The layer's filters applied to its input, if it has any that mix channels.
    fn filtered(&self, id: LayerId, x: &Tensor) -> Option<Tensor> {
        let layer = &self.graph.layers[id];
        let filtering = self.filtering(layer)?;
        Some(conv::forward(x, &self.weights(id, x), &filtering.geometry, grid(layer)))
    }

    /// The layer's filters as a tensor; `x` is its input.
    fn weights(&self, id: LayerId, x: &Tensor) -> Tensor {
        let layer = &self.graph.layers[id];
        let data = self.values[self.places[&(id, Role::Weight)]].clone();
        let (inputs, kernel) = match &layer.op {
            Op::Depthwise { window, .. } => (1, window.kernel),
            _ => (x.shape[1], self.filtering(layer).expect("a filtering layer").geometry.kernel),
        };
        Tensor { shape: [layer.shape.channels, inputs, kernel.0, kernel.1], data }
    }

    /// Batch norm or bias, then the activation.
    fn affine(&self, id: LayerId, z: &Tensor, mode: Mode) -> Tensor {
        let filtering = self.filtering(&self.graph.layers[id]).expect("a filtering layer");
        let channels = z.shape[1];
        let (scale, shift) = match filtering.batch_norm {
            Some(norm) => {
                let Statistics { mean, inverse_std } = self.statistics(id, z, norm, mode);
                let (gamma, beta) =
                    (self.gamma(id, channels), &self.values[self.places[&(id, Role::Shift)]]);
                let scale: Vec<f64> = gamma.iter().zip(&inverse_std).map(|(g, s)| g * s).collect();
                let shift = (0..channels).map(|c| beta[c] - mean[c] * scale[c]).collect();
                (scale, shift)
            }
            None => {
                let bias = self.places.get(&(id, Role::Bias));
                let bias = bias.map_or_else(|| vec![0.0; channels], |&i| self.values[i].clone());
                (vec![1.0; channels], bias)
            }
        };
        norm::apply(z, &scale, &shift, filtering.relu)
    }

    /// Gradient by the filters' output; those by batch norm's or the bias's parameters go into
    /// `parameters`. `side` decides where the activation is open.
    fn affine_backward(
        &self,
        id: LayerId,
        z: &Tensor,
        dy: &Tensor,
        mode: Mode,
        side: &Tensor,
        parameters: &mut [Vec<f64>],
    ) -> Tensor {
        let filtering = self.filtering(&self.graph.layers[id]).expect("a filtering layer");
        let mut store = |role, values| {
            if let Some(&place) = self.places.get(&(id, role)) {
                parameters[place] = values;
            }
        };
        let Some(norm) = filtering.batch_norm else {
            let dz = if filtering.relu { pointwise::relu_backward(side, dy) } else { dy.clone() };
            store(Role::Bias, pointwise::sum_per_channel(&dz));
            return dz;
        };
        let gamma = self.gamma(id, z.shape[1]);
        let (dz, dgamma, dbeta) = match mode.used(id, z) {
            NormMode::Batch => {
                let epsilon = norm.epsilon.into();
                let g = norm::backward(z, side, filtering.relu, dy, &gamma, epsilon);
                (g.dz, g.dgamma, g.dbeta)
            }
            NormMode::Frozen => {
                let statistics = self.statistics(id, z, norm, mode);
                frozen_backward(z, side, filtering.relu, dy, &gamma, &statistics)
            }
        };
        store(Role::Scale, dgamma);
        store(Role::Shift, dbeta);
        dz
    }

    fn gamma(&self, id: LayerId, channels: usize) -> Vec<f64> {
        let place = self.places.get(&(id, Role::Scale));
        place.map_or_else(|| vec![1.0; channels], |&place| self.values[place].clone())
    }

    fn statistics(&self, id: LayerId, z: &Tensor, norm: BatchNorm, mode: Mode) -> Statistics {
        let running = |role| self.values[self.places[&(id, role)]].clone();
        let (mean, variance) = match mode.used(id, z) {
            NormMode::Batch => norm::statistics(z),
            NormMode::Frozen => (running(Role::RunningMean), running(Role::RunningVariance)),
        };
        let epsilon = f64::from(norm.epsilon);
        let inverse_std = variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
        Statistics { mean, inverse_std }
    }
}

/// Values of each channel in the batch.
fn values_per_channel(z: &Tensor) -> usize {
    z.data.len() / z.shape[1]
}

/// What batch norm normalises with, by channel.
struct Statistics {
    mean: Vec<f64>,
    inverse_std: Vec<f64>,
}

/// Gradients by the input, γ and β of batch norm with fixed statistics, a mere scale and shift.
fn frozen_backward(
    z: &Tensor,
    side: &Tensor,
    relu: bool,
    dy: &Tensor,
    gamma: &[f64],
    Statistics { mean, inverse_std }: &Statistics,
) -> (Tensor, Vec<f64>, Vec<f64>) {
    let mut dz = if relu { pointwise::relu_backward(side, dy) } else { dy.clone() };
    let dbeta = pointwise::sum_per_channel(&dz);
    let mut dgamma = vec![0.0; gamma.len()];
    for at in z.indices() {
        let c = at[1];
        dgamma[c] += dz[at] * (z[at] - mean[c]) * inverse_std[c];
        dz[at] *= gamma[c] * inverse_std[c];
    }
    (dz, dgamma, dbeta)
}

fn grid(layer: &Layer) -> (usize, usize) {
    steps::grid(layer.shape)
}
