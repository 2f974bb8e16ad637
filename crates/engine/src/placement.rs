//! In which buffer each layer's output lies.
//!
//! A layer whose only reader is a concatenation has no buffer of its own: it is a run of channel
//! blocks in the concatenation's. Concatenating then costs nothing, forward or backward.

use inception_kernels::{Border, Channels, Layout};
use inception_net::graph::{Graph, LayerId, Op, Shape};

use crate::steps;

/// Where a layer's output lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// Index into [`Placement::buffers`].
    pub buffer: usize,
    /// Its first channel block there.
    pub first_block: usize,
    /// Its channels, from that block on.
    pub channels: Channels,
}

impl Place {
    /// Whether the other one follows right behind.
    pub fn is_before(&self, other: &Place) -> bool {
        self.buffer == other.buffer
            && self.first_block + self.channels.blocks() == other.first_block
    }
}

/// One tensor in memory.
#[derive(Clone, Debug)]
pub(crate) struct TensorSpec {
    pub blocks: usize,
    pub height: usize,
    pub width: usize,
    pub border: Border,
}

impl TensorSpec {
    pub fn layout(&self, pictures: usize) -> Layout {
        let Self { blocks, height, width, border } = *self;
        Layout { pictures, blocks, height, width, border }
    }
}

/// A branch that has other readers besides the concatenation, and so must be copied there.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub from: LayerId,
    pub to: Place,
}

/// Places for all layers that matter to some outputs.
pub(crate) struct Placement {
    pub buffers: Vec<TensorSpec>,
    /// By layer; `None` where the layer does not matter.
    places: Vec<Option<Place>>,
    /// By layer: the layers it reads, layers that do nothing here skipped.
    inputs: Vec<Vec<LayerId>>,
    /// By concatenation: what has to be copied into it.
    copies: Vec<Vec<Copy>>,
    /// By layer: the layer whose output is this one's.
    same_as: Vec<LayerId>,
}

impl Placement {
    /// Places what `outputs` depend on; `is_identity` says which layers do nothing (dropout in
    /// inference) and so share their input's place. Of each list of `siblings`, layers on the same
    /// grid, those that need buffers get one together.
    pub fn new(
        graph: &Graph,
        outputs: &[LayerId],
        is_identity: impl Fn(&Op) -> bool,
        siblings: &[Vec<LayerId>],
    ) -> Self {
        let layers = &graph.layers;
        let mut same_as: Vec<LayerId> = (0..layers.len()).collect();
        for (id, layer) in layers.iter().enumerate() {
            if is_identity(&layer.op) {
                same_as[id] = same_as[layer.inputs[0]];
            }
        }
        let inputs: Vec<Vec<LayerId>> =
            layers.iter().map(|l| l.inputs.iter().map(|&i| same_as[i]).collect()).collect();
        let needed = needed(&inputs, outputs.iter().map(|&id| same_as[id]));

        let mut readers = vec![0usize; layers.len()];
        for id in (0..layers.len()).filter(|&id| needed[id]) {
            inputs[id].iter().for_each(|&input| readers[input] += 1);
        }

        let mut placement = Self {
            buffers: Vec::new(),
            places: vec![None; layers.len()],
            copies: vec![Vec::new(); layers.len()],
            inputs,
            same_as,
        };
        let channels = placement.channels(graph);
        // Readers first, so that a concatenation has its place before its branches.
        for id in (0..layers.len()).rev().filter(|&id| needed[id]) {
            if placement.places[id].is_none() {
                let together = siblings.iter().find(|layers| layers.contains(&id));
                let together = together.map_or(std::slice::from_ref(&id), Vec::as_slice);
                let without = |&&id: &&LayerId| needed[id] && placement.places[id].is_none();
                let layers: Vec<LayerId> = together.iter().filter(without).copied().collect();
                placement.own_buffer(graph, &layers, &channels);
            }
            let place = placement.places[id].clone().expect("just placed");
            if matches!(layers[id].op, Op::Concat) {
                placement.place_branches(id, &place, &channels, &readers);
            }
        }
        placement.widen_borders(graph, &needed);
        placement
    }

    /// The layer's place; panics where the layer does not matter to the outputs.
    pub fn of(&self, id: LayerId) -> &Place {
        self.places[self.same_as[id]].as_ref().expect("the layer is needed")
    }

    /// Layers to compute, in order: those that matter and do something.
    pub fn needed(&self) -> impl Iterator<Item = LayerId> + '_ {
        (0..self.places.len()).filter(|&id| self.places[id].is_some())
    }

    /// What a concatenation needs copied into it.
    pub fn copies(&self, id: LayerId) -> &[Copy] {
        &self.copies[id]
    }

    /// The layers this one reads.
    pub fn inputs(&self, id: LayerId) -> &[LayerId] {
        &self.inputs[id]
    }

    fn channels(&self, graph: &Graph) -> Vec<Channels> {
        let mut channels: Vec<Channels> = Vec::with_capacity(graph.layers.len());
        for (id, layer) in graph.layers.iter().enumerate() {
            let of_inputs = self.inputs[id].iter().map(|&input| &channels[input]);
            channels.push(match layer.op {
                Op::Input | Op::Conv(_) | Op::Depthwise { .. } | Op::Linear(_) => {
                    Channels::new(layer.shape.channels)
                }
                // One input: these work channel by channel and keep its lanes.
                Op::MaxPool(_)
                | Op::AvgPool(_)
                | Op::LocalResponseNorm { .. }
                | Op::Dropout { .. }
                | Op::Concat => Channels::concat(of_inputs),
            });
        }
        channels
    }

    /// Gives layers on the same grid a buffer, one behind the other.
    fn own_buffer(&mut self, graph: &Graph, layers: &[LayerId], channels: &[Channels]) {
        let shape = graph.layers[layers[0]].shape;
        let mut blocks = 0;
        for &id in layers {
            let (buffer, channels) = (self.buffers.len(), channels[id].clone());
            let first_block = blocks;
            blocks += channels.blocks();
            self.places[id] = Some(Place { buffer, first_block, channels });
        }
        let Shape { height, width, .. } = shape;
        self.buffers.push(TensorSpec { blocks, height, width, border: Border::default() });
    }

    fn place_branches(
        &mut self,
        concat: LayerId,
        place: &Place,
        channels: &[Channels],
        readers: &[usize],
    ) {
        let mut first_block = place.first_block;
        for branch in self.inputs[concat].clone() {
            let channels = channels[branch].clone();
            let blocks = channels.blocks();
            let slot = Place { buffer: place.buffer, first_block, channels };
            if readers[branch] == 1 {
                self.places[branch] = Some(slot);
            } else {
                self.copies[concat].push(Copy { from: branch, to: slot });
            }
            first_block += blocks;
        }
    }

    fn widen_borders(&mut self, graph: &Graph, needed: &[bool]) {
        for id in (0..needed.len()).filter(|&id| needed[id]) {
            let Some(&input) = self.inputs[id].first() else { continue };
            let border = steps::input_border(graph, id, input);
            let spec = &mut self.buffers[self.places[input].as_ref().expect("needed").buffer];
            spec.border = spec.border.union(border);
        }
    }
}

fn needed(inputs: &[Vec<LayerId>], outputs: impl Iterator<Item = LayerId>) -> Vec<bool> {
    let mut needed = vec![false; inputs.len()];
    outputs.for_each(|id| needed[id] = true);
    for id in (0..inputs.len()).rev() {
        if needed[id] {
            inputs[id].iter().for_each(|&input| needed[input] = true);
        }
    }
    needed
}
