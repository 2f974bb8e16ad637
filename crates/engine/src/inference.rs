//! Inference: batch norm folded into the filters, dropout gone, memory reused.

mod account;
mod fusion;
mod lowering;
mod stages;

use std::sync::Arc;

use inception_kernels::{
    Border, Cpu, Epilogue, View, ViewMut, conv, depthwise, lrn, pointwise, pool,
};
use inception_model::WeightSource;
use inception_net::graph::{Graph, LayerId, Op, Shape};

use crate::EngineError;
use crate::algorithms::Algorithms;
use crate::memory::{Arena, Lifetime};
use crate::placement::{Place, Placement, TensorSpec};
use crate::steps;
pub use account::StepInfo;
use fusion::Fused;
use lowering::{Kernel, Lowering, Step};
use stages::Stage;

/// Pictures computed at a time at most: more would only take more memory, since every layer's work
/// on this many already fills the cores.
pub const BATCH: usize = 8;

/// A network ready to compute some layers' outputs from pictures.
pub struct Inference {
    cpu: Arc<Cpu>,
    inputs: Vec<Input>,
    steps: Vec<Step>,
    infos: Vec<StepInfo>,
    stages: Vec<Stage>,
    arena: Arena,
    outputs: Vec<(Place, Shape)>,
}

/// What is given, and where it lies.
struct Input {
    place: Place,
    shape: Shape,
    /// Whether it lies there by [space to depth](crate::space_to_depth).
    in_depth: bool,
}

impl Inference {
    /// Prepares the network to compute its main logits. Weights that are still in their file are
    /// read layer by layer, so that never more than a layer's lie in memory beside the packed ones.
    pub fn new(
        graph: &Graph,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
    ) -> Result<Self, EngineError> {
        let main = graph.main_logits();
        Self::with_outputs(graph, weights, cpu, &[main])
    }

    /// Prepares the network to compute the outputs of any layers, in the order given.
    pub fn with_outputs(
        graph: &Graph,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
        outputs: &[LayerId],
    ) -> Result<Self, EngineError> {
        Self::with_algorithms(graph, weights, cpu, outputs, &Algorithms::default())
    }

    /// Prepares to compute outputs not from pictures but from the outputs of some layers, in the
    /// order of a picture's values. Only what lies between them and the outputs is computed.
    pub fn begun_at(
        graph: &Graph,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
        inputs: &[LayerId],
        outputs: &[LayerId],
    ) -> Result<Self, EngineError> {
        Self::build(graph, weights, cpu, inputs, outputs, &Algorithms::default())
    }

    /// The same, with a choice of the convolutions' algorithms.
    pub fn with_algorithms(
        graph: &Graph,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
        outputs: &[LayerId],
        algorithms: &Algorithms,
    ) -> Result<Self, EngineError> {
        Self::build(graph, weights, cpu, &[0], outputs, algorithms)
    }

    fn build(
        graph: &Graph,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
        inputs: &[LayerId],
        outputs: &[LayerId],
        algorithms: &Algorithms,
    ) -> Result<Self, EngineError> {
        steps::check_weights(graph, weights)?;
        let is_identity = |op: &Op| matches!(op, Op::Dropout { .. });
        let places = steps::parameter_places(graph);
        let compose = *algorithms != Algorithms::Precise;
        let graph = steps::begun_at(graph, inputs);
        let fused = Fused::new(graph, &places, weights, outputs, compose)?;
        let graph = &fused.graph;
        let siblings = lowering::siblings(graph, is_identity);
        let wanted: Vec<LayerId> = outputs.iter().chain(inputs).copied().collect();
        let mut placement = Placement::new(graph, &wanted, is_identity, &siblings);
        let lowering = Lowering {
            fused: &fused,
            places: &places,
            weights,
            cpu: &cpu,
            placement: &placement,
            siblings: &siblings,
            algorithms,
            outputs,
        };
        let steps = lowering.steps()?;
        steps.iter().for_each(|step| step.take_in_depth(&mut placement.buffers));
        steps.iter().for_each(|step| step.widen_border(&mut placement.buffers));
        let infos = steps.iter().map(|step| {
            let names = step.layers.iter().map(|&id| graph.layers[id].name.clone()).collect();
            step.info(names)
        });
        let infos = infos.collect();
        let place = |&id: &LayerId| (placement.of(id).clone(), graph.layers[id].shape);
        let input = |id: &LayerId| {
            let (place, shape) = place(id);
            let in_depth =
                steps.iter().any(|step| step.x.buffer == place.buffer && step.in_depth());
            Input { place, shape, in_depth }
        };
        let inputs: Vec<Input> = inputs.iter().map(input).collect();
        let outputs: Vec<_> = outputs.iter().map(place).collect();
        let stages = stages::of(&steps, &placement.buffers, cpu.threads());
        let lifetimes = lifetimes(&placement, &steps, &inputs, &outputs);
        let loops = stages.iter().map(Stage::times).collect();
        let arena = Arena::new(placement.buffers, lifetimes, loops);
        Ok(Self { cpu, inputs, steps, infos, stages, arena, outputs })
    }

    /// Shape of each output, per picture.
    pub fn output_shapes(&self) -> impl Iterator<Item = Shape> + '_ {
        self.outputs.iter().map(|(_, shape)| *shape)
    }

    /// Bytes of activations held for one picture.
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
        let picture = self.picture();
        let count = steps::count_pictures(pictures.len(), picture)?;
        let mut results: Vec<Vec<f32>> =
            self.outputs.iter().map(|(_, shape)| Vec::with_capacity(count * shape.len())).collect();
        for batch in pictures.chunks(BATCH * picture.len()) {
            let pictures = batch.len() / picture.len();
            self.arena.resize(pictures)?;
            self.run_batch(batch, |_, run| run());
            self.collect(pictures, &mut results);
        }
        Ok(results)
    }

    /// What is given for one picture.
    fn picture(&self) -> Shape {
        steps::picture(&self.shapes())
    }

    fn shapes(&self) -> Vec<Shape> {
        self.inputs.iter().map(|input| input.shape).collect()
    }

    fn place_inputs(&mut self, pictures: &[f32]) {
        let shapes = self.shapes();
        for (which, Input { place, shape, in_depth }) in self.inputs.iter().enumerate() {
            let values = steps::input_values(pictures, &shapes, which);
            let mut input = self.arena.write(place);
            if *in_depth {
                let size = (shape.channels, shape.height, shape.width);
                pointwise::space_to_depth(&self.cpu, &values, size, &mut input);
            } else {
                pointwise::from_nchw(&self.cpu, &values, &place.channels, &mut input);
            }
        }
    }

    /// Computes the pictures that the arena has room for; `around` is given each step's number and
    /// has to run it.
    fn run_batch(&mut self, batch: &[f32], mut around: impl FnMut(usize, &mut dyn FnMut())) {
        let len = self.picture().len();
        let pictures = batch.len() / len;
        for number in 0..self.stages.len() {
            let Stage { steps, group } = self.stages[number].clone();
            for first in (0..pictures).step_by(group) {
                let part = first..pictures.min(first + group);
                self.arena.turn_to(part.clone());
                if number == 0 {
                    self.place_inputs(&batch[part.start * len..part.end * len]);
                }
                for i in steps.clone() {
                    let step = &self.steps[i];
                    let (x, mut y) = self.arena.access_several(&step.x, &step.y);
                    around(i, &mut || step.run(&self.cpu, x, &mut y));
                }
            }
        }
        self.arena.turn_to(0..pictures);
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

impl Step {
    /// Whether it reads its input by [space to depth](crate::space_to_depth).
    fn in_depth(&self) -> bool {
        matches!(&self.kernel, Kernel::Conv { layer, geometry, .. } if layer.geometry != *geometry)
    }

    /// Makes the tensor that it reads so what that is.
    fn take_in_depth(&self, buffers: &mut [TensorSpec]) {
        if self.in_depth() {
            let x = &mut buffers[self.x.buffer];
            let (height, width) = (x.height.div_ceil(2), x.width.div_ceil(2));
            *x = TensorSpec { height, width, border: Border::default(), ..*x };
        }
    }

    /// Gives the tensor that is read the border that the filters like best.
    fn widen_border(&self, buffers: &mut [TensorSpec]) {
        if let Kernel::Conv { filters, layer, geometry, .. } = &self.kernel {
            let x = &mut buffers[self.x.buffer];
            let border = filters.source_border(geometry, (x.height, x.width), layer.grid);
            x.border = x.border.union(border);
        }
    }

    fn run(&self, cpu: &Cpu, x: View, y: &mut [ViewMut]) {
        if let Kernel::Conv { filters, geometry, bias, floor, .. } = &self.kernel {
            let epilogue = Epilogue::Bias { bias, floor };
            return conv::forward(cpu, x, filters, geometry, epilogue, y);
        }
        let [y] = y else { unreachable!("only convolutions write several views") };
        match &self.kernel {
            Kernel::Conv { .. } => {}
            Kernel::Depthwise { weights, inputs, multiplier, geometry } => {
                depthwise::forward(cpu, x, inputs, *multiplier, weights, geometry, y);
            }
            Kernel::MaxPool(windows) => pool::max(cpu, x, windows, y),
            Kernel::AvgPool { windows, end } => {
                let epilogue = match end {
                    Some((bias, floor)) => Epilogue::Bias { bias, floor },
                    None => Epilogue::Store,
                };
                pool::average(cpu, x, windows, epilogue, y);
            }
            Kernel::Lrn(lrn) => lrn::forward(cpu, x, &self.x.channels, lrn, y),
            Kernel::Copy => pointwise::copy(cpu, x, y),
        }
    }
}

/// Time 0 is the pictures' arrival, time i + 1 the i-th step; outputs live past the end.
fn lifetimes(
    placement: &Placement,
    steps: &[Step],
    inputs: &[Input],
    outputs: &[(Place, Shape)],
) -> Vec<Lifetime> {
    let mut lifetimes = vec![Lifetime::NEVER; placement.buffers.len()];
    inputs.iter().for_each(|input| lifetimes[input.place.buffer].extend(0));
    for (i, step) in steps.iter().enumerate() {
        lifetimes[step.x.buffer].extend(i + 1);
        step.y.iter().for_each(|y| lifetimes[y.buffer].extend(i + 1));
    }
    for (place, _) in outputs {
        lifetimes[place.buffer].extend(steps.len() + 1);
    }
    lifetimes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;
    use crate::reference::{Mode, Reference};
    use inception_kernels::conv::Algorithm;
    use inception_kernels::reference::Tensor;
    use inception_net::{Net, zoo};

    /// A network on 71×84 pictures whose first layer reads them at stride 2.
    fn custom(layers: &str) -> Graph {
        let text = format!(
            r#"
            name = "custom"
            classes = 5
            input = {{ channels = 3, height = 71, width = 84 }}
            defaults = {{ init = "he", batch_norm = {{ epsilon = 0.001, decay = 0.9, scale = true }} }}
            preprocessing = {{ resize = "none", order = "rgb", mean = [0, 0, 0], std = [1, 1, 1] }}
            layer = [ {layers} {{ type = "classifier", name = "fc" }}, ]
            "#
        );
        Net::from_toml(&text).unwrap().graph().unwrap()
    }

    const FIRST: &str = r#"{ type = "conv", name = "a", kernel = 7, stride = 2, channels = 40, padding = "same" },"#;

    #[test]
    fn pictures_are_read_in_depth_where_nobody_else_reads_them() {
        let norm = r#"{ type = "local-response-norm", name = "n", size = 5, alpha = 0.5, beta = 0.75, k = 1.0 },
            { type = "conv", name = "b", kernel = 1, channels = 7 },"#;
        let twice = r#"{ type = "branches", name = "m", branches = [
            [ { type = "conv", name = "a", kernel = 3, stride = 2, channels = 9, padding = "same" } ],
            [ { type = "max-pool", name = "p", kernel = 3, stride = 2, padding = "same" } ],
        ] },"#;
        // Layers, others whose values are wanted, whether it can be, and whether it is by itself.
        let cases = [
            (FIRST.to_owned(), vec![], true, true),
            (FIRST.to_owned(), vec![0], false, false),
            // Dropout is the picture itself.
            (
                r#"{ type = "dropout", name = "d", rate = 0.5 },"#.to_owned() + FIRST,
                vec![1],
                false,
                false,
            ),
            (FIRST.to_owned() + norm, vec![], true, false),
            (twice.to_owned(), vec![], false, false),
        ];
        for (layers, others, possible, estimated) in cases {
            let graph = custom(&layers);
            let weights = inception_model::Weights::initial(&graph, 1);
            let (logits, cpu) = (graph.main_logits(), Arc::new(Cpu::new(2).unwrap()));
            let outputs: Vec<LayerId> = [logits].into_iter().chain(others).collect();
            let plan = |algorithms: &Algorithms| {
                let cpu = Arc::clone(&cpu);
                Inference::with_algorithms(&graph, &weights, cpu, &outputs, algorithms).unwrap()
            };
            let precise = plan(&Algorithms::Precise);
            let kind = precise.steps()[0].layer_kind.clone();
            let tiles = Plan::from([(kind, Algorithm::Minimal { rows: 4, columns: 4 })]);
            let ways = [(Algorithms::Estimated, estimated), (Algorithms::Planned(tiles), possible)];
            for (algorithms, in_depth) in ways {
                let mut inference = plan(&algorithms);
                assert_eq!(inference.inputs[0].in_depth, in_depth, "{layers}");
                let pictures = Tensor::random([3, 3, 71, 84], 2);
                let values: Vec<f32> = pictures.data.iter().map(|&v| v as f32).collect();
                let pictures = pictures.map(|v| f64::from(v as f32));
                let expected = Reference::new(&graph, &weights).forward(&pictures, Mode::INFERENCE);
                let found = inference.run(&values).unwrap();
                for (found, expected) in found.iter().zip(&expected.outputs[logits].data) {
                    assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
                }
                let alone = inference.run(&values[..values.len() / 3]).unwrap();
                assert_eq!(alone, found[..alone.len()]);
            }
        }
    }

    /// Otherwise they would be computed all the same, only more slowly.
    #[test]
    fn tensors_have_the_borders_that_filters_like_best() {
        let graph = zoo::build("inception-v3", &zoo::Options::default()).unwrap().graph().unwrap();
        let weights = inception_model::Weights::initial(&graph, 0);
        let mut inference =
            Inference::new(&graph, &weights, Arc::new(Cpu::new(1).unwrap())).unwrap();
        inference.arena.resize(1).unwrap();
        let mut wider = 0;
        for step in &inference.steps {
            let Kernel::Conv { filters, layer, geometry, .. } = &step.kernel else { continue };
            let found = inference.arena.read(&step.x).layout;
            let input = (found.height, found.width);
            let wanted = filters.source_border(geometry, input, layer.grid);
            assert!(found.border.contains(wanted), "{}: {found:?}", layer.kind());
            let least = geometry.input_border(input, layer.grid);
            wider += usize::from(!least.contains(wanted));
        }
        // 1×7 and 7×1 @17×17 by tiles of nine.
        assert!(wider >= 26, "{wider}");
    }
}
