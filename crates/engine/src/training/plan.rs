//! The steps of training and the places of all their tensors.

use std::collections::HashMap;

use inception_kernels::conv::{Algorithm, Filters, Geometry};
use inception_kernels::lrn::Lrn;
use inception_kernels::pool::Windows;
use inception_kernels::{Border, Channels, LANES};
use inception_net::graph::{BatchNorm, Graph, LayerId, Op, Role};

use super::{LayerMode, NormMode};
use crate::algorithms::{Layer, Purpose};
use crate::memory::{Arena, Lifetime};
use crate::placement::{Place, Placement, TensorSpec};
use crate::steps;

/// All kernel calls of a training step. The tensors are numbered in one list: first every
/// activation, then, in the same order, every activation's gradient, then what single steps need.
pub(super) struct Plan {
    /// Where each layer's output lies.
    pub placement: Placement,
    /// Where what is given goes.
    pub inputs: Vec<Place>,
    pub steps: Vec<Step>,
    pub heads: Vec<HeadPlan>,
}

pub(super) struct HeadPlan {
    pub layer: LayerId,
    pub logits: Place,
    pub gradient: Gradient,
}

pub(super) struct Step {
    pub kernel: Kernel,
    pub x: Place,
    pub y: Place,
    /// Added to the step's seed, so that no two layers drop the same values.
    pub seed_offset: u64,
    /// `None` where neither it nor anything below is trained.
    pub back: Option<Back>,
}

/// A step's way back.
pub(super) struct Back {
    pub dy: Place,
    /// `None` where nothing below is trained.
    pub dx: Option<Gradient>,
}

/// Where a step's share of its input's gradient goes.
pub(super) struct Gradient {
    pub place: Place,
    /// Whether another reader of the same input has written there before.
    pub accumulate: bool,
    /// Parts of the place to fill with zeros first, since only the rest has been written.
    pub clear: Vec<Place>,
}

pub(super) enum Kernel {
    Filter(Box<Filter>),
    Depthwise { weight: usize, multiplier: usize, geometry: Geometry, trained: bool },
    MaxPool(Windows),
    AvgPool(Windows),
    Lrn(Lrn),
    Dropout { rate: f32 },
    Copy,
}

/// A convolution or fully connected layer.
pub(super) struct Filter {
    pub geometry: Geometry,
    pub outputs: usize,
    pub relu: bool,
    pub trained: bool,
    pub affine: Affine,
    /// Place of the weights in the list.
    pub weight: usize,
    pub forward: Filters,
    pub backward: Filters,
    /// Gradient of the convolution's own output; alive only where there is a way back.
    pub dz: Place,
}

/// What follows the convolution.
pub(super) enum Affine {
    /// The bias's place in the list of weights, if there is one.
    Bias(Option<usize>),
    Norm(Box<Norm>),
}

/// Batch norm's constants, places and per-lane values.
pub(super) struct Norm {
    pub mode: NormMode,
    /// Whether the last forward pass normalised with the running statistics.
    pub frozen: bool,
    pub epsilon: f32,
    pub decay: f32,
    pub scale_place: Option<usize>,
    pub shift_place: usize,
    pub mean_place: usize,
    pub variance_place: usize,
    /// The convolution's output, before normalisation.
    pub z: Place,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub inverse_std: Vec<f32>,
    pub gamma: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub scale_gradient: Vec<f32>,
    pub shift_gradient: Vec<f32>,
}

impl Plan {
    /// As [`super::Training::partial`] is asked for it.
    pub fn new(graph: &Graph, modes: &[LayerMode], inputs: &[LayerId]) -> (Self, Arena) {
        let places = steps::parameter_places(graph);
        let graph = &steps::begun_at(graph, inputs);
        let heads = graph.heads.iter().map(|head| head.logits);
        let wanted: Vec<LayerId> = heads.chain(inputs.iter().copied()).collect();
        let placement = Placement::new(graph, &wanted, |_| false, &[]);
        let mut builder = Builder::new(graph, modes, placement);
        let steps = builder.forward_steps(&places);
        let (steps, heads) = builder.backward(steps);
        let Builder { placement, specs, .. } = builder;
        let inputs = inputs.iter().map(|&id| placement.of(id).clone()).collect();
        let plan = Self { inputs, placement, steps, heads };
        let lifetimes = plan.lifetimes(specs.len());
        (plan, Arena::new(specs, lifetimes, Vec::new()))
    }

    /// Step i runs forward at time i + 1 and backward at time 2n + 2 − i.
    fn lifetimes(&self, buffers: usize) -> Vec<Lifetime> {
        let mut lifetimes = vec![Lifetime::NEVER; buffers];
        let count = self.steps.len();
        self.inputs.iter().for_each(|input| lifetimes[input.buffer].extend(0));
        for head in &self.heads {
            lifetimes[head.logits.buffer].extend(count + 1);
            lifetimes[head.gradient.place.buffer].extend(count + 1);
        }
        for (i, step) in self.steps.iter().enumerate() {
            let (forward, backward) = (i + 1, 2 * count + 2 - i);
            let mut own = vec![&step.x, &step.y];
            if let Kernel::Filter(filter) = &step.kernel
                && let Affine::Norm(norm) = &filter.affine
            {
                own.push(&norm.z);
            }
            own.iter().for_each(|place| lifetimes[place.buffer].extend(forward));
            let Some(Back { dy, dx }) = &step.back else { continue };
            own.push(dy);
            own.extend(dx.as_ref().map(|dx| &dx.place));
            if let Kernel::Filter(filter) = &step.kernel {
                own.push(&filter.dz);
            }
            own.iter().for_each(|place| lifetimes[place.buffer].extend(backward));
        }
        lifetimes
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    modes: &'a [LayerMode],
    /// By layer, whether its output changes with anything that is trained.
    depends: Vec<bool>,
    placement: Placement,
    specs: Vec<TensorSpec>,
    /// Number of activation buffers; the gradient of buffer b is buffer `activations + b`.
    activations: usize,
}

/// A step without its gradients' places.
struct Forward {
    kernel: Kernel,
    x: Place,
    y: Place,
    /// Whether the gradient of the output matters.
    wants_dy: bool,
    /// Whether that of the input does.
    wants_dx: bool,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, modes: &'a [LayerMode], placement: Placement) -> Self {
        let mut specs = placement.buffers.clone();
        let activations = specs.len();
        specs.extend(
            placement.buffers.iter().map(|s| TensorSpec { border: Border::default(), ..s.clone() }),
        );
        let depends = depends_on_trained(graph, modes);
        Self { graph, modes, depends, placement, specs, activations }
    }

    fn forward_steps(&mut self, places: &HashMap<(LayerId, Role), usize>) -> Vec<Forward> {
        let mut forward = Vec::new();
        for id in self.placement.needed().collect::<Vec<_>>() {
            let Some(&input) = self.placement.inputs(id).first() else { continue };
            let place = |role| places.get(&(id, role)).copied();
            if let Some(kernel) = self.kernel(id, input, place) {
                let (x, y) = (self.placement.of(input).clone(), self.placement.of(id).clone());
                let (wants_dy, wants_dx) = (self.depends[id], self.depends[input]);
                forward.push(Forward { kernel, x, y, wants_dy, wants_dx });
            }
            for copy in self.placement.copies(id) {
                let x = self.placement.of(copy.from).clone();
                let (y, wanted) = (copy.to.clone(), self.depends[copy.from]);
                let kernel = Kernel::Copy;
                forward.push(Forward { kernel, x, y, wants_dy: wanted, wants_dx: wanted });
            }
        }
        forward
    }

    /// `None` for layers that are nothing but places: input and concatenation.
    fn kernel(
        &mut self,
        id: LayerId,
        input: LayerId,
        place: impl Fn(Role) -> Option<usize>,
    ) -> Option<Kernel> {
        let op = &self.graph.layers[id].op;
        let weight = || place(Role::Weight).expect("a filtering layer has weights");
        Some(match op {
            Op::Input | Op::Concat => return None,
            Op::MaxPool(windows) => Kernel::MaxPool(steps::windows(windows)),
            Op::AvgPool(windows) => Kernel::AvgPool(steps::windows(windows)),
            Op::LocalResponseNorm { .. } => Kernel::Lrn(steps::lrn(op)?),
            Op::Dropout { rate } => Kernel::Dropout { rate: *rate },
            Op::Depthwise { multiplier, window, .. } => Kernel::Depthwise {
                weight: weight(),
                multiplier: *multiplier,
                geometry: steps::geometry(window),
                trained: self.modes[id].trained,
            },
            Op::Conv(_) | Op::Linear(_) => {
                Kernel::Filter(Box::new(self.filter(id, input, weight(), place)))
            }
        })
    }

    fn filter(
        &mut self,
        id: LayerId,
        input: LayerId,
        weight: usize,
        place: impl Fn(Role) -> Option<usize>,
    ) -> Filter {
        let layers = &self.graph.layers;
        let (shape, input_shape) = (layers[id].shape, layers[input].shape);
        let filtering = steps::filtering(&layers[id].op, input_shape).expect("a filtering layer");
        let geometry = filtering.geometry;
        let Place { buffer: x, channels: inputs, .. } = self.placement.of(input).clone();
        let outputs = shape.channels;
        let channels = Channels::new(outputs);
        let (input_grid, grid) = (steps::grid(input_shape), steps::grid(shape));
        let forward = filters_forward(&channels, &inputs, &geometry, grid);
        let backward = filters_backward(outputs, &inputs, &geometry, input_grid);
        let x_border = forward.source_border(&geometry, input_grid, grid);
        self.specs[x].border = self.specs[x].border.union(x_border);
        let dz_border = backward.source_border(&geometry, input_grid, grid);
        let mut own_buffer = |border| {
            self.specs.push(TensorSpec {
                blocks: channels.blocks(),
                height: shape.height,
                width: shape.width,
                border,
            });
            Place { buffer: self.specs.len() - 1, first_block: 0, channels: channels.clone() }
        };
        let (affine, dz) = match filtering.batch_norm {
            Some(norm) => {
                let z = own_buffer(Border::default());
                let norm = Norm::new(norm, self.modes[id].norm, z, place);
                (Affine::Norm(Box::new(norm)), own_buffer(dz_border))
            }
            None if filtering.relu => (Affine::Bias(place(Role::Bias)), own_buffer(dz_border)),
            None => {
                // Nothing lies between the convolution and its output: they share a gradient.
                let dy = self.gradient_place(self.placement.of(id));
                let spec = &mut self.specs[dy.buffer];
                spec.border = spec.border.union(dz_border);
                (Affine::Bias(place(Role::Bias)), dy)
            }
        };
        Filter {
            geometry,
            outputs,
            relu: filtering.relu,
            trained: self.modes[id].trained,
            affine,
            weight,
            forward,
            backward,
            dz,
        }
    }

    fn gradient_place(&self, place: &Place) -> Place {
        Place { buffer: self.activations + place.buffer, ..place.clone() }
    }

    /// Adds the gradients' places, walking from the heads back: the first reader of a tensor to
    /// be reached writes its gradient, the others add to it.
    fn backward(&self, forward: Vec<Forward>) -> (Vec<Step>, Vec<HeadPlan>) {
        let mut written: Vec<Vec<bool>> =
            self.placement.buffers.iter().map(|spec| vec![false; spec.blocks]).collect();
        let mut gradient = |place: &Place| self.gradient(place, &mut written);
        let heads = self
            .graph
            .heads
            .iter()
            .map(|head| {
                let logits = self.placement.of(head.logits).clone();
                HeadPlan { layer: head.logits, gradient: gradient(&logits), logits }
            })
            .collect();
        let mut steps: Vec<Step> = forward
            .into_iter()
            .enumerate()
            .rev()
            .map(|(i, Forward { kernel, x, y, wants_dy, wants_dx })| Step {
                back: wants_dy.then(|| Back {
                    dy: self.gradient_place(&y),
                    dx: wants_dx.then(|| gradient(&x)),
                }),
                kernel,
                x,
                y,
                seed_offset: (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            })
            .collect();
        steps.reverse();
        (steps, heads)
    }

    fn gradient(&self, place: &Place, written: &mut [Vec<bool>]) -> Gradient {
        let blocks = place.first_block..place.first_block + place.channels.blocks();
        let written = &mut written[place.buffer][blocks.clone()];
        let accumulate = written.iter().any(|&w| w);
        let own = self.gradient_place(place);
        let clear = blocks
            .zip(written.iter())
            .filter(|(_, written)| accumulate && !**written)
            .map(|(first_block, _)| Place {
                buffer: own.buffer,
                first_block,
                channels: Channels::new(LANES),
            })
            .collect();
        written.fill(true);
        Gradient { place: own, accumulate, clear }
    }
}

impl Norm {
    fn new(
        norm: BatchNorm,
        mode: NormMode,
        z: Place,
        place: impl Fn(Role) -> Option<usize>,
    ) -> Self {
        let given = |role| place(role).expect("batch norm has shift, mean and variance");
        let lanes = vec![0.0; z.channels.blocks() * LANES];
        Self {
            mode,
            frozen: false,
            epsilon: norm.epsilon,
            decay: norm.decay,
            scale_place: place(Role::Scale),
            shift_place: given(Role::Shift),
            mean_place: given(Role::RunningMean),
            variance_place: given(Role::RunningVariance),
            z,
            mean: lanes.clone(),
            variance: lanes.clone(),
            inverse_std: lanes.clone(),
            gamma: lanes.clone(),
            scale: lanes.clone(),
            shift: lanes.clone(),
            scale_gradient: lanes.clone(),
            shift_gradient: lanes,
        }
    }
}

/// Whether a layer's output changes with any parameter that is trained.
fn depends_on_trained(graph: &Graph, modes: &[LayerMode]) -> Vec<bool> {
    let mut depends: Vec<bool> = Vec::with_capacity(graph.layers.len());
    for (layer, mode) in graph.layers.iter().zip(modes) {
        let filters = matches!(layer.op, Op::Conv(_) | Op::Linear(_) | Op::Depthwise { .. });
        let own = filters && mode.trained;
        depends.push(own || layer.inputs.iter().any(|&input| depends[input]));
    }
    depends
}

/// Pictures of a batch that the estimate assumes which chooses a convolution's algorithm. The
/// choice must not depend on the batch itself, since it decides about the last bits.
const PICTURES: f64 = 16.0;

/// The most that an algorithm may amplify rounding errors in training, where normalising by the
/// batch's own statistics amplifies them again.
const ERROR_BUDGET: f64 = 6.0;

/// Products of matrices are left out: a step packs all weights anew, and that has its price.
fn cheapest(layer: &Layer) -> Algorithm {
    layer.cheapest(PICTURES, |algorithm| {
        let growth = algorithm.amplification(&layer.geometry);
        !matches!(algorithm, Algorithm::Product | Algorithm::Strassen { .. })
            && growth.is_some_and(|growth| growth <= ERROR_BUDGET)
    })
}

fn filters_forward(
    outputs: &Channels,
    inputs: &Channels,
    geometry: &Geometry,
    grid: (usize, usize),
) -> Filters {
    let layer = Layer {
        geometry: *geometry,
        inputs: inputs.count(),
        outputs: outputs.count(),
        input_blocks: inputs.blocks(),
        output_blocks: outputs.blocks(),
        grid,
        space_to_depth: None,
        first: false,
        normed: false,
        purpose: Purpose::Training,
    };
    Filters::with_algorithm(std::slice::from_ref(outputs), inputs, geometry, cheapest(&layer))
        .expect("a candidate applies")
        .without_pairs()
}

/// The data's gradient is a convolution from the outputs to the inputs; at stride 1 it has the
/// same choice of algorithms.
fn filters_backward(
    outputs: usize,
    inputs: &Channels,
    geometry: &Geometry,
    grid: (usize, usize),
) -> Filters {
    let layer = Layer {
        geometry: *geometry,
        inputs: outputs,
        outputs: inputs.count(),
        input_blocks: outputs.div_ceil(LANES),
        output_blocks: inputs.blocks(),
        grid,
        space_to_depth: None,
        first: false,
        normed: false,
        purpose: Purpose::Training,
    };
    Filters::backward_with(outputs, inputs, geometry, cheapest(&layer))
        .unwrap_or_else(|| Filters::backward(outputs, inputs, geometry))
        .without_pairs()
}
