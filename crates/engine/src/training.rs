//! Training: all heads' logits in training mode, then the gradient of every parameter.

use std::sync::Arc;

use inception_kernels::conv::{self, Scratch};
use inception_kernels::{Cpu, Epilogue, LINEAR, RELU, View, depthwise, lrn, norm, pointwise, pool};
use inception_model::{Tensor, Weights};
use inception_net::graph::{Graph, LayerId, Shape};

use crate::EngineError;
use crate::memory::Arena;
use crate::placement::Place;
use crate::steps;

mod plan;

use plan::{Affine, Back, Filter, Gradient, Kernel, Norm, Plan, Step};

/// Which statistics batch norm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormMode {
    /// The batch's own, which also move the running ones (1502.03167, algorithm 1). A channel with
    /// a single value in the whole batch (one picture on a 1×1 grid) has no spread of its own; it
    /// is normalised as by [`NormMode::Frozen`].
    Batch,
    /// The running ones, which stay as they are: what fine-tuning calls frozen batch norm.
    Frozen,
}

/// What training does to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerMode {
    /// Whether its filters or matrix, its bias, γ and β get gradients.
    pub trained: bool,
    /// How its batch norm normalises, where it has one.
    pub norm: NormMode,
}

/// A network being trained: weights, their gradients, and the memory of one step.
pub struct Training {
    cpu: Arc<Cpu>,
    inputs: Vec<Shape>,
    weights: Weights,
    /// By place in the weights' list; empty for what is not trained.
    gradients: Vec<Vec<f32>>,
    plan: Plan,
    arena: Arena,
    scratch: Scratch,
    /// Pictures of the last forward pass.
    pictures: usize,
    seed: u64,
}

impl Training {
    /// Prepares to train all these weights, every batch norm in the same mode.
    pub fn new(
        graph: &Graph,
        weights: Weights,
        cpu: Arc<Cpu>,
        norm: NormMode,
    ) -> Result<Self, EngineError> {
        let modes = vec![LayerMode { trained: true, norm }; graph.layers.len()];
        Self::partial(graph, weights, cpu, &modes, &[0])
    }

    /// Prepares to train some layers; `modes` has an entry for each of the graph's. What no trained
    /// layer comes before has no way back and keeps nothing for it.
    ///
    /// `inputs` are the layers whose outputs are given in the place of pictures, in the order of a
    /// picture's values: layer 0, or layers further up whose outputs never change. What only they
    /// depend on is not computed.
    pub fn partial(
        graph: &Graph,
        weights: Weights,
        cpu: Arc<Cpu>,
        modes: &[LayerMode],
        inputs: &[LayerId],
    ) -> Result<Self, EngineError> {
        steps::check_weights(graph, &weights)?;
        let (plan, arena) = Plan::new(graph, modes, inputs);
        let gradient = |tensor: &Tensor| match &tensor.parameter {
            parameter if parameter.role.is_trained() && modes[parameter.layer].trained => {
                vec![0.0; tensor.values.len()]
            }
            _ => Vec::new(),
        };
        let gradients = weights.tensors().iter().map(gradient).collect();
        let inputs = inputs.iter().map(|&id| graph.layers[id].shape).collect();
        let scratch = Scratch::new();
        Ok(Self { cpu, inputs, weights, gradients, plan, arena, scratch, pictures: 0, seed: 0 })
    }

    /// The weights as they are now, running statistics included.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The weights, to change between steps.
    pub fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    /// Gradients of the last [`Training::backward`], in the order of the weights' tensors; empty
    /// for running statistics and for layers that are not trained.
    pub fn gradients(&self) -> &[Vec<f32>] {
        &self.gradients
    }

    /// The gradients, to scale or clip, together with the weights they belong to.
    pub fn weights_and_gradients(&mut self) -> (&mut Weights, &mut [Vec<f32>]) {
        (&mut self.weights, &mut self.gradients)
    }

    /// A layer's output in the forward pass just made, picture after picture in (channel, row,
    /// column) order; `backward` uses the memory for other things, and so does `forward` itself below
    /// the lowest trained layer. Empty before the first pass. Panics for a layer that is not computed.
    pub fn output(&self, layer: LayerId) -> Vec<f32> {
        if self.pictures == 0 {
            return Vec::new();
        }
        let place = self.plan.placement.of(layer);
        let view = self.arena.read(place);
        let pixels = view.layout.height * view.layout.width;
        let mut values = vec![0.0; self.pictures * place.channels.count() * pixels];
        pointwise::to_nchw(&self.cpu, view, &place.channels, &mut values);
        values
    }

    /// Bytes of activations and gradients held for each picture of a batch.
    pub fn bytes_per_picture(&self) -> usize {
        self.arena.bytes_per_picture()
    }

    /// Logits of every head (the main one last) for a batch of preprocessed pictures in (picture,
    /// channel, row, column) order, or in (picture, input, channel, row, column) order. `seed` decides which values dropout drops.
    pub fn forward(&mut self, pictures: &[f32], seed: u64) -> Result<Vec<Vec<f32>>, EngineError> {
        let count = steps::count_pictures(pictures.len(), steps::picture(&self.inputs))?;
        // Nothing to go back from, should there be no memory.
        self.pictures = 0;
        self.arena.resize(count)?;
        (self.pictures, self.seed) = (count, seed);
        for (which, place) in self.plan.inputs.iter().enumerate() {
            let values = steps::input_values(pictures, &self.inputs, which);
            let mut input = self.arena.write(place);
            pointwise::from_nchw(&self.cpu, &values, &place.channels, &mut input);
        }
        for i in 0..self.plan.steps.len() {
            self.step_forward(i);
        }
        Ok(self.plan.heads.iter().map(|head| self.output(head.layer)).collect())
    }

    /// Gradients of all trained parameters from the gradients of each head's logits, for the batch of the
    /// last forward pass.
    pub fn backward(&mut self, logit_gradients: &[Vec<f32>]) -> Result<(), EngineError> {
        let fits = self.plan.heads.len() == logit_gradients.len()
            && self.plan.heads.iter().zip(logit_gradients).all(|(head, gradient)| {
                gradient.len() == self.pictures * head.logits.channels.count()
            });
        if !fits || self.pictures == 0 {
            return Err(EngineError::LogitGradients(self.pictures));
        }
        for (head, gradient) in self.plan.heads.iter().zip(logit_gradients) {
            for clear in &head.gradient.clear {
                zero(&mut self.arena, clear);
            }
            let mut view = self.arena.write(&head.gradient.place);
            let channels = &head.gradient.place.channels;
            pointwise::from_nchw(&self.cpu, gradient, channels, &mut view);
        }
        for i in (0..self.plan.steps.len()).rev() {
            self.step_backward(i);
        }
        Ok(())
    }

    fn step_forward(&mut self, index: usize) {
        let cpu = &*self.cpu;
        let Step { kernel, x, y, seed_offset, .. } = &mut self.plan.steps[index];
        if let Kernel::Filter(filter) = kernel {
            return filter_forward(cpu, filter, x, y, &mut self.arena, &mut self.weights);
        }
        let ([from], mut to) = self.arena.access([x], y);
        let to = &mut to;
        match kernel {
            Kernel::Filter(_) => unreachable!("handled above"),
            Kernel::Depthwise { weight, multiplier, geometry, .. } => {
                let weights = &self.weights.tensors()[*weight].values;
                depthwise::forward(cpu, from, &x.channels, *multiplier, weights, geometry, to);
            }
            Kernel::MaxPool(windows) => pool::max(cpu, from, windows, to),
            Kernel::AvgPool(windows) => pool::average(cpu, from, windows, Epilogue::Store, to),
            Kernel::Lrn(lrn) => lrn::forward(cpu, from, &x.channels, lrn, to),
            Kernel::Dropout { rate } => {
                pointwise::dropout(cpu, from, *rate, self.seed.wrapping_add(*seed_offset), to);
            }
            Kernel::Copy => pointwise::copy(cpu, from, to),
        }
    }

    fn step_backward(&mut self, index: usize) {
        let cpu = &*self.cpu;
        let Step { kernel, x, y, seed_offset, back } = &mut self.plan.steps[index];
        let Some(Back { dy, dx }) = back else { return };
        if let Some(Gradient { clear, .. }) = dx {
            for place in clear {
                zero(&mut self.arena, place);
            }
        }
        if let Kernel::Filter(filter) = kernel {
            let scratch = &mut self.scratch;
            let context = FilterBackward { cpu, scratch, x, y, dy, dx: dx.as_ref() };
            return context.run(filter, &mut self.arena, &self.weights, &mut self.gradients);
        }
        if let Kernel::Depthwise { weight, multiplier, geometry, trained: true } = kernel {
            let (input, gradient) = (self.arena.read(x), self.arena.read(dy));
            let into = &mut self.gradients[*weight];
            let channels = &x.channels;
            depthwise::backward_filters(
                cpu,
                input,
                channels,
                *multiplier,
                gradient,
                geometry,
                into,
            );
        }
        let Some(Gradient { place, accumulate, .. }) = dx else { return };
        let accumulate = *accumulate;
        let ([input, gradient], mut to) = self.arena.access([x, dy], place);
        let to = &mut to;
        match kernel {
            Kernel::Filter(_) => unreachable!("handled above"),
            Kernel::Depthwise { weight, multiplier, geometry, .. } => {
                let weights = &self.weights.tensors()[*weight].values;
                let channels = &x.channels;
                depthwise::backward_data(
                    cpu,
                    gradient,
                    channels,
                    *multiplier,
                    weights,
                    geometry,
                    accumulate,
                    to,
                );
            }
            Kernel::MaxPool(windows) => {
                pool::max_backward(cpu, input, gradient, windows, accumulate, to);
            }
            Kernel::AvgPool(windows) => {
                pool::average_backward(cpu, gradient, windows, accumulate, to);
            }
            Kernel::Lrn(lrn) => {
                lrn::backward(cpu, input, gradient, &x.channels, lrn, accumulate, to);
            }
            Kernel::Dropout { rate } => {
                let seed = self.seed.wrapping_add(*seed_offset);
                pointwise::dropout_backward(cpu, gradient, *rate, seed, accumulate, to);
            }
            Kernel::Copy if accumulate => pointwise::add(cpu, gradient, to),
            Kernel::Copy => pointwise::copy(cpu, gradient, to),
        }
    }
}

fn filter_forward(
    cpu: &Cpu,
    filter: &mut Filter,
    x: &Place,
    y: &Place,
    arena: &mut Arena,
    weights: &mut Weights,
) {
    filter.forward.pack(cpu, &weights.tensors()[filter.weight].values);
    let norm = match &mut filter.affine {
        Affine::Bias(place) => {
            let values = place.map(|place| weights.tensors()[place].values.iter().copied());
            let bias = match values {
                Some(values) => steps::per_lane(values),
                None => steps::per_lane(std::iter::repeat_n(0.0, filter.outputs)),
            };
            let floor = vec![if filter.relu { RELU } else { LINEAR }; bias.len()];
            let epilogue = Epilogue::Bias { bias: &bias, floor: &floor };
            let ([x], mut y) = arena.access([x], y);
            let y = std::slice::from_mut(&mut y);
            return conv::forward(cpu, x, &filter.forward, &filter.geometry, epilogue, y);
        }
        Affine::Norm(norm) => norm,
    };
    let ([input], mut z) = arena.access([x], &norm.z);
    let z_view = std::slice::from_mut(&mut z);
    conv::forward(cpu, input, &filter.forward, &filter.geometry, Epilogue::Store, z_view);
    let ([z], mut y) = arena.access([&norm.z], y);
    let values = z.layout.pictures * z.layout.height * z.layout.width;
    norm.frozen = norm.mode == NormMode::Frozen || values == 1;
    if norm.frozen {
        norm.take_running(weights);
    } else {
        norm::statistics(cpu, z, &mut norm.mean, &mut norm.variance);
        norm.move_running(weights, values);
    }
    norm.prepare(weights);
    norm::apply(cpu, z, &norm.scale, &norm.shift, filter.relu, &mut y);
}

/// Where a filtering step's tensors lie on the way back.
struct FilterBackward<'a> {
    cpu: &'a Cpu,
    scratch: &'a mut Scratch,
    x: &'a Place,
    y: &'a Place,
    dy: &'a Place,
    dx: Option<&'a Gradient>,
}

impl FilterBackward<'_> {
    fn run(
        self,
        filter: &mut Filter,
        arena: &mut Arena,
        weights: &Weights,
        gradients: &mut [Vec<f32>],
    ) {
        let Self { cpu, scratch, x, y, dy, dx } = self;
        let (outputs, trained) = (filter.outputs, filter.trained);
        match &mut filter.affine {
            Affine::Norm(norm) => {
                let ([z, y, dy], mut dz) = arena.access([&norm.z, y, dy], &filter.dz);
                norm.backward(cpu, [z, y, dy], filter.relu, &mut dz);
                if trained {
                    gradients[norm.shift_place].copy_from_slice(&norm.shift_gradient[..outputs]);
                }
                if let Some(place) = norm.scale_place.filter(|_| trained) {
                    gradients[place].copy_from_slice(&norm.scale_gradient[..outputs]);
                }
            }
            Affine::Bias(place) => {
                if filter.relu {
                    let ([y, dy], mut dz) = arena.access([y, dy], &filter.dz);
                    pointwise::relu_backward(cpu, y, dy, &mut dz);
                }
                if let Some(place) = place.filter(|_| trained) {
                    let mut sums =
                        vec![0.0; filter.dz.channels.blocks() * inception_kernels::LANES];
                    pointwise::sum_per_lane(cpu, arena.read(&filter.dz), &mut sums);
                    gradients[place].copy_from_slice(&sums[..outputs]);
                }
            }
        }
        let geometry = &filter.geometry;
        if trained {
            let into = &mut gradients[filter.weight];
            let (input, dz) = (arena.read(x), arena.read(&filter.dz));
            conv::backward_filters(cpu, input, &x.channels, dz, outputs, geometry, scratch, into);
        }
        if let Some(Gradient { place, accumulate, .. }) = dx {
            filter.backward.pack(cpu, &weights.tensors()[filter.weight].values);
            let ([dz], mut dx) = arena.access([&filter.dz], place);
            conv::backward_data(cpu, dz, &filter.backward, geometry, *accumulate, &mut dx);
        }
    }
}

impl Norm {
    /// Moves the running statistics towards the batch's.
    fn move_running(&self, weights: &mut Weights, values: usize) {
        // The variance of the population these values are drawn from, as PyTorch and TensorFlow
        // keep it.
        let unbiased = values as f32 / (values - 1) as f32;
        let keep = self.decay;
        let running = weights.at_mut(self.mean_place).iter_mut().zip(&self.mean);
        running.for_each(|(running, mean)| *running = keep * *running + (1.0 - keep) * mean);
        let running = weights.at_mut(self.variance_place).iter_mut().zip(&self.variance);
        running.for_each(|(running, variance)| {
            *running = keep * *running + (1.0 - keep) * variance * unbiased;
        });
    }

    fn take_running(&mut self, weights: &Weights) {
        let values = |place: usize| &weights.tensors()[place].values;
        let (mean, variance) = (values(self.mean_place), values(self.variance_place));
        self.mean[..mean.len()].copy_from_slice(mean);
        self.variance[..variance.len()].copy_from_slice(variance);
    }

    /// Scale and shift of the normalisation with the statistics at hand.
    fn prepare(&mut self, weights: &Weights) {
        let shift = &weights.tensors()[self.shift_place].values;
        let gamma = self.scale_place.map(|place| &weights.tensors()[place].values);
        for c in 0..shift.len() {
            self.inverse_std[c] = 1.0 / (self.variance[c] + self.epsilon).sqrt();
            self.gamma[c] = gamma.map_or(1.0, |gamma| gamma[c]);
            self.scale[c] = self.gamma[c] * self.inverse_std[c];
            self.shift[c] = shift[c] - self.mean[c] * self.scale[c];
        }
    }

    fn backward(
        &mut self,
        cpu: &Cpu,
        [z, y, dy]: [View; 3],
        relu: bool,
        dz: &mut inception_kernels::ViewMut,
    ) {
        let saved = norm::Saved {
            mean: &self.mean,
            inverse_std: &self.inverse_std,
            gamma: &self.gamma,
            frozen: self.frozen,
        };
        let (scale, shift) = (&mut self.scale_gradient, &mut self.shift_gradient);
        norm::backward(cpu, z, y, relu, dy, saved, scale, shift, dz);
    }
}

/// Fills a place with zeros, its border included.
fn zero(arena: &mut Arena, place: &Place) {
    let view = arena.write(place);
    let layout = view.layout;
    let len = view.blocks * layout.block_stride();
    for picture in 0..layout.pictures {
        let start = picture * layout.picture_stride() + view.first_block * layout.block_stride();
        view.data[start..start + len].fill(0.0);
    }
}
