//! Layers turned into kernel calls.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use inception_kernels::conv::{Algorithm, Filters, Geometry, Rows};
use inception_kernels::lrn::Lrn;
use inception_kernels::pool::Windows;
use inception_kernels::{Channels, Cpu};
use inception_model::{ModelError, WeightSource};
use inception_net::graph::{Graph, LayerId, Op, Role};

use super::fusion::{End, Fused};
use crate::EngineError;
use crate::algorithms::{Algorithms, Layer, Purpose};
use crate::placement::{Place, Placement};
use crate::space_to_depth;
use crate::steps;

/// One kernel call.
pub(super) struct Step {
    pub kernel: Kernel,
    /// The layers it computes.
    pub layers: Vec<LayerId>,
    pub x: Place,
    pub y: Vec<Place>,
}

pub(super) enum Kernel {
    Conv {
        filters: Box<Filters>,
        layer: Layer,
        /// What the filters are packed for.
        geometry: Geometry,
        /// By the layers' definition, for a picture.
        multiply_adds: u64,
        bias: Vec<f32>,
        floor: Vec<f32>,
    },
    Depthwise {
        weights: Vec<f32>,
        inputs: Channels,
        multiplier: usize,
        geometry: Geometry,
    },
    MaxPool(Windows),
    AvgPool {
        windows: Windows,
        end: Option<(Vec<f32>, Vec<f32>)>,
    },
    Lrn(Lrn),
    Copy,
}

/// 1×1 convolutions of the same input, by that input: each list is one product.
pub(super) fn siblings(graph: &Graph, is_identity: impl Fn(&Op) -> bool) -> Vec<Vec<LayerId>> {
    let mut by_input: BTreeMap<LayerId, Vec<LayerId>> = BTreeMap::new();
    for (id, layer) in graph.layers.iter().enumerate() {
        if let Op::Conv(conv) = &layer.op
            && steps::geometry(&conv.window) == steps::POINTWISE
        {
            let mut input = layer.inputs[0];
            while is_identity(&graph.layers[input].op) {
                input = graph.layers[input].inputs[0];
            }
            by_input.entry(input).or_default().push(id);
        }
    }
    by_input.into_values().filter(|layers| layers.len() > 1).collect()
}

/// What lowering needs to know.
pub(super) struct Lowering<'a> {
    pub fused: &'a Fused,
    /// Of parameters in the list of weights.
    pub places: &'a HashMap<(LayerId, Role), usize>,
    pub weights: &'a dyn WeightSource,
    pub cpu: &'a Cpu,
    pub placement: &'a Placement,
    pub siblings: &'a [Vec<LayerId>],
    pub algorithms: &'a Algorithms,
    /// Layers whose values somebody wants.
    pub outputs: &'a [LayerId],
}

/// A step to be.
enum Call {
    Product(Product),
    Other(Step),
}

/// Layers that are computed as one convolution, in the order in which their outputs lie in memory.
struct Product {
    layers: Vec<LayerId>,
    x: Place,
    y: Vec<Place>,
    /// All of them together.
    whole: Layer,
}

impl Lowering<'_> {
    /// All steps, in order.
    pub fn steps(&self) -> Result<Vec<Step>, EngineError> {
        let calls = self.calls()?;
        let layers: Vec<Layer> = calls.iter().filter_map(Call::convolution).collect();
        let mut algorithms = self.algorithms.choose(&layers).into_iter();
        // Where tensors that are still in their file are read to, one after the other.
        let mut rooms = Vec::new();
        let pack = |call| match call {
            Call::Product(product) => {
                let algorithm = algorithms.next().expect("one for each convolution");
                self.packed(product, algorithm, &mut rooms)
            }
            Call::Other(step) => Ok(step),
        };
        calls.into_iter().map(pack).collect()
    }

    fn calls(&self) -> Result<Vec<Call>, ModelError> {
        let mut calls = Vec::new();
        let mut done = Vec::new();
        let needed: Vec<LayerId> = self.placement.needed().collect();
        for id in self.order(&needed) {
            let Some(&input) = self.placement.inputs(id).first() else { continue };
            if !done.contains(&id) {
                let together = self.siblings.iter().find(|layers| layers.contains(&id));
                let layers = together.map_or_else(
                    || vec![id],
                    |layers| layers.iter().copied().filter(|id| needed.contains(id)).collect(),
                );
                done.extend(&layers);
                for layers in self.apart(layers) {
                    calls.extend(self.call(layers, input)?);
                }
            }
            for copy in self.placement.copies(id) {
                let (x, y) = (self.placement.of(copy.from).clone(), vec![copy.to.clone()]);
                calls.push(Call::Other(Step { kernel: Kernel::Copy, layers: vec![id], x, y }));
            }
        }
        Ok(calls)
    }

    /// Layers that are to be one product, as several where they write the same tensor and others' blocks
    /// lie between theirs.
    fn apart(&self, mut layers: Vec<LayerId>) -> Vec<Vec<LayerId>> {
        layers.sort_by_key(|&id| self.key(id));
        let mut products: Vec<Vec<LayerId>> = Vec::new();
        for id in layers {
            let place = self.placement.of(id);
            let fits = |product: &&mut Vec<LayerId>| {
                let last = self.placement.of(product[product.len() - 1]);
                last.buffer != place.buffer || last.is_before(place)
            };
            match products.iter_mut().find(fits) {
                Some(product) => product.push(id),
                None => products.push(vec![id]),
            }
        }
        products
    }

    /// Where a layer's output lies.
    fn key(&self, id: LayerId) -> (usize, usize) {
        let place = self.placement.of(id);
        (place.buffer, place.first_block)
    }

    /// The layers in an order in which each finds what it reads. Pools that read what convolutions have
    /// just read, or written, come right behind them, and with them the convolutions that read the pools:
    /// later the values would have gone from the cores' caches.
    fn order(&self, needed: &[LayerId]) -> Vec<LayerId> {
        let is_pool =
            |id: LayerId| matches!(self.fused.graph.layers[id].op, Op::MaxPool(_) | Op::AvgPool(_));
        let readers = |id: LayerId| {
            needed.iter().copied().filter(move |&reader| self.placement.inputs(reader) == [id])
        };
        let mut order: Vec<LayerId> = Vec::new();
        for &id in needed {
            let mut next = vec![id];
            if let Some(siblings) = self.siblings.iter().find(|layers| layers.contains(&id)) {
                next.extend(siblings.iter().filter(|id| needed.contains(id)));
                let near: Vec<LayerId> =
                    self.placement.inputs(id).iter().chain(&next).copied().collect();
                for pool in near.into_iter().flat_map(readers).filter(|&id| is_pool(id)) {
                    next.push(pool);
                    let convolutions =
                        readers(pool).filter(|&id| self.fused.filters.contains_key(&id));
                    next.extend(convolutions);
                }
            }
            for id in next {
                if !order.contains(&id) {
                    order.push(id);
                }
            }
        }
        order
    }

    /// `None` for layers that are nothing but places: input and concatenation.
    fn call(&self, layers: Vec<LayerId>, input: LayerId) -> Result<Option<Call>, ModelError> {
        let x = self.placement.of(input).clone();
        let id = layers[0];
        let op = &self.fused.graph.layers[id].op;
        let kernel = match op {
            Op::Input | Op::Concat | Op::Dropout { .. } => return Ok(None),
            Op::Conv(_) | Op::Linear(_) => {
                return Ok(Some(Call::Product(self.product(layers, input, x))));
            }
            Op::MaxPool(windows) => Kernel::MaxPool(steps::windows(windows)),
            Op::AvgPool(windows) => Kernel::AvgPool {
                windows: steps::windows(windows),
                end: self.fused.ends.get(&id).map(End::per_lane),
            },
            Op::Depthwise { multiplier, window, .. } => Kernel::Depthwise {
                weights: self
                    .weights
                    .values(self.places[&(id, Role::Weight)], &mut Vec::new())?
                    .to_vec(),
                inputs: x.channels.clone(),
                multiplier: *multiplier,
                geometry: steps::geometry(window),
            },
            &Op::LocalResponseNorm { size, alpha, beta, k } => {
                Kernel::Lrn(Lrn { size, alpha, beta, k })
            }
        };
        let y = vec![self.placement.of(id).clone()];
        Ok(Some(Call::Other(Step { kernel, layers, x, y })))
    }

    /// Of layers in the order in which their outputs lie in memory.
    fn product(&self, layers: Vec<LayerId>, input: LayerId, x: Place) -> Product {
        let mut y: Vec<Place> = Vec::new();
        for &id in &layers {
            let place = self.placement.of(id);
            match y.last_mut() {
                Some(last) if last.is_before(place) => {
                    last.channels = Channels::concat([&last.channels, &place.channels]);
                }
                _ => y.push(place.clone()),
            }
        }
        let graph = &self.fused.graph;
        let layer = &graph.layers[layers[0]];
        let filtering = steps::filtering(&layer.op, graph.layers[input].shape)
            .expect("a convolution or a linear layer");
        let (geometry, inputs) = (filtering.geometry, x.channels.count());
        let first = matches!(graph.layers[input].op, Op::Input);
        let alone = first && layers.len() == 1 && self.is_only_reader(input);
        let whole = Layer {
            geometry,
            inputs,
            outputs: y.iter().map(|place| place.channels.count()).sum(),
            input_blocks: x.channels.blocks(),
            output_blocks: y.iter().map(|place| place.channels.blocks()).sum(),
            grid: steps::grid(layer.shape),
            space_to_depth: space_to_depth::geometry(&geometry, inputs).filter(|_| alone),
            first,
            normed: layers.iter().any(|&id| steps::is_normed(graph, id)),
            purpose: Purpose::Inference { paired: self.cpu.isa().pairs_channels() },
        };
        Product { layers, x, y, whole }
    }

    /// Whether a single layer reads these values and nobody else wants them.
    fn is_only_reader(&self, input: LayerId) -> bool {
        let readers = self.placement.needed().flat_map(|id| self.placement.inputs(id));
        let place = self.placement.of(input);
        readers.filter(|&&read| read == input).count() == 1
            && self.outputs.iter().all(|&output| self.placement.of(output) != place)
    }

    fn packed(
        &self,
        product: Product,
        algorithm: Algorithm,
        rooms: &mut Vec<Vec<f32>>,
    ) -> Result<Step, EngineError> {
        let Product { layers, mut x, y, whole: layer } = product;
        let (geometry, inputs, _) = layer.as_computed(algorithm);
        let in_depth = geometry != layer.geometry;
        let Fused { graph, filters: folded, ends } = self.fused;
        let (mut rows, mut bias, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        rooms.resize_with(rooms.len().max(layers.len()), Vec::new);
        for (id, room) in layers.iter().zip(rooms) {
            let folded = &folded[id];
            let mut weights = Cow::Borrowed(match &folded.composed {
                Some(composed) => &*composed.weights,
                None => self.weights.values(folded.tensor, room)?,
            });
            if in_depth {
                let channels = layer.inputs;
                weights = space_to_depth::filters(&weights, &layer.geometry, channels).into();
            }
            rows.push((weights, &folded.scale));
            let end = ends[id].per_lane();
            bias.extend(end.0);
            floor.extend(end.1);
        }
        // A plan is anybody's to write; what is beyond the error budget is no candidate.
        let fits = Algorithm::candidates(&geometry).contains(&algorithm);
        if in_depth {
            x.channels = Channels::new(inputs);
        }
        let targets: Vec<Channels> = y.iter().map(|place| place.channels.clone()).collect();
        let mut filters = Filters::with_algorithm(&targets, &x.channels, &geometry, algorithm)
            .filter(|_| fits)
            .ok_or_else(|| EngineError::Algorithm {
                layer: graph.layers[layers[0]].name.clone(),
                kind: layer.kind(),
                algorithm: algorithm.to_string(),
            })?;
        let rows: Vec<Rows> = rows.iter().map(|(weights, scale)| Rows { weights, scale }).collect();
        filters.pack_rows(self.cpu, &rows);
        let filters = Box::new(filters);
        let direct = layer.multiply_adds(Algorithm::Direct).round() as u64;
        let composed = folded[&layers[0]].composed.as_ref();
        let multiply_adds = composed.map_or(direct, |composed| composed.multiply_adds);
        let kernel = Kernel::Conv { filters, layer, geometry, multiply_adds, bias, floor };
        Ok(Step { kernel, layers, x, y })
    }
}

impl Call {
    fn convolution(&self) -> Option<Layer> {
        match self {
            Call::Product(product) => Some(product.whole),
            Call::Other(_) => None,
        }
    }
}
