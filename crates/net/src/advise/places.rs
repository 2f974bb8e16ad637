//! The layers of a network as written, each with what is around it.

use std::collections::HashMap;

use crate::error::NetError;
use crate::graph::{Graph, LayerId, Op, Shape};
use crate::layers::Conv;
use crate::net::Net;
use crate::step::{Series, Step};

/// A convolution on the way to the main classifier.
pub(super) struct Place {
    /// Its full name.
    pub name: String,
    /// As it is written, in the network or by its module.
    pub conv: Conv,
    /// The step whose output it reads within its series; none for a module's or network's first.
    pub before: Option<Step>,
}

/// A network's graph, to be asked by name.
pub(super) struct Shapes {
    graph: Graph,
    layers: HashMap<String, LayerId>,
}

impl Shapes {
    pub fn new(net: &Net) -> Result<Self, NetError> {
        let graph = net.graph()?;
        let layers = graph.layers.iter().enumerate();
        let layers = layers.map(|(id, layer)| (layer.name.clone(), id)).collect();
        Ok(Self { graph, layers })
    }

    /// The network's input.
    pub fn input(&self) -> Shape {
        self.graph.layers[0].shape
    }

    /// What a layer or module makes.
    pub fn output(&self, name: &str) -> Option<Shape> {
        self.layers.get(name).map(|&id| self.graph.layers[id].shape)
    }

    /// What a convolution reads.
    pub fn read(&self, name: &str) -> Option<Shape> {
        let id = *self.layers.get(name)?;
        self.graph.layers[id].inputs.first().map(|&input| self.graph.layers[input].shape)
    }

    /// Its place in the order of the layers.
    pub fn position(&self, name: &str) -> usize {
        self.layers.get(name).copied().unwrap_or(usize::MAX)
    }

    /// Whether it reads the picture itself.
    pub fn reads_picture(&self, name: &str) -> bool {
        let layer = self.layers.get(name).map(|&id| &self.graph.layers[id]);
        layer.is_some_and(|layer| layer.inputs.contains(&0))
    }

    /// A name like this one that no layer has.
    pub fn fresh(&self, prefix: &str, name: &str) -> String {
        let taken = |name: &str| {
            let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            self.layers.contains_key(&full)
        };
        let mut fresh = name.to_owned();
        while taken(&fresh) {
            fresh.push('_');
        }
        fresh
    }

    /// Work and longest chain of convolutions and linear layers on the main path, for each grid
    /// in the order in which they come.
    pub fn stages(&self) -> Vec<Stage> {
        let main = self.graph.main_path();
        let mut depth = vec![0usize; self.graph.layers.len()];
        let mut stages: Vec<Stage> = Vec::new();
        for (id, layer) in self.graph.layers.iter().enumerate() {
            let before = layer.inputs.iter().map(|&input| depth[input]).max().unwrap_or(0);
            let weighs = matches!(layer.op, Op::Conv(_) | Op::Depthwise { .. } | Op::Linear(_));
            depth[id] = before + usize::from(weighs);
            if !main[id] || !weighs {
                continue;
            }
            let grid = (layer.shape.height, layer.shape.width);
            let work = self.graph.multiply_adds(id);
            match stages.iter_mut().find(|stage| stage.grid == grid) {
                Some(stage) => {
                    stage.work += work;
                    stage.last = depth[id].max(stage.last);
                }
                None => stages.push(Stage { grid, work, first: depth[id], last: depth[id] }),
            }
        }
        stages
    }

    /// Share of the main path's multiply–adds that is done before a layer.
    pub fn work_before(&self, name: &str) -> f64 {
        let Some(&end) = self.layers.get(name) else { return 0.0 };
        let main = self.graph.main_path();
        let work = |ids: std::ops::Range<usize>| -> usize {
            ids.filter(|&id| main[id]).map(|id| self.graph.multiply_adds(id)).sum()
        };
        work(0..end) as f64 / work(0..self.graph.layers.len()).max(1) as f64
    }
}

/// The layers that work on one grid.
pub(super) struct Stage {
    /// Height and width.
    pub grid: (usize, usize),
    /// Multiply–adds.
    pub work: usize,
    first: usize,
    last: usize,
}

impl Stage {
    /// Layers with weights in its longest chain.
    pub fn depth(&self) -> usize {
        self.last + 1 - self.first
    }
}

/// All convolutions of the main path.
pub(super) fn convolutions(net: &Net) -> Vec<Place> {
    let mut places = Vec::new();
    walk(&net.layers, "", None, &mut places);
    places
}

fn walk(series: &Series, prefix: &str, reads: Option<&Step>, places: &mut Vec<Place>) {
    let mut before = reads.cloned();
    for step in series {
        if step.auxiliary().is_some() {
            continue;
        }
        if let Some(branches) = step.branches() {
            let inner = step.inner_prefix(prefix);
            // A module of a branch goes on with what the branch has done.
            let reads = before.as_ref().filter(|_| !prefix.is_empty());
            branches.iter().for_each(|branch| walk(branch, &inner, reads, places));
        } else if let Step::Conv(conv) = step {
            places.push(Place {
                name: step.full_name(prefix),
                conv: conv.clone(),
                before: before.take(),
            });
        }
        before = Some(step.clone());
    }
}

/// The part of a full name before the layer's own.
pub(super) fn prefix<'a>(full: &'a str, own: &str) -> &'a str {
    full.strip_suffix(own).map_or("", |prefix| prefix.trim_end_matches('.'))
}
