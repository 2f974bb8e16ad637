//! Inference: batch norm folded into the filters, dropout gone, memory reused.

use std::sync::Arc;

use inception_kernels::conv::{self, Epilogue, Filters, Geometry};
use inception_kernels::lrn::{self, Lrn};
use inception_kernels::pool::{self, Windows};
use inception_kernels::{Channels, Cpu, depthwise, pointwise};
use inception_model::Weights;
use inception_net::graph::{Graph, LayerId, Op, Role, Shape};

use crate::EngineError;
use crate::memory::{Arena, Lifetime};
use crate::placement::{Place, Placement};
use crate::steps::{self, Filtering};

/// Pictures computed at a time: more would only take more memory, since every layer's work on
/// this many already fills the cores.
const BATCH: usize = 8;

/// A network ready to compute some layers' outputs from pictures.
pub struct Inference {
    cpu: Arc<Cpu>,
    input: Shape,
    input_place: Place,
    steps: Vec<Step>,
    arena: Arena,
    outputs: Vec<(Place, Shape)>,
}

/// One kernel call.
struct Step {
    kernel: Kernel,
    x: Place,
    y: Place,
}

enum Kernel {
    Conv { filters: Filters, geometry: Geometry, bias: Vec<f32>, relu: bool },
    Depthwise { weights: Vec<f32>, inputs: Channels, multiplier: usize, geometry: Geometry },
    MaxPool(Windows),
    AvgPool(Windows),
    Lrn(Lrn),
    Copy,
}

impl Inference {
    /// Prepares the network to compute its main logits.
    pub fn new(graph: &Graph, weights: &Weights, cpu: Arc<Cpu>) -> Result<Self, EngineError> {
        let main = graph.heads.last().map_or(graph.layers.len() - 1, |head| head.logits);
        Self::with_outputs(graph, weights, cpu, &[main])
    }

    /// Prepares the network to compute the outputs of any layers, in the order given.
    pub fn with_outputs(
        graph: &Graph,
        weights: &Weights,
        cpu: Arc<Cpu>,
        outputs: &[LayerId],
    ) -> Result<Self, EngineError> {
        steps::check_weights(graph, weights)?;
        let placement = Placement::new(graph, outputs, |op| matches!(op, Op::Dropout { .. }));
        let steps = Lowering { graph, weights, cpu: &cpu, placement: &placement }.steps();
        let input = graph.layers[0].shape;
        let input_place = placement.of(0).clone();
        let outputs: Vec<_> =
            outputs.iter().map(|&id| (placement.of(id).clone(), graph.layers[id].shape)).collect();
        let lifetimes = lifetimes(&placement, &steps, &input_place, &outputs);
        let arena = Arena::new(placement.buffers, &lifetimes);
        Ok(Self { cpu, input, input_place, steps, arena, outputs })
    }

    /// Shape of each output, per picture.
    pub fn output_shapes(&self) -> impl Iterator<Item = Shape> + '_ {
        self.outputs.iter().map(|(_, shape)| *shape)
    }

    /// Bytes of activations held for each picture computed at a time.
    pub fn activation_bytes(&self) -> usize {
        self.arena.bytes_per_picture()
    }

    /// The first output (the logits, after [`Inference::new`]) for preprocessed pictures in
    /// (picture, channel, row, column) order; the result is picture after picture.
    pub fn run(&mut self, pictures: &[f32]) -> Result<Vec<f32>, EngineError> {
        Ok(self.run_all(pictures)?.swap_remove(0))
    }

    /// All outputs. A picture's values are the same bits whatever else is in the batch.
    pub fn run_all(&mut self, pictures: &[f32]) -> Result<Vec<Vec<f32>>, EngineError> {
        let count = steps::count_pictures(pictures.len(), self.input)?;
        let mut results: Vec<Vec<f32>> =
            self.outputs.iter().map(|(_, shape)| Vec::with_capacity(count * shape.len())).collect();
        for batch in pictures.chunks(BATCH * self.input.len()) {
            self.run_batch(batch)?;
            self.collect(batch.len() / self.input.len(), &mut results);
        }
        Ok(results)
    }

    fn run_batch(&mut self, batch: &[f32]) -> Result<(), EngineError> {
        let cpu = &*self.cpu;
        self.arena.resize(batch.len() / self.input.len())?;
        let mut input = self.arena.write(&self.input_place);
        pointwise::from_nchw(cpu, batch, &self.input_place.channels, &mut input);
        for step in &self.steps {
            let ([x], mut y) = self.arena.access([&step.x], &step.y);
            let y = &mut y;
            match &step.kernel {
                Kernel::Conv { filters, geometry, bias, relu } => {
                    let epilogue = Epilogue::Bias { bias, relu: *relu };
                    conv::forward(cpu, x, filters, geometry, epilogue, y);
                }
                Kernel::Depthwise { weights, inputs, multiplier, geometry } => {
                    depthwise::forward(cpu, x, inputs, *multiplier, weights, geometry, y);
                }
                Kernel::MaxPool(windows) => pool::max(cpu, x, windows, y),
                Kernel::AvgPool(windows) => pool::average(cpu, x, windows, y),
                Kernel::Lrn(lrn) => lrn::forward(cpu, x, &step.x.channels, lrn, y),
                Kernel::Copy => pointwise::copy(cpu, x, y),
            }
        }
        Ok(())
    }

    fn collect(&self, pictures: usize, results: &mut [Vec<f32>]) {
        for ((place, shape), result) in self.outputs.iter().zip(results) {
            let start = result.len();
            result.resize(start + pictures * shape.len(), 0.0);
            let view = self.arena.read(place);
            pointwise::to_nchw(&self.cpu, view, &place.channels, &mut result[start..]);
        }
    }
}

/// Step 0 is the pictures' arrival, step i + 1 the i-th kernel; outputs live past the end.
fn lifetimes(
    placement: &Placement,
    steps: &[Step],
    input: &Place,
    outputs: &[(Place, Shape)],
) -> Vec<Lifetime> {
    let mut lifetimes = vec![Lifetime::NEVER; placement.buffers.len()];
    lifetimes[input.buffer].extend(0);
    for (i, step) in steps.iter().enumerate() {
        lifetimes[step.x.buffer].extend(i + 1);
        lifetimes[step.y.buffer].extend(i + 1);
    }
    for (place, _) in outputs {
        lifetimes[place.buffer].extend(steps.len() + 1);
    }
    lifetimes
}

/// Turns layers into steps.
struct Lowering<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    cpu: &'a Cpu,
    placement: &'a Placement,
}

impl Lowering<'_> {
    fn steps(&self) -> Vec<Step> {
        let places = steps::parameter_places(self.graph);
        let values = |layer: LayerId, role: Role| {
            places.get(&(layer, role)).map(|&i| self.weights.tensors()[i].values.as_slice())
        };
        let mut steps = Vec::new();
        for id in self.placement.needed() {
            let Some(&input) = self.placement.inputs(id).first() else { continue };
            if let Some(kernel) = self.kernel(id, input, |role| values(id, role)) {
                let (x, y) = (self.placement.of(input).clone(), self.placement.of(id).clone());
                steps.push(Step { kernel, x, y });
            }
            for copy in self.placement.copies(id) {
                let x = self.placement.of(copy.from).clone();
                steps.push(Step { kernel: Kernel::Copy, x, y: copy.to.clone() });
            }
        }
        steps
    }

    /// `None` for layers that are nothing but places: input and concatenation.
    fn kernel<'w>(
        &self,
        id: LayerId,
        input: LayerId,
        values: impl Fn(Role) -> Option<&'w [f32]>,
    ) -> Option<Kernel> {
        let inputs = self.placement.of(input).channels.clone();
        let input_shape = self.graph.layers[input].shape;
        let op = &self.graph.layers[id].op;
        Some(match op {
            Op::Input | Op::Concat | Op::Dropout { .. } => return None,
            Op::MaxPool(windows) => Kernel::MaxPool(steps::windows(windows)),
            Op::AvgPool(windows) => Kernel::AvgPool(steps::windows(windows)),
            Op::Depthwise { multiplier, window, .. } => Kernel::Depthwise {
                weights: values(Role::Weight).expect("a depthwise layer has weights").to_vec(),
                inputs,
                multiplier: *multiplier,
                geometry: steps::geometry(window),
            },
            Op::LocalResponseNorm { .. } => Kernel::Lrn(steps::lrn(op)?),
            Op::Conv(_) | Op::Linear(_) => {
                let filtering = steps::filtering(op, input_shape)?;
                let outputs = self.graph.layers[id].shape.channels;
                let (weights, bias) = folded(&filtering, outputs, values);
                let mut filters = Filters::forward(outputs, &inputs, filtering.geometry.kernel);
                filters.pack(self.cpu, &weights);
                let bias = steps::per_lane(bias.into_iter());
                Kernel::Conv { filters, geometry: filtering.geometry, bias, relu: filtering.relu }
            }
        })
    }
}

/// Weights and bias with the running statistics of batch norm folded in, computed in `f64`.
fn folded<'w>(
    filtering: &Filtering,
    outputs: usize,
    values: impl Fn(Role) -> Option<&'w [f32]>,
) -> (Vec<f32>, Vec<f32>) {
    let weights = values(Role::Weight).expect("a filtering layer has weights");
    let given = |role| values(role).expect("batch norm has shift, mean and variance");
    let Some(norm) = filtering.batch_norm else {
        let bias = values(Role::Bias).map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec);
        return (weights.to_vec(), bias);
    };
    let shift = given(Role::Shift);
    let (mean, variance) = (given(Role::RunningMean), given(Role::RunningVariance));
    let scale = values(Role::Scale);
    let factor: Vec<f64> = (0..outputs)
        .map(|o| {
            let gamma = scale.map_or(1.0, |scale| f64::from(scale[o]));
            gamma / (f64::from(variance[o]) + f64::from(norm.epsilon)).sqrt()
        })
        .collect();
    let per_output = weights.len() / outputs;
    let weights = weights
        .chunks_exact(per_output)
        .zip(&factor)
        .flat_map(|(filter, factor)| filter.iter().map(move |&w| (f64::from(w) * factor) as f32))
        .collect();
    let bias = (0..outputs)
        .map(|o| (f64::from(shift[o]) - f64::from(mean[o]) * factor[o]) as f32)
        .collect();
    (weights, bias)
}
